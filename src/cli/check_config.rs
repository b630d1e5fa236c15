//! `onefive check-config`: reads everything, builds every provider, connects to nothing.

use super::{Failure, Settings, quiet_parts};
use crate::app;
use crate::channel::{self, Carriage};
use crate::config::DEFAULTS;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Print every setting with its default and its explanation, and stop
    #[arg(long)]
    defaults: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.defaults {
        print!("{DEFAULTS}");
        return Ok(());
    }
    let config = arguments.settings.load()?;
    let routes = app::routes(&config, &quiet_parts())?;
    app::publishing(&config, tokio_util::task::TaskTracker::new())?;
    println!("The settings are fine.");
    for channel in channel::ALL {
        let carrier = match (channel.carriage(), routes.get(channel.name())) {
            (Carriage::Answer, _) => "handed out in the answer to the trigger",
            (Carriage::Provider, Some(provider)) => provider.name(),
            (Carriage::Provider, None) => "off",
        };
        println!("  {:<6} {carrier}", channel.name());
    }
    for name in config.providers.keys() {
        if routes.named(name).is_none() {
            println!("  note: [providers.{name}] is not used by any channel");
        }
    }
    if config.server.public_url.is_empty() {
        println!(
            "  note: server.public_url is empty: links and callbacks cannot work outside this machine"
        );
    }
    Ok(())
}
