//! The connection that writes a SQLite file: there is one, and whoever writes has it alone for a transaction.
//!
//! Not in a pool: a pool asks a connection that comes back whether it is well and looks at it again before it goes out, and each question
//! hops to the connection's thread and back, which takes as long as a transaction of a few rows itself.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, Transaction};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// The connection.
#[derive(Clone)]
pub(super) struct Pen(Arc<Mutex<Nib>>);

struct Nib {
    options: SqliteConnectOptions,
    connection: SqliteConnection,
    /// A transaction was begun and is not known to have ended.
    open: bool,
}

/// The pen in somebody's hand. What was begun with it and not ended is rolled back when it is dropped.
pub(super) struct Hand(OwnedMutexGuard<Nib>);

/// What the statements of a transaction go to.
pub(super) enum Sheet {
    Writes(Hand),
    Reads(Transaction<'static, Sqlite>),
}

impl Pen {
    pub(super) async fn connect(options: SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let connection = options.connect().await?;
        let nib = Nib {
            options,
            connection,
            open: false,
        };
        Ok(Self(Arc::new(Mutex::new(nib))))
    }

    /// Takes the pen, with no transaction open; waits for it no longer than `wait`.
    pub(super) async fn take(&self, wait: Duration) -> Result<Hand, sqlx::Error> {
        let taken = timeout(wait, Arc::clone(&self.0).lock_owned()).await;
        let mut nib = taken.map_err(|_| sqlx::Error::PoolTimedOut)?;
        nib.roll_back().await?;
        Ok(Hand(nib))
    }

    /// The same with a transaction that will write.
    pub(super) async fn begin(&self, wait: Duration) -> Result<Hand, sqlx::Error> {
        let mut hand = self.take(wait).await?;
        // First, because whoever waits for it may be gone before it is done.
        hand.0.open = true;
        // Immediate: a transaction that reads first and then writes would otherwise fail with "database is locked"
        // whenever another one wrote in between, whatever the busy timeout.
        sqlx::query("begin immediate").execute(&mut *hand).await?;
        Ok(hand)
    }

    /// Whether somebody has it.
    pub(super) fn is_taken(&self) -> bool {
        self.0.try_lock().is_err()
    }

    /// Waits for whoever has it, and closes the file.
    pub(super) async fn close(&self) {
        let mut nib = self.0.lock().await;
        let _ = nib.roll_back().await;
        // Closing takes the connection away; what stands in its place knows no file.
        if let Ok(none) = SqliteConnection::connect("sqlite::memory:").await {
            let connection = std::mem::replace(&mut nib.connection, none);
            let _ = connection.close().await;
        }
    }
}

impl Nib {
    /// Ends what whoever had the pen before did not. When the disk is full SQLite has done so by itself and says that there is nothing to
    /// roll back; then, and whenever else it cannot, the file is opened anew.
    async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        if self.open {
            let done = sqlx::query("rollback").execute(&mut self.connection).await;
            if done.is_err() {
                self.connection = self.options.connect().await?;
            }
            self.open = false;
        }
        Ok(())
    }
}

impl Hand {
    async fn commit(mut self) -> Result<(), sqlx::Error> {
        sqlx::query("commit").execute(&mut *self).await?;
        self.0.open = false;
        Ok(())
    }

    async fn roll_back(mut self) -> Result<(), sqlx::Error> {
        self.0.roll_back().await
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // Whoever takes the pen next would do it too; but a lock on the file does not wait for them.
        if self.0.open && Handle::try_current().is_ok() {
            let pen = Arc::clone(OwnedMutexGuard::mutex(&self.0));
            TaskTracker::new().spawn(async move { pen.lock().await.roll_back().await });
        }
    }
}

impl Deref for Hand {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.0.connection
    }
}

impl DerefMut for Hand {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0.connection
    }
}

impl Sheet {
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Writes(hand) => hand.commit().await,
            Self::Reads(reading) => reading.commit().await,
        }
    }

    pub(super) async fn roll_back(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Writes(hand) => hand.roll_back().await,
            Self::Reads(reading) => reading.rollback().await,
        }
    }
}

impl Deref for Sheet {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Writes(hand) => hand,
            Self::Reads(reading) => reading,
        }
    }
}

impl DerefMut for Sheet {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Writes(hand) => hand,
            Self::Reads(reading) => reading,
        }
    }
}
