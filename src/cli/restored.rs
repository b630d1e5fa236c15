//! `onefive restored`: says that the database was put back from a copy, so that whoever reads totals knows why they fell,
//! and so that no place in a stream of events is given twice.

use super::{Failure, quiet_parts};
use crate::app::open_store;
use crate::config::Config;
use crate::store::{Outbox as _, Store as _};

/// Where the instant is kept from which totals count.
const EPOCH: &str = "epoch";
/// Places left free in every stream: more than were given since the copy was made. Readers and sinks know those, and would wait for
/// later ones while the same places are given again.
const LOST: i64 = 1_000_000;

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
    // First: whoever fails here is asked again.
    store.leave_places(LOST).await?;
    store.mark_duty(EPOCH, lease, now.as_millis()).await?;
    store.close().await;
    println!("Totals count from {} on.", now.to_rfc3339());
    Ok(())
}
