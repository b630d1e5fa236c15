//! `onefive key`: API keys of desks, and the key file.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Failure, Settings, quiet_parts};
use crate::app::{open_store, write_secret};
use crate::clock::random;
use crate::domain::desk::{ApiKey, KeyText, Scope};
use crate::domain::id::KeyId;
use crate::store::{KeyRing, Store as _};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create an API key; it is printed once and cannot be shown again
    Create {
        /// The desk's short name
        #[arg(long)]
        desk: String,
        /// What it may be used for: send, read, metrics, admin (webhooks)
        #[arg(long, value_delimiter = ',', default_value = "send,read")]
        scopes: Vec<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Revoke an API key
    Revoke {
        /// The desk's short name
        #[arg(long)]
        desk: String,
        /// The 8 characters after o5_, or the whole key
        key: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Make a key file that seals what names a person; replicas share one
    File {
        /// Where to write it; must not be there yet
        path: PathBuf,
    },
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let parts = quiet_parts();
    match arguments.command {
        Command::Create {
            desk,
            scopes,
            settings,
        } => {
            let scopes = scopes
                .iter()
                .map(|word| {
                    Scope::parse(word).ok_or_else(|| {
                        Failure::Refused(format!(
                            "{word:?} is no scope; these are: send, read, admin, metrics"
                        ))
                    })
                })
                .collect::<Result<Vec<Scope>, Failure>>()?;
            let (store, _) = open_store(&settings.load()?, &parts).await?;
            let found = store.find_desk(&desk).await?;
            let found = found.ok_or_else(|| {
                Failure::Refused(format!(
                    "there is no desk {desk}; onefive desk add {desk} adds it"
                ))
            })?;
            let (text, key) = new_key(found.id, scopes, &parts);
            store.add_key(&key).await?;
            store.close().await;
            println!("{}", text.expose());
        }
        Command::Revoke {
            desk,
            key,
            settings,
        } => {
            let handle = KeyText::parse(&key).map_or_else(
                || key.trim_start_matches("o5_").to_owned(),
                |key| key.handle().to_owned(),
            );
            let (store, _) = open_store(&settings.load()?, &parts).await?;
            let found = store.find_desk(&desk).await?;
            let found =
                found.ok_or_else(|| Failure::Refused(format!("there is no desk {desk}")))?;
            let revoked = store
                .revoke_key(found.id, &handle, parts.clock.now())
                .await?;
            store.close().await;
            revoked.ok_or_else(|| {
                Failure::Refused(format!("the desk {desk} has no such key in use"))
            })?;
            println!("Revoked. It is refused within a second.");
        }
        Command::File { path } => {
            write_secret(&path, &KeyRing::generate(parts.entropy.as_ref()))?;
            println!(
                "Wrote {}. Give the same file to every replica, and keep a copy in a safe place.",
                path.display()
            );
        }
    }
    Ok(())
}

/// A new key for a desk: its text, to be shown once, and its row.
pub(super) fn new_key(
    desk: crate::domain::id::DeskId,
    scopes: Vec<Scope>,
    parts: &crate::app::Parts,
) -> (KeyText, ApiKey) {
    let text = KeyText::new(random(parts.entropy.as_ref()));
    let now = parts.clock.now();
    let key = ApiKey {
        id: KeyId::new(now, random(parts.entropy.as_ref())),
        desk,
        handle: text.handle().to_owned(),
        hash: text.hash(),
        scopes,
        created_at: now,
    };
    (text, key)
}
