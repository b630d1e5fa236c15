//! What names a person is forgotten after its time, in small steps, and nothing that is counted is lost. What an old key sealed is
//! sealed anew.

use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{get, post_json};
use crate::support::stage::{ANA, OUR_NUMBER, Stage};

const DAY: i64 = 86_400;

async fn answered(stage: &Stage, number: &str, conversation: &str) -> String {
    let body = json!({
        "channel": "sms", "to": number, "conversation": conversation, "agent": {"id": "a-17", "name": "Sam"},
        "contact": {"id": "c-1", "name": "Ana"}, "metadata": {"a": 1},
    });
    let id = stage.trigger(&body).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    stage.deliver().await;
    let service = stage.service();
    let answer = stage
        .twilio
        .text(&service, number, OUR_NUMBER, "4 but slow");
    assert_eq!(answer.await.0, 200);
    id
}

/// Rounds until there is nothing more to do; how many.
async fn retained(stage: &Stage) -> usize {
    let mut rounds = 1;
    while stage.app.journey.retain().await.unwrap() {
        rounds += 1;
    }
    rounds
}

async fn count(stage: &Stage) -> [i64; 4] {
    let database = &stage.database;
    [
        database
            .number("select count(*) from replies where length(raw) > 0")
            .await,
        database
            .number("select count(*) from requests where length(contact) > 0")
            .await,
        database
            .number("select count(*) from ratings where comment <> ''")
            .await,
        database.number("select count(*) from ratings").await,
    ]
}

story!(
    each_part_is_forgotten_after_its_own_time,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = answered(&stage, ANA, "INC-1").await;
        stage.pass(DAY);
        stage.app.journey.tidy().await.unwrap();
        let before = get(&format!("{}/metrics/totals", stage.url)).await.body;
        for (days, left) in [
            (29, [1, 1, 1, 1]),
            (31, [0, 1, 1, 1]),
            (89, [0, 1, 1, 1]),
            (91, [0, 0, 1, 1]),
            (364, [0, 0, 1, 1]),
            (366, [0, 0, 0, 1]),
            (2_000, [0, 0, 0, 1]),
        ] {
            let passed = stage.now().as_millis() - 1_795_284_000_000;
            stage.pass(days * DAY - passed / 1_000);
            retained(&stage).await;
            assert_eq!(count(&stage).await, left, "after {days} days");
        }
        assert_eq!(
            get(&format!("{}/metrics/totals", stage.url)).await.body,
            before
        );
        let read = stage.request(&id).await;
        assert_eq!(read["rating"], json!({"score": 4, "grade": "channel"}));
        assert_eq!(
            (&read["to"], &read["metadata"]),
            (&json!("no address"), &Value::Null)
        );
        assert_eq!(
            read["agent"]["name"], "Sam",
            "kept unless the desk says otherwise"
        );
        assert_eq!(
            stage.api("/v1/contacts/+14155550123").await["requests"],
            json!([])
        );
        let own = get(&format!("{}/metrics", stage.url)).await.body;
        for field in ["address", "comment", "raw"] {
            let line = format!("onefive_forgotten_total{{field=\"{field}\"}} 1");
            assert!(own.contains(&line), "{field}");
        }
        stage.finish().await;
    }
);

async fn post(stage: &Stage, path: &str, body: Value) {
    let bearer = format!("Bearer {}", stage.key);
    let headers = [("authorization", bearer.as_str())];
    let answer = post_json(&format!("{}{path}", stage.url), &headers, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Words in events, notes of what was told and of what came of it, and managers' reasons.
async fn said(stage: &Stage) -> [i64; 5] {
    let database = &stage.database;
    [
        database
            .number("select count(*) from events where length(detail) > 0")
            .await,
        database
            .number("select count(*) from follow_ups where told_note <> ''")
            .await,
        database
            .number("select count(*) from follow_ups where close_note <> ''")
            .await,
        database
            .number("select count(*) from ratings where excluded_reason <> ''")
            .await,
        database
            .number("select count(*) from rating_log where reason <> ''")
            .await,
    ]
}

story!(
    what_was_said_in_events_and_noted_by_the_desk_has_its_time_too,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        for words in ["who is this", "1 so slow"] {
            let service = stage.service();
            let answer = stage.twilio.text(&service, ANA, OUR_NUMBER, words);
            assert_eq!(answer.await.0, 200);
        }
        stage.app.journey.tidy().await.unwrap();
        let open = stage.api("/v1/follow-ups").await;
        let item = &open["items"][0];
        let follow_up = format!("/v1/follow-ups/{}", item["id"].as_str().unwrap());
        let rating = format!("/v1/ratings/{}", item["rating"]["id"].as_str().unwrap());
        let mut passed = 0;
        for (day, left) in [
            (10, [3, 1, 0, 0, 0]),
            (20, [3, 1, 1, 1, 1]),
            (29, [3, 1, 1, 1, 1]),
            (31, [0, 1, 1, 1, 1]),
            (364, [0, 1, 1, 1, 1]),
            (366, [0, 1, 1, 0, 0]),
            (376, [0, 0, 1, 0, 0]),
            (386, [0, 0, 0, 0, 0]),
        ] {
            stage.pass((day - passed) * DAY);
            passed = day;
            if day == 10 {
                let note = json!({"note": "we called back"});
                post(&stage, &format!("{follow_up}/told"), note).await;
            }
            if day == 20 {
                let note = json!({"note": "we paid it back"});
                post(&stage, &format!("{follow_up}/close"), note).await;
                let exclude = json!({"by": "Sam", "reason": "it was a test"});
                post(&stage, &format!("{rating}/exclude"), exclude).await;
            }
            retained(&stage).await;
            assert_eq!(said(&stage).await, left, "after {day} days");
        }
        let acts = "select count(*) from rating_log where actor = 'Sam'";
        assert_eq!(stage.database.number(acts).await, 1, "acts stay");
        stage.finish().await;
    }
);

story!(
    many_are_forgotten_in_small_steps_and_what_is_open_is_passed_by,
    async |database: Database| {
        let stage = Stage::with(database, &[("REQUESTS__SENDS_PER_ADDRESS", "1000")]).await;
        for n in 0..450 {
            let (to, conversation) = (format!("v-{n}"), format!("CH-{n}"));
            stage.ask("chat", &to, &conversation).await;
        }
        stage.pass(4 * DAY);
        while stage.app.journey.tidy().await.unwrap().0 > 0 {}
        // Due in a month and then open for a month.
        let late = json!({"channel": "email", "to": "ben@example.com", "conversation": "T-1", "delay_seconds": 30 * DAY, "expires_in": 30 * DAY});
        assert_eq!(stage.trigger(&late).await.status, 202);
        let named = "select count(*) from requests where length(contact) > 0";
        stage.pass(40 * DAY);
        stage.deliver().await;
        assert_eq!(stage.database.number(named).await, 451);
        stage.pass(51 * DAY);
        let rounds = retained(&stage).await;
        assert!(rounds > 2, "{rounds} rounds of 200 rows");
        assert_eq!(stage.database.number(named).await, 1, "the open one");
        assert_eq!(retained(&stage).await, 1, "nothing is looked at twice");
        while stage.app.journey.tidy().await.unwrap().0 > 0 {}
        stage.pass(90 * DAY);
        retained(&stage).await;
        assert_eq!(stage.database.number(named).await, 0);
        stage.finish().await;
    }
);

story!(
    a_desk_may_forget_whom_a_score_was_about,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let id = answered(&stage, ANA, "INC-1").await;
        let other = answered(&stage, "+14155550124", "INC-2").await;
        stage.app.journey.tidy().await.unwrap();
        let mut desk = stage.desk.clone();
        desk.settings.retention.rating_days = 60;
        desk.settings.retention.check("retention.").unwrap();
        let (store, now) = (&stage.app.journey.store, stage.now());
        stage.pass(61 * DAY);
        stage.app.journey.tidy().await.unwrap();
        let later = stage.now();
        let retention = &desk.settings.retention;
        assert_eq!(
            store
                .retain(desk.id, retention, now, 200)
                .await
                .unwrap()
                .ratings,
            0
        );
        assert_eq!(
            store
                .retain(desk.id, retention, later, 200)
                .await
                .unwrap()
                .ratings,
            2
        );
        for id in [id, other] {
            let read = stage.request(&id).await;
            assert_eq!(
                (&read["conversation"], &read["agent"]["name"]),
                (&json!(""), &Value::Null)
            );
            assert_eq!(read["rating"]["score"], 4);
        }
        stage.finish().await;
    }
);
