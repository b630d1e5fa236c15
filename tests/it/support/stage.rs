//! A service on a stage: started in this process on a free port, with a clock that is turned by hand and no background work.

use std::sync::Arc;

use onefive::app::{App, Parts};
use onefive::clock::{Clock as _, ManualClock, SystemEntropy, random};
use onefive::config::{Config, Source};
use onefive::domain::delivery::DeliveryState;
use onefive::domain::desk::{ApiKey, Desk, DeskSettings, KeyText, Scope};
use onefive::domain::id::KeyId;
use onefive::domain::time::Timestamp;
use serde_json::{Value, json};

use super::database::Database;
use super::http::{self, Answer};
use super::mail::MailServer;
use super::part;
use super::twilio::{FakeTwilio, Service};

/// The public address that links, callbacks and signatures are made from. The service does not listen there.
pub(crate) const PUBLIC_URL: &str = "https://feedback.example.com";
/// Our number.
pub(crate) const OUR_NUMBER: &str = "+14155550199";
/// A customer's number.
pub(crate) const ANA: &str = "+14155550123";

/// A service with its parts.
pub(crate) struct Stage {
    /// The service.
    pub(crate) app: App,
    /// Its clock.
    pub(crate) clock: Arc<ManualClock>,
    /// A desk, `acme`.
    pub(crate) desk: Desk,
    /// Its key with every scope.
    pub(crate) key: String,
    /// The address where it really listens.
    pub(crate) url: String,
    /// Twilio's double.
    pub(crate) twilio: FakeTwilio,
    /// The mail server.
    pub(crate) mail: MailServer,
    /// The database.
    pub(crate) database: Database,
}

impl Stage {
    /// Starts everything: SMS and voice through Twilio's double (which shows each call to the mock of Twilio's own description),
    /// mail through a real SMTP server.
    pub(crate) async fn start(database: Database) -> Self {
        Self::with(database, &[]).await
    }

    /// The same with further settings, such as `("PROVIDERS__TWILIO__CALL_BACK", "true")`.
    pub(crate) async fn with(database: Database, more: &[(&str, &str)]) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_284_000_000)));
        let prism = Some(part("ONEFIVE_TEST_PRISM"));
        let twilio = FakeTwilio::with_clock(prism, Arc::clone(&clock) as _).await;
        let mail = MailServer::start();
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut settings = vec![
            set("SERVER__PUBLIC_URL", PUBLIC_URL),
            set("SERVER__PUBLIC", "127.0.0.1:0"),
            set("SERVER__API", "127.0.0.1:0"),
            set("SERVER__ADMIN", "127.0.0.1:0"),
            // Time stands still here, so a limit a second would never be over.
            set("LIMITS__CALLS_PER_SECOND", "0"),
            set("CHANNELS__SMS", "twilio"),
            set("CHANNELS__VOICE", "twilio"),
            set("CHANNELS__EMAIL", "smtp"),
            set("PROVIDERS__SMTP__HOST", "127.0.0.1"),
            set("PROVIDERS__SMTP__PORT", &mail.port.to_string()),
            set("PROVIDERS__SMTP__TLS", "none"),
            set("PROVIDERS__SMTP__FROM", "feedback@acme.example"),
        ];
        let twilio_settings: toml::Table = twilio.settings(OUR_NUMBER).parse().unwrap();
        for (key, value) in &twilio_settings {
            settings.push(set(
                &format!("PROVIDERS__TWILIO__{}", key.to_uppercase()),
                value.as_str().unwrap(),
            ));
        }
        settings.extend(database.settings());
        settings.extend(more.iter().map(|(name, value)| set(name, value)));
        let environment = settings
            .into_iter()
            .map(|(name, value)| (format!("ONEFIVE_{name}"), value))
            .collect();
        let config = Config::load(&Source {
            file: None,
            environment,
        })
        .unwrap();

        let parts = Parts {
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SystemEntropy),
            background: false,
        };
        let app = App::start(&config, parts).await.unwrap();
        let (desk, key) = desk(&app, "acme", "Acme IT").await;
        let url = format!("http://{}", app.public);
        Self {
            app,
            clock,
            desk,
            key,
            url,
            twilio,
            mail,
            database,
        }
    }

    /// The service as Twilio sees it.
    pub(crate) fn service(&self) -> Service {
        Service {
            listen: self.url.clone(),
            public_url: PUBLIC_URL.to_owned(),
        }
    }

    /// A trigger of the desk.
    pub(crate) async fn trigger(&self, body: &Value) -> Answer {
        self.trigger_with(body, &[]).await
    }

    /// A trigger with further headers.
    pub(crate) async fn trigger_with(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        http::post_json(&format!("{}/v1/requests", self.url), &all, body).await
    }

    /// A trigger that has to be accepted; the request's id.
    pub(crate) async fn ask(&self, channel: &str, to: &str, conversation: &str) -> String {
        let body = json!({"channel": channel, "to": to, "conversation": conversation, "agent": {"name": "Sam"}, "touchpoint": "test"});
        let answer = self.trigger(&body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Takes a request back.
    pub(crate) async fn cancel(&self, id: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let url = format!("{}/v1/requests/{id}/cancel", self.url);
        let headers = [("authorization", bearer.as_str())];
        http::send(::http::Method::POST, &url, &headers, "").await
    }

    /// A GET of the desk's API.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let bearer = format!("Bearer {}", self.key);
        let answer = http::send(
            ::http::Method::GET,
            &format!("{}{path}", self.url),
            &[("authorization", &bearer)],
            "",
        )
        .await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// A request as the API shows it.
    pub(crate) async fn request(&self, id: &str) -> Value {
        self.api(&format!("/v1/requests/{id}")).await
    }

    /// Carries what is due now.
    pub(crate) async fn deliver(&self) -> usize {
        self.app.deliverer.tick().await
    }

    /// Turns the clock.
    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.advance(seconds * 1000);
    }

    /// Now, by the stage's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The real address of one of our public addresses.
    pub(crate) fn real(&self, public: &str) -> String {
        format!("{}{}", self.url, public.strip_prefix(PUBLIC_URL).unwrap())
    }

    /// The value of a metric line that begins with `series`; 0 if there is none.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let answer = http::get(&format!("{}/metrics/totals", self.url)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let line = answer
            .body
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// What must move together when a rating is made on a channel: rows, events and the counter in `/metrics/totals`.
    pub(crate) async fn ratings(&self, channel: &str) -> [i64; 3] {
        let answer = http::get(&format!("{}/metrics/totals", self.url)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let label = format!("channel=\"{channel}\"");
        let counted = answer
            .body
            .lines()
            .filter(|line| line.starts_with("onefive_ratings_total{") && line.contains(&label))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap())
            .sum();
        [
            self.database.number("select count(*) from ratings").await,
            self.database
                .number("select count(*) from events where kind = 'rating.created'")
                .await,
            counted,
        ]
    }

    /// The end of a story: nothing is left half done, the double understood every call, and totals equal the rows.
    pub(crate) async fn finish(self) {
        assert_eq!(
            self.twilio.failures(),
            Vec::<String>::new(),
            "Twilio's description refused a call"
        );
        let mut left = self.app.journey.store.backlog().await.unwrap();
        // What is lost stays visible; nobody carries it any more.
        left.retain(|entry| entry.state != DeliveryState::Lost);
        assert!(left.is_empty(), "left to deliver: {left:?}");
        let counted: i64 = self
            .app
            .journey
            .store
            .totals()
            .await
            .unwrap()
            .iter()
            .flat_map(|at| &at.sums)
            .filter(|total| total.kind == onefive::domain::event::EventKind::RatingCreated)
            .map(|total| total.count)
            .sum();
        assert_eq!(
            counted,
            self.database.number("select count(*) from ratings").await,
            "totals equal the rows"
        );
        for (invariant, broken) in self.app.journey.store.invariants().await {
            assert_eq!(broken.unwrap(), 0, "{invariant}");
        }
        self.app.stop().await;
    }
}

/// Adds a desk with a key that has every scope.
pub(crate) async fn desk(app: &App, slug: &str, name: &str) -> (Desk, String) {
    let now = app.journey.clock.now();
    let store = &app.journey.store;
    let desk = store
        .add_desk(slug, name, &DeskSettings::permissive(), now)
        .await
        .unwrap()
        .unwrap();
    let text = KeyText::new(random(&SystemEntropy));
    let key = ApiKey {
        id: KeyId::new(now, random(&SystemEntropy)),
        desk: desk.id,
        handle: text.handle().to_owned(),
        hash: text.hash(),
        scopes: Scope::ALL.to_vec(),
        created_at: now,
    };
    store.add_key(&key).await.unwrap();
    (desk, text.expose().to_owned())
}
