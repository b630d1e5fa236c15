//! Everything held about a person is given out on demand, and erased on demand; scores and totals stay.

use http::Method;
use onefive::domain::token::LinkLength;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{Answer, get, post_json, send};
use crate::support::stage::{ANA, OUR_NUMBER, Stage, desk};
use crate::support::surfer::{BROWSER, Surfer};

const PATH: &str = "/v1/contacts/%2B14155550123";

async fn call(stage: &Stage, key: &str, method: Method, path: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    send(method, &format!("{}{path}", stage.url), &headers, "").await
}

async fn text(stage: &Stage, body: &str) {
    let service = stage.service();
    let answer = stage.twilio.text(&service, ANA, OUR_NUMBER, body);
    assert_eq!(answer.await.0, 200);
}

/// What the totals say of states and scores.
async fn totals(stage: &Stage) -> Vec<String> {
    let body = get(&format!("{}/metrics/totals", stage.url)).await.body;
    let counted = |line: &&str| {
        line.starts_with("onefive_requests_total") || line.starts_with("onefive_ratings_total")
    };
    body.lines().filter(counted).map(str::to_owned).collect()
}

/// A request that was answered with a score and words, and one that is open.
async fn history(stage: &Stage) -> (String, String) {
    let body = json!({
        "channel": "sms", "to": ANA, "conversation": "INC-1", "metadata": {"ticket": "about Ana"},
        "contact": {"id": "c-901", "name": "Ana Example", "language": "en", "timezone": "America/New_York"},
    });
    let first = stage.trigger(&body).await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    stage.deliver().await;
    text(stage, "4 but slow").await;
    stage.pass(3_600);
    let second = stage.ask("sms", ANA, "INC-2").await;
    (first, second)
}

story!(
    a_person_is_given_everything_that_is_held_and_nothing_of_others,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (first, second) = history(&stage).await;
        let third = stage.ask("sms", "+14155550124", "INC-3").await;
        let held = stage.api(PATH).await;
        assert_eq!(held["address"], ANA);
        let requests = held["requests"].as_array().unwrap();
        let ids: Vec<&Value> = requests.iter().map(|request| &request["id"]).collect();
        assert_eq!(ids, [&json!(first), &json!(second)]);
        let one = &requests[0];
        assert_eq!(
            (&one["name"], &one["contact"], &one["timezone"]),
            (
                &json!("Ana Example"),
                &json!("c-901"),
                &json!("America/New_York")
            )
        );
        assert_eq!(one["metadata"]["ticket"], "about Ana");
        assert_eq!(one["rating"]["comment"], "but slow");
        assert_eq!(one["replies"][0]["raw"], "4 but slow");
        assert_eq!(one["calls"][0]["provider"], "twilio");
        // Page by page.
        let page = stage.api(&format!("{PATH}?limit=1")).await;
        assert_eq!(page["requests"][0]["id"], json!(first));
        let next = page["next"].as_str().unwrap();
        let page = stage.api(&format!("{PATH}?limit=1&cursor={next}")).await;
        assert_eq!(
            (&page["requests"][0]["id"], &page["next"]),
            (&json!(second), &Value::Null)
        );
        // Desks are walls, and what nobody knows is nothing.
        let (_, other) = desk(&stage.app, "beta", "Beta Clinic").await;
        let theirs = call(&stage, &other, Method::GET, PATH).await.json();
        assert_eq!(
            (&theirs["requests"], &theirs["opt_outs"]),
            (&json!([]), &json!([]))
        );
        assert_eq!(stage.cancel(&second).await.status, 200);
        assert_eq!(stage.cancel(&third).await.status, 200);
        stage.finish().await;
    }
);

story!(
    an_erased_person_is_nowhere_and_every_total_stands,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (first, second) = history(&stage).await;
        assert_eq!(stage.cancel(&second).await.status, 200);
        let put = call(&stage, &stage.key, Method::PUT, "/v1/opt-outs/+14155550123").await;
        assert_eq!(put.status, 201);
        let before = totals(&stage).await;
        let (_, other) = desk(&stage.app, "beta", "Beta Clinic").await;
        let nothing = call(&stage, &other, Method::DELETE, PATH).await.json();
        assert_eq!(
            nothing["requests"], 0,
            "another desk erases nothing of ours"
        );

        let erased = call(&stage, &stage.key, Method::DELETE, PATH).await;
        assert_eq!(erased.status, 200, "{erased:?}");
        assert_eq!(
            erased.json(),
            json!({"requests": 2, "cancelled": 0, "comments": 1, "replies": 1, "opt_outs": 1})
        );
        assert_eq!(totals(&stage).await, before);
        let again = call(&stage, &stage.key, Method::DELETE, PATH).await;
        assert_eq!(
            again.json(),
            json!({"requests": 0, "cancelled": 0, "comments": 0, "replies": 0, "opt_outs": 0})
        );
        let read = stage.request(&first).await;
        assert_eq!(
            (
                &read["to"],
                &read["contact"],
                &read["metadata"],
                &read["rating"]
            ),
            (
                &json!("no address"),
                &Value::Null,
                &Value::Null,
                &json!({"score": 4, "grade": "channel"})
            )
        );
        let held = stage.api(PATH).await;
        assert_eq!(held["requests"], json!([]));
        assert_eq!(held["opt_outs"][0].get("address"), None);
        // The wish is still obeyed.
        let body = json!({"channel": "sms", "to": ANA, "conversation": "INC-9"});
        assert_eq!(stage.trigger(&body).await.json()["reason"], "opted_out");
        let left = "select count(*) from requests where length(contact) + length(address_hash) + length(contact_hash) \
                    + length(pair_key) + length(fingerprint) + length(link_hash) > 0 and conversation <> 'INC-9'";
        assert_eq!(stage.database.number(left).await, 0);
        let raw = "select count(*) from replies where length(raw) > 0";
        assert_eq!(stage.database.number(raw).await, 0);
        let sid = "select count(*) from attempts where provider_id <> ''";
        assert_eq!(stage.database.number(sid).await, 0);
        stage.finish().await;
    }
);

/// A mail that was answered badly on its page, and cared for.
async fn cared_for(stage: &Stage, to: &str, conversation: &str) {
    let id = stage.ask("email", to, conversation).await;
    stage.deliver().await;
    let link = stage
        .app
        .journey
        .mint
        .link(id.parse().unwrap(), LinkLength::Full);
    let person = Surfer::new(BROWSER);
    let page = person.open(&format!("{}/r/{link}", stage.url)).await;
    stage.pass(5);
    let fields = [
        ("view", page.view.as_str()),
        ("event", "touch"),
        ("signs", ""),
        ("score", "1"),
        ("comment", "far too slow"),
    ];
    let posted = person.post(&page.address, &fields, "application/json");
    assert_eq!(posted.await.status, 200);
    let open = stage.api("/v1/follow-ups?state=open").await;
    let item = &open["items"][0];
    let follow_up = format!("/v1/follow-ups/{}", item["id"].as_str().unwrap());
    let rating = format!("/v1/ratings/{}", item["rating"]["id"].as_str().unwrap());
    for (path, body) in [
        (
            format!("{follow_up}/told"),
            json!({"note": "we called back"}),
        ),
        (
            format!("{follow_up}/close"),
            json!({"note": "we paid it back"}),
        ),
        (
            format!("{rating}/exclude"),
            json!({"by": "Sam", "reason": "it was a test"}),
        ),
    ] {
        let bearer = format!("Bearer {}", stage.key);
        let headers = [("authorization", bearer.as_str())];
        let answer = post_json(&format!("{}{path}", stage.url), &headers, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Of how many requests something is held: words in events, notes, reasons twice, showings and clients of the page twice.
async fn traces(stage: &Stage) -> [i64; 7] {
    let database = &stage.database;
    let (of_replies, of_ratings) = (
        "select count(*) from replies where length(client) > 0",
        "select count(*) from ratings where length(client) > 0",
    );
    [
        database
            .number("select count(distinct request_id) from events where length(detail) > 0")
            .await,
        database
            .number("select count(*) from follow_ups where told_note <> '' and close_note <> ''")
            .await,
        database
            .number("select count(*) from ratings where excluded_reason <> ''")
            .await,
        database
            .number("select count(*) from rating_log where reason <> ''")
            .await,
        database
            .number("select count(distinct request_id) from views")
            .await,
        database.number(of_replies).await,
        database.number(of_ratings).await,
    ]
}

story!(
    what_was_said_and_noted_about_a_person_is_given_out_and_goes_with_them,
    async |database: Database| {
        let stage = Stage::start(database).await;
        cared_for(&stage, "ana@example.com", "INC-1").await;
        cared_for(&stage, "ben@example.com", "INC-2").await;
        assert_eq!(traces(&stage).await, [2; 7]);
        let path = "/v1/contacts/ana@example.com";
        let held = stage.api(path).await;
        let noted = &held["requests"][0]["follow_ups"];
        assert_eq!(
            (
                noted.as_array().unwrap().len(),
                &noted[0]["told_note"],
                &noted[0]["close_note"]
            ),
            (1, &json!("we called back"), &json!("we paid it back"))
        );
        let before = totals(&stage).await;
        let erased = call(&stage, &stage.key, Method::DELETE, path).await;
        assert_eq!(erased.json()["requests"], 1);
        assert_eq!(traces(&stage).await, [1; 7], "the other one stays");
        assert_eq!(totals(&stage).await, before);
        let acts =
            "select count(*) from rating_log where act = 'excluded' and actor = 'Sam' and at > 0";
        assert_eq!(stage.database.number(acts).await, 2, "acts stay");
        let closed = stage.api("/v1/follow-ups?state=closed").await;
        let told: Vec<&Value> = closed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| &item["told_note"])
            .collect();
        assert_eq!(told, [&Value::Null, &json!("we called back")]);
        stage.finish().await;
    }
);

story!(
    erasing_calls_off_what_is_open,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        let mail = stage.ask("email", "ben@example.com", "INC-2").await;
        let erased = call(&stage, &stage.key, Method::DELETE, PATH).await.json();
        assert_eq!(
            (&erased["requests"], &erased["cancelled"]),
            (&json!(1), &json!(1))
        );
        let path = "/v1/contacts/ben@example.com";
        let erased = call(&stage, &stage.key, Method::DELETE, path).await.json();
        assert_eq!(erased["cancelled"], 1);
        assert_eq!(stage.deliver().await, 0, "nobody is written to");
        assert_eq!(stage.request(&mail).await["state"], "cancelled");
        // What arrives late belongs to nobody; a wish is still heard.
        text(&stage, "5").await;
        let (messages, service) = (stage.twilio.messages(), stage.service());
        let news = stage.twilio.status(&service, &messages[0], "delivered");
        assert_eq!(news.await.0, 200);
        assert_eq!(stage.ratings("sms").await, [0, 0, 0]);
        text(&stage, "STOP").await;
        assert_eq!(
            stage.database.number("select count(*) from opt_outs").await,
            1
        );
        stage.finish().await;
    }
);
