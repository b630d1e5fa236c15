//! `onefive key`: API keys of desks, and the key file.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Failure, Settings, quiet_parts};
use crate::app::{Parts, open_store, replace_secret, write_secret};
use crate::clock::random;
use crate::domain::desk::{ApiKey, KeyText, Scope};
use crate::domain::id::KeyId;
use crate::store::{KeyRing, KeyRingError, People as _, Store as _};

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
        /// What it may be used for: send, read, admin, metrics
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
    /// Make a key file that seals what names a person, or add a key to one; replicas share one
    File {
        /// Where to write it; must not be there yet, unless a key is added
        path: PathBuf,
        /// Put a newer key on top: it seals from the next start on, and what older keys sealed is sealed anew
        #[arg(long, conflicts_with = "prepare")]
        rotate: bool,
        /// Add the newer key below the first, so that every replica can open what it will seal; --rotate then puts it on top
        #[arg(long)]
        prepare: bool,
    },
    /// Say which keys of the key file are still needed: how many values each seals
    Used {
        #[command(flatten)]
        settings: Settings,
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
        Command::File {
            path,
            rotate,
            prepare,
        } if rotate || prepare => add(&path, rotate, &parts)?,
        Command::Used { settings } => used(&settings, &parts).await?,
        Command::File { path, .. } => {
            write_secret(&path, &KeyRing::generate(parts.entropy.as_ref()))?;
            println!(
                "Wrote {}. Give the same file to every replica, and keep a copy in a safe place.",
                path.display()
            );
        }
    }
    Ok(())
}

/// Adds a key to a key file: on top, or below the first.
fn add(path: &Path, rotate: bool, parts: &Parts) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path)?;
    let wrong = |error: KeyRingError| Failure::Refused(format!("{}: {error}", path.display()));
    let entropy = parts.entropy.as_ref();
    let changed = if rotate {
        KeyRing::rotated(&text, entropy)
    } else {
        KeyRing::prepared(&text, entropy)
    };
    let changed = changed.map_err(wrong)?;
    replace_secret(path, &changed)?;
    let ring = KeyRing::parse(&changed).map_err(wrong)?;
    let newest = ring.newest();
    if rotate {
        println!(
            "{newest} seals from the next start on. Start every replica with this file; `onefive key used` tells when an older key \
             is not needed any more. The last line always stays: look-ups and links come from it."
        );
    } else {
        println!(
            "{newest} still seals. Start every replica with this file, then put the new key on top with --rotate."
        );
    }
    Ok(())
}

/// Says how many values each key seals.
async fn used(settings: &Settings, parts: &Parts) -> Result<(), Failure> {
    let (store, keys) = open_store(&settings.load()?, parts).await?;
    let mut used = store.key_use().await?;
    store.close().await;
    for name in keys.names() {
        let values = used.remove(name).unwrap_or(0);
        let note = if name == keys.lookup_name() {
            "\tstays: look-ups and links come from it"
        } else {
            ""
        };
        println!("{name}\t{values} values{note}");
    }
    for (name, values) in used {
        if name.is_empty() {
            println!("-\t{values} values that are not sealed yet");
        } else {
            println!("{name}\t{values} values, and it is not in the key file");
        }
    }
    Ok(())
}

/// A new key for a desk: its text, to be shown once, and its row.
pub(super) fn new_key(
    desk: crate::domain::id::DeskId,
    scopes: Vec<Scope>,
    parts: &Parts,
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
