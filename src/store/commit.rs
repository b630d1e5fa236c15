//! Group commit: writes that arrive while a transaction is being committed share the next one.
//!
//! A commit waits for the disk, so one per write would make the disk the limit. There is no timer: the next batch is
//! whatever came while the last one was on its way, so a lone write waits for nobody. A second transaction beside the first is worth
//! its statements only if there is enough for it. Each write gets its own answer, and one that fails does not take the others with it;
//! but when it is the database that fails, all fail at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::sql::Inner;
use super::write::{Write, Written};
use super::{StoreError, StoreSettings};

/// How often a write is repeated when somebody else wrote the same row at the same time.
const TRIES: usize = 4;
/// So many writes are worth a transaction beside one that is under way; fewer wait until that ends, but not for one that is stuck.
const ENOUGH: usize = 32;
const STUCK: Duration = Duration::from_millis(20);

struct Job {
    write: Write,
    since: Instant,
    answer: oneshot::Sender<Result<Written, StoreError>>,
}

/// The way into the next transaction.
#[derive(Clone)]
pub(super) struct GroupCommit {
    queue: mpsc::Sender<Job>,
}

impl GroupCommit {
    /// Starts the writer. It ends when the last sender is gone.
    pub(super) fn start(inner: &Arc<Inner>, settings: &StoreSettings, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = mpsc::channel(settings.queue.max(1));
        let writer = Writer {
            inner: Arc::clone(inner),
            free: Arc::new(Semaphore::new(inner.database.writers())),
            outage: Arc::default(),
            tasks: tasks.clone(),
        };
        tasks.spawn(writer.run(receiver, settings.batch.max(1)));
        Self { queue: sender }
    }

    /// Writes, and returns once it is on disk. A full queue refuses at once: memory is not a place to wait.
    pub(super) async fn write(&self, write: Write) -> Result<Written, StoreError> {
        let (answer, result) = oneshot::channel();
        self.queue
            .try_send(Job {
                write,
                since: Instant::now(),
                answer,
            })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Busy,
                mpsc::error::TrySendError::Closed(_) => {
                    StoreError::Unavailable("the store is closing".to_owned())
                }
            })?;
        result
            .await
            .map_err(|_| StoreError::Unavailable("the writer ended".to_owned()))?
    }
}

/// Gathers writes, and commits them.
struct Writer {
    inner: Arc<Inner>,
    /// Transactions that may be under way.
    free: Arc<Semaphore>,
    /// When the database failed last, and how.
    outage: Arc<Mutex<Option<(Instant, StoreError)>>>,
    tasks: TaskTracker,
}

impl Writer {
    async fn run(self, mut queue: mpsc::Receiver<Job>, most: usize) {
        let writers = self.free.available_permits();
        while let Ok(place) = Arc::clone(&self.free).acquire_owned().await {
            let mut batch = Vec::with_capacity(most);
            if queue.recv_many(&mut batch, most).await == 0 {
                return;
            }
            let stuck = tokio::time::sleep(STUCK);
            tokio::pin!(stuck);
            while batch.len() < ENOUGH.min(most) && self.free.available_permits() + 1 < writers {
                let room = most - batch.len();
                tokio::select! {
                    more = queue.recv_many(&mut batch, room) => if more == 0 { break },
                    // Somebody else is done.
                    _ = self.free.acquire() => break,
                    () = &mut stuck => break,
                }
            }
            let batch = self.not_failed(batch);
            let (inner, outage) = (Arc::clone(&self.inner), Arc::clone(&self.outage));
            self.tasks.spawn(async move {
                if let Err(error) = commit(&inner, batch).await {
                    let mut outage = outage.lock().unwrap_or_else(PoisonError::into_inner);
                    *outage = Some((Instant::now(), error));
                }
                drop(place);
            });
        }
    }

    /// Whoever came while a transaction was on its way that ended with an outage has waited as long, and would wait as long again.
    fn not_failed(&self, batch: Vec<Job>) -> Vec<Job> {
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, error)) = outage.as_ref() else {
            return batch;
        };
        let (failed, batch): (Vec<Job>, Vec<Job>) =
            batch.into_iter().partition(|job| job.since < *at);
        let _ = fail(failed, error.clone());
        batch
    }
}

/// Commits a batch and answers each. The error, if it was the database that failed.
async fn commit(inner: &Inner, batch: Vec<Job>) -> Result<(), StoreError> {
    if batch.len() > 1 {
        let writes: Vec<&Write> = batch.iter().map(|job| &job.write).collect();
        match together(inner, &writes).await {
            Ok(all) => {
                for (job, written) in batch.into_iter().zip(all) {
                    // Nobody waits any more when the caller's deadline has passed; the write stands all the same.
                    let _ = job.answer.send(Ok(written));
                }
                return Ok(());
            }
            // Trying each alone would make each wait for what is not there. If the connection failed during the commit it may even
            // have been done: whoever repeats a call finds it then.
            Err(error) if error.is_outage() => return fail(batch, error),
            Err(_) => {}
        }
    }
    let mut batch = batch.into_iter();
    while let Some(job) = batch.next() {
        let result = alone(inner, &job.write).await;
        let outage = result.as_ref().err().filter(|error| error.is_outage());
        let outage = outage.cloned();
        let _ = job.answer.send(result);
        if let Some(error) = outage {
            return fail(batch, error);
        }
    }
    Ok(())
}

fn fail(batch: impl IntoIterator<Item = Job>, error: StoreError) -> Result<(), StoreError> {
    for job in batch {
        let _ = job.answer.send(Err(error.clone()));
    }
    Err(error)
}

async fn together(inner: &Inner, writes: &[&Write]) -> Result<Vec<Written>, StoreError> {
    let mut tx = inner.database.begin().await?;
    let all = inner.apply_all(&mut tx, writes).await?;
    tx.commit().await?;
    Ok(all)
}

/// Repeating is harmless: every write is keyed by an identifier or a secret that its caller made.
async fn alone(inner: &Inner, write: &Write) -> Result<Written, StoreError> {
    let mut last = StoreError::Conflict;
    for _ in 0..TRIES {
        match together(inner, &[write]).await {
            Ok(mut all) => return all.pop().ok_or(StoreError::Conflict),
            Err(StoreError::Conflict) => last = StoreError::Conflict,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}
