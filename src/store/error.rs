//! Why the store could not do it.

/// Why the store could not do it. Texts are for the log, never for a client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer; a later try may work.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Too many writes are waiting.
    #[error("too many writes are waiting for the database")]
    Busy,
    /// Somebody else was faster, more often than we care to repeat.
    #[error("the same row was written at the same time")]
    Conflict,
    /// What is stored cannot be read.
    #[error("the database holds something unexpected: {0}")]
    Corrupt(String),
    /// The address of the database cannot be used.
    #[error("the database address cannot be used: {0}")]
    Settings(String),
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date: {0}")]
    Migration(String),
}

/// The kind of a [`StoreError`], without its texts: what may be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// [`StoreError::Unavailable`]
    Unavailable,
    /// [`StoreError::Busy`]
    Busy,
    /// [`StoreError::Conflict`]
    Conflict,
    /// [`StoreError::Corrupt`]
    Corrupt,
    /// [`StoreError::Settings`]
    Settings,
    /// [`StoreError::Migration`]
    Migration,
}

impl StoreErrorKind {
    /// Those that a running service may meet; the others keep it from starting.
    pub const RUNNING: [Self; 4] = [Self::Unavailable, Self::Busy, Self::Conflict, Self::Corrupt];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Settings => "settings",
            Self::Migration => "migration",
        }
    }
}

impl StoreError {
    /// Its kind.
    pub const fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Unavailable(_) => StoreErrorKind::Unavailable,
            Self::Busy => StoreErrorKind::Busy,
            Self::Conflict => StoreErrorKind::Conflict,
            Self::Corrupt(_) => StoreErrorKind::Corrupt,
            Self::Settings(_) => StoreErrorKind::Settings,
            Self::Migration(_) => StoreErrorKind::Migration,
        }
    }
}
