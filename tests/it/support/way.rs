//! A way from the service to its database that can be cut, held up and led elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::free_port;
use super::postgres::url;

/// For a commit that is to be lost. Only a broken service comes near.
const DEADLINE: Duration = Duration::from_secs(40);

/// A way from the service to a server. What it does to one connection it does between the two, so that each side sees only what a
/// network shows.
pub(crate) struct Way {
    /// Where it begins.
    pub(crate) port: u16,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    to: AtomicU16,
    /// Nothing passes, and nobody is told.
    held: watch::Sender<bool>,
    /// Raised when every open connection ends.
    cut: watch::Sender<usize>,
    /// Commits that are to lose their answer.
    losing: AtomicUsize,
    lost: watch::Sender<usize>,
}

impl Way {
    /// A way to the server on this port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let shared = Arc::new(Shared {
            to: AtomicU16::new(port),
            held: watch::Sender::new(false),
            cut: watch::Sender::new(0),
            losing: AtomicUsize::new(0),
            lost: watch::Sender::new(0),
        });
        let begin = listener.local_addr().unwrap().port();
        let tasks = TaskTracker::new();
        let accept = accept(listener, Arc::clone(&shared), tasks.clone());
        Self {
            port: begin,
            shared,
            accepting: tasks.spawn(accept).abort_handle(),
        }
    }

    /// The address of a database at the end of the way.
    pub(crate) fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Leads to another server from now on; what is open ends.
    pub(crate) fn lead(&self, port: u16) {
        self.shared.to.store(port, Ordering::SeqCst);
        self.cut();
    }

    /// Every open connection ends.
    pub(crate) fn cut(&self) {
        self.shared.cut.send_modify(|round| *round += 1);
    }

    /// Lets nothing pass any more, or everything again. New connections are taken and hear nothing.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// The next commit reaches the server, its answer is lost, and the connection ends. Returns once that has happened.
    pub(crate) async fn lose_a_commit(&self) {
        let mut lost = self.shared.lost.subscribe();
        let before = *lost.borrow_and_update();
        self.shared.losing.fetch_add(1, Ordering::SeqCst);
        let done = timeout(DEADLINE, lost.wait_for(|lost| *lost > before));
        assert!(done.await.is_ok(), "nobody commits");
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker) {
    while let Ok((near, _)) = listener.accept().await {
        tasks.spawn(carry(near, Arc::clone(&shared)));
    }
}

async fn carry(near: TcpStream, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    cut.mark_unchanged();
    let open = async {
        let mut held = shared.held.subscribe();
        drop(held.wait_for(|held| !held).await);
        let far = TcpStream::connect(("127.0.0.1", shared.to.load(Ordering::SeqCst))).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let doomed = watch::Sender::new(false);
        let ((near_read, near_write), (far_read, far_write)) =
            (near.into_split(), far.into_split());
        let up = pass(near_read, far_write, &shared, &doomed, true);
        let down = pass(far_read, near_write, &shared, &doomed, false);
        tokio::select! { ended = up => ended, ended = down => ended }
    };
    tokio::select! {
        _ = open => {}
        _ = cut.changed() => {}
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    shared: &Shared,
    doomed: &watch::Sender<bool>,
    up: bool,
) -> std::io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    let mut held = shared.held.subscribe();
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        drop(held.wait_for(|held| !held).await);
        if !up && *doomed.borrow() {
            // The server has answered the commit: it is done, and nobody will hear of it.
            shared.lost.send_modify(|lost| *lost += 1);
            return Ok(());
        }
        let commits = up && piece[..count].windows(7).any(|word| word == b"commit\0");
        if commits {
            let take = |left: usize| left.checked_sub(1);
            if shared
                .losing
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_ok()
            {
                doomed.send_replace(true);
            }
        }
        to.write_all(&piece[..count]).await?;
    }
}
