//! A desk with customers who answer, for the board to show: everything goes through the doors that the real thing uses.

use std::time::Duration;

use ::http::Method;
use bytes::Bytes;
use onefive::clock::{Clock as _, SystemEntropy, random};
use onefive::domain::desk::{ApiKey, KeyText, Scope};
use onefive::domain::id::KeyId;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::support::browser::Browser;
use crate::support::http;
use crate::support::sandbox::Sandbox;

const PATIENCE: Duration = Duration::from_secs(20);

/// The sandbox with a desk that asks.
pub(super) struct Desk {
    pub(super) sandbox: Sandbox,
    hook_key: String,
    sender: String,
}

impl Desk {
    pub(super) async fn start() -> Self {
        let sandbox = Sandbox::start().await;
        let config = http::get(&format!("{}/sandbox/config", sandbox.url)).await;
        let config = config.json();
        let text = |name: &str| config[name].as_str().unwrap().to_owned();
        Self {
            hook_key: text("hook_key"),
            sender: text("sender"),
            sandbox,
        }
    }

    /// A key of the desk that may do this and nothing else.
    pub(super) async fn key(&self, scopes: &[Scope]) -> String {
        let text = KeyText::new(random(&SystemEntropy));
        let store = &self.sandbox.app.journey.store;
        let known = KeyText::parse(&self.sandbox.key).unwrap();
        let now = self.sandbox.clock.now();
        let key = ApiKey {
            id: KeyId::new(now, random(&SystemEntropy)),
            desk: store.find_key(known.handle()).await.unwrap().unwrap().desk,
            handle: text.handle().to_owned(),
            hash: text.hash(),
            scopes: scopes.to_vec(),
            created_at: now,
        };
        store.add_key(&key).await.unwrap();
        text.expose().to_owned()
    }

    /// The API's answer to a GET.
    pub(super) async fn get(&self, path: &str) -> Value {
        let bearer = format!("Bearer {}", self.sandbox.key);
        let url = format!("{}{path}", self.sandbox.url);
        let headers = [("authorization", bearer.as_str())];
        let answer = http::send(Method::GET, &url, &headers, Bytes::new()).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Tells of a conversation that has ended; the service's answer.
    pub(super) async fn tell(
        &self,
        channel: &str,
        to: &str,
        (team, queue, touchpoint): (&str, &str, &str),
    ) -> Value {
        let bearer = format!("Bearer {}", self.sandbox.key);
        let conversation = format!("INC-{}", hex::encode(random::<8>(&SystemEntropy)));
        let body = json!({"channel": channel, "to": to, "conversation": conversation, "agent": {"name": "Sam"},
            "team": team, "queue": queue, "touchpoint": touchpoint});
        let url = format!("{}/v1/requests", self.sandbox.url);
        let answer = http::post_json(&url, &[("authorization", &bearer)], &body).await;
        assert!(answer.status == 200 || answer.status == 202, "{answer:?}");
        answer.json()
    }

    async fn hook(&self, path: &str, fields: &[(&str, &str)]) -> Value {
        let mut all = vec![("key", self.hook_key.as_str())];
        all.extend_from_slice(fields);
        let url = format!("{}{path}", self.sandbox.url);
        let answer = http::post_form(&url, &all, "*/*").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// What a device has got for somebody, once it is there.
    async fn arrived(&self, list: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut ticks = interval(Duration::from_millis(10));
        let found = timeout(PATIENCE, async {
            loop {
                ticks.tick().await;
                let state = http::get(&format!("{}/sandbox/state", self.sandbox.url)).await;
                let state = state.json();
                if let Some(one) = state[list].as_array().unwrap().iter().find(|one| fits(one)) {
                    return one.clone();
                }
            }
        });
        found.await.expect("it arrives on the device")
    }

    /// Somebody gets our text message.
    pub(super) async fn text_arrives(&self, phone: &str) {
        let text = self
            .arrived("texts", |text| {
                text["to"] == phone && text["direction"] == "out"
            })
            .await;
        let (id, token) = (
            text["id"].as_str().unwrap(),
            text["token"].as_str().unwrap(),
        );
        let path = format!("/hooks/sandbox/status/{token}");
        self.hook(&path, &[("id", id), ("status", "delivered")])
            .await;
    }

    /// Somebody writes to us.
    pub(super) async fn text(&self, phone: &str, words: &str) {
        let id = format!("SM{}", hex::encode(random::<16>(&SystemEntropy)));
        let fields = [
            ("from", phone),
            ("to", &self.sender),
            ("body", words),
            ("id", &id),
        ];
        self.hook("/hooks/sandbox/sms", &fields).await;
    }

    /// A conversation by text message, and the answer to it.
    pub(super) async fn texted(&self, n: usize, place: (&str, &str, &str), score: u8, words: &str) {
        let phone = format!("+1415555{n:04}");
        self.tell("sms", &phone, place).await;
        self.text_arrives(&phone).await;
        self.text(&phone, &score.to_string()).await;
        if !words.is_empty() {
            self.text(&phone, words).await;
        }
    }

    /// A chat, and the button in it.
    pub(super) async fn chatted(&self, place: (&str, &str, &str), score: u8, words: &str) {
        let visitor = format!("visitor-{}", hex::encode(random::<8>(&SystemEntropy)));
        let asked = self.tell("chat", &visitor, place).await;
        let token = asked["token"].as_str().unwrap_or_else(|| panic!("{asked}"));
        let url = format!("{}/w/{token}", self.sandbox.url);
        let press = json!({"score": score, "comment": words});
        let answer = http::post_json(&url, &[], &press).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// A call, and the key pressed at its end.
    pub(super) async fn called(&self, place: (&str, &str, &str), score: u8) {
        let call = format!("CA{}", hex::encode(random::<16>(&SystemEntropy)));
        self.tell("voice", &call, place).await;
        let waiting = self
            .arrived("calls", |one| one["call"] == call.as_str())
            .await;
        let token = waiting["token"].as_str().unwrap();
        let prompt = format!("/hooks/sandbox/voice/{token}?turn=0");
        let prompt = self.hook(&prompt, &[("call", &call)]).await;
        let next = prompt["next"].as_str().unwrap();
        self.hook(next, &[("call", &call), ("digits", &score.to_string())])
            .await;
    }

    /// Somebody signs in at the board and waits for its numbers.
    pub(super) async fn signed_in(&self, browser: &Browser, query: &str) {
        browser
            .goto(&format!("{}/board{query}", self.sandbox.url))
            .await;
        browser.write("#key", &self.sandbox.key).await;
        browser.click("#enter").await;
        browser
            .until("!document.querySelector('#board').hidden && document.querySelector('#live').dataset.live === 'live'")
            .await;
    }
}
