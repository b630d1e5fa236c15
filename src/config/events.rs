//! `[events]`: how long events are kept.

use serde::Deserialize;

use super::ConfigError;

/// The longest time, in days.
const DAYS_MAX: u32 = 366;

/// `[events]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Days for which every event is kept.
    pub keep_days: u32,
    /// Days after which an event goes even if somebody was never told of it.
    pub keep_days_max: u32,
}

impl Events {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (key, value, low) in [
            ("events.keep_days", self.keep_days, 1),
            ("events.keep_days_max", self.keep_days_max, self.keep_days),
        ] {
            if !(low..=DAYS_MAX).contains(&value) {
                let message = format!("must be from {low} to {DAYS_MAX}, not {value}");
                return Err(ConfigError::new(key, message));
            }
        }
        Ok(())
    }
}
