//! A service that a browser can reach: its public address is where it listens, and pretend devices carry every channel.

use std::sync::Arc;
use std::time::Duration;

use onefive::app::{App, Parts};
use onefive::clock::{Clock as _, ManualClock, SystemEntropy, random};
use onefive::config::{Config, Source};
use onefive::domain::desk::{ApiKey, DeskSettings, KeyText, Scope};
use onefive::domain::id::KeyId;
use onefive::domain::time::Timestamp;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use super::database::Database;
use super::http;

/// The longest wait for the service.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service with the sandbox for all channels, and a desk, `demo`.
pub(crate) struct Sandbox {
    /// The service.
    pub(crate) app: App,
    /// Its clock.
    pub(crate) clock: Arc<ManualClock>,
    /// Its address, for us and for the public.
    pub(crate) url: String,
    /// The database.
    pub(crate) database: Database,
    /// A key of the desk with every scope.
    pub(crate) key: String,
}

impl Sandbox {
    /// Starts it, with its own background work.
    pub(crate) async fn start() -> Self {
        let database = Database::sqlite();
        let text = KeyText::new(random(&SystemEntropy));
        // The address has to be known before the service listens on it.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut settings = vec![
            set("SERVER__PUBLIC_URL", &format!("http://{address}")),
            set("SERVER__PUBLIC", &address),
            set("SERVER__API", &address),
            set("SERVER__ADMIN", &address),
            set("CHANNELS__SMS", "sandbox"),
            set("CHANNELS__VOICE", "sandbox"),
            set("CHANNELS__EMAIL", "sandbox"),
            set("PROVIDERS__SANDBOX__API_KEY", text.expose()),
        ];
        settings.extend(database.settings());
        let environment = settings
            .into_iter()
            .map(|(name, value)| (format!("ONEFIVE_{name}"), value))
            .collect();
        let config = Config::load(&Source {
            file: None,
            environment,
        })
        .unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_284_000_000)));
        let parts = Parts {
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SystemEntropy),
            background: true,
        };
        drop(free);
        let app = App::start(&config, parts).await.unwrap();

        let (store, now) = (&app.journey.store, clock.now());
        let desk = store
            .add_desk("demo", "Northwind IT", &DeskSettings::permissive(), now)
            .await
            .unwrap()
            .unwrap();
        let key = ApiKey {
            id: KeyId::new(now, random(&SystemEntropy)),
            desk: desk.id,
            handle: text.handle().to_owned(),
            hash: text.hash(),
            scopes: Scope::ALL.to_vec(),
            created_at: now,
        };
        store.add_key(&key).await.unwrap();
        Self {
            app,
            clock,
            url: format!("http://{address}"),
            database,
            key: text.expose().to_owned(),
        }
    }

    /// A trigger that is accepted; the service's answer.
    pub(crate) async fn ask(&self, channel: &str, to: &str) -> Value {
        let bearer = format!("Bearer {}", self.key);
        let conversation = hex::encode(random::<8>(&SystemEntropy));
        let body = json!({"channel": channel, "to": to, "conversation": conversation, "agent": {"name": "Sam"}, "touchpoint": "test"});
        let answer = http::post_json(
            &format!("{}/v1/requests", self.url),
            &[("authorization", &bearer)],
            &body,
        )
        .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()
    }

    /// Asks by mail; the address of the rating page, without a score.
    pub(crate) async fn rating_page(&self) -> String {
        let to = format!("{}@example.com", hex::encode(random::<4>(&SystemEntropy)));
        self.ask("email", &to).await;
        let mut ticks = interval(Duration::from_millis(20));
        let arrived = timeout(PATIENCE, async {
            loop {
                ticks.tick().await;
                let state = http::get(&format!("{}/sandbox/state", self.url)).await;
                let mails = state.json();
                let mail = mails["mails"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|mail| mail["to"] == to.as_str())
                    .cloned();
                if let Some(mail) = mail {
                    return mail["text"].as_str().unwrap().to_owned();
                }
            }
        });
        let text = arrived.await.expect("the mail arrives in the sandbox");
        // Nobody reads a mail in the second in which it comes.
        self.pass(60);
        let link = text
            .split_whitespace()
            .find(|word| word.contains("/r/"))
            .unwrap();
        link.split('?').next().unwrap().to_owned()
    }

    /// The opt-out page that belongs to a rating page.
    pub(crate) fn opt_out_page(rating_page: &str) -> String {
        rating_page.replace("/r/", "/u/")
    }

    /// Replies of whatever grade that were written down.
    pub(crate) async fn replies(&self) -> i64 {
        self.database.number("select count(*) from replies").await
    }

    /// The rating that was written last: score, grade and comment.
    pub(crate) async fn rating(&self) -> Option<(i64, String, String)> {
        let store = &self.app.journey.store;
        let desk = store.desks().await.unwrap().remove(0);
        let filter = onefive::store::Filter {
            limit: 200,
            ..onefive::store::Filter::default()
        };
        let ratings = store.ratings(desk.id, &filter).await.unwrap();
        let latest = ratings
            .into_iter()
            .max_by_key(|(rating, _)| rating.changed_at)?
            .0;
        Some((
            latest.score.into(),
            latest.grade.as_str().to_owned(),
            latest.comment,
        ))
    }

    /// Turns the clock.
    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.advance(seconds * 1000);
    }
}
