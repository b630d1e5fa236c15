//! request -> delivery: claim, render, open the way, commit to sending, send, report.
//!
//! The order is the promise: the way to the provider is open before the point of no return is committed, and that is
//! committed before the first byte. Whatever happens afterwards, nothing but proof sends again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Journey;
use crate::provider::Provider;
use crate::store::Claim;
use breaker::Breaker;

mod breaker;
mod carry;

/// Looks for due work at least this often, should the bell not ring: another replica may have accepted the trigger.
const LOOK: Duration = Duration::from_millis(500);
/// New work is claimed once this part of the capacity is free.
const CLAIM_SHARE: usize = 16;
/// The worker that carries what is due.
#[derive(Debug)]
pub struct Deliverer {
    journey: Journey,
    lanes: Vec<Lane>,
}

/// What goes through one provider. Each has its own limit and its own claims, so that a slow one does not hold up the others.
struct Lane {
    provider: Arc<dyn Provider>,
    channels: Vec<&'static str>,
    size: usize,
    free: Arc<Semaphore>,
    breaker: Arc<Breaker>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {:?} {}",
            self.provider.name(),
            self.channels,
            self.size
        )
    }
}

impl Deliverer {
    /// A worker with a name of its own.
    pub fn new(journey: Journey) -> Self {
        let lanes = journey
            .routes
            .providers()
            .into_iter()
            .map(|provider| {
                let size = provider.in_flight().max(1);
                Lane {
                    provider: Arc::clone(provider),
                    channels: journey.routes.channels_of(provider.name()),
                    size,
                    free: Arc::new(Semaphore::new(size)),
                    breaker: Arc::default(),
                }
            })
            .collect();
        Self { journey, lanes }
    }

    /// Works until `stop`, then finishes what is in flight.
    pub async fn run(&self, stop: CancellationToken) {
        let mut flying = JoinSet::new();
        while !stop.is_cancelled() {
            if self.launch(&mut flying, &stop).await > 0 {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = flying.join_next() => {}
                () = self.journey.bell.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            while flying.try_join_next().is_some() {}
        }
        while flying.join_next().await.is_some() {}
        // What did not reach its point of no return is another worker's at once, not only when the lease ends.
        if let Err(error) = self.journey.store.release(&self.journey.replica).await {
            self.journey.store_failed(&error);
            tracing::warn!(%error, "what was claimed could not be given back; it is when its lease ends");
        }
    }

    /// Carries what is due now, as much as may be under way at once, and returns when all of it is reported; how many requests.
    pub async fn tick(&self) -> usize {
        let mut flying = JoinSet::new();
        let claimed = self.launch(&mut flying, &CancellationToken::new()).await;
        while flying.join_next().await.is_some() {}
        claimed
    }

    async fn launch(&self, flying: &mut JoinSet<()>, stop: &CancellationToken) -> usize {
        let mut launched = 0;
        for lane in &self.lanes {
            let free = lane.free.available_permits();
            // Claims are made in batches: one for each message that comes back would be one transaction a message.
            if free * CLAIM_SHARE < lane.size {
                continue;
            }
            let free = lane.breaker.allows(free, self.journey.clock.now());
            if free == 0 {
                continue;
            }
            for claim in self.claim(lane, free).await {
                // Taken here and not in the task, so that the next claim sees what is left. No claim gives more than was asked for.
                let permit = Arc::clone(&lane.free).try_acquire_owned();
                let (journey, provider) = (self.journey.clone(), Arc::clone(&lane.provider));
                let ticket = lane.breaker.starts(self.journey.clock.now());
                let stop = stop.clone();
                launched += 1;
                flying.spawn(async move {
                    let provider = provider.as_ref();
                    journey.carry(provider, &claim, ticket, &stop).await;
                    drop(permit);
                });
            }
        }
        launched
    }

    async fn claim(&self, lane: &Lane, free: usize) -> Vec<Claim> {
        let now = self.journey.clock.now();
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let store = &self.journey.store;
        let claims = store
            .claim_deliveries(&self.journey.replica, &lane.channels, limit, now)
            .await;
        claims.unwrap_or_else(|error| {
            self.journey.store_failed(&error);
            tracing::warn!(%error, "due requests could not be claimed");
            Vec::new()
        })
    }
}
