//! request -> delivery: claim, render, open the way, commit to sending, send, report.
//!
//! The order is the promise: the way to the provider is open before the point of no return is committed, and that is
//! committed before the first byte. Whatever happens afterwards, nothing but proof sends again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Journey;
use lane::{Lane, Ready};

mod breaker;
mod carry;
mod lane;

/// Looks for due work at least this often, should the bell not ring: another replica may have accepted the trigger.
const LOOK: Duration = Duration::from_millis(500);

/// The worker that carries what is due.
#[derive(Debug)]
pub struct Deliverer {
    journey: Arc<Journey>,
    lanes: Vec<Lane>,
    /// Rung when a place at a provider is free again.
    freed: Arc<Notify>,
}

impl Deliverer {
    /// A worker with a name of its own.
    pub fn new(journey: Journey) -> Self {
        let freed = Arc::new(Notify::new());
        let lanes = journey.routes.providers().into_iter();
        let lanes = lanes
            .map(|provider| {
                let channels = journey.routes.channels_of(provider.name());
                Lane::new(Arc::clone(provider), channels, Arc::clone(&freed))
            })
            .collect();
        Self {
            journey: Arc::new(journey),
            lanes,
            freed,
        }
    }

    /// Works until `stop`, then finishes what is in flight. While some is on its way, the next is claimed, so that no place at the
    /// provider waits for the database.
    pub async fn run(&self, stop: CancellationToken) {
        let mut flying = JoinSet::new();
        let mut claiming: JoinSet<(usize, Vec<Ready>)> = JoinSet::new();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut queues: Vec<lane::Queue> =
            self.lanes.iter().map(|_| lane::Queue::default()).collect();
        while !stop.is_cancelled() {
            for (at, (lane, queue)) in self.lanes.iter().zip(&mut queues).enumerate() {
                while let Some(ready) = lane.next(queue, self.journey.clock.now()) {
                    self.launch(lane, ready, &mut flying, &stop);
                }
                if let Some(limit) = lane.wants(queue, self.journey.clock.now()) {
                    let (journey, channels) = (Arc::clone(&self.journey), lane.channels.clone());
                    claiming.spawn(async move { (at, journey.claim(&channels, limit).await) });
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(claimed) = claiming.join_next() => match claimed {
                    Ok((at, ready)) => if let Some(queue) = queues.get_mut(at) {
                        queue.take(ready);
                    },
                    // It ended without an answer; what it may have claimed comes back when its lease ends.
                    Err(_) => queues.iter_mut().for_each(|queue| queue.take(Vec::new())),
                },
                () = self.freed.notified() => {}
                Some(_) = flying.join_next() => {}
                () = self.journey.bell.notified() => queues.iter_mut().for_each(lane::Queue::ring),
                _ = look.tick() => queues.iter_mut().for_each(lane::Queue::ring),
            }
            while flying.try_join_next().is_some() {}
        }
        while claiming.join_next().await.is_some() {}
        while flying.join_next().await.is_some() {}
        // What did not reach its point of no return is another worker's at once, not only when the lease ends.
        if let Err(error) = self.journey.store.release(&self.journey.replica).await {
            self.journey.store_failed(&error);
            tracing::warn!(%error, "what was claimed could not be given back; it is when its lease ends");
        }
    }

    /// Carries what is due now, as much as may be under way at once, and returns when all of it is reported; how many requests.
    pub async fn tick(&self) -> usize {
        let (mut flying, mut launched) = (JoinSet::new(), 0);
        for lane in &self.lanes {
            let mut queue = lane::Queue::default();
            let limit = lane.room(self.journey.clock.now());
            if limit > 0 {
                queue.take(self.journey.claim(&lane.channels, limit).await);
            }
            while let Some(ready) = lane.next(&mut queue, self.journey.clock.now()) {
                launched += 1;
                self.launch(lane, ready, &mut flying, &CancellationToken::new());
            }
        }
        while flying.join_next().await.is_some() {}
        launched
    }

    fn launch(
        &self,
        lane: &Lane,
        (ready, place): (Ready, lane::Place),
        flying: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        let (journey, provider) = (Arc::clone(&self.journey), Arc::clone(&lane.provider));
        let stop = stop.clone();
        flying.spawn(async move {
            journey.carry(provider.as_ref(), &ready, place, &stop).await;
        });
    }
}
