//! Who is told of low scores: with what it takes to act on them, or as a text for a chat room; and switching off an address that is
//! there no more.

use ::http::Method;
use onefive::domain::id::WebhookId;
use onefive::domain::time::Timestamp;
use onefive::domain::webhook::{Health, Webhook, WebhookFormat, WebhookSecret, WebhookState};
use serde_json::{Value, json};

use crate::events::{LOCAL, call, subscribe};
use crate::story;
use crate::summary::chat;
use crate::support::database::Database;
use crate::support::http;
use crate::support::receiver::{Receiver, Told};
use crate::support::stage::Stage;
use crate::webhooks::{post, publish, view};

/// A rated chat with words.
async fn rated(stage: &Stage, conversation: &str, comment: &str) {
    let body = json!({"channel": "chat", "to": format!("visitor-{conversation}"), "conversation": conversation,
        "contact": {"id": "c-901", "name": "Ana"}, "agent": {"id": "a-17", "name": "Sam & Kim"},
        "touchpoint": "incident.resolved"});
    let asked = stage.trigger(&body).await.json();
    let url = format!("{}/w/{}", stage.url, asked["token"].as_str().unwrap());
    let answer = http::post_json(&url, &[], &json!({"score": 1, "comment": comment})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

story!(
    a_low_score_is_told_with_its_words_and_the_follow_up_to_act_on,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let types = ["rating.low", "follow_up.taken", "follow_up.closed"];
        subscribe(&stage, &receiver.url, &types).await;
        rated(&stage, "INC-1", "far too slow").await;
        publish(&stage).await;
        let low = receiver.told().remove(0).json();
        assert_eq!(low["data"]["rating"]["comment"], "far too slow");
        let follow_up = &low["data"]["follow_up"];
        assert_eq!(follow_up["state"], "open");
        let path = format!("/v1/follow-ups/{}", follow_up["id"].as_str().unwrap());
        let sam = json!({"owner": "Sam"});
        let taken = call(&stage, Method::POST, &format!("{path}/take"), &sam).await;
        assert_eq!(taken.status, 200, "{taken:?}");
        publish(&stage).await;
        let closed = call(&stage, Method::POST, &format!("{path}/close"), &json!({})).await;
        assert_eq!(closed.status, 200, "{closed:?}");
        publish(&stage).await;
        let told: Vec<Value> = receiver.sorted().iter().map(Told::json).collect();
        let cared = |at: usize| {
            let follow_up = &told[at]["data"]["follow_up"];
            assert_eq!(follow_up["id"], low["data"]["follow_up"]["id"]);
            json!([told[at]["type"], follow_up["state"], follow_up["owner"]])
        };
        assert_eq!(cared(1), json!(["follow_up.taken", "taken", "Sam"]));
        assert_eq!(cared(2), json!(["follow_up.closed", "closed", "Sam"]));
        assert_eq!(told.len(), 3);
        stage.finish().await;
    }
);

story!(
    a_score_that_is_low_again_is_told_with_its_own_follow_up,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let body = json!({"channel": "chat", "to": "visitor-1", "conversation": "INC-1"});
        let asked = stage.trigger(&body).await.json();
        let url = format!("{}/w/{}", stage.url, asked["token"].as_str().unwrap());
        subscribe(&stage, &receiver.url, &["rating.low", "follow_up.closed"]).await;
        for score in [1, 5, 2] {
            let answer = http::post_json(&url, &[], &json!({"score": score})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            stage.pass(1);
        }
        publish(&stage).await;
        let told: Vec<Value> = receiver.sorted().iter().map(Told::json).collect();
        let cared = |at: usize| told[at]["data"]["follow_up"].clone();
        assert_eq!(
            receiver.types(),
            ["rating.low", "follow_up.closed", "rating.low"]
        );
        assert_eq!(cared(0), cared(1));
        assert_ne!(cared(0)["id"], cared(2)["id"]);
        assert_eq!(
            (&cared(1)["state"], &cared(2)["state"]),
            (&json!("closed"), &json!("open"))
        );
        stage.finish().await;
    }
);

story!(
    a_chat_room_is_told_in_words_and_not_who_the_contact_is,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let body = json!({"url": receiver.url, "types": ["rating.low"], "format": "slack"});
        let made = call(&stage, Method::POST, "/v1/webhooks", &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let hook = made.json();
        assert_eq!(hook["format"], "slack");
        rated(&stage, "INC-1", "<!channel> far\ntoo slow").await;
        chat(&stage, "INC-2", json!({}), Some(5)).await;
        publish(&stage).await;
        let told = receiver.told();
        assert_eq!(told.len(), 1);
        assert_eq!(
            told[0].json(),
            json!({"text": "Low score: 1 of 5 | chat | incident.resolved | agent Sam &amp; Kim | desk acme\n\
                \u{201c}&lt;!channel&gt; far too slow\u{201d}"})
        );
        assert!(told[0].headers.contains_key("webhook-signature"));
        assert_eq!(told[0].headers["content-type"], "application/json");
        post(&stage, &hook, "test", &Value::Null).await;
        let test = receiver.told().remove(1);
        assert_eq!(test.json(), json!({"text": "Webhook test | desk acme"}));
        // What is not said is set to its default.
        let path = format!("/v1/webhooks/{}", hook["id"].as_str().unwrap());
        let plain = json!({"url": receiver.url, "types": ["rating.low"]});
        let changed = call(&stage, Method::PUT, &path, &plain).await;
        assert_eq!(
            (changed.status, &changed.json()["format"]),
            (200, &json!("event"))
        );
        rated(&stage, "INC-3", "").await;
        publish(&stage).await;
        assert_eq!(receiver.told().remove(2).json()["type"], "rating.low");
        let changed = call(&stage, Method::PUT, &path, &body).await;
        assert_eq!(
            (changed.status, &changed.json()["format"]),
            (200, &json!("slack"))
        );
        assert_eq!(view(&stage, &hook).await["format"], "slack");
        let wrong = json!({"url": receiver.url, "format": "teams"});
        let refused = call(&stage, Method::POST, "/v1/webhooks", &wrong).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        stage.finish().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_may_not_be_called_any_more_can_be_switched_off() {
    let stage = Stage::start(Database::sqlite()).await;
    let store = &stage.app.journey.store;
    // As if it was allowed when it was made.
    let (webhook, secret) = (
        Webhook {
            desk: stage.desk.id,
            id: WebhookId::new(stage.now(), [7; 10]),
            url: "https://127.0.0.1/hook".to_owned(),
            kinds: Vec::new(),
            format: WebhookFormat::Event,
            description: String::new(),
            state: WebhookState::Enabled,
            mark: 0,
            health: Health::default(),
            old_until: Timestamp::default(),
            created_at: stage.now(),
        },
        WebhookSecret::new(vec![1; 32]),
    );
    assert!(store.add_webhook(&webhook, &secret).await.unwrap());
    let path = format!("/v1/webhooks/{}", webhook.id);
    let put = async |url: &str, enabled: bool| {
        let body = json!({"url": url, "enabled": enabled});
        call(&stage, Method::PUT, &path, &body).await
    };
    for (url, enabled) in [
        ("https://127.0.0.1/hook", true),
        ("https://127.0.0.1/other", false),
    ] {
        let refused = put(url, enabled).await;
        assert_eq!(
            (refused.status, &refused.json()["field"]),
            (400, &json!("url"))
        );
    }
    let off = put("https://127.0.0.1/hook", false).await;
    assert_eq!((off.status, &off.json()["state"]), (200, &json!("off")));
    stage.finish().await;
}
