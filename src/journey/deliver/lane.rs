//! What goes through one provider: how much at once, and what is claimed for it ahead of need.
//!
//! A claim is a transaction, and one that is made only when a place is free leaves that place empty for as long as it takes. So some
//! are held ready. They are few, and their leases are short: whoever dies with them holds nothing up for long.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::breaker::{Breaker, Ticket};
use crate::domain::desk::Desk;
use crate::domain::time::Timestamp;
use crate::journey::Journey;
use crate::provider::Provider;
use crate::store::Claim;

/// As many are held ready as this part of the places. They wait for half a send at most, which is well within their leases.
const HELD: usize = 2;

/// What goes through one provider. Each has its own limit and its own claims, so that a slow one does not hold up the others.
pub(super) struct Lane {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) channels: Vec<&'static str>,
    /// How many may be at the provider at once.
    size: usize,
    /// Places of those that are under way, at the provider or ahead of their turn there.
    free: Arc<Semaphore>,
    /// Places at the provider.
    turns: Arc<Semaphore>,
    freed: Arc<Notify>,
    breaker: Arc<Breaker>,
}

/// A claimed request, with its desk as it was then.
pub(super) struct Ready {
    pub(super) claim: Claim,
    pub(super) desk: Arc<Desk>,
}

/// A place among those that are under way, and what the provider's breaker wants to hear.
pub(super) struct Place {
    pub(super) ticket: Ticket,
    pub(super) seat: Seat,
}

/// The place itself. Whoever starts the next is told when it is free.
pub(super) struct Seat {
    permit: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
    turns: Arc<Semaphore>,
    freed: Arc<Notify>,
}

impl Seat {
    /// Waits for a place at the provider, and has it from then on; whether it had to wait.
    pub(super) async fn turn(&mut self) -> bool {
        self.turn = Arc::clone(&self.turns).try_acquire_owned().ok();
        let waits = self.turn.is_none();
        if waits {
            self.turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        }
        waits
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.turn.take());
        drop(self.permit.take());
        self.freed.notify_one();
    }
}

/// What is held ready for a lane.
#[derive(Default)]
pub(super) struct Queue {
    ready: VecDeque<Ready>,
    /// How many were asked for, while they are being claimed.
    asked: Option<usize>,
    /// More may be due than was claimed.
    more: bool,
}

impl Queue {
    /// Something may be due.
    pub(super) fn ring(&mut self) {
        self.more = true;
    }

    /// What was claimed. As many as were asked for means that there may be more.
    pub(super) fn take(&mut self, ready: Vec<Ready>) {
        let asked = self.asked.take().unwrap_or(usize::MAX);
        self.more |= ready.len() >= asked;
        self.ready.extend(ready);
    }
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

impl Lane {
    /// `freed` is rung whenever a place is free again.
    pub(super) fn new(
        provider: Arc<dyn Provider>,
        channels: Vec<&'static str>,
        freed: Arc<Notify>,
    ) -> Self {
        let size = provider.in_flight().max(1);
        let under_way = size + provider.ahead();
        Self {
            provider,
            channels,
            size,
            free: Arc::new(Semaphore::new(under_way)),
            turns: Arc::new(Semaphore::new(size)),
            freed,
            breaker: Arc::default(),
        }
    }

    /// How many may start now.
    pub(super) fn room(&self, now: Timestamp) -> usize {
        self.breaker.allows(self.free.available_permits(), now)
    }

    /// The next one that may start, with its place.
    pub(super) fn next(&self, queue: &mut Queue, now: Timestamp) -> Option<(Ready, Place)> {
        if queue.ready.is_empty() || self.breaker.allows(1, now) == 0 {
            return None;
        }
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let ready = queue.ready.pop_front()?;
        let ticket = self.breaker.starts(now);
        let seat = Seat {
            permit: Some(permit),
            turn: None,
            turns: Arc::clone(&self.turns),
            freed: Arc::clone(&self.freed),
        };
        Some((ready, Place { ticket, seat }))
    }

    /// How many are to be claimed now, if any; they are being claimed then. While the provider does not answer, only the one that tries
    /// the way.
    pub(super) fn wants(&self, queue: &mut Queue, now: Timestamp) -> Option<usize> {
        if queue.asked.is_some() || !queue.more {
            return None;
        }
        let (held, spare) = (queue.ready.len(), self.size / HELD);
        let most = self.breaker.allows(usize::MAX, now);
        let wanted = (self.free.available_permits() + spare).min(most);
        let limit = wanted.saturating_sub(held);
        // In batches: one for each message that comes back would be one transaction a message.
        if limit == 0 || (limit < most && limit * HELD * 2 < self.size) {
            return None;
        }
        queue.more = false;
        queue.asked = Some(limit);
        Some(limit)
    }
}

impl Journey {
    /// Claims what is due on these channels.
    pub(super) async fn claim(&self, channels: &[&str], limit: usize) -> Vec<Ready> {
        let now = self.clock.now();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let store = &self.store;
        let claims = store
            .claim_deliveries(&self.replica, channels, limit, now)
            .await;
        let claims = claims.unwrap_or_else(|error| {
            self.store_failed(&error);
            tracing::warn!(%error, "due requests could not be claimed");
            Vec::new()
        });
        let mut desks: HashMap<_, Option<Arc<Desk>>> = HashMap::new();
        let mut ready = Vec::with_capacity(claims.len());
        for claim in claims {
            let known = desks.get(&claim.request.desk).cloned();
            let desk = if let Some(desk) = known {
                desk
            } else {
                let desk = self.desk_of(&claim.request).await;
                let desk = desk.map(Arc::new).inspect_err(|error| {
                    self.store_failed(error);
                    tracing::warn!(request = %claim.request.id, %error, "a desk could not be read; what it asks waits");
                });
                desks.entry(claim.request.desk).or_insert(desk.ok()).clone()
            };
            // Without its desk it stays claimed until its lease ends.
            if let Some(desk) = desk {
                ready.push(Ready { claim, desk });
            }
        }
        ready
    }
}
