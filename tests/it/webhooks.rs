//! Webhooks: signed as the specification says, tried again as it says, and each its desk's own.

use std::collections::BTreeSet;

use ::http::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::events::{LOCAL, call, subscribe};
use crate::story;
use crate::support::database::Database;
use crate::support::receiver::{Receiver, Told};
use crate::support::stage::Stage;

/// A chat that is asked: two events with its rating.
pub(crate) async fn ask(stage: &Stage, conversation: &str) -> String {
    let body = json!({"channel": "chat", "to": format!("visitor-{conversation}"), "conversation": conversation});
    let answer = stage.trigger(&body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn publish(stage: &Stage) {
    stage.app.journey.publish().await.unwrap();
}

/// Whether the authors' library takes the signature, leaving the time aside: the stage has its own.
fn signed(told: &Told, secret: &str) -> bool {
    let header = |name: &str| told.headers[name].to_str().unwrap().to_owned();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let library = Webhook::new(secret).unwrap();
    let wanted = library.sign(&told.id(), timestamp, &told.raw).unwrap();
    header("webhook-signature")
        .split(' ')
        .any(|given| given == wanted)
}

pub(crate) async fn post(stage: &Stage, hook: &Value, what: &str, body: &Value) -> Value {
    let id = hook["id"].as_str().unwrap();
    let path = format!("/v1/webhooks/{id}/{what}");
    let answer = call(stage, Method::POST, &path, body).await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.json()
}

pub(crate) async fn view(stage: &Stage, hook: &Value) -> Value {
    stage
        .api(&format!("/v1/webhooks/{}", hook["id"].as_str().unwrap()))
        .await
}

async fn log(stage: &Stage, hook: &Value, query: &str) -> Value {
    let id = hook["id"].as_str().unwrap();
    stage
        .api(&format!("/v1/webhooks/{id}/deliveries{query}"))
        .await
}

story!(
    both_secrets_sign_while_one_is_rotated,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let hook = subscribe(&stage, &receiver.url, &[]).await;
        let old = hook["secret"].as_str().unwrap().to_owned();
        ask(&stage, "C-1").await;
        publish(&stage).await;
        let rotated = post(&stage, &hook, "rotate", &Value::Null).await;
        let new = rotated["secret"].as_str().unwrap().to_owned();
        assert_ne!(old, new);
        ask(&stage, "C-2").await;
        publish(&stage).await;
        stage.pass(86_401);
        ask(&stage, "C-3").await;
        publish(&stage).await;
        let told = receiver.told();
        assert_eq!(told.len(), 3);
        let by = |secret: &str| {
            told.iter()
                .map(|told| signed(told, secret))
                .collect::<Vec<_>>()
        };
        assert_eq!(by(&old), [true, true, false]);
        assert_eq!(by(&new), [false, true, true]);
        assert!(
            view(&stage, &hook).await.get("secret").is_none(),
            "shown once"
        );
        stage.finish().await;
    }
);

story!(
    a_failure_is_tried_again_with_the_same_identifier_and_the_log_shows_each_try,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let hook = subscribe(&stage, &receiver.url, &["request.sent"]).await;
        receiver.status(500);
        ask(&stage, "C-1").await;
        publish(&stage).await;
        stage.pass(4);
        publish(&stage).await;
        assert_eq!(receiver.told().len(), 1, "not before its time");
        // Up to a tenth later than the schedule says.
        stage.pass(2);
        publish(&stage).await;
        assert_eq!(receiver.told().len(), 2);
        receiver.status(204);
        stage.pass(331);
        publish(&stage).await;
        let ids = receiver.ids();
        assert_eq!(ids.len(), 3);
        assert!(ids.iter().all(|id| *id == ids[0]));
        stage.pass(86_400);
        publish(&stage).await;
        assert_eq!(receiver.told().len(), 3);
        let shown = log(&stage, &hook, "?limit=2").await;
        let tries = |page: &Value| {
            let items = page["items"].as_array().unwrap().clone();
            let short = |item: &Value| {
                json!([
                    item["attempt"],
                    item["status"],
                    item["error"],
                    item["event"] == ids[0]
                ])
            };
            items.iter().map(short).collect::<Vec<_>>()
        };
        assert_eq!(
            tries(&shown),
            [json!([3, 204, null, true]), json!([2, 500, "busy", true])]
        );
        let next = format!("?cursor={}", shown["next"].as_str().unwrap());
        assert_eq!(
            tries(&log(&stage, &hook, &next).await),
            [json!([1, 500, "busy", true])]
        );
        stage.pass(7 * 86_400);
        stage.app.journey.prune().await.unwrap();
        assert_eq!(tries(&log(&stage, &hook, "").await), Vec::<Value>::new());
        stage.finish().await;
    }
);

story!(
    a_desk_may_have_everything_sent_again,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let hook = subscribe(&stage, &receiver.url, &[]).await;
        for n in 0..3 {
            ask(&stage, &format!("C-{n}")).await;
            stage.pass(60);
        }
        publish(&stage).await;
        assert_eq!(receiver.ids().len(), 3);
        // Events of different requests are told side by side.
        let first: Vec<String> = receiver.sorted().iter().map(Told::id).collect();
        let set = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
        post(&stage, &hook, "replay", &json!({"after": 1})).await;
        publish(&stage).await;
        assert_eq!(set(&receiver.ids()[3..]), set(&first[1..]));
        let since = stage.now().plus_millis(-61_000).to_rfc3339();
        post(&stage, &hook, "replay", &json!({"since": since})).await;
        publish(&stage).await;
        assert_eq!(set(&receiver.ids()[5..]), set(&first[2..]));
        for (body, field) in [
            (json!({"after": 4}), "after"),
            (json!({"after": -1}), "after"),
            (json!({}), "after"),
            (json!({"after": 1, "since": since}), "after"),
            (json!({"since": "yesterday"}), "since"),
        ] {
            let path = format!("/v1/webhooks/{}/replay", hook["id"].as_str().unwrap());
            let answer = call(&stage, Method::POST, &path, &body).await;
            assert_eq!(
                (answer.status, &answer.json()["field"]),
                (400, &json!(field)),
                "{body}"
            );
        }
        stage.finish().await;
    }
);

story!(
    a_webhook_is_its_desks_own_and_wants_the_scope_admin,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let hook = subscribe(&stage, &receiver.url, &["rating.created"]).await;
        let path = format!("/v1/webhooks/{}", hook["id"].as_str().unwrap());
        let (_, key) = crate::support::stage::desk(&stage.app, "other", "Other").await;
        let bearer = format!("Bearer {key}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        for (method, path, body) in [
            (Method::GET, path.clone(), Value::Null),
            (Method::PUT, path.clone(), json!({"url": receiver.url})),
            (Method::POST, format!("{path}/test"), Value::Null),
            (Method::POST, format!("{path}/rotate"), Value::Null),
            (Method::POST, format!("{path}/replay"), json!({"after": 0})),
            (Method::GET, format!("{path}/deliveries"), Value::Null),
            (Method::DELETE, path.clone(), Value::Null),
        ] {
            let url = format!("{}{path}", stage.url);
            let text = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            let answer =
                crate::support::http::send(method.clone(), &url, &headers, text.clone()).await;
            assert_eq!(answer.status, 404, "{method} {path}");
            let answer = crate::support::http::send(method, &url, &[], text).await;
            assert_eq!(answer.status, 401);
        }
        let url = format!("{}/v1/webhooks", stage.url);
        let answer = crate::support::http::send(Method::GET, &url, &headers, "").await;
        assert_eq!(answer.json(), json!({"items": []}));
        assert!(receiver.told().is_empty());

        let listed = stage.api("/v1/webhooks").await;
        assert_eq!(listed["items"][0]["id"], hook["id"]);
        assert_eq!(listed["items"][0]["types"], json!(["rating.created"]));
        for (body, field) in [
            (
                json!({"url": receiver.url, "types": ["rating.lost"]}),
                "types",
            ),
            (
                json!({"url": receiver.url, "description": "x".repeat(201)}),
                "description",
            ),
            (json!({"url": receiver.url, "colour": 1}), "colour"),
        ] {
            let answer = call(&stage, Method::POST, "/v1/webhooks", &body).await;
            assert_eq!(
                (answer.status, &answer.json()["field"]),
                (400, &json!(field)),
                "{body}"
            );
        }
        for _ in 1..20 {
            subscribe(&stage, &receiver.url, &[]).await;
        }
        let answer = call(
            &stage,
            Method::POST,
            "/v1/webhooks",
            &json!({"url": receiver.url}),
        )
        .await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (409, &json!("limit_reached"))
        );
        let answer = call(&stage, Method::DELETE, &path, &Value::Null).await;
        assert_eq!(answer.status, 204);
        let answer = call(&stage, Method::GET, &path, &Value::Null).await;
        assert_eq!(answer.status, 404);
        // Neither the address nor the secret lies open in the database.
        let file = match &stage.database {
            Database::Sqlite(folder) => std::fs::read(folder.path().join("onefive.db")).unwrap(),
            Database::Postgres { .. } => Vec::new(),
        };
        let hidden = receiver.url.as_bytes();
        assert!(!file.windows(hidden.len()).any(|part| part == hidden));
        stage.finish().await;
    }
);
