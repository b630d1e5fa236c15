//! Scheduled duties: what one replica does for all. Whoever holds the lease of a duty does it; when it dies, another takes over as
//! soon as the lease ends, by the database's clock. A holder that was paused and wakes up finds its lease gone.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Journey;
use crate::store::{Lease, StoreError};

/// A scheduled duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Settles what dead workers left behind.
    Sweep,
    /// Looks after attempts in doubt.
    Settle,
    /// Fetches the replies that an outage kept from us.
    Reconcile,
    /// Ends what has waited long enough, and folds events into totals.
    Tidy,
    /// Asks the database whether a promise is broken.
    Audit,
    /// Tells webhooks.
    Webhooks,
    /// Tells the sinks that take all events.
    Streams,
    /// Tells the sinks that take totals.
    Samples,
    /// Forgets what was kept for long enough.
    Retain,
    /// Deletes what was told, and what bounds nothing any more.
    Prune,
    /// Seals anew what is sealed with an older key.
    Reseal,
    /// Pauses a desk whose messages look pumped.
    Watch,
}

/// A lease outlasts the pause between two rounds by this much.
const GRACE: Duration = Duration::from_secs(10);
/// The pause between two rounds when there is more to do, and the longest after a round that failed.
const SOON: Duration = Duration::from_millis(20);
/// A pause is at least so many times as long as the round before it.
const GIVES_WAY: u32 = 2;
const AGAIN: Duration = Duration::from_secs(2);

/// What the metric shows of an invariant that could not be asked.
const UNANSWERED: i64 = -1;

impl Duty {
    /// Every duty.
    pub const ALL: [Self; 12] = [
        Self::Sweep,
        Self::Settle,
        Self::Reconcile,
        Self::Tidy,
        Self::Audit,
        Self::Webhooks,
        Self::Streams,
        Self::Samples,
        Self::Retain,
        Self::Prune,
        Self::Reseal,
        Self::Watch,
    ];

    /// Its name in the store and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Settle => "settle",
            Self::Reconcile => "reconcile",
            Self::Tidy => "tidy",
            Self::Audit => "audit",
            Self::Webhooks => "webhooks",
            Self::Streams => "streams",
            Self::Samples => "samples",
            Self::Retain => "retain",
            Self::Prune => "prune",
            Self::Reseal => "reseal",
            Self::Watch => "watch",
        }
    }

    /// The pause between two rounds when there is little to do.
    const fn every(self) -> Duration {
        match self {
            // A provider's list is a favour: at most one question a second.
            Self::Settle => Duration::from_secs(1),
            // A dead worker's claim is taken over this long after its lease ends.
            Self::Sweep | Self::Tidy => Duration::from_secs(2),
            Self::Reconcile => Duration::from_mins(3),
            // What is committed here is told at once; this is for other replicas' work, and for what is tried again.
            Self::Webhooks => Duration::from_millis(250),
            Self::Streams | Self::Samples => Duration::from_secs(1),
            // Days are what it is measured in.
            Self::Retain => Duration::from_mins(10),
            // A key is changed now and then; what cannot be opened is tried again.
            Self::Reseal => Duration::from_mins(15),
            // Questions over many rows, or many rows that go, for which nobody waits.
            Self::Audit | Self::Watch | Self::Prune => Duration::from_mins(5),
        }
    }

    /// The pause after a round that failed. What is only asked now and then comes back at its own pace: the database has other worries.
    fn again(self) -> Duration {
        if matches!(
            self,
            Self::Audit | Self::Retain | Self::Prune | Self::Reseal
        ) {
            self.every()
        } else {
            self.every().min(AGAIN)
        }
    }

    /// How long after a start its first round comes. A start is when there is most to do and nothing is in memory yet, and what reads all
    /// rows, as the audit does, takes seconds where there are a million.
    fn rests(self) -> Duration {
        if self == Self::Audit {
            self.every()
        } else {
            Duration::ZERO
        }
    }

    /// Whether there is work as soon as events are committed.
    const fn is_rung_for(self) -> bool {
        matches!(self, Self::Webhooks | Self::Streams)
    }

    /// For how long it is held without being renewed.
    fn lease(self) -> Duration {
        self.every() + GRACE
    }
}

impl Journey {
    /// Takes or keeps a duty; `None` while another replica has it.
    pub(super) async fn hold(&self, duty: Duty) -> Result<Option<Lease>, StoreError> {
        let lease = i64::try_from(duty.lease().as_millis()).unwrap_or(i64::MAX);
        let (name, owner) = (duty.name(), &self.replica);
        self.store.hold_duty(name, owner, lease).await
    }

    /// Does a duty from some time after a start on, until `stop`.
    pub async fn start_duty(&self, duty: Duty, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(duty.rests()) => self.run_duty(duty, stop.clone()).await,
        }
    }

    /// Does a duty again and again while it is ours, until `stop`.
    pub async fn run_duty(&self, duty: Duty, stop: CancellationToken) {
        let mut held: Option<(Lease, Instant)> = None;
        let mut bell = self.publishing.listen();
        while !stop.is_cancelled() {
            // Renewed by half-time and not with every round: each time is a commit, also while nothing happens. The time that a
            // process stands still counts.
            let fresh = held.filter(|(_, since)| since.elapsed() * 2 < duty.lease());
            let since = Instant::now();
            let leased = match fresh {
                Some(fresh) => Ok(Some(fresh)),
                None => self.hold(duty).await.map(|lease| Some((lease?, since))),
            };
            held = leased.as_ref().copied().unwrap_or(None);
            let begun = Instant::now();
            let done = match leased {
                Ok(Some((lease, _))) => self.round(duty, lease).await,
                Ok(None) => {
                    self.show_nothing_of(duty);
                    Ok(false)
                }
                Err(error) => Err(error),
            };
            let pause = match done {
                // What nobody waits for gives way: the longer a round had to wait for the database, the longer the pause after it.
                Ok(true) => SOON.max(begun.elapsed() * GIVES_WAY).min(AGAIN),
                Ok(false) => duty.every(),
                Err(error) => {
                    self.store_failed(&error);
                    tracing::warn!(duty = duty.name(), %error, "a scheduled duty could not be done");
                    duty.again()
                }
            };
            // Whoever failed waits all the same.
            let rung = held.is_some() && duty.is_rung_for() && pause == duty.every();
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                Ok(()) = bell.changed(), if rung => {}
            }
        }
    }

    /// One round; whether there is more to do at once.
    async fn round(&self, duty: Duty, lease: Lease) -> Result<bool, StoreError> {
        match duty {
            Duty::Sweep => self.sweep().await.map(|_| false),
            // What needs no question is done at once.
            Duty::Settle => Ok(self.settle_one().await? == Some(false)),
            Duty::Reconcile => self.reconcile_on(lease).await.map(|_| false),
            Duty::Tidy => self.tidy_more().await,
            Duty::Watch => self.watch_on(lease).await.map(|(_, more)| more),
            Duty::Audit => {
                self.audit().await;
                Ok(false)
            }
            Duty::Webhooks => self.tell_webhooks().await.map(|()| false),
            Duty::Streams => self.tell_streams().await,
            Duty::Samples => self.tell_samples(duty.name(), lease).await.map(|()| false),
            Duty::Retain => self.retain().await,
            Duty::Prune => self.prune_more().await,
            Duty::Reseal => self.reseal(lease).await,
        }
    }

    /// Asks the database whether a promise is broken, and shows it as a metric.
    pub async fn audit(&self) {
        for (name, broken) in self.store.invariants().await {
            let gauge = self.metrics.promises.invariants.with_label_values(&[name]);
            match broken {
                Ok(broken) => {
                    if broken > 0 {
                        tracing::error!(invariant = name, broken, "a promise is broken");
                    }
                    gauge.set(broken);
                }
                Err(error) => {
                    self.store_failed(&error);
                    // Said once, not every round: a large database will not answer the next time either.
                    if gauge.get() != UNANSWERED {
                        tracing::warn!(invariant = name, %error, "whether a promise holds could not be asked");
                    }
                    gauge.set(UNANSWERED);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_that_failed_comes_back_at_its_own_pace() {
        assert_eq!(Duty::Audit.again(), Duty::Audit.every());
        for duty in [Duty::Sweep, Duty::Settle, Duty::Reconcile, Duty::Tidy] {
            assert!(duty.again() <= AGAIN, "{duty:?}");
        }
    }

    #[test]
    fn a_start_waits_for_no_audit() {
        let resting = Duty::ALL.into_iter().filter(|duty| !duty.rests().is_zero());
        let names: Vec<&str> = resting.map(Duty::name).collect();
        assert_eq!(names, ["audit"]);
    }
}
