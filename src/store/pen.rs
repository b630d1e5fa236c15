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
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// For the pen, by whoever only puts it in order.
const LONG: Duration = Duration::from_mins(1);

/// The connection; none once it is closed.
#[derive(Clone)]
pub(super) struct Pen(Arc<Mutex<Option<Nib>>>);

struct Nib {
    options: SqliteConnectOptions,
    connection: SqliteConnection,
    /// A transaction was begun and is not known to have ended.
    open: bool,
}

/// The pen in somebody's hand. What was begun with it and not ended is rolled back when it is dropped.
pub(super) struct Hand {
    pen: Pen,
    nib: OwnedMappedMutexGuard<Option<Nib>, Nib>,
}

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
        Ok(Self(Arc::new(Mutex::new(Some(nib)))))
    }

    /// Takes the pen, with no transaction open; waits for it no longer than `wait`.
    pub(super) async fn take(&self, wait: Duration) -> Result<Hand, sqlx::Error> {
        let taken = timeout(wait, Arc::clone(&self.0).lock_owned()).await;
        let taken = taken.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let nib = OwnedMutexGuard::try_map(taken, Option::as_mut);
        let mut nib = nib.map_err(|_| sqlx::Error::PoolClosed)?;
        nib.roll_back().await?;
        Ok(Hand {
            pen: self.clone(),
            nib,
        })
    }

    /// The same with a transaction that will write.
    pub(super) async fn begin(&self, wait: Duration) -> Result<Hand, sqlx::Error> {
        let mut hand = self.take(wait).await?;
        // First, because whoever waits for it may be gone before it is done.
        hand.nib.open = true;
        // Immediate: a transaction that reads first and then writes would otherwise fail with "database is locked"
        // whenever another one wrote in between, whatever the busy timeout.
        sqlx::query("begin immediate").execute(&mut *hand).await?;
        Ok(hand)
    }

    /// Whether somebody has it.
    pub(super) fn is_taken(&self) -> bool {
        self.0.try_lock().is_err()
    }

    /// Waits for whoever has it, and closes the file. Nobody takes it any more.
    pub(super) async fn close(&self) {
        if let Some(mut nib) = self.0.lock().await.take() {
            let _ = nib.roll_back().await;
            let _ = nib.connection.close().await;
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
        self.nib.open = false;
        Ok(())
    }

    async fn roll_back(mut self) -> Result<(), sqlx::Error> {
        self.nib.roll_back().await
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // Whoever takes the pen next would do it too; but a lock on the file does not wait for them.
        if self.nib.open && Handle::try_current().is_ok() {
            let pen = self.pen.clone();
            TaskTracker::new().spawn(async move { pen.take(LONG).await.map(drop) });
        }
    }
}

impl Deref for Hand {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.nib.connection
    }
}

impl DerefMut for Hand {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.nib.connection
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

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;

    const WAIT: Duration = Duration::from_secs(5);
    const ADD: &str = "insert into lines (n) values (1)";

    fn options(folder: &tempfile::TempDir) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(folder.path().join("lines.db"))
            .create_if_missing(true)
            .busy_timeout(WAIT)
    }

    async fn lines(hand: &mut Hand) -> i64 {
        let row = sqlx::query("select count(*) from lines").fetch_one(&mut **hand);
        row.await.unwrap().get(0)
    }

    #[tokio::test]
    async fn what_was_begun_and_not_ended_is_rolled_back_and_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let pen = Pen::connect(options(&folder)).await.unwrap();
        let mut hand = pen.take(WAIT).await.unwrap();
        let table = "create table lines (n integer)";
        sqlx::query(table).execute(&mut *hand).await.unwrap();
        drop(hand);

        let mut hand = pen.begin(WAIT).await.unwrap();
        sqlx::query(ADD).execute(&mut *hand).await.unwrap();
        drop(hand);
        // Nobody takes the pen, and the file is free all the same.
        let mut other = options(&folder).connect().await.unwrap();
        sqlx::query(ADD).execute(&mut other).await.unwrap();
        other.close().await.unwrap();

        let mut hand = pen.begin(WAIT).await.unwrap();
        sqlx::query(ADD).execute(&mut *hand).await.unwrap();
        hand.commit().await.unwrap();
        assert_eq!(lines(&mut pen.take(WAIT).await.unwrap()).await, 2);
    }

    #[tokio::test]
    async fn a_transaction_that_ended_by_itself_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let pen = Pen::connect(options(&folder)).await.unwrap();
        let mut hand = pen.begin(WAIT).await.unwrap();
        sqlx::query("rollback").execute(&mut *hand).await.unwrap();
        drop(hand);
        pen.begin(WAIT).await.unwrap().commit().await.unwrap();
    }

    #[tokio::test]
    async fn once_it_is_closed_nobody_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let pen = Pen::connect(options(&folder)).await.unwrap();
        pen.close().await;
        pen.close().await;
        let taken = pen.begin(WAIT).await.map(drop);
        assert!(matches!(taken, Err(sqlx::Error::PoolClosed)), "{taken:?}");
    }
}
