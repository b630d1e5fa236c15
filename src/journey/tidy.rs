//! The end: what has waited long enough expires, and events are folded into totals.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Journey;
use crate::store::StoreError;

/// How often it is tidied up when there is little to do.
const LOOK: Duration = Duration::from_secs(2);
/// Requests ended, or events folded, in one transaction: small enough not to hold up a reply.
const STEP: i64 = 500;

impl Journey {
    /// One round; how many requests ended and how many events were folded.
    pub async fn tidy(&self) -> Result<(u64, u64), StoreError> {
        let ended = self.store.expire(self.clock.now(), STEP).await?;
        let folded = self.store.fold(STEP).await?;
        Ok((ended, folded))
    }

    /// Tidies up until `stop`.
    pub async fn run_tidier(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let more = match self.tidy().await {
                Ok((ended, folded)) => ended.max(folded) >= STEP.unsigned_abs(),
                Err(error) => {
                    self.store_failed(&error);
                    tracing::warn!(%error, "could not tidy up");
                    false
                }
            };
            let pause = if more {
                Duration::from_millis(20)
            } else {
                LOOK
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
