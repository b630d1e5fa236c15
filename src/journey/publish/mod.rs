//! Results leave the house: everybody is told of events who is to be.
//!
//! ```text
//! event, at its place in the desk's stream --+--> webhooks    (each with a mark and its retries)
//!                                            +--> streams     (NATS: a mark for each desk)
//!                                            +--> feed        (who reads /v1/events, on every replica)
//! totals ------------------------------------+--> samples     (remote write)
//! ```
//!
//! Each arrow but the feed's is a duty, done by one replica at a time; what was told is noted afterwards, so everybody is told at least
//! once, with the same identifier each time. Nothing here folds totals, and folding waits for nothing here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{Duty, Journey};
use crate::domain::id::WebhookId;
use crate::domain::time::Timestamp;
use crate::sink::{Post, Samples, Stream};
use crate::store::{Keeping, StoreError};
use samples::Pushing;

use feed::Heads;
pub use feed::Reader;
pub use figures::Figures;
pub use subscribe::WebhookError;

mod feed;
mod figures;
mod samples;
mod streams;
mod subscribe;
mod webhooks;

/// Old events deleted in one transaction.
const PRUNED: i64 = 2_000;
/// As many small rows forgotten at once say that there are more: showings of pages go in steps of this size.
const FORGOTTEN: u64 = 1_000;
/// Webhooks that are called at the same time.
const CALLED: usize = 64;
/// How often webhooks are counted.
const COUNT: Duration = Duration::from_secs(2);

/// Makes metric families of figures, as `/metrics/totals` shows them.
pub type Families = fn(&Figures, Timestamp) -> Vec<MetricFamily>;

/// Webhooks that are being told right now.
#[derive(Default)]
struct Called {
    now: BTreeSet<WebhookId>,
    /// The last one that was begun: the next round begins behind it.
    last: Option<WebhookId>,
}

/// Who is told, and what of it this process is at.
#[derive(Clone)]
pub struct Publishing {
    /// Sinks that take all events, by name.
    pub streams: Vec<(&'static str, Arc<dyn Stream>)>,
    /// Who calls webhooks.
    pub post: Option<Arc<dyn Post>>,
    /// Who takes the totals, by name.
    pub samples: Vec<(&'static str, Arc<dyn Samples>)>,
    /// Makes metric families of figures.
    pub families: Families,
    /// For how long events are kept.
    pub keeping: Keeping,
    /// The work that goes on by itself, for the drain to wait for.
    pub tasks: TaskTracker,
    /// Rung when events were committed here, a moment later, so that what comes together is told together.
    bell: Arc<watch::Sender<()>>,
    /// The last place of each stream, as long as somebody reads here.
    heads: Arc<watch::Sender<Heads>>,
    /// Webhooks that are being told right now.
    called: Arc<Mutex<Called>>,
    room: Arc<Semaphore>,
    /// When they were counted for the metrics.
    counted: Arc<Mutex<Option<Instant>>>,
    pushing: Arc<tokio::sync::Mutex<Pushing>>,
}

impl std::fmt::Debug for Publishing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.streams.iter().map(|(name, _)| *name).collect();
        f.debug_tuple("Publishing").field(&names).finish()
    }
}

impl Publishing {
    /// Nobody is told yet.
    pub fn new(families: Families, keeping: Keeping, tasks: TaskTracker) -> Self {
        Self {
            streams: Vec::new(),
            post: None,
            samples: Vec::new(),
            families,
            keeping,
            tasks,
            bell: Arc::default(),
            heads: Arc::new(watch::Sender::new(Heads::default())),
            called: Arc::default(),
            room: Arc::new(Semaphore::new(CALLED)),
            counted: Arc::default(),
            pushing: Arc::default(),
        }
    }

    /// Whether it is time to count the webhooks.
    fn counts(&self) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let due = counted.is_none_or(|at| at.elapsed() >= COUNT);
        if due {
            *counted = Some(Instant::now());
        }
        due
    }

    /// Hears when events were committed here.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }
}

impl Journey {
    /// Deletes what was told and is old.
    pub async fn prune(&self) -> Result<u64, StoreError> {
        let sinks: Vec<&str> = self
            .publishing
            .streams
            .iter()
            .map(|(name, _)| *name)
            .collect();
        let now = self.clock.now();
        let events = self
            .store
            .prune_events(self.publishing.keeping, &sinks, now, PRUNED)
            .await?;
        let logged = self.store.forget_deliveries(now, PRUNED).await?;
        Ok(events + logged)
    }

    /// One round of everything that only grows; whether there is more to do at once.
    pub(super) async fn prune_more(&self) -> Result<bool, StoreError> {
        let forgotten = self.store.forget(self.clock.now()).await;
        // Neither waits for the other.
        let pruned = self.prune().await?;
        Ok(pruned >= PRUNED.unsigned_abs() || forgotten? >= FORGOTTEN)
    }

    /// Whether anything is to be done in a duty, as this process is configured.
    pub fn is_needed(&self, duty: Duty) -> bool {
        match duty {
            Duty::Webhooks => self.publishing.post.is_some(),
            Duty::Streams => !self.publishing.streams.is_empty(),
            Duty::Samples => !self.publishing.samples.is_empty(),
            Duty::Sweep
            | Duty::Settle
            | Duty::Reconcile
            | Duty::Tidy
            | Duty::Audit
            | Duty::Watch
            | Duty::Retain
            | Duty::Prune
            | Duty::Reseal => true,
        }
    }

    /// Somebody else has the duty, so it is for them to show how it goes.
    pub(super) fn show_nothing_of(&self, duty: Duty) {
        let metrics = &self.metrics.streams;
        let well = |name: &str| metrics.sink_down.with_label_values(&[name]).set(0);
        match duty {
            Duty::Tidy => metrics.outbox_oldest.set(0.0),
            Duty::Webhooks => {
                for state in ["working", "open", "disabled"] {
                    metrics.webhooks.with_label_values(&[state]).set(0);
                }
            }
            Duty::Streams => self
                .publishing
                .streams
                .iter()
                .for_each(|(name, _)| well(name)),
            Duty::Samples => self
                .publishing
                .samples
                .iter()
                .for_each(|(name, _)| well(name)),
            Duty::Sweep
            | Duty::Settle
            | Duty::Reconcile
            | Duty::Audit
            | Duty::Watch
            | Duty::Retain
            | Duty::Prune
            | Duty::Reseal => {}
        }
    }

    /// Everything once, in order and to its end: for whoever turns it by hand.
    pub async fn publish(&self) -> Result<(), StoreError> {
        self.tell_feed().await?;
        self.tell_webhooks_all().await?;
        while self.tell_streams().await? {}
        Ok(())
    }

    /// How long after it happened an event was told for the first time.
    fn observe(&self, sink: &str, at: Timestamp) {
        let late = self.clock.now().millis_since(at);
        let seconds = seconds(late);
        let metrics = &self.metrics.streams;
        metrics
            .publish_seconds
            .with_label_values(&[sink])
            .observe(seconds);
    }
}

/// Milliseconds as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a span of milliseconds above 2^53 is out of reach"
)]
pub(super) fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
