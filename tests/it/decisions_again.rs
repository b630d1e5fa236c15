//! Asks that wait: for the morning, in a backlog, for the desk's own delay. When they fall due they are decided again.

use ::http::Method;
use onefive::domain::desk::DeskSettings;
use serde_json::{Value, json};

use crate::decisions::Ruled;
use crate::story;
use crate::support::database::Database;
use crate::support::stage::{OUR_NUMBER, Stage};

const BEN: &str = "+14155550111";
const CAT: &str = "+14155550112";

/// Rules with quiet hours, and a contact for whom it is three in the morning when a story begins.
fn nightly() -> (Value, Value) {
    let rules = json!({"quiet_hours": {"from": "21:00", "to": "08:00", "action": "delay"}});
    (rules, json!({"contact": {"timezone": "Asia/Tokyo"}}))
}

async fn shown(desk: &Ruled<'_>, request: &Value) -> Value {
    let path = format!("/v1/requests/{}", request["id"].as_str().unwrap());
    desk.call(Method::GET, &path, &Value::Null).await.json()
}

async fn change(desk: &Ruled<'_>, rule: &str, value: Value) {
    let mut settings = desk
        .call(Method::GET, "/v1/desk", &Value::Null)
        .await
        .json()["settings"]
        .clone();
    settings["rules"][rule] = value;
    let put = desk.call(Method::PUT, "/v1/desk", &settings).await;
    assert_eq!(put.status, 200, "{put:?}");
}

story!(
    an_ask_in_the_night_waits_for_the_contacts_morning,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (rules, tokyo) = nightly();
        let desk = Ruled::with(&stage, "night", &rules).await;
        let mut dry = tokyo.clone();
        dry["dry_run"] = json!(true);
        let considered = desk.trigger(BEN, "INC-1", &dry).await;
        let request = desk.trigger(BEN, "INC-1", &tokyo).await;
        for answer in [&considered, &request] {
            assert_eq!(answer["state"], "scheduled");
            assert_eq!(answer["due_at"], "2026-11-21T23:00:00.000Z", "{answer}");
            assert_eq!(answer["delayed_by"], "quiet_hours");
        }
        assert_eq!(request["expires_at"], "2026-11-24T23:00:00.000Z");
        // By day in Berlin, and a mail by night, go out at once.
        let berlin = json!({"contact": {"timezone": "Europe/Berlin"}});
        let by_day = desk.trigger(CAT, "INC-2", &berlin).await;
        assert_eq!(by_day["delayed_by"], Value::Null);
        let mail = json!({"channel": "email", "contact": {"timezone": "Asia/Tokyo"}});
        assert_eq!(
            desk.trigger("ana@example.com", "INC-3", &mail).await["delayed_by"],
            Value::Null
        );
        // In the United States it is eight in Honolulu by now, so it is day everywhere; an hour ago it was not.
        let unknown = desk.trigger("+14155550113", "INC-4", &json!({})).await;
        assert_eq!(unknown["delayed_by"], Value::Null);
        assert_eq!(stage.deliver().await, 3);
        stage.pass(5 * 3600 - 1);
        assert_eq!(stage.deliver().await, 0);
        stage.pass(1);
        assert_eq!(stage.deliver().await, 1);
        assert_eq!(shown(&desk, &request).await["state"], "sent");
        stage.finish().await;
    }
);

story!(
    a_backlog_is_not_sent_in_the_night,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (rules, _) = nightly();
        let desk = Ruled::with(&stage, "night", &rules).await;
        let berlin = json!({"contact": {"timezone": "Europe/Berlin"}});
        let request = desk.trigger(BEN, "INC-1", &berlin).await;
        // Nobody sends for three hours: it is ten in the evening there.
        stage.pass(3 * 3600);
        assert_eq!(stage.deliver().await, 1);
        let waits = shown(&desk, &request).await;
        assert_eq!(waits["state"], "scheduled");
        assert_eq!(waits["due_at"], "2026-11-22T07:00:00.000Z");
        assert_eq!(waits["expires_at"], "2026-11-25T07:00:00.000Z");
        assert_eq!(waits["delayed_by"], "quiet_hours");
        assert_eq!(waits["delivery"]["attempts"], 0);
        assert_eq!(stage.deliver().await, 0);
        stage.pass(10 * 3600);
        assert_eq!(stage.deliver().await, 1);
        assert_eq!(shown(&desk, &request).await["state"], "sent");
        stage.finish().await;
    }
);

story!(
    what_waited_is_decided_by_the_rules_of_then,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (rules, tokyo) = nightly();
        let desk = Ruled::with(&stage, "night", &rules).await;
        let sampled = desk.trigger(BEN, "INC-1", &tokyo).await;
        let until =
            json!({"delay_seconds": 3600, "context": {"window_until": "2026-11-21T20:00:00Z"}});
        let windowed = desk.trigger(CAT, "INC-2", &until).await;
        assert_eq!(windowed["state"], "scheduled");
        // Its hour comes, and nobody sends for two more.
        stage.pass(3 * 3600);
        stage.deliver().await;
        let late = shown(&desk, &windowed).await;
        assert_eq!(
            json!([late["state"], late["reason"]]),
            json!(["suppressed", "window_closed"])
        );
        change(&desk, "sample_share", json!(0)).await;
        stage.pass(2 * 3600);
        stage.deliver().await;
        let spared = shown(&desk, &sampled).await;
        assert_eq!(
            json!([spared["state"], spared["reason"]]),
            json!(["suppressed", "sampled_out"])
        );
        stage.finish().await;
    }
);

story!(
    of_two_that_wait_for_one_person_a_new_cap_lets_one_go,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let desk = Ruled::with(&stage, "waits", &json!({})).await;
        let later = json!({"delay_seconds": 3600, "contact": {"id": "c-1"}});
        let first = desk.trigger(BEN, "INC-1", &later).await;
        let second = desk.trigger(CAT, "INC-2", &later).await;
        change(&desk, "caps", json!([{"count": 1, "days": 7}])).await;
        stage.pass(3600);
        while stage.deliver().await > 0 {}
        let mut states = Vec::new();
        for request in [&first, &second] {
            let now = shown(&desk, request).await;
            states.push(json!([now["state"], now["reason"]]).to_string());
        }
        states.sort();
        assert_eq!(
            states,
            [r#"["sent",null]"#, r#"["suppressed","cap_contact"]"#]
        );
        stage.finish().await;
    }
);

story!(
    other_rules_are_tried_on_the_past_and_change_nothing,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let desk = Ruled::with(&stage, "past", &json!({})).await;
        let ana = json!({"contact": {"id": "c-1"}});
        for (day, to) in [BEN, CAT, "+14155550113", "+14155550114"]
            .into_iter()
            .enumerate()
        {
            assert_eq!(desk.decided(to, &format!("INC-{day}"), &ana).await, "asked");
            while stage.deliver().await > 0 {}
            stage.pass(86_400);
        }
        let held = json!({"context": {"hold": true}});
        assert_eq!(
            desk.decided("+14155550115", "INC-9", &held).await,
            "context_hold"
        );
        while stage.deliver().await > 0 {}
        let rows = stage.database.rows().await;
        let replay = async |rules: Value, from: &str, cursor: Value| {
            let body = json!({"rules": rules, "from": from, "to": "2026-12-01T00:00:00Z", "cursor": cursor});
            desk.call(Method::POST, "/v1/decisions/replay", &body).await
        };
        let begin = "2026-11-01T00:00:00Z";
        let same = replay(json!({}), begin, Value::Null).await.json();
        assert_eq!(
            (&same["triggers"], &same["differ"]),
            (&json!(5), &json!(0)),
            "{same}"
        );
        let capped = json!({"caps": [{"count": 1, "days": 3}]});
        let tried = replay(capped.clone(), begin, Value::Null).await.json();
        assert_eq!(
            tried["before"]["decisions"],
            json!({"asked": 4, "context_hold": 1})
        );
        assert_eq!(
            tried["after"]["decisions"],
            json!({"asked": 2, "cap_contact": 2, "context_hold": 1})
        );
        assert_eq!(
            (&tried["differ"], &tried["cut"]),
            (&json!(2), &json!(false))
        );
        let example = &tried["examples"][0];
        assert_eq!(
            json!([example["before"], example["after"]]),
            json!(["asked", "cap_contact"])
        );
        // From the third on, those before are as they were.
        let late = replay(capped.clone(), "2026-11-23T18:00:00Z", Value::Null)
            .await
            .json();
        assert_eq!(
            late["after"]["decisions"],
            json!({"cap_contact": 2, "context_hold": 1})
        );
        let after = replay(capped, begin, example["request"].clone())
            .await
            .json();
        assert_eq!(after["triggers"], 3, "{after}");
        for (rules, from, cursor, field) in [
            (json!({"colour": 1}), begin, Value::Null, "rules.colour"),
            (
                json!({"caps": [{"count": 0, "days": 1}]}),
                begin,
                Value::Null,
                "rules.caps[0].count",
            ),
            (json!({}), "2026-12-02T00:00:00Z", Value::Null, "to"),
            (json!({}), begin, json!("x"), "cursor"),
        ] {
            let answer = replay(rules, from, cursor).await;
            assert_eq!(
                (answer.status, &answer.json()["field"]),
                (400, &json!(field)),
                "{answer:?}"
            );
        }
        assert_eq!(stage.database.rows().await, rows);
        stage.finish().await;
    }
);

story!(
    a_desk_whose_messages_look_pumped_stops_sending_until_it_is_resumed,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let mut settings = serde_json::to_value(DeskSettings::permissive()).unwrap();
        settings["watch"] = json!({"enabled": true, "min_sends": 20});
        let desk = Ruled::settings(&stage, "watched", &settings).await;
        let journey = &stage.app.journey;
        assert_eq!(journey.watch().await.unwrap(), 0);
        // An ordinary hour: people all over the country, who answer.
        for n in 0..24 {
            let number = format!("+1415{:07}", 2_300_000 + n * 131_071);
            assert_eq!(
                desk.decided(&number, &format!("INC-{n}"), &json!({})).await,
                "asked"
            );
            stage.deliver().await;
            let service = stage.service();
            stage.twilio.text(&service, &number, OUR_NUMBER, "5").await;
        }
        stage.pass(2 * 3600);
        assert_eq!(journey.watch().await.unwrap(), 0);
        // Three hours later: one block of numbers, and nobody answers.
        stage.pass(3 * 3600);
        for n in 0..24 {
            let number = format!("+1415555{:04}", 1000 + n * 7);
            assert_eq!(
                desk.decided(&number, &format!("PUMP-{n}"), &json!({}))
                    .await,
                "asked"
            );
        }
        while stage.deliver().await > 0 {}
        // A quick answer still may come.
        assert_eq!(journey.watch().await.unwrap(), 0);
        stage.pass(1801);
        assert_eq!(journey.watch().await.unwrap(), 1);
        let paused = desk
            .call(Method::GET, "/v1/desk", &Value::Null)
            .await
            .json();
        let reason = paused["paused"]["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("0 of the last 24") && !reason.contains("+1"),
            "{reason}"
        );
        let gauge = "onefive_desk_paused{desk=\"watched\"}";
        assert!((stage.metric(gauge).await - 1.0).abs() < 0.1);
        assert_eq!(journey.metrics.desk_pauses.get(), 1);
        // Triggers are taken and wait; another desk sends.
        let waits = desk.trigger("+14155550177", "INC-90", &json!({})).await;
        assert_eq!(waits["state"], "scheduled");
        assert_eq!(stage.deliver().await, 0);
        stage.ask("sms", "+14155550178", "INC-91").await;
        assert_eq!(stage.deliver().await, 1);
        stage.pass(600);
        let resumed = desk
            .call(Method::POST, "/v1/desk/resume", &Value::Null)
            .await;
        assert_eq!(
            (resumed.status, &resumed.json()["paused"]),
            (200, &Value::Null)
        );
        assert_eq!(stage.deliver().await, 1);
        assert_eq!(shown(&desk, &waits).await["state"], "sent");
        // What was sent before was seen by whoever resumed it.
        assert_eq!(journey.watch().await.unwrap(), 0);
        assert!(stage.metric(gauge).await < 0.1);
        stage.finish().await;
    }
);
