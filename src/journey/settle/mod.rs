//! Evidence about what was sent: the provider's signed callbacks, what dead workers left behind, and what the provider's own list
//! says. A contact's answer is evidence too; it is weighed where it is recorded.

use super::Journey;
use crate::domain::delivery::Status;
use crate::domain::token::TokenHash;
use crate::store::StoreError;

mod look;
mod matching;

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

    /// Looks after every attempt in doubt whose turn it is; how many.
    pub async fn settle_due(&self) -> Result<usize, StoreError> {
        let mut settled = 0;
        while self.settle_one().await?.is_some() {
            settled += 1;
        }
        Ok(settled)
    }
}
