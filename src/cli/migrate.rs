//! `onefive migrate`: brings the schema up to date and says so. Safe to repeat, and from several places at once.

use super::{Failure, quiet_parts};
use crate::app::open_store;
use crate::config::Config;
use crate::store::Store as _;

pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    let (store, _) = open_store(config, &quiet_parts()).await?;
    store.migrate().await?;
    store.close().await;
    println!("The schema is up to date.");
    Ok(())
}
