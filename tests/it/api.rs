//! What desks call: repeats, dry runs and cancelling; every answer is held against the document.

use ::http::Method;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::stage::{ANA, Stage};

/// Every route of the API. The document has to list these and no others.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    ("get", "/v1/desk"),
    ("put", "/v1/desk"),
    ("post", "/v1/desk/resume"),
    ("post", "/v1/decisions/replay"),
    ("get", "/v1/ratings"),
    ("get", "/v1/requests"),
    ("get", "/v1/requests/{id}"),
    ("post", "/v1/requests"),
    ("post", "/v1/requests/{id}/cancel"),
];

/// A caller that holds every answer against the document.
pub(crate) struct Api<'a> {
    stage: &'a Stage,
    document: Value,
}

impl<'a> Api<'a> {
    pub(crate) async fn of(stage: &'a Stage) -> Self {
        let document = http::get(&format!("{}/openapi.json", stage.url)).await;
        Self {
            stage,
            document: document.json(),
        }
    }

    pub(crate) async fn call(&self, key: &str, method: &str, target: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        self.send(method, target, &headers, body).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let url = format!("{}{target}", self.stage.url);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let answer = http::send(verb, &url, &all, body).await;
        let path = target.split('?').next().unwrap();
        let (_, route) = ROUTES
            .iter()
            .find(|(known, route)| *known == method && fits(route, path))
            .unwrap_or_else(|| panic!("{method} {path} is no route"));
        let documented = &self.document["paths"][route][method]["responses"];
        let status = answer.status.to_string();
        assert!(
            documented[&status].is_object(),
            "{method} {route} answers {status}, which is not documented"
        );
        let problem = answer.header("content-type") == "application/problem+json";
        assert_eq!(problem, answer.status >= 400, "{answer:?}");
        answer
    }

    pub(crate) async fn get(&self, target: &str) -> Value {
        let answer = self
            .call(&self.stage.key, "get", target, &Value::Null)
            .await;
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        answer.json()
    }
}

fn fits(route: &str, path: &str) -> bool {
    let (route, path): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    let same = |(a, b): (&&str, &&str)| a == b || a.starts_with('{');
    route.len() == path.len() && route.iter().zip(&path).all(same)
}

pub(crate) fn code(answer: &Answer) -> (u16, String) {
    (
        answer.status,
        answer.json()["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

pub(crate) fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub(crate) fn chat(conversation: &str) -> Value {
    json!({"channel": "chat", "to": "visitor-7", "conversation": conversation})
}

/// Answers a chat's ask.
pub(crate) async fn press(stage: &Stage, token: &str, score: u8) {
    let url = format!("{}/w/{token}", stage.url);
    let answer = http::post_json(&url, &[], &json!({"score": score})).await;
    assert_eq!(answer.json()["state"], "answered", "{answer:?}");
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

story!(
    a_repeated_trigger_gets_the_same_answer_and_changes_nothing,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let api = Api::of(&stage).await;
        let bearer = format!("Bearer {}", stage.key);
        let post = async |key: &str, body: &Value| {
            let mut headers = vec![("authorization", bearer.as_str())];
            if !key.is_empty() {
                headers.push(("idempotency-key", key));
            }
            api.send("post", "/v1/requests", &headers, body).await
        };
        let asked = json!({"channel": "sms", "to": ANA, "conversation": "INC-1"});
        let silent = json!({"channel": "sms", "to": "", "conversation": "INC-2"});
        for (key, body, status) in [
            ("k-1", &asked, 202),
            ("k-2", &silent, 200),
            ("k-3", &chat("INC-3"), 202),
        ] {
            let first = post(key, body).await;
            assert_eq!(
                (first.status, first.header("idempotent-replayed")),
                (status, ""),
                "{first:?}"
            );
            let before = stage.database.rows().await;
            stage.pass(60);
            for repeat in [key, &format!("\"{key}\""), "", "another"] {
                let again = post(repeat, body).await;
                assert_eq!(
                    (again.status, again.header("idempotent-replayed")),
                    (status, "true"),
                    "{repeat}"
                );
                assert_eq!(again.body, first.body, "{repeat}");
            }
            let mut other = body.clone();
            other["team"] = json!("network");
            assert_eq!(
                code(&post(key, &other).await),
                refusal(422, "idempotency_key_reused")
            );
            assert_eq!(stage.database.rows().await, before);
            if status == 202 {
                // Without the key the conversation names what was closed: said differently, it is recorded and not asked again.
                let natural = post("", &other).await;
                assert_eq!(
                    (natural.status, &natural.json()["reason"]),
                    (200, &json!("duplicate"))
                );
            }
        }
        let silent = post("k-2", &silent).await.json();
        assert_eq!(
            (&silent["state"], &silent["reason"]),
            (&json!("suppressed"), &json!("no_address"))
        );
        // Closed again, it is another one.
        let mut again = chat("INC-3");
        again["resolution"] = json!("2");
        assert_eq!(post("", &again).await.header("idempotent-replayed"), "");
        stage.deliver().await;
        stage.finish().await;
    }
);

story!(
    a_dry_run_decides_and_does_nothing,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let api = Api::of(&stage).await;
        let before = stage.database.rows().await;
        for (to, answer) in [
            (
                ANA,
                json!({"dry_run": true, "state": "scheduled", "due_at": stage.now().to_rfc3339()}),
            ),
            (
                "",
                json!({"dry_run": true, "state": "suppressed", "reason": "no_address"}),
            ),
        ] {
            let body =
                json!({"channel": "sms", "to": to, "conversation": "INC-1", "dry_run": true});
            let given = api.call(&stage.key, "post", "/v1/requests", &body).await;
            assert_eq!((given.status, given.json()), (200, answer));
        }
        assert_eq!(stage.database.rows().await, before);
        assert_eq!(stage.deliver().await, 0);
        stage.ask("sms", ANA, "INC-1").await;
        stage.deliver().await;
        stage.finish().await;
    }
);

story!(
    a_reopened_conversation_takes_its_request_back,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let api = Api::of(&stage).await;
        let id = stage.ask("sms", ANA, "INC-1").await;
        let cancel = async |id: &str| {
            let target = format!("/v1/requests/{id}/cancel");
            api.call(&stage.key, "post", &target, &Value::Null).await
        };
        for _ in 0..2 {
            let answer = cancel(&id).await;
            assert_eq!(
                (answer.status, &answer.json()["state"]),
                (200, &json!("cancelled")),
                "{answer:?}"
            );
        }
        stage.deliver().await;
        assert_eq!(stage.twilio.messages().len(), 0);
        // Closed once more, it is asked about once more.
        let again = stage.ask("sms", ANA, "INC-1").await;
        assert_ne!(again, id);
        stage.deliver().await;
        assert_eq!(stage.twilio.messages().len(), 1);
        let answered = api
            .call(&stage.key, "post", "/v1/requests", &chat("INC-2"))
            .await
            .json();
        press(&stage, &text(&answered["token"]), 5).await;
        let answer = cancel(&text(&answered["id"])).await;
        assert_eq!(code(&answer), refusal(409, "request_ended"));
        assert!(answer.body.contains("answered"));
        let absent = "req_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01";
        assert_eq!(code(&cancel(absent).await), refusal(404, "not_found"));
        stage.finish().await;
    }
);
