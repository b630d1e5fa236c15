//! Webhooks: signed as the specification says, tried again as it says, and never a way into our own network.

use std::collections::BTreeSet;

use ::http::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::events::{LOCAL, call, subscribe};
use crate::story;
use crate::support::database::Database;
use crate::support::receiver::{Manner, Receiver, Told};
use crate::support::stage::Stage;

/// A chat that is asked: two events with its rating.
async fn ask(stage: &Stage, conversation: &str) -> String {
    let body = json!({"channel": "chat", "to": format!("visitor-{conversation}"), "conversation": conversation});
    let answer = stage.trigger(&body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn publish(stage: &Stage) {
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

async fn post(stage: &Stage, hook: &Value, what: &str, body: &Value) -> Value {
    let id = hook["id"].as_str().unwrap();
    let path = format!("/v1/webhooks/{id}/{what}");
    let answer = call(stage, Method::POST, &path, body).await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.json()
}

async fn view(stage: &Stage, hook: &Value) -> Value {
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
    an_address_that_answers_410_is_told_no_more_until_it_is_enabled_again,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        let hook = subscribe(&stage, &receiver.url, &[]).await;
        receiver.status(410);
        ask(&stage, "C-1").await;
        publish(&stage).await;
        receiver.status(204);
        ask(&stage, "C-2").await;
        publish(&stage).await;
        assert_eq!(receiver.told().len(), 1);
        assert_eq!(view(&stage, &hook).await["state"], "gone");
        let path = format!("/v1/webhooks/{}", hook["id"].as_str().unwrap());
        let wish = json!({"url": receiver.url});
        let answer = call(&stage, Method::PUT, &path, &wish).await;
        assert_eq!(
            (answer.status, &answer.json()["state"]),
            (200, &json!("enabled"))
        );
        publish(&stage).await;
        assert_eq!(receiver.told().len(), 2, "it gets what it has missed");
        stage.finish().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_a_failure_and_nobody_follows_it() {
    let stage = Stage::with(Database::sqlite(), &LOCAL).await;
    let (receiver, inside) = (Receiver::start().await, Receiver::start().await);
    let hook = subscribe(&stage, &receiver.url, &[]).await;
    for status in [301, 302, 303, 307, 308] {
        receiver.answer(Manner::Status(
            status,
            vec![("location", inside.url.clone())],
        ));
        let tried = post(&stage, &hook, "test", &Value::Null).await;
        assert_eq!(
            (&tried["status"], &tried["error"]),
            (&json!(status), &json!("redirect"))
        );
    }
    assert_eq!(receiver.told().len(), 5);
    assert!(inside.told().is_empty());
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_and_one_that_never_comes_are_cut_off() {
    let mut settings = LOCAL.to_vec();
    settings.push(("SINKS__WEBHOOK__TIMEOUT_SECONDS", "1"));
    let stage = Stage::with(Database::sqlite(), &settings).await;
    let receiver = Receiver::start().await;
    let hook = subscribe(&stage, &receiver.url, &[]).await;
    receiver.answer(Manner::Endless(64 * 1024 * 1024));
    let tried = post(&stage, &hook, "test", &Value::Null).await;
    assert_eq!(tried["status"], 200, "what counts is the status: {tried}");
    receiver.answer(Manner::Never);
    let tried = post(&stage, &hook, "test", &Value::Null).await;
    assert_eq!(
        (&tried["status"], &tried["error"]),
        (&json!(0), &json!("timeout"))
    );
    let event = receiver.told().pop().unwrap().json();
    assert_eq!(
        (&event["type"], &event["seq"]),
        (&json!("webhook.test"), &json!(0))
    );
    stage.finish().await;
}

story!(
    a_dead_address_holds_up_no_other_is_left_alone_and_then_gets_everything,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let (dead, healthy) = (Receiver::start().await, Receiver::start().await);
        let hook = subscribe(&stage, &dead.url, &[]).await;
        subscribe(&stage, &healthy.url, &[]).await;
        dead.status(503);
        let mut asked = 0;
        for hour in 0..6 {
            for n in 0..10 {
                ask(&stage, &format!("C-{hour}-{n}")).await;
                asked += 1;
            }
            publish(&stage).await;
            stage.pass(3_600);
        }
        assert_eq!(healthy.told().len(), asked);
        // The first window fails whole, then only one is tried now and then.
        assert!(dead.told().len() <= 10 + 6, "{} calls", dead.told().len());
        let shown = view(&stage, &hook).await;
        assert_eq!(shown["state"], "enabled");
        let waiting = stage
            .database
            .number("select count(*) from webhook_retries")
            .await;
        assert!(waiting <= 16, "{waiting} wait to be tried again");
        dead.status(204);
        for _ in 0..10 {
            publish(&stage).await;
            stage.pass(36_000);
        }
        let (mut told, mut wanted) = (dead.ids(), healthy.ids());
        for ids in [&mut told, &mut wanted] {
            ids.sort();
            ids.dedup();
        }
        assert_eq!(told, wanted);
        assert_eq!(
            stage
                .database
                .number("select count(*) from webhook_retries")
                .await,
            0
        );
        stage.finish().await;
    }
);

story!(
    an_address_that_takes_nothing_for_five_days_is_given_up,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let dead = Receiver::start().await;
        let hook = subscribe(&stage, &dead.url, &[]).await;
        dead.status(404);
        for n in 0..10 {
            ask(&stage, &format!("C-{n}")).await;
        }
        for _ in 0..11 {
            publish(&stage).await;
            stage.pass(12 * 3_600);
        }
        assert_eq!(view(&stage, &hook).await["state"], "failing");
        let calls = dead.told().len();
        publish(&stage).await;
        assert_eq!(dead.told().len(), calls);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_inside_is_refused_when_it_is_given_and_when_it_is_dialled() {
    let database = Database::sqlite();
    let mut settings = database.settings();
    settings.push(("SINKS__WEBHOOK__ALLOW_HTTP".to_owned(), "true".to_owned()));
    let stage = Stage::with(database, &[("SINKS__WEBHOOK__ALLOW_HTTP", "true")]).await;
    let receiver = Receiver::start().await;
    let port = receiver.url.rsplit_once(':').unwrap().1;
    for url in [
        receiver.url.clone(),
        // A name that resolves to an address inside.
        format!("http://localhost:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "https://100.64.0.1/".to_owned(),
        "https://[64:ff9b::7f00:1]/".to_owned(),
        "https://[2002:7f00:1::1]/".to_owned(),
        "https://[fd00:ec2::254]/".to_owned(),
        "ftp://example.com/".to_owned(),
        "https://user:password@example.com/".to_owned(),
    ] {
        let answer = call(&stage, Method::POST, "/v1/webhooks", &json!({"url": url})).await;
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (400, &json!("url")),
            "{url}"
        );
    }
    assert!(receiver.told().is_empty());
    stage.finish().await;
}

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

story!(
    a_webhook_that_does_not_open_is_left_alone_and_holds_up_no_other,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let (sealed, open) = (Receiver::start().await, Receiver::start().await);
        subscribe(&stage, &sealed.url, &[]).await;
        // What is sealed for another column does not open.
        let spoil = "update webhooks set url = secret";
        assert_eq!(stage.database.execute(spoil).await, 1);
        subscribe(&stage, &open.url, &[]).await;
        ask(&stage, "C-1").await;
        publish(&stage).await;
        assert_eq!((sealed.told().len(), open.told().len()), (0, 1));
        let store = &stage.app.journey.store;
        let busy = async || store.busy_webhooks(stage.now(), 9).await.unwrap().len();
        assert_eq!(busy().await, 0, "it has to wait");
        stage.pass(120);
        assert_eq!(busy().await, 1, "and is looked at again");
        stage.finish().await;
    }
);
