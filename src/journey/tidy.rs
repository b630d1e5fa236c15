//! The end: what has waited long enough expires, and events are folded into totals.

use super::Journey;
use super::duty::Duty;
use super::publish::seconds;
use super::reconcile::SETTLED_MS;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// Requests ended in one transaction: small enough not to hold up a reply.
const STEP: i64 = 500;
/// Events folded in one transaction, which only writes their sums.
const FOLDED: i64 = 2_000;
/// While replies cannot be fetched, nothing expires that may have been answered; but not for longer than this.
const UNHEARD_MAX_MS: i64 = 86_400_000;

impl Journey {
    /// One round; how many requests ended and how many events were folded.
    pub async fn tidy(&self) -> Result<(u64, u64), StoreError> {
        let now = self.clock.now();
        let heard = self.heard_until(now).await?;
        let ended = self.store.expire(now, heard, STEP).await;
        // Events do not wait for what cannot end: a scrape reads all that are not folded.
        let folded = self.store.fold(FOLDED).await;
        // How long events wait is seen also while they cannot be folded.
        if let Ok(oldest) = self.store.oldest_unfolded().await {
            let waits = oldest.map_or(0, |oldest| self.clock.now().millis_since(oldest));
            self.metrics.streams.outbox_oldest.set(seconds(waits));
        }
        Ok((ended?, folded?))
    }

    /// One round; whether there is more to do at once.
    pub(super) async fn tidy_more(&self) -> Result<bool, StoreError> {
        let (ended, folded) = self.tidy().await?;
        Ok(ended >= STEP.unsigned_abs() || folded >= FOLDED.unsigned_abs())
    }

    /// Up to when every reply is known. After an outage a request must not expire before the replies are fetched that came in it.
    async fn heard_until(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let providers = self.routes.providers();
        if providers.iter().all(|provider| provider.ledger().is_none()) {
            return Ok(now);
        }
        let mark = self.store.duty_mark(Duty::Reconcile.name()).await?;
        if mark == 0 {
            return Ok(now);
        }
        let heard = (mark - SETTLED_MS).clamp(now.as_millis() - UNHEARD_MAX_MS, now.as_millis());
        Ok(Timestamp::from_millis(heard))
    }
}
