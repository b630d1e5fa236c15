//! The command line: one file a command. Commands print to standard output; logs go to standard error.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::app::{AppError, Parts};
use crate::config::{Config, ConfigError, LogFormat, Source};

mod check_config;
mod demo;
mod desk;
mod key;
mod migrate;
mod restored;
mod serve;

/// Asks customers for a rating from 1 to 5, in the channel that their conversation took place in.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Every setting is explained in the output of `onefive check-config --defaults`."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(Settings),
    /// Try everything without any account: a throw-away database and a pretend phone, chat and mailbox
    Demo(demo::Arguments),
    /// Bring the database's schema up to date
    Migrate(Settings),
    /// Say that the database was put back from a copy: totals count from now on
    Restored(Settings),
    /// Read and check all settings without connecting anywhere
    CheckConfig(check_config::Arguments),
    /// Add and list desks
    Desk(desk::Arguments),
    /// Create and revoke API keys; make a key file
    Key(key::Arguments),
}

/// Where the settings are.
#[derive(Debug, Clone, clap::Args)]
struct Settings {
    /// A settings file (TOML); without one the defaults and ONEFIVE_… variables count
    #[arg(long, value_name = "FILE", env = "ONEFIVE_CONFIG")]
    config: Option<PathBuf>,
}

impl Settings {
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&Source::process(self.config.clone()))
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The settings cannot be used.
    #[error("{0}")]
    Config(ConfigError),
    /// The service or its store failed.
    #[error(transparent)]
    App(AppError),
    /// What was asked for cannot be done; the text says why.
    #[error("{0}")]
    Refused(String),
    /// Something of the machine failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Config(error) => Self::Config(error),
            AppError::Store(_) | AppError::Listen(..) | AppError::Metrics(_) => Self::App(error),
        }
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        Self::App(AppError::Store(error))
    }
}

/// Runs a command.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Serve(settings) => serve::run(&settings.load()?).await,
        Command::Demo(arguments) => demo::run(&arguments).await,
        Command::Migrate(settings) => migrate::run(&settings.load()?).await,
        Command::Restored(settings) => restored::run(&settings.load()?).await,
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Desk(arguments) => desk::run(arguments).await,
        Command::Key(arguments) => key::run(arguments).await,
    }
}

/// The machine's clock and randomness, without background work: for commands that only touch the store.
fn quiet_parts() -> Parts {
    Parts {
        background: false,
        ..Parts::system()
    }
}

/// Starts logging to standard error.
fn log(level: &str, format: LogFormat) -> Result<(), ConfigError> {
    let filter = tracing_subscriber::EnvFilter::builder()
        .parse(level)
        .map_err(|error| ConfigError::new("log.level", error.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
