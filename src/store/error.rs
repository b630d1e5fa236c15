//! Why the store could not do it.

/// Why the store could not do it. Texts are for the log, never for a client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer; a later try may work. What was under way may have been done or not: whoever repeats it names
    /// it by the same identifier.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// There is no space left for the database. Nothing was written; it works again when there is.
    #[error("the disk of the database is full: {0}")]
    Full(String),
    /// The disk failed under the database. What it holds is only known by reading it again, in a new process.
    #[error("the disk of the database failed: {0}")]
    Broken(String),
    /// The database answers and will not do this; nor will it the next time.
    #[error("the database refused: {0}")]
    Refused(String),
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
    /// [`StoreError::Full`]
    Full,
    /// [`StoreError::Broken`]
    Broken,
    /// [`StoreError::Refused`]
    Refused,
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
    pub const RUNNING: [Self; 7] = [
        Self::Unavailable,
        Self::Full,
        Self::Broken,
        Self::Refused,
        Self::Busy,
        Self::Conflict,
        Self::Corrupt,
    ];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Full => "full",
            Self::Broken => "broken",
            Self::Refused => "refused",
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
            Self::Full(_) => StoreErrorKind::Full,
            Self::Broken(_) => StoreErrorKind::Broken,
            Self::Refused(_) => StoreErrorKind::Refused,
            Self::Busy => StoreErrorKind::Busy,
            Self::Conflict => StoreErrorKind::Conflict,
            Self::Corrupt(_) => StoreErrorKind::Corrupt,
            Self::Settings(_) => StoreErrorKind::Settings,
            Self::Migration(_) => StoreErrorKind::Migration,
        }
    }

    /// Whether it is the database that fails and not what was asked of it: whoever asks something else fares no better.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::Broken(_))
    }

    /// Whether the same call may work a little later.
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Full(_) | Self::Busy | Self::Conflict
        )
    }
}

impl From<sqlx::Error> for StoreError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the driver's list of errors grows; what we do not know means that the database did not do it"
    )]
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => Self::Conflict,
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                match code.parse::<i32>() {
                    // SQLite's codes are numbers of at most four digits, PostgreSQL's are five characters.
                    Ok(number) if code.len() < 5 => Self::of_sqlite(number, error.to_string()),
                    _ => Self::of_postgres(&code, error.to_string()),
                }
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_) => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl StoreError {
    /// By SQLSTATE (PostgreSQL, appendix A).
    fn of_postgres(code: &str, text: String) -> Self {
        match code {
            // Serialization failure, deadlock, a lock that was not had in time: nothing was done, and it may be repeated.
            "40001" | "40P01" | "55P03" => Self::Conflict,
            // A statement that was stopped for its length; a server that only reads, because it is a standby or was one a moment
            // ago; a session that was ended while it waited.
            "57014" | "25006" | "25P03" => Self::Unavailable(text),
            // The outcome of a commit is unknown; the connection failed, or was not allowed; the server shuts down or starts; it lacks
            // connections, disk or memory; its own disk failed.
            _ if code == "40003"
                || ["08", "28", "3D", "57P", "53", "58"]
                    .iter()
                    .any(|class| code.starts_with(class)) =>
            {
                Self::Unavailable(text)
            }
            _ => Self::Refused(text),
        }
    }

    /// By SQLite's result code; the lower byte is the class, all of it the extended code.
    fn of_sqlite(code: i32, text: String) -> Self {
        // SQLITE_IOERR_SHMSIZE; SQLITE_IOERR_SHMOPEN, _SHMLOCK and _SHMMAP.
        const SHM_SIZE: i32 = 4874;
        const SHM: [i32; 3] = [4618, 5130, 5386];
        match code & 0xff {
            // The wal-index is no durable file: it could not grow, so the disk is full, or not be had, so nothing was done.
            _ if code == SHM_SIZE => Self::Full(text),
            _ if SHM.contains(&code) => Self::Unavailable(text),
            // Busy, locked, out of memory, interrupted, cannot open, the order of locks, read-only.
            5 | 6 | 7 | 8 | 9 | 14 | 15 => Self::Unavailable(text),
            10 => Self::Broken(text),
            13 => Self::Full(text),
            // Damaged, or no database.
            11 | 26 => Self::Corrupt(text),
            _ => Self::Refused(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(code: &str) -> StoreErrorKind {
        StoreError::of_postgres(code, String::new()).kind()
    }

    fn sqlite(code: i32) -> StoreErrorKind {
        StoreError::of_sqlite(code, String::new()).kind()
    }

    #[test]
    fn a_failed_connection_is_told_from_a_refused_statement() {
        for code in [
            "08006", "08007", "28P01", "3D000", "57P01", "57P02", "57P03", "53300", "53100",
            "58030", "40003", "25006", "57014",
        ] {
            assert_eq!(postgres(code), StoreErrorKind::Unavailable, "{code}");
        }
        for code in ["40001", "40P01", "55P03"] {
            assert_eq!(postgres(code), StoreErrorKind::Conflict, "{code}");
        }
        for code in ["22021", "23502", "42601", "42P01", "XX000"] {
            assert_eq!(postgres(code), StoreErrorKind::Refused, "{code}");
        }
    }

    #[test]
    fn a_failed_disk_is_told_from_a_full_one() {
        // SQLITE_IOERR_FSYNC, _DIR_FSYNC, _WRITE and _READ.
        for code in [1034, 1290, 778, 266] {
            assert_eq!(sqlite(code), StoreErrorKind::Broken, "{code}");
        }
        // SQLITE_FULL and SQLITE_IOERR_SHMSIZE.
        for code in [13, 4874] {
            assert_eq!(sqlite(code), StoreErrorKind::Full, "{code}");
        }
        for code in [5, 6, 517, 14, 8, 5386] {
            assert_eq!(sqlite(code), StoreErrorKind::Unavailable, "{code}");
        }
        for code in [11, 267, 26] {
            assert_eq!(sqlite(code), StoreErrorKind::Corrupt, "{code}");
        }
        assert_eq!(sqlite(275), StoreErrorKind::Refused);
    }
}
