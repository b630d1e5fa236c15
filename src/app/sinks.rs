//! Who is told of results, by configuration: the table of sinks meets the settings here.

use tokio_util::task::TaskTracker;

use crate::config::{Config, ConfigError};
use crate::http;
use crate::journey::Publishing;
use crate::sink::{self, Sink};
use crate::store::Keeping;

const DAY_MS: i64 = 86_400_000;

/// Builds every sink that has a section or needs none, and connects nowhere.
pub fn publishing(config: &Config, tasks: TaskTracker) -> Result<Publishing, ConfigError> {
    let keeping = Keeping {
        keep_ms: i64::from(config.events.keep_days) * DAY_MS,
        longest_ms: i64::from(config.events.keep_days_max) * DAY_MS,
    };
    let mut publishing = Publishing::new(http::families, keeping, tasks);
    for name in config.sinks.keys() {
        if sink::ALL.iter().all(|row| row.name != name) {
            let names: Vec<&str> = sink::ALL.iter().map(|row| row.name).collect();
            return Err(ConfigError::new(
                format!("sinks.{name}"),
                format!("is no sink; these are: {}", names.join(", ")),
            ));
        }
    }
    for row in sink::ALL {
        let section = config.sinks.get(row.name);
        if section.is_none() && !row.unasked {
            continue;
        }
        let built = (row.build)(&section.cloned().unwrap_or_default()).map_err(|error| {
            let section = format!("sinks.{}", row.name);
            let key = if error.key.is_empty() {
                section
            } else {
                format!("{section}.{}", error.key)
            };
            ConfigError::new(key, error.message)
        })?;
        match built {
            Sink::Stream(stream) => publishing.streams.push((row.name, stream)),
            Sink::Post(post) => publishing.post = Some(post),
            Sink::Samples(samples) => publishing.samples.push((row.name, samples)),
        }
    }
    Ok(publishing)
}
