//! Every change is one event, told in order, with what changed and without the contact's address.

use ::http::Method;
use onefive::domain::event::EventKind;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::receiver::Receiver;
use crate::support::stage::{ANA, OUR_NUMBER, Stage};

/// What a stage needs so that the receivers of this machine may be called.
pub(crate) const LOCAL: [(&str, &str); 2] = [
    ("SINKS__WEBHOOK__ALLOW_NETWORKS", "127.0.0.0/8"),
    ("SINKS__WEBHOOK__ALLOW_HTTP", "true"),
];

/// A call of the desk's API.
pub(crate) async fn call(stage: &Stage, method: Method, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", stage.key);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    http::send(method, &format!("{}{path}", stage.url), &headers, body).await
}

/// A webhook for these types, or all; its view with the secret.
pub(crate) async fn subscribe(stage: &Stage, url: &str, types: &[&str]) -> Value {
    let body = json!({"url": url, "types": types});
    let answer = call(stage, Method::POST, "/v1/webhooks", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

async fn text(stage: &Stage, words: &str) {
    let (status, twiml) = stage
        .twilio
        .text(&stage.service(), ANA, OUR_NUMBER, words)
        .await;
    assert_eq!(status, 200, "{twiml}");
}

story!(
    each_change_is_told_once_in_order_with_its_words_and_without_the_address,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        subscribe(&stage, &receiver.url, &[]).await;
        let body = json!({"channel": "sms", "to": ANA, "conversation": "INC-1", "contact": {"id": "c-901", "name": "Ana"},
            "agent": {"id": "a-17", "name": "Sam"}, "team": "network", "touchpoint": "incident.resolved",
            "metadata": {"ticket": 4711}});
        let asked = stage.trigger(&body).await;
        assert_eq!(asked.status, 202, "{asked:?}");
        assert_eq!(stage.deliver().await, 1);
        let message = stage.twilio.messages().remove(0);
        let news = stage
            .twilio
            .status(&stage.service(), &message, "delivered")
            .await;
        assert_eq!(news.0, 200);
        for words in [
            "who is this",
            "2",
            "far too slow",
            "4",
            "one more thing",
            "STOP",
        ] {
            stage.pass(1);
            text(&stage, words).await;
        }
        let suppressed = json!({"channel": "email", "to": "", "conversation": "INC-2"});
        stage.trigger(&suppressed).await;
        stage.app.journey.publish().await.unwrap();
        assert_eq!(
            receiver.types(),
            [
                "request.scheduled",
                "request.sent",
                "request.delivered",
                "reply.unrecognized",
                "rating.created",
                "rating.low",
                "rating.commented",
                "rating.changed",
                "follow_up.closed",
                "reply.unrecognized",
                "contact.opted_out",
                "request.suppressed",
            ]
        );
        let told = receiver.sorted();
        for (at, told) in told.iter().enumerate() {
            let event = told.json();
            assert_eq!(event["seq"], at + 1);
            assert_eq!(event["id"], told.id());
            assert_eq!(event["desk"], "acme");
            assert_eq!(event["at"], event["timestamp"]);
            let raw = String::from_utf8(told.raw.to_vec()).unwrap();
            for secret in [ANA, "4155550123", "\"Ana\""] {
                assert!(!raw.contains(secret), "{raw}");
            }
            assert!(raw.len() < 20_000);
        }
        let request = &told[0].json()["data"]["request"];
        assert_eq!(request["id"], asked.json()["id"]);
        assert_eq!(request["conversation"], "INC-1");
        assert_eq!(request["contact"], "c-901");
        assert_eq!(request["agent"]["name"], "Sam");
        assert_eq!(request["metadata"]["ticket"], 4711);
        assert_eq!(told[3].json()["data"]["text"], "who is this");
        let (created, comment, changed) = (told[4].json(), told[6].json(), told[7].json());
        assert_eq!(created["data"]["rating"]["score"], 2);
        assert_eq!(created["data"]["rating"]["grade"], "channel");
        assert_eq!(created["data"]["rating"]["elapsed_ms"], 2_000);
        assert_eq!(comment["data"]["rating"]["comment"], "far too slow");
        assert_eq!(changed["data"]["rating"]["score"], 4);
        assert!(changed["data"]["rating"].get("elapsed_ms").is_none());
        assert_eq!(told[11].json()["data"]["reason"], "no_address");
        // Told once: nothing is left to tell.
        stage.app.journey.publish().await.unwrap();
        assert_eq!(receiver.told().len(), 12);
        stage.finish().await;
    }
);

story!(
    events_are_kept_for_a_week_and_then_go_without_moving_a_total,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let answer = stage
            .trigger(&json!({"channel": "chat", "to": "v-1", "conversation": "C-1"}))
            .await;
        let url = stage.real(answer.json()["ask"]["url"].as_str().unwrap());
        http::post_json(&url, &[], &json!({"score": 5})).await;
        stage.app.journey.publish().await.unwrap();
        stage.app.journey.tidy().await.unwrap();
        assert_eq!(stage.ratings("chat").await, [1, 1, 1]);
        stage.pass(6 * 86_400);
        assert_eq!(stage.app.journey.prune().await.unwrap(), 0);
        stage.pass(2 * 86_400);
        assert_eq!(stage.app.journey.prune().await.unwrap(), 2);
        assert_eq!(stage.ratings("chat").await, [1, 0, 1]);
        stage.finish().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shape_of_an_event_is_documented() {
    let stage = Stage::start(Database::sqlite()).await;
    let document = http::get(&format!("{}/openapi.json", stage.url))
        .await
        .json();
    let event = &document["components"]["schemas"]["Event"]["properties"];
    for field in ["id", "type", "seq", "at", "timestamp", "desk", "data"] {
        assert!(event[field].is_object(), "{field}: {event}");
    }
    let kinds = event["type"]["description"].as_str().unwrap();
    for kind in EventKind::ALL {
        assert!(kinds.contains(&format!("`{}`", kind.as_str())), "{kind:?}");
    }
    let stream = &document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"];
    assert!(stream["text/event-stream"].is_object(), "{stream}");
    stage.finish().await;
}
