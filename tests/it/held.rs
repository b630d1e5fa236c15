//! Answers that no person is known to have given: kept, listed, released by a manager, or counted where the desk says so.

use ::http::Method;
use onefive::domain::token::LinkLength;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::stage::{Stage, desk};
use crate::support::surfer::{BROWSER, DISGUISE, Surfer};

async fn asked(stage: &Stage, conversation: &str) -> (String, String) {
    let to = format!("{}@example.com", conversation.to_lowercase());
    let id = stage.ask("email", &to, conversation).await;
    assert_eq!(stage.deliver().await, 1);
    stage.pass(60);
    let token = stage
        .app
        .journey
        .mint
        .link(id.parse().unwrap(), LinkLength::Full);
    (id, format!("{}/r/{token}", stage.url))
}

/// A machine posts this score.
async fn scanned(stage: &Stage, url: &str, score: &str) {
    let scanner = Surfer::without_cookies(DISGUISE);
    let page = scanner.open(&format!("{url}?s={score}")).await;
    scanner.head(url).await;
    let fields = [
        ("view", page.view.as_str()),
        ("event", "pointer"),
        ("signs", "webdriver"),
        ("score", score),
        ("comment", "I am no robot"),
    ];
    scanner.post(url, &fields, "application/json").await;
    stage.pass(1);
}

/// A person taps this score.
async fn tapped(stage: &Stage, url: &str, score: &str) -> Value {
    let person = Surfer::new(BROWSER);
    let page = person.open(&format!("{url}?s={score}")).await;
    stage.pass(5);
    person.tap(&page, score, "touch").await.json()
}

/// The page of a link says by itself that it was shown.
async fn shown(stage: &Stage, url: &str, score: &str) {
    let person = Surfer::new(BROWSER);
    let page = person.open(&format!("{url}?s={score}")).await;
    stage.pass(10);
    person.tap(&page, score, "none").await;
}

async fn post(stage: &Stage, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", stage.key);
    let headers = [("authorization", bearer.as_str())];
    http::post_json(&format!("{}{path}", stage.url), &headers, body).await
}

async fn held(stage: &Stage, query: &str) -> Value {
    stage.api(&format!("/v1/held-answers{query}")).await
}

story!(
    held_answers_are_listed_with_what_led_to_their_grade,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let mut ids = Vec::new();
        for n in 1..=3 {
            let (id, url) = asked(&stage, &format!("T-{n}")).await;
            scanned(&stage, &url, &n.to_string()).await;
            ids.push(id);
        }
        let first = held(&stage, "?limit=2").await;
        assert_eq!(first["items"].as_array().unwrap().len(), 2);
        let item = &first["items"][0];
        assert_eq!(
            json!([
                item["request"],
                item["score"],
                item["grade"],
                item["signs"],
                item["state"],
                item["comment"]
            ]),
            json!([
                ids[0],
                1,
                "suspect",
                ["head", "webdriver", "fast"],
                "sent",
                "I am no robot"
            ])
        );
        let cursor = first["next"].as_str().unwrap();
        let second = held(&stage, &format!("?limit=2&cursor={cursor}")).await;
        assert_eq!(second["items"][0]["request"], json!(ids[2]));
        assert_eq!(second["items"].as_array().unwrap().len(), 1);
        assert_eq!(second["next"], Value::Null);
        // Another desk has none of it, and cannot release it.
        let (_, key) = desk(&stage.app, "other", "Other").await;
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let url = format!("{}/v1/held-answers", stage.url);
        let list = http::send(Method::GET, &url, &headers, "").await.json();
        assert_eq!(list["items"], json!([]));
        let url = format!("{url}/{}/release", item["id"].as_str().unwrap());
        let body = json!({"reason": "mine"});
        assert_eq!(http::post_json(&url, &headers, &body).await.status, 404);
        stage.finish().await;
    }
);

story!(
    a_manager_releases_an_answer_once_and_only_where_there_is_none,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage, "T-1").await;
        let at = stage.now();
        scanned(&stage, &url, "2").await;
        scanned(&stage, &url, "5").await;
        let list = held(&stage, "").await;
        let path = |n: usize| {
            let id = list["items"][n]["id"].as_str().unwrap();
            format!("/v1/held-answers/{id}/release")
        };
        for (body, field) in [
            (json!({}), "reason"),
            (json!({"reason": " "}), "reason"),
            (json!({"reason": "x".repeat(501)}), "reason"),
            (json!({"reason": "x", "by": "x".repeat(101)}), "by"),
            (json!({"reason": "x\u{7}y"}), "reason"),
        ] {
            let answer = post(&stage, &path(0), &body).await;
            assert_eq!(answer.status, 400, "{body}: {answer:?}");
            assert!(answer.body.contains(field), "{answer:?}");
        }
        stage.pass(600);
        let body = json!({"reason": "Ana called and said so", "by": "Kim"});
        let released = post(&stage, &path(0), &body).await;
        assert_eq!(released.status, 200, "{released:?}");
        let rating = released.json();
        assert_eq!(
            json!([
                rating["score"],
                rating["grade"],
                rating["comment"],
                rating["answered_at"]
            ]),
            json!([2, "suspect", "I am no robot", at])
        );
        assert_eq!(stage.request(&id).await["state"], "answered");
        // Again is the same; another one is refused; a released one is held no more.
        assert_eq!(post(&stage, &path(0), &body).await.json(), rating);
        let refused = post(&stage, &path(1), &body).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (409, &json!("already_rated"))
        );
        // Of a request that is rated the others are only listed for who asks.
        for (query, n) in [
            ("", 0),
            ("?rated=no", 0),
            ("?rated=yes", 1),
            ("?rated=any", 1),
        ] {
            let list = held(&stage, query).await;
            assert_eq!(list["items"].as_array().unwrap().len(), n, "{query}");
        }
        assert_eq!(stage.ratings("email").await, [1, 1, 1]);
        let log = "select count(*) from rating_log where act = 'released' and actor = 'Kim' and reason = 'Ana called and said so'";
        assert_eq!(stage.database.number(log).await, 1);
        let event = "select count(*) from events where kind = 'rating.restored' and score = 0";
        assert_eq!(stage.database.number(event).await, 1);
        let unknown = "/v1/held-answers/rep_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01/release";
        assert_eq!(post(&stage, unknown, &body).await.status, 404);

        // The person comes after all, and theirs takes its place. Counted once.
        assert_eq!(tapped(&stage, &url, "4").await["score"], 4);
        let rating = &stage.request(&id).await["rating"];
        assert_eq!(json!([rating["score"], rating["grade"]]), json!([4, "tap"]));
        assert_eq!(stage.ratings("email").await, [1, 1, 1]);

        // What has ended takes no answer any more.
        let (id, url) = asked(&stage, "T-2").await;
        scanned(&stage, &url, "3").await;
        stage.cancel(&id).await;
        let list = held(&stage, "").await;
        let newest = list["items"].as_array().unwrap().last().unwrap();
        let newest = newest["id"].as_str().unwrap();
        let path = format!("/v1/held-answers/{newest}/release");
        let refused = post(&stage, &path, &body).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (409, &json!("request_closed"))
        );
        stage.finish().await;
    }
);

story!(
    a_page_that_nobody_touches_is_kept_and_counted_only_if_the_desk_says_so,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage, "T-1").await;
        shown(&stage, &url, "3").await;
        assert_eq!(stage.request(&id).await["state"], "sent");
        let list = held(&stage, "").await;
        assert_eq!(
            json!([list["items"][0]["grade"], list["items"][0]["signs"]]),
            json!(["auto", []])
        );
        assert_eq!(stage.ratings("email").await, [0, 0, 0]);

        let set = "update desks set settings = '{\"answers\":{\"count_auto\":true}}' returning cast(1 as bigint)";
        stage.database.number(set).await;
        let (id, url) = asked(&stage, "T-2").await;
        shown(&stage, &url, "3").await;
        let rating = &stage.request(&id).await["rating"];
        assert_eq!(
            json!([rating["score"], rating["grade"]]),
            json!([3, "auto"])
        );
        assert_eq!(stage.ratings("email").await, [1, 1, 1]);
        // A second such answer changes nothing; a person's does, also after the time for corrections. Counted once.
        shown(&stage, &url, "1").await;
        stage.pass(3_600);
        assert_eq!(stage.request(&id).await["rating"]["score"], 3);
        assert_eq!(tapped(&stage, &url, "5").await["state"], "answered");
        let rating = &stage.request(&id).await["rating"];
        assert_eq!(json!([rating["score"], rating["grade"]]), json!([5, "tap"]));
        assert_eq!(stage.ratings("email").await, [1, 1, 1]);
        let changes = r#"onefive_rating_changes_total{desk="acme",from="3",to="5"}"#;
        assert!((stage.metric(changes).await - 1.0).abs() < f64::EPSILON);
        // And from then on only that person corrects.
        assert_ne!(tapped(&stage, &url, "1").await["state"], "answered");
        assert_eq!(stage.request(&id).await["rating"]["score"], 5);
        // What looks like a machine is never counted.
        let (id, url) = asked(&stage, "T-3").await;
        scanned(&stage, &url, "1").await;
        assert_eq!(stage.request(&id).await["state"], "sent");
        stage.finish().await;
    }
);

story!(
    machines_that_post_again_and_again_fill_no_table,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage, "T-1").await;
        for n in 0..30 {
            scanned(&stage, &url, &format!("{}", n % 5 + 1)).await;
        }
        let kept = "select count(*) from replies";
        assert_eq!(stage.database.number(kept).await, 20);
        tapped(&stage, &url, "4").await;
        assert_eq!(stage.request(&id).await["rating"]["score"], 4);
        stage.finish().await;
    }
);

story!(
    each_desk_has_its_own_time_for_corrections_on_every_channel,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let set = "update desks set settings = '{\"answers\":{\"correction_minutes\":2}}' returning cast(1 as bigint)";
        stage.database.number(set).await;
        let (id, url) = asked(&stage, "T-1").await;
        let person = Surfer::new(BROWSER);
        let page = person.open(&format!("{url}?s=2")).await;
        assert!(page.answer.header("set-cookie").contains("Max-Age=120;"));
        stage.pass(5);
        person.tap(&page, "2", "touch").await;
        let page = person.open(&url).await;
        assert!(
            page.answer.body.contains("for 2 minutes"),
            "{}",
            page.answer.body
        );
        stage.pass(120);
        person.tap(&page, "5", "touch").await;
        assert_eq!(stage.request(&id).await["rating"]["score"], 5);
        stage.pass(1);
        assert!(person.open(&url).await.view.is_empty(), "no form any more");

        // A chat's buttons, by the same rule.
        let body = json!({"channel": "chat", "to": "visitor-1", "conversation": "C-1"});
        let asked = stage.trigger(&body).await.json();
        let door = format!("{}/w/{}", stage.url, asked["token"].as_str().unwrap());
        let press = async |score: i64| {
            http::post_json(&door, &[], &json!({"score": score}))
                .await
                .json()
        };
        assert_eq!(press(1).await["state"], "answered");
        stage.pass(120);
        assert_eq!(press(1).await["score"], 1, "the same again is no change");
        assert_eq!(press(4).await["score"], 4);
        stage.pass(1);
        assert_eq!(press(2).await["state"], "closed");
        let id = asked["id"].as_str().unwrap();
        assert_eq!(stage.request(id).await["rating"]["score"], 4);
        let history = "select count(*) from events where kind = 'rating.changed'";
        assert_eq!(stage.database.number(history).await, 2);
        stage.finish().await;
    }
);

story!(
    a_text_message_corrects_inside_the_desks_own_time,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let set = "update desks set settings = '{\"answers\":{\"correction_minutes\":2}}' returning cast(1 as bigint)";
        stage.database.number(set).await;
        let id = stage.ask("sms", crate::support::stage::ANA, "INC-1").await;
        stage.deliver().await;
        let service = stage.service();
        let score = async || stage.request(&id).await["rating"]["score"].clone();
        let from = crate::support::stage::ANA;
        let to = crate::support::stage::OUR_NUMBER;
        stage.twilio.text(&service, from, to, "2").await;
        assert_eq!(score().await, 2);
        stage.pass(120);
        stage.twilio.text(&service, from, to, "5").await;
        assert_eq!(score().await, 5);
        stage.pass(1);
        stage.twilio.text(&service, from, to, "1").await;
        assert_eq!(score().await, 5);
        stage.finish().await;
    }
);
