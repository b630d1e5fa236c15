//! SQLite's file and its write-ahead log.
//!
//! After an I/O error nobody knows what the disk holds: a repeated fsync may succeed without having written anything. So the
//! first one breaks the store for good, and the process has to end (see `Store::broken`). SQLite's own checkpoints hide their
//! errors from the connection that runs them; ours are run here, where an error counts.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Row as _, SqliteConnection};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StoreError;
use super::pool::{Lent, Pool};

/// For a connection, and for another process's lock.
pub(super) const WAIT: Duration = Duration::from_secs(5);
/// Readers side by side.
const READERS: u32 = 4;
/// Immediate: a transaction that reads first and then writes would otherwise fail with "database is locked" whenever another one wrote in
/// between, whatever the busy timeout.
const BEGIN: &str = "begin immediate";
const SNAPSHOT: &str = "begin";
/// How often the log is looked at, and how many pages in it are worth a checkpoint while somebody writes: half of what the log's file keeps.
/// Pages that are written again and again are moved once, and the writer stands still for the end of it less often. Once nobody writes,
/// any are worth it.
const LOOK: Duration = Duration::from_millis(200);
const PAGES: i64 = 24_576;
/// So few are moved while nobody writes, which takes about as long as a commit; and how often at most what was written meanwhile is moved
/// beside the writer before that. Each time it is less, as long as the disk takes in more than is written.
const FEW: i64 = 48;
const PASSES: usize = 10;
/// What the writer keeps of the file in memory, in KiB (negative, as SQLite wants it). Keys are random, so each write touches pages
/// all over the indexes; what is not kept is read from the file each time.
const CACHE_KIB: &str = "-24576";
/// What the log's file is cut to once nothing in it is needed any more. To write over a part that the file has already costs a commit two
/// thirds of what it costs to write one that the file has to grow by, and between two looks a full load writes half of this.
const LOG_BYTES: &str = "201326592";

/// A database file.
pub(super) struct File {
    /// One connection, because SQLite has one writer; readers apart, so that a long read does not stop it.
    pub(super) write: Pool<SqliteConnection>,
    pub(super) read: Pool<SqliteConnection>,
    /// Moves the log into the file beside the writer, which would stand still meanwhile; and the schema on, before there is one.
    pub(super) mover: Pool<SqliteConnection>,
    /// Rung when events were committed.
    pub(super) news: watch::Sender<()>,
    log: PathBuf,
    broken: watch::Sender<Option<String>>,
    /// Rung when there is no space left: what is in the log can be moved into the file, and the log be written anew.
    full: Notify,
    closing: CancellationToken,
}

impl File {
    pub(super) async fn open(options: SqliteConnectOptions) -> Result<Arc<Self>, StoreError> {
        let mut log = options.get_filename().as_os_str().to_owned();
        log.push("-wal");
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged must survive a power failure: every commit is synced.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(WAIT);
        let writing = options
            .clone()
            .pragma("wal_autocheckpoint", "0")
            // What is erased is overwritten and not only given free.
            .pragma("secure_delete", "on")
            .pragma("cache_size", CACHE_KIB)
            .pragma("journal_size_limit", LOG_BYTES);
        let write: Pool<SqliteConnection> = Pool::new(writing, 1);
        // Whether the file can be had shows at once.
        write.take(WAIT).await?.done();
        let moving = options.clone().pragma("wal_autocheckpoint", "0");
        let file = Arc::new(Self {
            write,
            read: Pool::new(options.read_only(true), READERS),
            mover: Pool::new(moving, 1),
            news: watch::Sender::default(),
            log: log.into(),
            broken: watch::Sender::new(None),
            full: Notify::new(),
            closing: CancellationToken::new(),
        });
        let (keeper, closing) = (Arc::downgrade(&file), file.closing.clone());
        TaskTracker::new().spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = keep(keeper) => {}
            }
        });
        Ok(file)
    }

    pub(super) async fn begin(&self) -> Result<Lent<SqliteConnection>, StoreError> {
        self.ask(self.write.begin(BEGIN, WAIT)).await
    }

    /// A reader's transaction sees the file as it is at its first statement.
    pub(super) async fn snapshot(&self) -> Result<Lent<SqliteConnection>, StoreError> {
        self.ask(self.read.begin(SNAPSHOT, WAIT)).await
    }

    /// Asks the file, unless it is broken.
    pub(super) async fn ask<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        if let Some(reason) = self.broken.borrow().clone() {
            return Err(StoreError::Broken(reason));
        }
        let result = work.await.map_err(StoreError::from);
        match &result {
            Err(StoreError::Full(_)) => self.full.notify_one(),
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(%error, "the file could not be used");
            }
            Ok(_) | Err(_) => {}
        }
        if let Err(StoreError::Broken(reason)) = &result {
            let first = self.broken.send_if_modified(|broken| {
                let first = broken.is_none();
                broken.get_or_insert_with(|| reason.clone());
                first
            });
            if first {
                tracing::error!(reason, "the disk of the database failed");
            }
        }
        result
    }

    /// Waits until the file is broken; why.
    pub(super) async fn broken(&self) -> String {
        let mut broken = self.broken.subscribe();
        let reason = broken.wait_for(Option::is_some).await;
        match reason.ok().and_then(|reason| reason.clone()) {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// Bytes in the log's file.
    pub(super) fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    fn log_changed(&self) -> Option<(u64, SystemTime)> {
        let log = std::fs::metadata(&self.log).ok()?;
        Some((log.len(), log.modified().ok()?))
    }

    /// Moves the log into the file if so many pages wait. Readers of an old state hold up what they still need. The log begins anew
    /// only if nothing waits in it, which is never while somebody writes: the last few pages are moved by the writer itself.
    async fn checkpoint(&self, least: i64) -> Result<(), StoreError> {
        self.ask(async {
            let mut mover = self.mover.take(WAIT).await?;
            if waiting(&mut mover).await? < least {
                mover.done();
                return Ok(());
            }
            for _ in 0..PASSES {
                pass(&mut mover).await?;
                if waiting(&mut mover).await? < FEW {
                    break;
                }
            }
            mover.done();
            let mut writer = self.write.take(WAIT).await?;
            pass(&mut writer).await?;
            writer.done();
            Ok(())
        })
        .await
    }

    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.mover.close().await;
        self.read.close().await;
        self.write.close().await;
    }
}

/// Pages in the log that are not in the file yet.
async fn waiting(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let row = sqlx::raw_sql("pragma wal_checkpoint(noop)")
        .fetch_one(connection)
        .await?;
    let (pages, moved): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
    Ok(pages - moved)
}

async fn pass(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("pragma wal_checkpoint(passive)")
        .execute(connection)
        .await
        .map(|_| ())
}

async fn keep(file: Weak<File>) {
    let mut seen = None;
    let (mut said, mut moved) = (false, true);
    while let Some(file) = file.upgrade() {
        let full = tokio::select! {
            () = tokio::time::sleep(LOOK) => false,
            () = file.full.notified() => true,
        };
        if full && !said {
            tracing::error!("the disk of the database is full; writes are refused with 503");
        }
        said = full;
        let now = file.log_changed();
        let busy = now != seen;
        seen = now;
        if moved && !busy && !full {
            continue;
        }
        let least = if busy && !full { PAGES } else { 1 };
        match file.checkpoint(least).await {
            Ok(()) => moved = !busy,
            Err(error) => {
                tracing::warn!(%error, "the log could not be moved into the file");
                // A full disk rings the bell again; its turn comes with the next look.
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}
