//! Group commit: writes that arrive while a transaction is being committed share the next one.
//!
//! A commit waits for the disk, so one per write would make the disk the limit. There is no timer: the next batch is
//! whatever came while the last one was on its way, so a lone write waits for nobody. Each write gets its own answer, and
//! one that fails does not take the others with it.

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
        commit(&inner, std::mem::take(&mut batch)).await;
    }
}

async fn commit(inner: &Inner, batch: Vec<Job>) {
    if batch.len() > 1 {
        let writes: Vec<&Write> = batch.iter().map(|job| &job.write).collect();
        if let Ok(all) = together(inner, &writes).await {
            for (job, written) in batch.into_iter().zip(all) {
                // Nobody waits any more when the caller's deadline has passed; the write stands all the same.
                let _ = job.answer.send(Ok(written));
            }
            return;
        }
    }
    for job in batch {
        let result = alone(inner, &job.write).await;
        let _ = job.answer.send(result);
    }
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
