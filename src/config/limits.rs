//! Limits of those who call too often.

use serde::Deserialize;

use super::ConfigError;

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls a second of one API key; 0 for no limit.
    pub calls_per_second: u32,
    /// Calls of one API key at once.
    pub calls_burst: u32,
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.calls_per_second > 100_000 {
            let message = "must be from 0 to 100000; 0 is no limit";
            return Err(ConfigError::new("limits.calls_per_second", message));
        }
        if !(1..=1_000_000).contains(&self.calls_burst) {
            let message = "must be from 1 to 1000000";
            return Err(ConfigError::new("limits.calls_burst", message));
        }
        Ok(())
    }
}
