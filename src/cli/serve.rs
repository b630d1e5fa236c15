//! `onefive serve`: runs until SIGTERM or SIGINT, then drains. A disk that fails under the database ends it at once.

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, log};
use crate::app::{App, Parts};
use crate::config::Config;

pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    log(&config.log.level, config.log.format)?;
    let told = told_to_stop()?;
    let app = App::start(config, Parts::system()).await?;
    tracing::info!(public = %app.public, api = %app.api, admin = %app.admin, routes = ?app.journey.routes, "onefive serves");
    tokio::select! {
        () = told => {}
        reason = app.journey.store.broken() => end(&reason),
    }
    tracing::info!("stopping: finishing what is in flight");
    app.leave().await;
    tracing::info!("stopped");
    Ok(())
}

/// Ends the process where it stands. Whatever would still run, the closing of the database above all, could write to the disk or
/// sync it again, and a second try may succeed without having written what the first one could not.
fn end(reason: &str) -> ! {
    /// `EX_IOERR` of sysexits.
    const IO_ERROR: i32 = 74;

    eprintln!(
        "onefive: the disk of the database failed, so this process ends; what was acknowledged is there, start it again when the disk is well: {reason}"
    );
    std::process::exit(IO_ERROR)
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
