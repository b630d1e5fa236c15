//! What every story needs: a database of its own, a store on it, a desk, and short ways to say the usual things.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::clock::{SystemEntropy, random};
use crate::domain::contact::{Address, Contact};
use crate::domain::delivery::Outcome;
use crate::domain::desk::DeskSettings;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::policy::{Given, Rules};
use crate::domain::rating::{Grade, Score};
use crate::domain::reply::{Reply, ReplyKind, Understood};
use crate::domain::request::{Channel, Request};
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;
use crate::domain::trigger::{Attribution, Context};
use crate::store::dialect::{Row, Sql, Value};
use crate::store::write::Write;
use crate::store::{
    Accepted, Carriage, Ceilings, Claim, Dispatch, Find, KeyRing, NewReply, NewRequest, Pair,
    Permission, Report, Second, SqlStore, Store as _, StoreSettings,
};

/// The instant at which every story begins.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// How long a request waits in the stories.
pub(super) const WAIT_MS: i64 = 86_400_000;
/// How long an answer may be corrected in the stories.
pub(super) const WINDOW_MS: i64 = 900_000;
/// Our telephone number.
pub(super) const OURS: &str = "+15005550006";
/// The channel of the stories.
pub(super) const SMS: Channel = Channel::named("sms");
/// Every table and the number of its rows.
pub(super) const TABLES: &[(&str, Sql)] = &[
    ("api_keys", Sql::both("select count(*) as n from api_keys")),
    (
        "asks_of_day",
        Sql::both("select count(*) as n from asks_of_day"),
    ),
    ("attempts", Sql::both("select count(*) as n from attempts")),
    ("ceilings", Sql::both("select count(*) as n from ceilings")),
    ("desks", Sql::both("select count(*) as n from desks")),
    ("duties", Sql::both("select count(*) as n from duties")),
    ("events", Sql::both("select count(*) as n from events")),
    (
        "follow_ups",
        Sql::both("select count(*) as n from follow_ups"),
    ),
    (
        "kept_links",
        Sql::both("select count(*) as n from kept_links"),
    ),
    ("opt_outs", Sql::both("select count(*) as n from opt_outs")),
    (
        "person_opt_outs",
        Sql::both("select count(*) as n from person_opt_outs"),
    ),
    (
        "rating_log",
        Sql::both("select count(*) as n from rating_log"),
    ),
    ("ratings", Sql::both("select count(*) as n from ratings")),
    ("replies", Sql::both("select count(*) as n from replies")),
    ("requests", Sql::both("select count(*) as n from requests")),
    ("rollups", Sql::both("select count(*) as n from rollups")),
    (
        "sink_marks",
        Sql::both("select count(*) as n from sink_marks"),
    ),
    ("strays", Sql::both("select count(*) as n from strays")),
    ("streams", Sql::both("select count(*) as n from streams")),
    ("totals", Sql::both("select count(*) as n from totals")),
    ("views", Sql::both("select count(*) as n from views")),
    ("walks", Sql::both("select count(*) as n from walks")),
    (
        "watched_hours",
        Sql::both("select count(*) as n from watched_hours"),
    ),
    (
        "webhook_deliveries",
        Sql::both("select count(*) as n from webhook_deliveries"),
    ),
    (
        "webhook_retries",
        Sql::both("select count(*) as n from webhook_retries"),
    ),
    ("webhooks", Sql::both("select count(*) as n from webhooks")),
];

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
    /// Without `skip locked`.
    PostgresPlainly,
}

/// Where the database is, so that it can be thrown away.
enum Place {
    Folder(TempDir),
    Database(Box<PgConnectOptions>, String),
}

/// A store on a database of its own.
pub(super) struct Stage {
    pub(super) store: SqlStore,
    pub(super) desk: DeskId,
    settings: StoreSettings,
    keys: KeyRing,
    place: Place,
    counter: AtomicI64,
}

/// Runs a story on a database without a schema.
pub(super) async fn empty<S, F>(engine: Engine, story: S)
where
    S: FnOnce(Arc<Stage>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    run(Stage::open(engine).await, story).await;
}

/// Runs a story on a database with the schema and one desk, `acme`.
pub(super) async fn migrated<S, F>(engine: Engine, story: S)
where
    S: FnOnce(Arc<Stage>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut stage = Stage::open(engine).await;
    stage.store.migrate().await.unwrap();
    stage.desk = stage.add_desk("acme").await;
    run(stage, story).await;
}

async fn run<S, F>(stage: Stage, story: S)
where
    S: FnOnce(Arc<Stage>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let stage = Arc::new(stage);
    // In a task of its own, so that the database is thrown away even if the story fails.
    let told = TaskTracker::new().spawn(story(Arc::clone(&stage))).await;
    stage.end().await;
    if let Err(error) = told {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Creating and dropping take no parameters, so this is the one statement that is put together.
async fn administer(admin: &PgConnectOptions, statement: String) {
    let mut connection = admin.connect().await.unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(statement))
        .await
        .unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the test database is, only the environment of the test run knows"
)]
fn admin_url() -> String {
    std::env::var("ONEFIVE_TEST_POSTGRES")
        .unwrap_or_else(|_| panic!("run tests/run, or set ONEFIVE_TEST_POSTGRES"))
}

/// Runs `count` tasks side by side and gives what they came to.
pub(super) async fn parallel<T, F>(count: usize, mut make: impl FnMut(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: JoinSet<T> = (0..count).map(&mut make).collect();
    tasks.join_all().await
}

/// The instant so many milliseconds after the beginning.
pub(super) const fn after(millis: i64) -> Timestamp {
    NOW.plus_millis(millis)
}

/// A score.
pub(super) fn score(n: i64) -> Score {
    Score::try_from(n).unwrap()
}

/// The link of a request.
pub(super) fn link(id: RequestId) -> TokenHash {
    TokenHash::of(&format!("link {id}"))
}

/// The token of an attempt.
pub(super) fn token(id: RequestId, attempt: i64) -> TokenHash {
    TokenHash::of(&format!("attempt {id} {attempt}"))
}

/// A text message from the person who was asked.
pub(super) fn text(
    request: &Request,
    provider_id: &str,
    understood: Understood,
    at: Timestamp,
) -> NewReply {
    let pair = Pair {
        channel: request.channel.clone(),
        ours: request.sender.clone(),
        theirs: request.contact.address.clone(),
    };
    NewReply {
        find: Find::Pair(pair),
        reply: Reply {
            kind: ReplyKind::Text,
            provider_id: provider_id.to_owned(),
            raw: format!("{understood:?}"),
            grade: Grade::Channel,
            at,
        },
        understood,
        window_ms: WINDOW_MS,
        sent_at: None,
    }
}

/// A text message that is a score and nothing else.
pub(super) fn digit(request: &Request, provider_id: &str, n: i64, at: Timestamp) -> NewReply {
    text(
        request,
        provider_id,
        Understood::Rating(score(n), String::new()),
        at,
    )
}

/// A text message of words.
pub(super) fn words(request: &Request, provider_id: &str, said: &str, at: Timestamp) -> NewReply {
    text(request, provider_id, Understood::Words(said.to_owned()), at)
}

/// What the provider says when it takes a message.
pub(super) fn taken(provider_id: &str) -> Outcome {
    Outcome::Accepted {
        provider_id: provider_id.to_owned(),
    }
}

/// Proof that the provider did nothing.
pub(super) fn not_processed() -> Outcome {
    Outcome::NotProcessed {
        code: "429".to_owned(),
        retry_after_ms: None,
    }
}

/// Every channel that a provider carries.
pub(super) const EVERY: &[&str] = &["sms", "voice", "email"];

impl Stage {
    /// A new database and a store on it.
    pub(super) async fn open(engine: Engine) -> Self {
        let (url, place) = match engine {
            Engine::Sqlite => {
                let folder = TempDir::new().unwrap();
                (
                    format!("sqlite:{}", folder.path().join("onefive.db").display()),
                    Place::Folder(folder),
                )
            }
            Engine::Postgres | Engine::PostgresPlainly => {
                let admin_url = admin_url();
                let admin = PgConnectOptions::from_str(&admin_url).unwrap();
                let name = format!("onefive_{}", hex::encode(random::<8>(&SystemEntropy)));
                administer(&admin, format!("create database {name}")).await;
                let (server, _) = admin_url.rsplit_once('/').unwrap();
                (
                    format!("{server}/{name}"),
                    Place::Database(Box::new(admin), name),
                )
            }
        };
        let settings = StoreSettings {
            url,
            connections: 8,
            statement_cache: 100,
            skip_locked: engine != Engine::PostgresPlainly,
            queue: 1000,
            batch: 128,
            lease_ms: 60_000,
            ceilings: Ceilings {
                address: 1_000,
                desk: 1_000_000,
            },
        };
        let keys = KeyRing::parse(&KeyRing::generate(&SystemEntropy)).unwrap();
        let store = SqlStore::open(&settings, keys.clone(), Arc::new(SystemEntropy))
            .await
            .unwrap();
        let desk = DeskId::from_uuid(uuid::Uuid::nil());
        Self {
            store,
            desk,
            settings,
            keys,
            place,
            counter: AtomicI64::new(1),
        }
    }

    /// Another process on the same database. Its leases may be over before they begin.
    pub(super) async fn another(&self, lease_ms: i64) -> SqlStore {
        let settings = StoreSettings {
            lease_ms,
            ..self.settings.clone()
        };
        SqlStore::open(&settings, self.keys.clone(), Arc::new(SystemEntropy))
            .await
            .unwrap()
    }

    /// Another process on the same database, with ceilings of its own.
    pub(super) async fn bounded(&self, ceilings: Ceilings) -> SqlStore {
        let settings = StoreSettings {
            ceilings,
            ..self.settings.clone()
        };
        SqlStore::open(&settings, self.keys.clone(), Arc::new(SystemEntropy))
            .await
            .unwrap()
    }

    /// Where SQLite keeps its files.
    pub(super) fn folder(&self) -> Option<&std::path::Path> {
        match &self.place {
            Place::Folder(folder) => Some(folder.path()),
            Place::Database(..) => None,
        }
    }

    /// Closes the store and throws the database away.
    pub(super) async fn end(&self) {
        self.store.close().await;
        if let Place::Database(admin, name) = &self.place {
            administer(
                admin,
                format!("drop database if exists {name} with (force)"),
            )
            .await;
        }
    }

    pub(super) async fn add_desk(&self, slug: &str) -> DeskId {
        self.store
            .add_desk(slug, slug, &DeskSettings::permissive(), NOW)
            .await
            .unwrap()
            .unwrap()
            .id
    }

    fn next(&self) -> i64 {
        self.counter.fetch_add(1, Ordering::SeqCst)
    }

    /// A trigger about a conversation and a person that no other one is about.
    pub(super) fn trigger(&self) -> NewRequest {
        let n = self.next();
        let id = RequestId::new(NOW, random(&SystemEntropy));
        NewRequest {
            desk: self.desk,
            id,
            channel: SMS,
            sender: OURS.to_owned(),
            contact: Contact {
                address: Address::phone(&format!("+1415{n:07}")).unwrap(),
                id: String::new(),
                name: String::new(),
                phone: None,
            },
            reply_names_request: false,
            conversation: format!("INC-{n}"),
            resolution: String::new(),
            attribution: Attribution::default(),
            wording: "en".to_owned(),
            mail: None,
            metadata: serde_json::Value::Null,
            idempotency_key: String::new(),
            fingerprint: std::array::from_fn(|at| n.to_be_bytes()[at % 8]),
            rules: Arc::new(Rules::permissive()),
            given: Given::default(),
            context: Context::default(),
            carriage: Carriage::Queue,
            link: Some(link(id)),
            now: NOW,
            due_at: NOW,
            planned_at: None,
            day: 0,
            expires_at: after(WAIT_MS),
            dry_run: false,
        }
    }

    /// The same call once more: only its identifier and its link are new.
    pub(super) fn again(earlier: &NewRequest) -> NewRequest {
        let id = RequestId::new(NOW, random(&SystemEntropy));
        NewRequest {
            id,
            link: Some(link(id)),
            ..earlier.clone()
        }
    }

    /// Another call about the same person and another conversation.
    pub(super) fn same_person(&self, earlier: &NewRequest) -> NewRequest {
        NewRequest {
            desk: earlier.desk,
            contact: earlier.contact.clone(),
            ..self.trigger()
        }
    }

    /// The write that accepts it, for those who make the batch themselves.
    pub(super) fn accepting(&self, new: NewRequest) -> Write {
        Write::Accept(Box::new(self.store.inner.prepare(new).unwrap()))
    }

    /// Accepts what must be new.
    pub(super) async fn accept(&self, new: NewRequest) -> Request {
        match self.store.accept(new).await.unwrap() {
            Accepted::New(request) => *request,
            other @ (Accepted::Replayed(_) | Accepted::KeyReused | Accepted::Considered(_)) => {
                panic!("not new: {other:?}")
            }
        }
    }

    /// Accepts what must have come before.
    pub(super) async fn replay(&self, new: NewRequest) -> Request {
        match self.store.accept(new).await.unwrap() {
            Accepted::Replayed(request) => *request,
            other @ (Accepted::New(_) | Accepted::KeyReused | Accepted::Considered(_)) => {
                panic!("not replayed: {other:?}")
            }
        }
    }

    /// The request as it stands.
    pub(super) async fn look(&self, request: &Request) -> Request {
        self.store
            .request(request.desk, request.id)
            .await
            .unwrap()
            .unwrap()
            .0
    }

    /// Claims the one request that is due.
    pub(super) async fn claim(&self, now: Timestamp) -> Claim {
        let mut claims = self
            .store
            .claim_deliveries("w", EVERY, 100, now)
            .await
            .unwrap();
        assert_eq!(claims.len(), 1, "one request is due");
        claims.pop().unwrap()
    }

    /// Sends the one request that is due.
    pub(super) async fn carry(&self, provider_id: &str, now: Timestamp) {
        let claim = self.claim(now).await;
        assert_eq!(
            self.dispatch(&claim, now).await,
            Permission::Granted { send_at: None }
        );
        assert!(self.report(&claim, taken(provider_id), now).await);
    }

    /// Commits to the next attempt.
    pub(super) async fn dispatch(&self, claim: &Claim, now: Timestamp) -> Permission {
        self.store.dispatch(dispatch(claim, now)).await.unwrap()
    }

    /// A trigger that is claimed and committed to, before the provider's answer.
    pub(super) async fn on_the_wire(&self) -> Claim {
        self.accept(self.trigger()).await;
        let claim = self.claim(NOW).await;
        assert_eq!(
            self.dispatch(&claim, NOW).await,
            Permission::Granted { send_at: None }
        );
        claim
    }

    /// A trigger that the provider has taken.
    pub(super) async fn sent(&self, new: NewRequest) -> Request {
        self.accept(new).await;
        let claim = self.claim(NOW).await;
        assert_eq!(
            self.dispatch(&claim, NOW).await,
            Permission::Granted { send_at: None }
        );
        assert!(self.report(&claim, taken("SM1"), NOW).await);
        self.look(&claim.request).await
    }

    /// Reports on the claim's attempt.
    pub(super) async fn report(&self, claim: &Claim, outcome: Outcome, now: Timestamp) -> bool {
        self.store
            .report(report(claim, outcome, now))
            .await
            .unwrap()
    }

    pub(super) async fn rows(&self, sql: Sql, values: &[Value<'_>]) -> Vec<Row> {
        self.store.inner.database.rows(sql, values).await.unwrap()
    }

    /// The number that a statement counts as `n`.
    pub(super) async fn count(&self, sql: Sql, values: &[Value<'_>]) -> i64 {
        self.rows(sql, values).await[0].int("n").unwrap()
    }

    /// Changes rows behind the store's back.
    pub(super) async fn execute(&self, sql: Sql) {
        let mut tx = self.store.inner.database.begin().await.unwrap();
        tx.execute(sql, &[]).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The number of rows in every table.
    pub(super) async fn sizes(&self) -> Vec<(&'static str, i64)> {
        let mut sizes = Vec::new();
        for (table, count) in TABLES {
            sizes.push((*table, self.count(*count, &[]).await));
        }
        sizes
    }

    /// How many events of a kind a request has.
    pub(super) async fn events(&self, request: &Request, kind: &str) -> i64 {
        const EVENTS: Sql =
            Sql::both("select count(*) as n from events where request_id = $1 and kind = $2");
        self.count(EVENTS, &[Value::Id(request.id.uuid()), Value::Text(kind)])
            .await
    }

    /// How an attempt stands: its state, code and the provider's id.
    pub(super) async fn attempt(&self, request: &Request, n: i64) -> (String, String, String) {
        const ATTEMPT: Sql = Sql::both(
            "select state, code, provider_id from attempts where request_id = $1 and n = $2",
        );
        let rows = self
            .rows(ATTEMPT, &[Value::Id(request.id.uuid()), Value::Int(n)])
            .await;
        (
            rows[0].text("state").unwrap(),
            rows[0].text("code").unwrap(),
            rows[0].text("provider_id").unwrap(),
        )
    }
}

/// The next attempt of a claim.
pub(super) fn dispatch(claim: &Claim, now: Timestamp) -> Dispatch {
    let attempt = claim.request.attempts + 1;
    Dispatch {
        desk: claim.request.desk,
        request: claim.request.id,
        fence: claim.fence,
        attempt,
        token: token(claim.request.id, attempt),
        provider: "sandbox",
        now,
        body: None,
        second: Second::Never,
        again: None,
    }
}

/// What came of the next attempt of a claim.
pub(super) fn report(claim: &Claim, outcome: Outcome, now: Timestamp) -> Report {
    Report {
        desk: claim.request.desk,
        request: claim.request.id,
        fence: claim.fence,
        attempt: claim.request.attempts + 1,
        outcome,
        now,
        send_at: None,
    }
}
