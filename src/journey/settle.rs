//! Evidence about what was sent: the provider's signed callbacks, and what dead workers left behind. A contact's answer is
//! evidence too; it is weighed where it is recorded.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Journey;
use crate::domain::delivery::Status;
use crate::domain::token::TokenHash;
use crate::store::StoreError;

/// How often leases are looked at. A dead worker's claim is taken over this long after its lease ends.
const LOOK: Duration = Duration::from_secs(2);

impl Journey {
    /// Takes a provider's callback about an attempt. Whether any attempt has that token.
    pub(super) async fn settle(
        &self,
        token: &str,
        provider_id: &str,
        status: Status,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let request = self
            .store
            .record_status(TokenHash::of(token), provider_id, status, now)
            .await?;
        Ok(request.is_some())
    }

    /// Settles what dead workers left behind; how many deliveries.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        self.store.sweep(self.clock.now()).await
    }

    /// Sweeps until `stop`.
    pub async fn run_sweeper(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.sweep().await {
                self.store_failed(&error);
                tracing::warn!(%error, "leases could not be swept");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
