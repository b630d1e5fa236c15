//! `onefive restored`: says that the database was put back from a copy, so that whoever reads totals knows why they fell.

use super::{Failure, quiet_parts};
use crate::app::open_store;
use crate::config::Config;
use crate::store::Store as _;

/// Where the instant is kept from which totals count.
const EPOCH: &str = "epoch";

pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    let parts = quiet_parts();
    let (store, _) = open_store(config, &parts).await?;
    store.migrate().await?;
    let lease = store.hold_duty(EPOCH, "onefive restored", 10_000).await?;
    let lease = lease.ok_or_else(|| Failure::Refused("this is being said already".to_owned()))?;
    let now = match store.shared_time().await? {
        Some(now) => now,
        None => parts.clock.now(),
    };
    store.mark_duty(EPOCH, lease, now.as_millis()).await?;
    store.close().await;
    println!("Totals count from {} on.", now.to_rfc3339());
    Ok(())
}
