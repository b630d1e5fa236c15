//! The part of the story about what is done with answers: a low score that is cared for, answers that are held, a webhook that fails,
//! and settings that name the desk's own people.

use http::Method;
use serde_json::{Value, json};

use super::Scene;
use crate::support::receiver::{Manner, Receiver};
use crate::support::surfer::{DISGUISE, Surfer};

pub(super) const TOLD: &str = "canary note of what was told";
const CLOSED: &str = "canary note of what came of it";
const HOOK: &str = "canary-webhook-path";
const HOOK_ANSWER: &str = "canary answer of a receiver";
const INTERNAL: &str = "canary.colleague@example.com";
const OWN_WORDS: &str = "canary words of the desk";
const MACHINE: &str = "canary.machine@example.com";
const HELD: &str = "canary words of a machine";

/// What must be nowhere.
pub(super) const SECRETS: [&str; 8] = [
    TOLD,
    CLOSED,
    HOOK,
    HOOK_ANSWER,
    INTERNAL,
    OWN_WORDS,
    MACHINE,
    HELD,
];

impl Scene {
    /// Settings with an address and words of the desk's own, good and bad, and a webhook that is told everything and fails.
    pub(super) async fn settings(&mut self) -> Receiver {
        let shown = self.call(Method::GET, "/v1/desk", "").await;
        let mut settings = shown.json()["settings"].clone();
        settings["rules"]["internal"] = json!([INTERNAL]);
        let own = format!("{{desk}}: {OWN_WORDS}? 1 (very poor) to 5 (excellent). STOP: no more");
        settings["wording"] = json!([{"language": "en", "texts": {"sms.ask_desk": own}}]);
        let mut bad = settings.clone();
        bad["language"] = json!(INTERNAL);
        assert_eq!(self.put(&bad).await, 400);
        bad = settings.clone();
        bad["wording"][0]["texts"]["sms.ask_desk"] = json!({OWN_WORDS: OWN_WORDS});
        assert_eq!(self.put(&bad).await, 400);
        bad = settings.clone();
        bad["rules"]["internal"] = json!([INTERNAL, {INTERNAL: 1}]);
        assert_eq!(self.put(&bad).await, 400);
        assert_eq!(self.put(&settings).await, 200);

        let receiver = Receiver::start().await;
        receiver.answer(Manner::Says(500, HOOK_ANSWER));
        let url = receiver.url.replace("/hook", &format!("/{HOOK}"));
        let body = json!({"url": url, "types": []}).to_string();
        let hook = self.call(Method::POST, "/v1/webhooks", &body).await;
        assert_eq!(hook.status, 201, "{hook:?}");
        let secret = hook.json()["secret"].as_str().unwrap().to_owned();
        self.secrets
            .push(secret.trim_start_matches("whsec_").to_owned());
        let bad = json!({"url": format!("ftp://{HOOK}"), "types": []}).to_string();
        let refused = self.call(Method::POST, "/v1/webhooks", &bad).await;
        assert_eq!(refused.status, 400);
        receiver
    }

    async fn put(&mut self, settings: &Value) -> u16 {
        self.call(Method::PUT, "/v1/desk", &settings.to_string())
            .await
            .status
    }

    /// Every low score is taken, told and closed; a step too many and a note that is too long are refused.
    pub(super) async fn followed_up(&mut self) {
        let open = self
            .call(Method::GET, "/v1/follow-ups?state=open", "")
            .await
            .json();
        let items = open["items"].as_array().unwrap().clone();
        assert!(!items.is_empty(), "there is a low score");
        for item in items {
            let path = format!("/v1/follow-ups/{}", item["id"].as_str().unwrap());
            let long = TOLD.repeat(200);
            for (step, body, status) in [
                ("take", json!({"owner": "Sam"}), 200),
                ("told", json!({"note": long}), 400),
                ("told", json!({"note": TOLD}), 200),
                ("close", json!({"note": CLOSED}), 200),
                ("told", json!({"note": TOLD}), 409),
            ] {
                let path = format!("{path}/{step}");
                let answer = self.call(Method::POST, &path, &body.to_string()).await;
                assert_eq!(answer.status, status, "{answer:?}");
            }
        }
    }

    /// A machine that looks at a mail answers, and its answer is held; a colleague is not asked.
    pub(super) async fn held(&mut self) {
        self.trigger("email", MACHINE, "T-2").await;
        let mail = self.mail.wait_for(2).await.remove(1);
        let link = mail
            .header("list-unsubscribe")
            .trim_matches(['<', '>'])
            .to_owned();
        self.secrets
            .push(link.rsplit_once('/').unwrap().1.to_owned());
        let page_url = link.replace("/u/", "/r/");
        let scanner = Surfer::without_cookies(DISGUISE);
        let page = scanner.open(&format!("{page_url}?s=1")).await;
        scanner.head(&page_url).await;
        let fields = [
            ("view", page.view.as_str()),
            ("event", "pointer"),
            ("signs", "webdriver"),
            ("score", "1"),
            ("comment", HELD),
        ];
        scanner.post(&page_url, &fields, "application/json").await;
        let listed = self.call(Method::GET, "/v1/held-answers", "").await;
        assert!(listed.body.contains(HELD), "{listed:?}");
        let colleague = self.trigger("email", INTERNAL, "T-3").await;
        assert_eq!(colleague["reason"], "address_internal");
    }
}
