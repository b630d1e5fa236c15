//! Connections to the database, each lent to one caller at a time.
//!
//! The driver's own pool asks a connection whether it is well when it goes out and when it comes back: two round trips for a transaction
//! of five on PostgreSQL, two hops to another thread on SQLite. It lends them in turn, so that each forgets what it had at hand. And a
//! connection that is still being made when its caller's patience ends is thrown away, so that a server too slow for that patience never
//! sees one come about. Here a connection that turns out to be dead is replaced when it is asked to begin; the one that came back last
//! goes out first; and what was begun for somebody who left is for whoever comes next.

use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::{ConnectOptions as _, Connection, PgConnection, SqliteConnection};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For a connection to be made, and for one to be put in order after a caller who did not.
const LONG: Duration = Duration::from_secs(5);
/// So many are made side by side. Whoever has none takes one that comes back meanwhile: each new one costs the server a process that
/// knows nothing yet, and a start that makes all at once holds up itself.
const MAKING: usize = 2;
/// Between two tries to make one.
const PAUSE: Duration = Duration::from_millis(50);
/// How long plans are kept. PostgreSQL keeps them until a table is analyzed, and one that was made while a table was empty may read all of
/// a desk for each row once it has grown (seen in its log: 3.3 ms a statement in the first second of replies, 0.6 afterwards). To make
/// them anew takes a fiftieth of the time of all statements under full load.
const PLANS: Duration = Duration::from_secs(1);
/// A connection is used no longer: a session's memory grows, and behind one name there may be other servers meanwhile.
const LIFE: Duration = Duration::from_mins(30);
/// One that nobody needed for so long is given up, before a firewall forgets it and tells nobody.
const IDLE: Duration = Duration::from_mins(5);

/// A connection that can be told something without values.
pub(super) trait Tell: Connection<Options: Clone> + 'static {
    /// What makes it forget how it went about its statements; nothing if it keeps no such plans, or sees by itself when they are old.
    const FORGET: Option<&'static str>;

    fn tell(&mut self, text: &'static str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

macro_rules! tell {
    ($connection:ty, $forget:expr) => {
        impl Tell for $connection {
            const FORGET: Option<&'static str> = $forget;

            async fn tell(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
                sqlx::Executor::execute(self, text).await.map(drop)
            }
        }
    };
}

tell!(SqliteConnection, None);
tell!(PgConnection, Some("discard plans"));

/// So many connections at most, made when they are needed.
pub(super) struct Pool<C: Tell>(Arc<Shared<C>>);

struct Shared<C: Tell> {
    options: C::Options,
    size: u32,
    /// For connections that are lent or on their way.
    places: Arc<Semaphore>,
    /// The others; the one that came back last at the end.
    idle: std::sync::Mutex<Vec<Idle<C>>>,
    /// Rung when one came back.
    returned: Notify,
    /// For connections that are being made.
    making: Arc<Semaphore>,
    closing: CancellationToken,
}

struct Idle<C> {
    live: Arc<Mutex<Live<C>>>,
    since: Instant,
}

struct Live<C> {
    connection: C,
    made: Instant,
    planned: Instant,
    /// A transaction was begun and is not known to have ended.
    open: bool,
}

/// A connection in somebody's hands. Unless they say that they are done, it is put in order before anybody else has it.
pub(super) struct Lent<C: Tell> {
    shared: Arc<Shared<C>>,
    /// Locked by whoever has it. Before the place, which is free once the lock is.
    live: OwnedMutexGuard<Live<C>>,
    place: Option<OwnedSemaphorePermit>,
    fresh: bool,
    done: bool,
}

impl<C: Tell> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Tell> Pool<C> {
    pub(super) fn new(options: C::Options, size: u32) -> Self {
        Self(Arc::new(Shared {
            options,
            size,
            places: Arc::new(Semaphore::new(size as usize)),
            idle: std::sync::Mutex::default(),
            returned: Notify::new(),
            making: Arc::new(Semaphore::new(MAKING)),
            closing: CancellationToken::new(),
        }))
    }

    /// A connection; waits for it no longer than `wait`.
    ///
    /// # Errors
    /// [`sqlx::Error::PoolTimedOut`], [`sqlx::Error::PoolClosed`], and why none can be made.
    pub(super) async fn take(&self, wait: Duration) -> Result<Lent<C>, sqlx::Error> {
        self.0.within(wait, self.lend()).await
    }

    /// The same with a transaction, begun with this text.
    pub(super) async fn begin(
        &self,
        text: &'static str,
        wait: Duration,
    ) -> Result<Lent<C>, sqlx::Error> {
        let begun = async {
            let mut lent = self.lend().await?;
            // First, because whoever waits for it may be gone before it is done.
            lent.live.open = true;
            if let Err(error) = lent.live.connection.tell(text).await {
                lent.renew(error).await?;
                lent.live.connection.tell(text).await?;
            }
            Ok(lent)
        };
        self.0.within(wait, begun).await
    }

    async fn lend(&self) -> Result<Lent<C>, sqlx::Error> {
        let place = Arc::clone(&self.0.places).acquire_owned().await;
        let place = place.map_err(|_| sqlx::Error::PoolClosed)?;
        let making = loop {
            let idle = self.0.idle().pop();
            if let Some(idle) = idle {
                let mut lent = self.0.lend(idle.live, place, false).await;
                lent.live.forget().await;
                return Ok(lent);
            }
            tokio::select! {
                biased;
                () = self.0.returned.notified() => {}
                making = Arc::clone(&self.0.making).acquire_owned() => {
                    break making.map_err(|_| sqlx::Error::PoolClosed)?;
                }
            }
        };
        // In a task of its own, so that it comes about whoever still waits for it.
        let shared = Arc::clone(&self.0);
        let made = TaskTracker::new().spawn(async move {
            let live = Live {
                connection: shared.connect().await?,
                made: Instant::now(),
                planned: Instant::now(),
                open: false,
            };
            drop(making);
            let live = Arc::new(Mutex::new(live));
            let mut lent = shared.lend(live, place, true).await;
            // For whoever gives it back unused.
            lent.done = true;
            Ok::<_, sqlx::Error>(lent)
        });
        let mut lent = made.await.map_err(|_| sqlx::Error::WorkerCrashed)??;
        lent.done = false;
        Ok(lent)
    }

    /// How many are lent or on their way, and how many nobody has.
    pub(super) fn condition(&self) -> (u64, u64) {
        let free = self.0.places.available_permits() as u64;
        let idle = self.0.idle().len() as u64;
        (u64::from(self.0.size).saturating_sub(free), idle)
    }

    /// How its connections are made, for one who leaves something behind on theirs.
    pub(super) fn options(&self) -> C::Options {
        self.0.options.clone()
    }

    /// Lends nobody one any more, waits for whoever has one, and closes all.
    pub(super) async fn close(&self) {
        self.0.closing.cancel();
        let all = self.0.places.acquire_many(self.0.size).await;
        drop(all);
        let idle = std::mem::take(&mut *self.0.idle());
        for Idle { live, .. } in idle {
            if let Some(live) = Arc::into_inner(live) {
                let _ = live.into_inner().connection.close().await;
            }
        }
    }
}

impl<C: Tell> Shared<C> {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn within<T>(
        &self,
        wait: Duration,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let done = timeout(wait, self.closing.run_until_cancelled(work)).await;
        let done = done.map_err(|_| sqlx::Error::PoolTimedOut)?;
        done.unwrap_or(Err(sqlx::Error::PoolClosed))
    }

    async fn connect(&self) -> Result<C, sqlx::Error> {
        self.within(LONG, Box::pin(self.try_to_connect())).await
    }

    /// Goes on as long as the other side may only be starting, or has no room for one more.
    async fn try_to_connect(&self) -> Result<C, sqlx::Error> {
        loop {
            match self.options.connect().await {
                Err(error) if may_pass(&error) => sleep(PAUSE).await,
                done => return done,
            }
        }
    }

    async fn lend(
        self: &Arc<Self>,
        live: Arc<Mutex<Live<C>>>,
        place: OwnedSemaphorePermit,
        fresh: bool,
    ) -> Lent<C> {
        Lent {
            shared: Arc::clone(self),
            live: live.lock_owned().await,
            place: Some(place),
            fresh,
            done: false,
        }
    }

    fn give_back(&self, live: &Live<C>, to: Arc<Mutex<Live<C>>>) {
        if self.closing.is_cancelled() {
            return;
        }
        let now = Instant::now();
        let mut idle = self.idle();
        idle.retain(|idle| now - idle.since < IDLE);
        if now - live.made < LIFE {
            idle.push(Idle {
                live: to,
                since: now,
            });
            self.returned.notify_one();
        }
    }
}

/// The other side may take a connection a little later: it starts, or has no room.
fn may_pass(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Io(error) = error {
        return error.kind() == ErrorKind::ConnectionRefused;
    }
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("57P03" | "53300"))
}

/// The connection is gone, whatever was asked of it.
fn is_lost(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return true;
    };
    // PostgreSQL's last words to a session that it ended while nobody listened.
    let code = error.code().unwrap_or_default();
    code.len() == 5 && (code.starts_with("57P") || code == "25P03")
}

impl<C: Tell> Live<C> {
    async fn forget(&mut self) {
        if let Some(forget) = C::FORGET
            && self.planned.elapsed() > PLANS
        {
            self.planned = Instant::now();
            // Whoever asks next finds out what is wrong with it.
            let _ = self.connection.tell(forget).await;
        }
    }

    /// Ends what whoever had it before did not. Fails when SQLite has done so by itself, as it does when the disk is full, and whenever
    /// the connection is lost.
    async fn tidy(&mut self) -> Result<(), sqlx::Error> {
        if self.open {
            self.connection.tell("rollback").await?;
            self.open = false;
            Ok(())
        } else {
            self.connection.ping().await
        }
    }
}

impl<C: Tell> Lent<C> {
    /// A new connection if it was dead when it was lent; the error otherwise.
    pub(super) async fn renew(&mut self, error: sqlx::Error) -> Result<(), sqlx::Error> {
        if self.fresh || !is_lost(&error) {
            return Err(error);
        }
        self.live.connection = self.shared.connect().await?;
        self.live.made = Instant::now();
        self.live.planned = self.live.made;
        self.fresh = true;
        Ok(())
    }

    /// Nothing is under way on it any more.
    pub(super) fn done(mut self) {
        self.done = true;
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.end("commit").await
    }

    pub(super) async fn roll_back(self) -> Result<(), sqlx::Error> {
        self.end("rollback").await
    }

    async fn end(mut self, text: &'static str) -> Result<(), sqlx::Error> {
        self.live.connection.tell(text).await?;
        self.live.open = false;
        self.done = true;
        Ok(())
    }
}

impl<C: Tell> Drop for Lent<C> {
    fn drop(&mut self) {
        let live = Arc::clone(OwnedMutexGuard::mutex(&self.live));
        if self.done {
            self.shared.give_back(&self.live, live);
        } else if Handle::try_current().is_ok() {
            // At once: locks that it may hold do not wait for whoever takes it next.
            let (shared, place) = (Arc::clone(&self.shared), self.place.take());
            TaskTracker::new().spawn(async move {
                let mut tidied = Arc::clone(&live).lock_owned().await;
                if let Ok(Ok(())) = timeout(LONG, tidied.tidy()).await {
                    shared.give_back(&tidied, live);
                }
                drop((tidied, place));
            });
        }
    }
}

impl<C: Tell> Deref for Lent<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.live.connection
    }
}

impl<C: Tell> DerefMut for Lent<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.live.connection
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    const WAIT: Duration = Duration::from_secs(5);
    const BEGIN: &str = "begin immediate";
    const ADD: &str = "insert into lines (n) values (1)";

    fn options(folder: &tempfile::TempDir) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(folder.path().join("lines.db"))
            .create_if_missing(true)
            .busy_timeout(WAIT)
    }

    fn pool(folder: &tempfile::TempDir, size: u32) -> Pool<SqliteConnection> {
        Pool::new(options(folder), size)
    }

    async fn lines(lent: &mut Lent<SqliteConnection>) -> i64 {
        let row = sqlx::query("select count(*) from lines").fetch_one(&mut **lent);
        row.await.unwrap().get(0)
    }

    #[tokio::test]
    async fn what_was_begun_and_not_ended_is_rolled_back_and_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder, 1);
        let mut lent = pool.take(WAIT).await.unwrap();
        lent.tell("create table lines (n integer)").await.unwrap();
        lent.done();

        let mut lent = pool.begin(BEGIN, WAIT).await.unwrap();
        lent.tell(ADD).await.unwrap();
        drop(lent);
        // Nobody takes the connection, and the file is free all the same.
        let mut other = options(&folder).connect().await.unwrap();
        other.tell(ADD).await.unwrap();
        other.close().await.unwrap();

        let mut lent = pool.begin(BEGIN, WAIT).await.unwrap();
        lent.tell(ADD).await.unwrap();
        lent.commit().await.unwrap();
        assert_eq!(lines(&mut pool.take(WAIT).await.unwrap()).await, 2);
    }

    #[tokio::test]
    async fn a_transaction_that_ended_by_itself_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder, 1);
        let mut lent = pool.begin(BEGIN, WAIT).await.unwrap();
        lent.tell("rollback").await.unwrap();
        drop(lent);
        let lent = pool.begin(BEGIN, WAIT).await.unwrap();
        lent.commit().await.unwrap();
    }

    #[tokio::test]
    async fn so_many_are_lent_and_the_last_one_back_goes_out_first() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder, 2);
        let (mut one, two) = (
            pool.take(WAIT).await.unwrap(),
            pool.take(WAIT).await.unwrap(),
        );
        let third = pool.take(Duration::ZERO).await.map(Lent::done);
        assert!(matches!(third, Err(sqlx::Error::PoolTimedOut)), "{third:?}");
        assert_eq!(pool.condition(), (2, 0));
        one.tell("create temporary table mine (n integer)")
            .await
            .unwrap();
        two.done();
        one.done();
        assert_eq!(pool.condition(), (0, 2));
        for _ in 0..3 {
            let mut again = pool.take(WAIT).await.unwrap();
            again.tell("insert into mine (n) values (1)").await.unwrap();
            again.done();
        }
    }

    #[tokio::test]
    async fn one_that_is_made_for_somebody_who_left_is_for_whoever_comes_next() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder, 1);
        let left = tokio::select! {
            biased;
            _ = pool.take(WAIT) => false,
            () = std::future::ready(()) => true,
        };
        assert!(left);
        // Whoever waits for the one place has what was made, and nothing is made for them.
        let next = pool.take(WAIT).await.unwrap();
        assert!(!next.fresh);
    }

    #[tokio::test]
    async fn once_it_is_closed_nobody_is_lent_one() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&folder, 2);
        pool.take(WAIT).await.unwrap().done();
        pool.close().await;
        pool.close().await;
        let taken = pool.begin(BEGIN, WAIT).await.map(Lent::done);
        assert!(matches!(taken, Err(sqlx::Error::PoolClosed)), "{taken:?}");
        assert_eq!(pool.condition(), (0, 0));
    }
}
