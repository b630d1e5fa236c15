//! What time it is. Replicas agree on the database's clock: one whose own is wrong would ask too late, end too early, and date
//! what it stores an hour away from what the others do.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Journey;
use crate::store::StoreError;

/// How often the shared clock is looked at. Between two looks the machine only counts what has passed, so little can be wrong.
const LOOK: Duration = Duration::from_secs(10);

impl Journey {
    /// Tells our clock the time that all replicas share, if they share one.
    pub async fn tell_time(&self) -> Result<(), StoreError> {
        if let Some(now) = self.store.shared_time().await? {
            self.clock.follow(now);
        }
        Ok(())
    }

    /// Tells the time until `stop`.
    pub async fn run_time(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            if let Err(error) = self.tell_time().await {
                self.store_failed(&error);
                tracing::warn!(%error, "the database could not be asked for the time");
            }
        }
    }
}
