//! `[database]`: where everything is remembered.

use serde::Deserialize;

use super::ConfigError;

/// `[database]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The database's address; may hold a password.
    pub url: String,
    /// Whether `serve` migrates.
    pub migrate: bool,
    /// Connections to PostgreSQL.
    pub connections: u32,
    /// Prepared statements per connection.
    pub statement_cache: usize,
    /// Whether claims skip rows that are locked.
    pub skip_locked: bool,
    /// Waiting writes.
    pub queue: usize,
    /// Writes in one transaction.
    pub batch: usize,
    /// Seconds of a lease.
    pub lease_seconds: u32,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = self.url.split(':').next().unwrap_or_default();
        f.debug_struct("Database")
            .field("url", &format!("{scheme}:…"))
            .finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let url = &self.url;
        if !["sqlite:", "postgres:", "postgresql:"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(ConfigError::new(
                "database.url",
                "must begin with sqlite: or postgres://",
            ));
        }
        if url.contains(":memory:") {
            return Err(ConfigError::new(
                "database.url",
                "must name a file: what is acknowledged has to outlive the process",
            ));
        }
        Ok(())
    }
}
