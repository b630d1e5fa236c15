//! `onefive serve`: runs until SIGTERM or SIGINT, then drains.

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, log};
use crate::app::{App, Parts};
use crate::config::Config;

pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    log(&config.log.level, config.log.format)?;
    let told = told_to_stop()?;
    let app = App::start(config, Parts::system()).await?;
    tracing::info!(public = %app.public, api = %app.api, admin = %app.admin, routes = ?app.journey.routes, "onefive serves");
    told.await;
    tracing::info!("stopping: finishing what is in flight");
    app.leave().await;
    tracing::info!("stopped");
    Ok(())
}

/// Waits for SIGTERM or SIGINT. They are heard from this call on, so it comes before anybody can see that we serve.
pub(super) fn told_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
