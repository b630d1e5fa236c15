//! Replies that an outage kept from us: the provider's list of what was sent to us is read every few minutes, and what is missing is
//! taken in through the same path, once.
//!
//! How far the list was read is noted at the duty, so that after an outage of any length it goes on from there. What was taken in
//! before is known by its id; what was sent before an ask is no answer to it.

use super::Journey;
use super::duty::Duty;
use super::receive::{Text, pairs};
use crate::domain::request::Channel;
use crate::domain::time::Timestamp;
use crate::provider::Provider;
use crate::provider::ledger::{LookError, Received};
use crate::store::{Lease, StoreError};

/// A text younger than this may still be on its way to us.
pub(super) const SETTLED_MS: i64 = 60_000;
/// The duty is held again after so many messages.
const RENEW: usize = 100;
/// Read again with every round: a list may show a message late.
const OVERLAP_MS: i64 = 600_000;
/// The furthest look back: nobody waits for an answer for longer than a request lives.
const BACK_MAX_MS: i64 = 7 * 86_400_000;
/// The first round of a new installation looks this far back.
const BACK_FIRST_MS: i64 = 3_600_000;

impl Journey {
    /// One round over every provider that keeps a list; how many replies were missing.
    pub async fn reconcile(&self) -> Result<usize, StoreError> {
        match self.hold(Duty::Reconcile).await? {
            Some(lease) => self.reconcile_on(lease).await,
            None => Ok(0),
        }
    }

    pub(super) async fn reconcile_on(&self, lease: Lease) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let since = since(lease.mark, now);
        // What has just been sent is on its way to us; the next round still sees it.
        let until = now.plus_millis(-SETTLED_MS);
        let mut missing = 0;
        let mut whole = true;
        for provider in self.routes.providers() {
            let received = match self.received(provider.as_ref(), since).await? {
                Ok(received) => received,
                Err(error) => {
                    whole = false;
                    tracing::warn!(provider = provider.name(), code = %error.code, "the list of replies cannot be read");
                    continue;
                }
            };
            let settled = received.into_iter().filter(|message| message.at <= until);
            for (n, message) in settled.enumerate() {
                if n % RENEW == RENEW - 1 && self.hold(Duty::Reconcile).await? != Some(lease) {
                    return Ok(missing);
                }
                missing += usize::from(self.take_in(provider.as_ref(), message).await?);
            }
        }
        if whole {
            let name = Duty::Reconcile.name();
            self.store.mark_duty(name, lease, now.as_millis()).await?;
        }
        Ok(missing)
    }

    async fn received(
        &self,
        provider: &dyn Provider,
        since: Timestamp,
    ) -> Result<Result<Vec<Received>, LookError>, StoreError> {
        let Some(ledger) = provider.ledger() else {
            return Ok(Ok(Vec::new()));
        };
        let mut ours = vec![provider.sender(CHANNEL).to_owned()];
        for desk in self.store.desks().await? {
            ours.extend(desk.settings.senders.get(CHANNEL).cloned());
        }
        ours.retain(|sender| !sender.is_empty());
        ours.sort_unstable();
        ours.dedup();
        if ours.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        Ok(ledger.received(&ours, since).await)
    }

    /// Whether it was missing. What it is answered with goes nowhere: the moment for a thank-you has passed.
    async fn take_in(
        &self,
        provider: &dyn Provider,
        message: Received,
    ) -> Result<bool, StoreError> {
        let text = Text {
            pairs: pairs(&Channel::named(CHANNEL), &message.from, &message.to),
            body: &message.body,
            message_id: &message.provider_id,
            at: Some(message.at),
        };
        let replied = match self.take_text(provider, &text).await {
            Err(error) if !error.may_pass() => {
                // One that cannot be taken in must not keep the others out.
                self.store_failed(&error);
                tracing::error!(provider = provider.name(), %error, "a reply cannot be taken in");
                return Ok(false);
            }
            replied => replied?,
        };
        let taken = replied.is_some_and(|replied| !replied.repeated);
        if taken {
            let label = [provider.name()];
            self.metrics
                .promises
                .reconciled
                .with_label_values(&label)
                .inc();
            tracing::info!(
                provider = provider.name(),
                "a reply that had not reached us was taken in"
            );
        }
        Ok(taken)
    }
}

/// The channel whose replies a provider lists.
const CHANNEL: &str = "sms";

/// From when on the list is read, when it was last read at `mark`.
fn since(mark: i64, now: Timestamp) -> Timestamp {
    let earliest = now.as_millis() - BACK_MAX_MS;
    let from = if mark == 0 {
        now.as_millis() - BACK_FIRST_MS
    } else {
        mark.min(now.as_millis()) - OVERLAP_MS
    };
    Timestamp::from_millis(from.max(earliest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_an_outage_the_list_is_read_from_where_it_was_left() {
        let now = Timestamp::from_millis(100 * 86_400_000);
        let back = |mark: i64| now.millis_since(since(mark, now)) / 1000;
        assert_eq!(back(now.as_millis()), 600);
        assert_eq!(back(now.as_millis() - 7_200_000), 7_800);
        assert_eq!(back(0), 3_600, "a new installation");
        assert_eq!(back(1), 7 * 86_400, "the longest");
        assert_eq!(
            back(now.as_millis() + 5_000),
            600,
            "a mark ahead of our clock"
        );
    }
}
