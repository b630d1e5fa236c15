//! `onefive desk`: adds and lists desks.

use clap::Subcommand;

use super::{Failure, Settings, quiet_parts};
use crate::app::open_store;
use crate::channel;
use crate::domain::desk::{DeskSettings, is_slug};
use crate::domain::strict;
use crate::store::Store as _;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a desk
    Add {
        /// Its short name: lower-case letters, digits and hyphens; a metric label
        slug: String,
        /// The name that customers see
        #[arg(long)]
        name: String,
        /// Its own sender on a channel, such as sms=+14155550100; may be given several times
        #[arg(long, value_name = "CHANNEL=ADDRESS")]
        sender: Vec<String>,
        /// The language of customers whose language is not known, such as de
        #[arg(long, default_value = "")]
        language: String,
        /// Further settings, as the body of PUT /v1/desk: JSON, or a file with it
        #[arg(long = "settings", value_name = "JSON|FILE", default_value = "{}")]
        more: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// List the desks
    List {
        #[command(flatten)]
        settings: Settings,
    },
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let parts = quiet_parts();
    match arguments.command {
        Command::Add {
            slug,
            name,
            sender,
            language,
            more,
            settings,
        } => {
            if !is_slug(&slug) {
                let rule = "must be 1 to 40 lower-case letters, digits or hyphens, a letter first";
                return Err(Failure::Refused(format!("the short name {slug:?} {rule}")));
            }
            if name.trim().is_empty()
                || name.chars().count() > 60
                || name.chars().any(char::is_control)
            {
                return Err(Failure::Refused(
                    "--name must be 1 to 60 characters on one line".to_owned(),
                ));
            }
            let mut desk = more_settings(&more)?;
            desk.senders.extend(senders(&sender)?);
            if !language.is_empty() {
                desk.language = language;
            }
            desk.check()
                .map_err(|error| Failure::Refused(format!("the settings: {error}")))?;
            let (store, _) = open_store(&settings.load()?, &parts).await?;
            store.migrate().await?;
            let added = store
                .add_desk(&slug, &name, &desk, parts.clock.now())
                .await?;
            store.close().await;
            let added =
                added.ok_or_else(|| Failure::Refused(format!("there is a desk {slug} already")))?;
            println!(
                "Added the desk {} ({}). Next: onefive key create --desk {}",
                added.slug, added.name, added.slug
            );
        }
        Command::List { settings } => {
            let (store, _) = open_store(&settings.load()?, &parts).await?;
            for desk in store.desks().await? {
                println!(
                    "{}\t{}\t{}",
                    desk.slug,
                    desk.name,
                    desk.created_at.to_rfc3339()
                );
            }
            store.close().await;
        }
    }
    Ok(())
}

/// Settings from JSON or from a file with it.
fn more_settings(given: &str) -> Result<DeskSettings, Failure> {
    let text = if given.trim_start().starts_with('{') {
        given.to_owned()
    } else {
        std::fs::read_to_string(given)
            .map_err(|error| Failure::Refused(format!("--settings {given}: {error}")))?
    };
    strict::json(text.as_bytes()).map_err(|error| Failure::Refused(format!("--settings: {error}")))
}

/// The senders, each in the form in which it will be compared with what comes back.
fn senders(pairs: &[String]) -> Result<std::collections::BTreeMap<String, String>, Failure> {
    pairs
        .iter()
        .map(|pair| {
            let wrong = |message: &str| Failure::Refused(format!("--sender {pair}: {message}"));
            let (name, address) = pair
                .split_once('=')
                .ok_or_else(|| wrong("must be a channel, =, and an address"))?;
            let channel = channel::find(name).ok_or_else(|| wrong("names no channel"))?;
            // A Messaging Service of Twilio sends in the place of a number.
            let service = address
                .strip_prefix("MG")
                .is_some_and(|hex| hex.len() == 32);
            if !service {
                channel
                    .address(address)
                    .map_err(|error| wrong(&format!("the address {error}")))?;
            }
            Ok((name.to_owned(), address.to_owned()))
        })
        .collect()
}
