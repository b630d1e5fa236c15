//! The end: what has waited long enough expires, and events are folded into totals.

use super::Journey;
use crate::store::StoreError;

/// Requests ended, or events folded, in one transaction: small enough not to hold up a reply.
const STEP: i64 = 500;

impl Journey {
    /// One round; how many requests ended and how many events were folded.
    pub async fn tidy(&self) -> Result<(u64, u64), StoreError> {
        let ended = self.store.expire(self.clock.now(), STEP).await;
        // Events do not wait for what cannot end: a scrape reads all that are not folded.
        let folded = self.store.fold(STEP).await?;
        Ok((ended?, folded))
    }

    /// One round; whether there is more to do at once.
    pub(super) async fn tidy_more(&self) -> Result<bool, StoreError> {
        let (ended, folded) = self.tidy().await?;
        Ok(ended.max(folded) >= STEP.unsigned_abs())
    }
}
