//! Every reason not to ask, through the real API: each is answered, shown at the request and counted as a label.

use ::http::Method;
use onefive::clock::{SystemEntropy, random};
use onefive::domain::desk::{ApiKey, DeskSettings, KeyText, Scope};
use onefive::domain::id::KeyId;
use onefive::domain::policy::Suppression;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::stage::{OUR_NUMBER, Stage};

/// A desk of its own with these rules, and a key with every scope.
pub(crate) struct Ruled<'a> {
    stage: &'a Stage,
    pub(crate) key: String,
}

impl<'a> Ruled<'a> {
    /// `rules` change those that hold back nothing.
    pub(crate) async fn with(stage: &'a Stage, slug: &str, rules: &Value) -> Self {
        let mut settings = serde_json::to_value(DeskSettings::permissive()).unwrap();
        let all = settings["rules"].as_object_mut().unwrap();
        all.extend(rules.as_object().unwrap().clone());
        Self::settings(stage, slug, &settings).await
    }

    pub(crate) async fn settings(stage: &'a Stage, slug: &str, settings: &Value) -> Self {
        let settings: DeskSettings = serde_json::from_value(settings.clone()).unwrap();
        settings.check().unwrap();
        let store = &stage.app.journey.store;
        let desk = store
            .add_desk(slug, "Acme IT", &settings, stage.now())
            .await;
        let text = KeyText::new(random(&SystemEntropy));
        let key = ApiKey {
            id: KeyId::new(stage.now(), random(&SystemEntropy)),
            desk: desk.unwrap().unwrap().id,
            handle: text.handle().to_owned(),
            hash: text.hash(),
            scopes: Scope::ALL.to_vec(),
            created_at: stage.now(),
        };
        store.add_key(&key).await.unwrap();
        Self {
            stage,
            key: text.expose().to_owned(),
        }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let url = format!("{}{path}", self.stage.url);
        http::send(method, &url, &headers, body).await
    }

    /// A trigger by text message; `more` says what is special about it.
    pub(crate) async fn trigger(&self, to: &str, conversation: &str, more: &Value) -> Value {
        let mut body =
            json!({"channel": "sms", "to": to, "conversation": conversation, "touchpoint": "test"});
        let all = body.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        let answer = self.call(Method::POST, "/v1/requests", &body).await;
        assert!(answer.status < 300, "{answer:?}");
        answer.json()
    }

    /// What is decided about a trigger: `asked`, or the reason why not.
    pub(crate) async fn decided(&self, to: &str, conversation: &str, more: &Value) -> String {
        let answer = self.trigger(to, conversation, more).await;
        match answer["reason"].as_str() {
            Some(reason) => {
                assert_eq!(answer["state"], "suppressed");
                reason.to_owned()
            }
            None => "asked".to_owned(),
        }
    }
}

const BEN: &str = "+14155550111";
const CAT: &str = "+14155550112";

/// What a desk has to set for this reason, and the triggers of which the last one is not asked. Whoever adds a reason tells its
/// story here.
fn story_of(reason: Suppression) -> (Value, Vec<(&'static str, &'static str, Value)>) {
    let one = |more: Value| vec![(BEN, "INC-1", more)];
    let plain = json!({});
    match reason {
        Suppression::Duplicate => (
            plain.clone(),
            vec![
                (BEN, "INC-1", plain),
                (BEN, "INC-1", json!({"team": "vpn"})),
            ],
        ),
        Suppression::OpenRequestExists => (
            plain.clone(),
            vec![(BEN, "INC-1", plain.clone()), (BEN, "INC-2", plain)],
        ),
        Suppression::CapContact => (
            json!({"caps": [{"count": 1, "days": 7}]}),
            vec![
                (BEN, "INC-1", json!({"contact": {"id": "c-1"}})),
                (CAT, "INC-2", json!({"contact": {"id": "c-1"}})),
            ],
        ),
        Suppression::CapDesk => (
            json!({"daily_cap": 1}),
            vec![(BEN, "INC-1", plain.clone()), (CAT, "INC-2", plain)],
        ),
        Suppression::SampledOut => (json!({"sample_share": 0}), one(plain)),
        // Which half of the contacts it is depends on the desk, so the trigger is found below.
        Suppression::HoldOut => (json!({"hold_out_share": 0.5}), Vec::new()),
        Suppression::OptedOut => (plain.clone(), one(plain)),
        Suppression::NoAddress => (plain.clone(), vec![("", "INC-1", plain)]),
        Suppression::AddressInternal => (json!({"internal": [BEN]}), one(plain)),
        Suppression::CountryNotAllowed => (
            json!({"countries": []}),
            vec![("+4930123456", "INC-1", plain)],
        ),
        Suppression::ChannelNotConfigured => (plain, one(json!({"channel": "voice"}))),
        Suppression::WindowClosed => (
            plain,
            one(json!({"context": {"window_until": "2026-11-21T00:00:00Z"}})),
        ),
        Suppression::QuietHours => (
            json!({"quiet_hours": {"action": "suppress"}}),
            one(json!({"contact": {"timezone": "Asia/Tokyo"}})),
        ),
        Suppression::ContextHold => (plain, one(json!({"context": {"hold": true}}))),
        Suppression::NoAgentReply => (plain, one(json!({"context": {"agent_replied": false}}))),
        Suppression::AutoResolved => (plain, one(json!({"context": {"auto_resolved": true}}))),
    }
}

story!(
    every_reason_not_to_ask_is_reached_answered_shown_and_counted,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for reason in Suppression::ALL {
            let (rules, mut triggers) = story_of(reason);
            let slug = reason.as_str().replace('_', "-");
            let desk = Ruled::with(&stage, &slug, &rules).await;
            if reason == Suppression::OptedOut {
                let service = stage.service();
                stage.twilio.text(&service, BEN, OUR_NUMBER, "STOP").await;
            }
            if reason == Suppression::HoldOut {
                let out = async |n: usize| {
                    let id = json!({"contact": {"id": format!("c-{n}")}, "dry_run": true});
                    desk.decided(BEN, "INC-1", &id).await == "hold_out"
                };
                let mut n = 0;
                while !out(n).await {
                    n += 1;
                }
                let id = json!({"contact": {"id": format!("c-{n}")}});
                triggers = vec![(BEN, "INC-1", id)];
            }
            let (last, before) = triggers.split_last().unwrap();
            for (to, conversation, more) in before {
                assert_eq!(
                    desk.decided(to, conversation, more).await,
                    "asked",
                    "{reason:?}"
                );
            }
            let (to, conversation, more) = last;
            let mut dry = more.clone();
            dry["dry_run"] = json!(true);
            assert_eq!(desk.decided(to, conversation, &dry).await, reason.as_str());
            let answer = desk.trigger(to, conversation, more).await;
            assert_eq!(answer["reason"], reason.as_str(), "{answer}");
            let path = format!("/v1/requests/{}", answer["id"].as_str().unwrap());
            let shown = desk.call(Method::GET, &path, &Value::Null).await.json();
            assert_eq!(shown["reason"], reason.as_str());
            let channel = answer["channel"].as_str().unwrap();
            let series = format!(
                "onefive_requests_total{{desk=\"{slug}\",channel=\"{channel}\",touchpoint=\"test\",state=\"suppressed\",reason=\"{}\"}}",
                reason.as_str()
            );
            assert!((stage.metric(&series).await - 1.0).abs() < 0.1, "{series}");
            // Nothing of the next story shall meet what this one left.
            stage.deliver().await;
            for open in ["sent", "scheduled"] {
                let path = format!("/v1/requests?state={open}");
                let open = desk.call(Method::GET, &path, &Value::Null).await.json();
                for request in open["items"].as_array().unwrap() {
                    let path = format!("/v1/requests/{}/cancel", request["id"].as_str().unwrap());
                    let answer = desk.call(Method::POST, &path, &Value::Null).await;
                    assert_eq!(answer.status, 200);
                }
            }
            if reason == Suppression::OptedOut {
                let service = stage.service();
                stage.twilio.text(&service, BEN, OUR_NUMBER, "START").await;
            }
        }
        stage.finish().await;
    }
);

story!(
    a_new_desk_asks_once_a_week_and_over_all_channels,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let desk = Ruled::settings(&stage, "fresh", &json!({"timezone": "America/Chicago"})).await;
        let ana = json!({"contact": {"id": "c-901", "timezone": "America/Chicago"}});
        let by_mail = json!({"channel": "email", "contact": {"id": "c-901"}});
        assert_eq!(desk.decided(BEN, "INC-1", &ana).await, "asked");
        assert_eq!(
            desk.decided("ana@example.com", "INC-2", &by_mail).await,
            "cap_contact"
        );
        stage.deliver().await;
        stage.pass(6 * 86_400);
        assert_eq!(
            desk.decided("ana@example.com", "INC-3", &by_mail).await,
            "cap_contact"
        );
        stage.pass(86_400);
        assert_eq!(
            desk.decided("ana@example.com", "INC-4", &by_mail).await,
            "asked"
        );
        // Somebody else with the same address is the same to the one who reads it.
        let other = json!({"channel": "email", "contact": {"id": "c-902"}});
        stage.deliver().await;
        assert_eq!(
            desk.decided("ana@example.com", "INC-5", &other).await,
            "cap_contact"
        );
        stage.app.journey.tidy().await.unwrap();
        stage.finish().await;
    }
);

story!(
    settings_are_replaced_checked_and_count_at_once,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let desk = Ruled::with(&stage, "beta", &json!({})).await;
        let shown = desk.call(Method::GET, "/v1/desk", &Value::Null).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        assert_eq!(shown.json()["desk"], "beta");
        let before = shown.json()["settings"].clone();
        for (body, field) in [
            (
                json!({"rules": {"caps": [{"count": 1, "days": 0}]}}),
                "rules.caps[0].days",
            ),
            (json!({"rules": {"colour": "red"}}), "rules.colour"),
            (json!({"rules": {"sample_share": 2}}), "rules.sample_share"),
            (
                json!({"rules": {"quiet_hours": {"from": "9pm"}}}),
                "rules.quiet_hours.from",
            ),
            (json!({"timezone": "Mars/Base"}), "timezone"),
            (json!({"language": "e"}), "language"),
            (json!({"senders": {"fax": "+14155550100"}}), "senders.fax"),
            (json!({"senders": {"sms": "555"}}), "senders.sms"),
            (json!({"colour": "red"}), "colour"),
        ] {
            let answer = desk.call(Method::PUT, "/v1/desk", &body).await;
            assert_eq!(
                (answer.status, answer.json()["field"].clone()),
                (400, json!(field)),
                "{answer:?}"
            );
        }
        let same = desk
            .call(Method::GET, "/v1/desk", &Value::Null)
            .await
            .json();
        assert_eq!(same["settings"], before);
        let mut changed = before.clone();
        changed["rules"]["sample_share"] = json!(0.0);
        let put = desk.call(Method::PUT, "/v1/desk", &changed).await;
        assert_eq!((put.status, &put.json()["settings"]), (200, &changed));
        assert_eq!(desk.decided(BEN, "INC-1", &json!({})).await, "sampled_out");
        // What is left out gets its default.
        let put = desk.call(Method::PUT, "/v1/desk", &json!({})).await.json();
        assert_eq!(
            put["settings"],
            serde_json::to_value(DeskSettings::default()).unwrap()
        );
        stage.finish().await;
    }
);
