//! A small TCP proxy that breaks connections as told: between the service and its provider, or between the service and its
//! database. It knows nothing of what passes, only bytes and, if asked to look for them, words.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

mod pipe;

/// A wait that is longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// On this machine a connection that is not made after so long is not going to be.
const FULL_AFTER: Duration = Duration::from_millis(100);

/// Where something happens to the bytes of one direction of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spot {
    /// Once so many bytes have passed; 0 is the first byte.
    After(usize),
    /// Before this word; where it comes in two pieces, before the second one.
    At(&'static [u8]),
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Both sides see an orderly end.
    Cut,
    /// Both sides see a reset.
    Reset,
    /// Nothing passes any more until [`Proxy::resume`]; the connection stays open.
    Stall,
    /// What comes is read and thrown away; the connection stays open.
    Swallow,
    /// It passes, and the first byte of the other side's answer resets the connection.
    LoseAnswer,
    /// It passes, and nothing of the other side's answer does until [`Proxy::resume`].
    HoldAnswer,
    /// It passes, and so does everything up to and with this word; the answer to that is held.
    HoldAnswerOf(&'static [u8]),
}

/// What is done to one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plan {
    /// What the client sends.
    pub(crate) up: Option<(Spot, Deed)>,
    /// What the server sends.
    pub(crate) down: Option<(Spot, Deed)>,
    /// Each piece of either direction waits so long,
    pub(crate) latency: Duration,
    /// and up to so much longer.
    pub(crate) jitter: Duration,
}

impl Plan {
    /// Everything passes.
    pub(crate) const PASS: Self = Self {
        up: None,
        down: None,
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
    };

    /// Something happens to what the client sends.
    pub(crate) const fn up(spot: Spot, deed: Deed) -> Self {
        Self {
            up: Some((spot, deed)),
            ..Self::PASS
        }
    }

    /// Something happens to what the server sends.
    pub(crate) const fn down(spot: Spot, deed: Deed) -> Self {
        Self {
            down: Some((spot, deed)),
            ..Self::PASS
        }
    }
}

/// What the proxy has done so far.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    deeds: AtomicUsize,
    resets: AtomicUsize,
    bytes: [AtomicUsize; 2],
    pieces: AtomicUsize,
}

struct Shared {
    to: String,
    plans: Mutex<VecDeque<Plan>>,
    usual: Mutex<Plan>,
    counts: Counts,
    changed: watch::Sender<usize>,
    resumed: watch::Sender<usize>,
    /// Whether what the client and what the server sends is held back, on every connection.
    held: watch::Sender<[bool; 2]>,
    /// Raised when every open connection is to be reset.
    resets: watch::Sender<usize>,
}

/// A proxy on a port of its own. It stops when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    /// Keeps the port while nobody listens, so that the system gives it to nobody else.
    _keeps: TcpSocket,
    shared: Arc<Shared>,
    accepting: Option<AbortHandle>,
    ignoring: Option<(TcpListener, Vec<std::io::Result<TcpStream>>)>,
    tasks: TaskTracker,
}

/// A socket with an address that it shares with others of ours.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

impl Proxy {
    /// Starts, and leads every connection to `to`, a host and port.
    pub(crate) fn start(to: &str) -> Self {
        let shared = Arc::new(Shared {
            to: to.to_owned(),
            plans: Mutex::default(),
            usual: Mutex::new(Plan::PASS),
            counts: Counts::default(),
            changed: watch::Sender::new(0),
            resumed: watch::Sender::new(0),
            held: watch::Sender::new([false; 2]),
            resets: watch::Sender::new(0),
        });
        let keeps = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut proxy = Self {
            address: keeps.local_addr().unwrap(),
            _keeps: keeps,
            shared,
            accepting: None,
            ignoring: None,
            tasks: TaskTracker::new(),
        };
        proxy.accept();
        proxy
    }

    /// Where it listens, as host and port.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Plans what is done to the next connection; repeated calls plan the ones after it.
    pub(crate) fn next(&self, plan: Plan) {
        self.shared.plans.lock().unwrap().push_back(plan);
    }

    /// What is done to every connection for which nothing is planned.
    pub(crate) fn always(&self, plan: Plan) {
        *self.shared.usual.lock().unwrap() = plan;
    }

    /// New connections are refused by the system, as if nobody was there; open ones go on.
    pub(crate) async fn refuse(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // The port is closed once the task is gone.
            while !accepting.is_finished() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// New connections are neither refused nor made: they hang, as if their first packet were lost on the way.
    pub(crate) async fn ignore(&mut self) {
        self.refuse().await;
        let listener = bound(self.address).listen(1).unwrap();
        // Nobody accepts, so the system's queue fills up, and what comes then is dropped.
        let mut fillers = Vec::new();
        while let Ok(filler) =
            tokio::time::timeout(FULL_AFTER, TcpStream::connect(self.address)).await
        {
            fillers.push(filler);
        }
        self.ignoring = Some((listener, fillers));
    }

    /// Connections are taken again. What hung comes through with its next packet, after a second or so.
    pub(crate) fn accept(&mut self) {
        self.ignoring = None;
        if self.accepting.is_none() {
            let listener = bound(self.address).listen(1024).unwrap();
            let accept = pipe::accept(listener, Arc::clone(&self.shared), self.tasks.clone());
            self.accepting = Some(self.tasks.spawn(accept).abort_handle());
        }
    }

    /// On every connection, what the client sends (`up`) and what the server sends (`down`) is held back from now on, or goes on.
    pub(crate) fn hold(&self, up: bool, down: bool) {
        self.shared.held.send_replace([up, down]);
    }

    /// What was stalled goes on.
    pub(crate) fn resume(&self) {
        self.shared.resumed.send_modify(|round| *round += 1);
    }

    /// Every open connection is reset.
    pub(crate) fn reset_all(&self) {
        self.shared.resets.send_modify(|round| *round += 1);
    }

    /// Connections taken so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.counts.connections.load(Ordering::SeqCst)
    }

    /// Plans carried out so far, and connections reset by [`Self::reset_all`].
    pub(crate) fn faults(&self) -> usize {
        self.shared.counts.deeds.load(Ordering::SeqCst)
            + self.shared.counts.resets.load(Ordering::SeqCst)
    }

    /// Bytes that clients and servers have sent so far, passed on or not.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let [up, down] = &self.shared.counts.bytes;
        (up.load(Ordering::SeqCst), down.load(Ordering::SeqCst))
    }

    /// Returns once at least `count` plans were carried out; panics if that takes too long.
    pub(crate) async fn faults_once(&self, count: usize) {
        self.until("faults", || self.faults() >= count).await;
    }

    /// Returns once clients have sent at least `count` bytes; panics if that takes too long.
    pub(crate) async fn sent_once(&self, count: usize) {
        self.until("bytes", || self.bytes().0 >= count).await;
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let reached = tokio::time::timeout(PATIENCE, changed.wait_for(|_| done()));
        assert!(reached.await.is_ok(), "the proxy still waits for {what}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
        self.reset_all();
    }
}
