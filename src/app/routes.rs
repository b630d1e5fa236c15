//! Which provider carries which channel, by configuration: the tables of channels and providers meet the settings here.

use std::sync::Arc;

use super::Parts;
use crate::channel;
use crate::config::{Config, ConfigError};
use crate::journey::Routes;
use crate::provider::{self, Built};

/// Who carries which channel, by configuration. Builds every provider that a channel names, and connects nowhere.
pub fn routes(config: &Config, parts: &Parts) -> Result<Routes, ConfigError> {
    let mut routes = Routes::default();
    for (name, wanted) in &config.channels {
        let key = format!("channels.{name}");
        let channel = carried_channel(&key, name)?;
        if wanted.is_empty() {
            continue;
        }
        let row = provider_row(&key, wanted)?;
        let provider = match routes.named(row.name) {
            Some(provider) => Arc::clone(provider),
            None => build(config, parts, row)?,
        };
        if !provider.carries(name) {
            let message = format!("{wanted} does not carry this channel");
            return Err(ConfigError::new(key, message));
        }
        routes.set(channel.name(), provider);
    }
    for name in config.providers.keys() {
        provider_row(&format!("providers.{name}"), name)?;
    }
    Ok(routes)
}

/// A channel that a provider carries. One that takes too many actions for a rating is refused here, at start.
fn carried_channel(key: &str, name: &str) -> Result<&'static dyn channel::Channel, ConfigError> {
    let carried =
        |channel: &&'static dyn channel::Channel| channel.carriage() == channel::Carriage::Provider;
    let Some(channel) = channel::find(name).filter(carried) else {
        let names: Vec<&str> = channel::ALL
            .iter()
            .copied()
            .filter(carried)
            .map(channel::Channel::name)
            .collect();
        let message = format!(
            "is no channel that a provider carries; these are: {}",
            names.join(", ")
        );
        return Err(ConfigError::new(key, message));
    };
    if channel.taps() > channel::TAPS_MAX {
        let (taps, most) = (channel.taps(), channel::TAPS_MAX);
        return Err(ConfigError::new(
            key,
            format!("takes {taps} actions for a rating; at most {most} are allowed"),
        ));
    }
    Ok(channel)
}

fn provider_row(key: &str, name: &str) -> Result<&'static provider::Row, ConfigError> {
    provider::ALL
        .iter()
        .find(|row| row.name == name)
        .ok_or_else(|| {
            let names: Vec<&str> = provider::ALL.iter().map(|row| row.name).collect();
            ConfigError::new(
                key,
                format!("{name:?} is no provider; these are: {}", names.join(", ")),
            )
        })
}

fn build(
    config: &Config,
    parts: &Parts,
    row: &provider::Row,
) -> Result<Arc<dyn provider::Provider>, ConfigError> {
    let built = Built {
        settings: config.providers.get(row.name).cloned().unwrap_or_default(),
        public_url: config.server.public_url.clone(),
        clock: Arc::clone(&parts.clock),
        entropy: Arc::clone(&parts.entropy),
    };
    (row.build)(built).map_err(|error| {
        let section = format!("providers.{}", row.name);
        let key = if error.key.is_empty() {
            section
        } else {
            format!("{section}.{}", error.key)
        };
        ConfigError::new(key, error.message)
    })
}
