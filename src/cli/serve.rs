//! `onefive serve`: runs until SIGTERM or SIGINT, then drains.

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, log};
use crate::app::{App, Parts};
use crate::config::Config;

pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    log(&config.log.level, config.log.format)?;
    let app = App::start(config, Parts::system()).await?;
    tracing::info!(public = %app.public, api = %app.api, admin = %app.admin, routes = ?app.journey.routes, "onefive serves");
    until_told_to_stop().await?;
    tracing::info!("stopping: finishing what is in flight");
    app.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Returns at SIGTERM or SIGINT.
pub(super) async fn until_told_to_stop() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
