//! Group commit: writes that arrive while a transaction is being committed share the next one.
//!
//! A commit waits for the disk, so one per write would make the disk the limit. There is no timer: the next batch is
//! whatever came while the last one was on its way, so a lone write waits for nobody. Each write gets its own answer, and
//! one that fails does not take the others with it; but when it is the database that fails, all fail at once.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::sql::Inner;
use super::write::{Write, Written};
use super::{StoreError, StoreSettings};

/// How often a write is repeated when somebody else wrote the same row at the same time.
const TRIES: usize = 4;

struct Job {
    write: Write,
    answer: oneshot::Sender<Result<Written, StoreError>>,
}

/// The way into the next transaction.
#[derive(Clone)]
pub(super) struct GroupCommit {
    queue: mpsc::Sender<Job>,
}

impl GroupCommit {
    /// Starts the writers. They end when the last sender is gone.
    pub(super) fn start(inner: &Arc<Inner>, settings: &StoreSettings, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = mpsc::channel(settings.queue.max(1));
        let most = settings.batch.max(1);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..inner.database.writers() {
            tasks.spawn(run(Arc::clone(inner), Arc::clone(&receiver), most));
        }
        Self { queue: sender }
    }

    /// Writes, and returns once it is on disk. A full queue refuses at once: memory is not a place to wait.
    pub(super) async fn write(&self, write: Write) -> Result<Written, StoreError> {
        let (answer, result) = oneshot::channel();
        self.queue
            .try_send(Job { write, answer })
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

async fn run(inner: Arc<Inner>, receiver: Arc<Mutex<mpsc::Receiver<Job>>>, most: usize) {
    let mut batch = Vec::with_capacity(most);
    loop {
        let taken = receiver.lock().await.recv_many(&mut batch, most).await;
        if taken == 0 {
            return;
        }
        if let Err(outage) = commit(&inner, std::mem::take(&mut batch)).await {
            // Whoever came meanwhile has waited as long, and would wait as long again. If somebody else holds the queue, it is empty.
            if let Ok(mut receiver) = receiver.try_lock() {
                while let Ok(job) = receiver.try_recv() {
                    let _ = job.answer.send(Err(outage.clone()));
                }
            }
        }
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
