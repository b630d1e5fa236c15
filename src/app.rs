//! The composition root: the only file that knows every concrete type. Settings in, a running service out.
//!
//! Production and tests come through the same door: tests bring their own clock and ask for no background work, so that they
//! turn every loop by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Entropy, SharedClock, SystemEntropy, random};
use crate::config::{Config, ConfigError, Settling, SettlingPolicy};
use crate::domain::settling;
use crate::domain::token::TokenMint;
use crate::http::{self, Doors, server};
use crate::journey::{Deliverer, Duty, Journey, Routes, Rules};
use crate::metrics::Metrics;
use crate::store::{
    Ceiling, Ceilings, KeyRing, SqlStore, StoreError, StoreErrorKind, StoreSettings,
};

mod routes;
mod sinks;

pub use routes::routes;
pub use sinks::publishing;

/// For the store to close once nobody works with it any more.
const CLOSING: Duration = Duration::from_secs(1);

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A listener cannot be opened.
    #[error("{0} cannot be listened on: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The metrics cannot be registered.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// What the service takes from outside besides its settings.
#[derive(Clone)]
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Whether delivering, sweeping and tidying run by themselves.
    pub background: bool,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("background", &self.background)
            .finish_non_exhaustive()
    }
}

impl Parts {
    /// The clock of the database, or the machine's own where they are the same, and the machine's randomness, with background work.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SharedClock::default()),
            entropy: Arc::new(SystemEntropy),
            background: true,
        }
    }
}

/// A running service.
#[derive(Debug)]
pub struct App {
    /// Where customers and providers are served.
    pub public: SocketAddr,
    /// Where desks are served.
    pub api: SocketAddr,
    /// Where operators are served.
    pub admin: SocketAddr,
    /// The steps, for whoever turns them by hand.
    pub journey: Journey,
    /// The worker, for whoever turns it by hand.
    pub deliverer: Arc<Deliverer>,
    leaving: server::Leaving,
    tasks: TaskTracker,
    grace: Duration,
    patience: Duration,
}

/// Reads the key file. With SQLite a missing one is made, readable by us alone; replicas must share one, so with PostgreSQL a
/// missing one is a mistake.
pub fn keys(config: &Config, entropy: &dyn Entropy) -> Result<KeyRing, ConfigError> {
    let path = config.keys_file();
    let wrong = |message: String| {
        ConfigError::new(
            "secrets.keys_file",
            format!("{}: {message}", path.display()),
        )
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && config.is_sqlite() => {
            let text = KeyRing::generate(entropy);
            write_secret(&path, &text).map_err(|error| wrong(error.to_string()))?;
            tracing::info!(file = %path.display(), "made a new key file; keep a copy of it in a safe place");
            text
        }
        Err(error) => return Err(wrong(format!("{error}; `onefive key file` makes one"))),
    };
    KeyRing::parse(&text).map_err(|error| wrong(error.to_string()))
}

/// Writes a file that only its owner may read, and that was not there before.
pub fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Replaces such a file in one go: whoever reads it meanwhile reads the old one or the new one.
pub fn replace_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    write_secret(beside, text)?;
    std::fs::rename(beside, path)
}

/// Opens the store that the settings name, without touching its schema.
pub async fn open_store(
    config: &Config,
    parts: &Parts,
) -> Result<(Arc<SqlStore>, KeyRing), AppError> {
    let keys = keys(config, parts.entropy.as_ref())?;
    let settings = StoreSettings {
        url: config.database.url.clone(),
        connections: config.database.connections,
        statement_cache: config.database.statement_cache,
        skip_locked: config.database.skip_locked,
        queue: config.database.queue,
        batch: config.database.batch,
        lease_ms: i64::from(config.database.lease_seconds) * 1000,
        ceilings: Ceilings {
            address: i64::from(config.requests.sends_per_address),
            desk: i64::from(config.requests.sends_per_desk),
        },
    };
    let store = SqlStore::open(&settings, keys.clone(), Arc::clone(&parts.entropy)).await?;
    Ok((Arc::new(store), keys))
}

impl App {
    /// Starts everything. The listeners accept when this returns.
    pub async fn start(config: &Config, parts: Parts) -> Result<Self, AppError> {
        let routes = routes(config, &parts)?;
        let tasks = TaskTracker::new();
        let publishing = publishing(config, tasks.clone())?;
        let (store, keys) = open_store(config, &parts).await?;
        prepare_schema(config, store.as_ref()).await?;
        if config.is_sqlite() && parts.background {
            // Only this process delivers from the file, so what was held before it was held by a dead one.
            use crate::store::Store as _;
            store.take_over().await?;
        }

        let journey = Journey {
            store,
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
            mint: TokenMint::new(keys.token_key()),
            metrics: metrics(&routes)?,
            routes,
            rules: Rules {
                public_url: config.server.public_url.clone(),
                correction_ms: i64::from(config.requests.correction_minutes) * 60_000,
                link_ms: i64::from(config.requests.link_days) * 86_400_000,
                settling: settling(&config.settling),
            },
            bell: Arc::new(Notify::new()),
            replica: hex::encode(random::<8>(parts.entropy.as_ref())),
            publishing,
        };
        journey.tell_time().await?;
        let leaving = server::Leaving::default();
        let stop = leaving.draining.clone();
        let doors = Doors {
            journey: Arc::new(journey.clone()),
            known_keys: http::KnownKeys::default(),
            readers: http::Seats::default(),
            exports: http::Seats::default(),
            limits: http::Limits::new(&limits(config), Arc::clone(&parts.clock)),
            body_deadline: Duration::from_secs(config.server.body_seconds),
            metrics_key: config.server.metrics_key,
            totals_in_metrics: config.is_sqlite(),
            draining: stop.clone(),
        };
        let [public, api, admin] = listen(config, &doors, &leaving, &tasks).await?;
        let deliverer = Arc::new(Deliverer::new(journey.clone()));
        if parts.background {
            spawn_background(&journey, &deliverer, &stop, &tasks);
        }
        Ok(Self {
            public,
            api,
            admin,
            journey,
            deliverer,
            leaving,
            tasks,
            grace: Duration::from_secs(config.server.drain_grace_seconds),
            patience: Duration::from_secs(config.server.drain_seconds),
        })
    }

    /// Tells balancers to send no more and takes no new work from the queue; whoever calls is still answered.
    pub fn drain(&self) {
        self.leaving.draining.cancel();
    }

    /// Leaves a balancer: drains, serves on until it must have noticed, and stops.
    pub async fn leave(self) {
        self.drain();
        tokio::time::sleep(self.grace).await;
        self.stop().await;
    }

    /// Stops: no new connections, no new work, finishes what is in flight, closes the store. What is not finished in time is cut
    /// off, and is to others as if this process had died: the end must come before somebody makes it come.
    pub async fn stop(self) {
        self.drain();
        self.leaving.closed.cancel();
        self.tasks.close();
        if timeout(self.patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("work was still under way at the end of the drain and is cut off");
        }
        if timeout(CLOSING, self.journey.store.close()).await.is_err() {
            tracing::warn!("the store did not close in time");
        }
    }
}

fn limits(config: &Config) -> http::LimitSettings {
    http::LimitSettings {
        calls_per_second: config.limits.calls_per_second,
        calls_burst: config.limits.calls_burst,
        trusted_proxies: config.server.trusted_proxies.clone(),
    }
}

fn settling(settings: &Settling) -> settling::Rules {
    settling::Rules {
        policy: match settings.policy {
            SettlingPolicy::Strict => settling::Policy::Strict,
            SettlingPolicy::Guarded => settling::Policy::Guarded,
        },
        looks_ms: settings
            .looks_seconds
            .iter()
            .map(|look| i64::from(*look) * 1000)
            .collect(),
        window_ms: i64::from(settings.window_seconds) * 1000,
    }
}

/// The loops that run by themselves.
fn spawn_background(
    journey: &Journey,
    deliverer: &Arc<Deliverer>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let (worker, token) = (Arc::clone(deliverer), stop.clone());
    tasks.spawn(async move { worker.run(token).await });
    let (teller, token) = (journey.clone(), stop.clone());
    tasks.spawn(async move { teller.run_time(token).await });
    let (feed, token) = (journey.clone(), stop.clone());
    tasks.spawn(async move { feed.run_feed(token).await });
    for duty in Duty::ALL
        .into_iter()
        .filter(|duty| journey.is_needed(*duty))
    {
        let (journey, token) = (journey.clone(), stop.clone());
        tasks.spawn(async move { journey.start_duty(duty, token).await });
    }
}

/// The metrics, with a 0 for every word that is known before it is counted.
fn metrics(routes: &Routes) -> Result<Metrics, prometheus::Error> {
    let metrics = Metrics::new()?;
    for kind in StoreErrorKind::RUNNING {
        metrics.store_errors.with_label_values(&[kind.as_str()]);
    }
    for ceiling in Ceiling::ALL {
        metrics
            .promises
            .ceilings
            .with_label_values(&[ceiling.as_str()]);
    }
    for provider in routes.providers() {
        let name = [provider.name()];
        metrics
            .promises
            .provider_open
            .with_label_values(&name)
            .set(0);
        metrics.promises.duplicate_sends.with_label_values(&name);
        metrics.promises.reconciled.with_label_values(&name);
        for seen in ["found", "absent", "unclear", "no_answer"] {
            metrics
                .promises
                .looks
                .with_label_values(&[provider.name(), seen]);
        }
    }
    Ok(metrics)
}

async fn prepare_schema(config: &Config, store: &SqlStore) -> Result<(), AppError> {
    use crate::store::Store as _;

    if config.database.migrate {
        store.migrate().await?;
    } else if !store.ready().await.unwrap_or(false) {
        let message =
            "the schema is older than this version; run `onefive migrate`, or set database.migrate";
        return Err(StoreError::Migration(message.to_owned()).into());
    }
    Ok(())
}

/// Opens the listeners; routers with equal addresses share one. The addresses of the three, with their real ports.
async fn listen(
    config: &Config,
    doors: &Doors,
    leaving: &server::Leaving,
    tasks: &TaskTracker,
) -> Result<[SocketAddr; 3], AppError> {
    let routers = http::routers(doors);
    let limits = server::Limits {
        connections: config.server.connections,
        per_peer: config.server.connections_per_peer,
        header: Duration::from_secs(config.server.header_seconds),
        request: Duration::from_secs(config.server.request_seconds),
        drain: Duration::from_secs(config.server.drain_seconds),
    };
    let wanted = [config.server.public, config.server.api, config.server.admin];
    let mut merged: Vec<(SocketAddr, Router)> = Vec::new();
    for (address, router) in wanted
        .into_iter()
        .zip([routers.public, routers.api, routers.admin])
    {
        match merged.iter_mut().find(|(known, _)| *known == address) {
            Some((_, shared)) => *shared = std::mem::take(shared).merge(router),
            None => merged.push((address, router)),
        }
    }
    let mut real = BTreeMap::new();
    for (address, router) in merged {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| AppError::Listen(address, error))?;
        real.insert(
            address,
            listener
                .local_addr()
                .map_err(|error| AppError::Listen(address, error))?,
        );
        let router = http::finish(router, doors);
        tasks.spawn(server::serve(
            listener,
            router,
            limits,
            doors.journey.metrics.clone(),
            leaving.clone(),
        ));
    }
    Ok(wanted.map(|address| real.get(&address).copied().unwrap_or(address)))
}
