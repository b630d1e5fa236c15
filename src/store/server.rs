//! PostgreSQL, and whether it is there.
//!
//! A pool alone makes every call wait for a server that is gone. Here one call that finds no connection starts a probe of its
//! own; while the probe finds no server, or one that only reads, every call is refused at once and what was under way is given
//! up. When the server is back the pool begins anew: of the old connections nobody knows where they lead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pool::{Lent, Pool};
use super::{StoreError, StoreSettings};

/// For a connection out of the pool. A caller is refused after this at the latest, so it stays below a second.
const WAIT: Duration = Duration::from_millis(800);
/// For the answer to a statement: longer than the server lets one run.
const PATIENCE: Duration = Duration::from_secs(7);
/// For a probe, and between two of them.
const PROBE: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(200);
/// For the first connection, and for the last goodbye.
const START: Duration = Duration::from_secs(5);

/// What a session is told, or behind a pooler, which shares sessions, each transaction. Whoever stands still in a transaction, as a
/// frozen machine does, is put out of it before those who wait for its locks give up. Every statement that is asked often finds its
/// rows by a key, but a plan that is made while a table is empty would read it whole, and is kept while it grows. What reads a table whole
/// all the same, as a list of ten desks, looks so dear then that PostgreSQL compiles it each time, which takes 50 ms.
const SESSION: [(&str, &str); 6] = [
    ("statement_timeout", "5000"),
    ("idle_in_transaction_session_timeout", "2500"),
    ("lock_timeout", "4000"),
    ("synchronous_commit", "on"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
];
const BEGIN: &str = "begin";
const BEGIN_SHARED: &str = "begin; set local statement_timeout = 5000; \
     set local idle_in_transaction_session_timeout = 2500; set local lock_timeout = 4000; set local synchronous_commit = on; \
     set local enable_seqscan = off; set local jit = off";

const SNAPSHOT: &str = "begin isolation level repeatable read read only";
const SNAPSHOT_SHARED: &str = "begin isolation level repeatable read read only; set local statement_timeout = 5000; \
     set local idle_in_transaction_session_timeout = 2500; set local enable_seqscan = off; set local jit = off";

/// A PostgreSQL server, or a pooler in front of one.
pub(super) struct Server {
    options: PgConnectOptions,
    connections: u32,
    pool: RwLock<Pool<PgConnection>>,
    /// Whether the sessions are shared with others between two transactions.
    pub(super) shared: bool,
    /// Rung when events were committed from here.
    pub(super) news: watch::Sender<()>,
    away: watch::Sender<bool>,
    probing: AtomicBool,
    closing: CancellationToken,
}

impl Server {
    pub(super) async fn connect(
        settings: &StoreSettings,
        options: PgConnectOptions,
    ) -> Result<Arc<Self>, StoreError> {
        let shared = settings.statement_cache == 0;
        let options = options
            .application_name("onefive")
            .statement_cache_capacity(settings.statement_cache);
        let options = if shared {
            // A pooler refuses start-up parameters that it cannot carry over from one session to another.
            options.extra_float_digits(None)
        } else {
            options.options(SESSION)
        };
        let pool = Pool::new(options.clone(), settings.connections);
        let mut first = pool.take(START).await?;
        if !shared {
            commits_are_durable(&mut first).await?;
        }
        first.done();
        let pool = RwLock::new(pool);
        Ok(Arc::new(Self {
            options,
            connections: settings.connections,
            pool,
            shared,
            news: watch::Sender::default(),
            away: watch::Sender::new(false),
            probing: AtomicBool::new(false),
            closing: CancellationToken::new(),
        }))
    }

    pub(super) fn pool(&self) -> Pool<PgConnection> {
        self.pool
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A connection for statements outside a transaction.
    pub(super) async fn take(&self) -> Result<Lent<PgConnection>, sqlx::Error> {
        self.pool().take(WAIT).await
    }

    pub(super) async fn begin(self: &Arc<Self>) -> Result<Lent<PgConnection>, StoreError> {
        let begin = if self.shared { BEGIN_SHARED } else { BEGIN };
        self.ask(self.pool().begin(begin, WAIT)).await
    }

    /// A transaction that only reads and sees one state throughout.
    pub(super) async fn snapshot(self: &Arc<Self>) -> Result<Lent<PgConnection>, StoreError> {
        let begin = if self.shared {
            SNAPSHOT_SHARED
        } else {
            SNAPSHOT
        };
        self.ask(self.pool().begin(begin, WAIT)).await
    }

    /// Waits for the server, as long as it is there.
    pub(super) async fn ask<T>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let mut away = self.away.subscribe();
        let result = tokio::select! {
            biased;
            _ = away.wait_for(|away| *away) => {
                return Err(StoreError::Unavailable("PostgreSQL is away".to_owned()));
            }
            done = timeout(PATIENCE, work) => match done {
                Ok(done) => done.map_err(StoreError::from),
                Err(_) => Err(StoreError::Unavailable("PostgreSQL did not answer in time".to_owned())),
            },
        };
        if let Err(error @ StoreError::Unavailable(_)) = &result {
            self.suspect(error);
        }
        result
    }

    /// Starts a probe, unless there is one. A connection may fail for many reasons; the probe tells whether the server is away.
    fn suspect(self: &Arc<Self>, error: &StoreError) {
        if !self.probing.swap(true, Ordering::AcqRel) {
            tracing::warn!(%error, "a connection failed; looking whether PostgreSQL is there");
            let server = Arc::clone(self);
            TaskTracker::new().spawn(async move {
                tokio::select! {
                    () = server.closing.cancelled() => {}
                    () = server.probe() => {}
                }
            });
        }
    }

    async fn probe(&self) {
        while !timeout(PROBE, self.is_there()).await.unwrap_or(false) {
            if !self.away.send_replace(true) {
                tracing::error!("PostgreSQL is away; calls that need it are answered with 503");
            }
            sleep(PAUSE).await;
        }
        self.probing.store(false, Ordering::Release);
        if *self.away.borrow() {
            let fresh = Pool::new(self.options.clone(), self.connections);
            let old = std::mem::replace(
                &mut *self.pool.write().unwrap_or_else(PoisonError::into_inner),
                fresh,
            );
            TaskTracker::new().spawn(async move { timeout(START, old.close()).await });
            self.away.send_replace(false);
            tracing::info!("PostgreSQL is back");
        }
    }

    /// Whether a server answers that takes writes.
    async fn is_there(&self) -> bool {
        let look = async {
            let mut connection = self.options.connect().await?;
            let row = sqlx::raw_sql("select pg_is_in_recovery() as standby")
                .fetch_one(&mut connection)
                .await?;
            let standby: bool = row.try_get("standby")?;
            connection.close().await?;
            Ok(!standby)
        };
        look.await.unwrap_or_else(|error: sqlx::Error| {
            // It answers, and has no connection left or no room for us: each call will say so itself, and those that we have may work.
            let code = |error: &dyn sqlx::error::DatabaseError| {
                let code = error.code().unwrap_or_default();
                !code.starts_with("57P") && !code.starts_with("08")
            };
            error.as_database_error().is_some_and(code)
        })
    }

    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.pool().close().await;
    }
}

/// What is acknowledged is on disk. We ask for it at the start of each session; somebody in between may have dropped the wish.
async fn commits_are_durable(connection: &mut PgConnection) -> Result<(), StoreError> {
    let row = sqlx::raw_sql("show synchronous_commit")
        .fetch_one(connection)
        .await?;
    let value: String = row.try_get(0)?;
    if value == "off" {
        return Err(StoreError::Settings(
            "synchronous_commit is off on this connection although we asked for it; behind a pooler set \
             database.statement_cache = 0, or set it on the role"
                .to_owned(),
        ));
    }
    Ok(())
}
