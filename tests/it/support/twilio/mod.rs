//! A stateful double of Twilio's REST API on a real port: it keeps a ledger of what it accepted, lists it, misbehaves when told,
//! and calls the service back with signed requests. Signing is written here from Twilio's documented rule and shares nothing
//! with the service. With the address of a mock of Twilio's OpenAPI document, every request is shown to that too.
//!
//! `ledger` holds what was taken and heard, `api` and `lists` answer the service's requests, `news` calls the service.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use onefive::clock::{Clock, SystemClock};
use onefive::domain::time::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

pub(crate) use ledger::{CallUpdate, POOL_NUMBER, SentMessage};
pub(crate) use news::{Auto, Service, sign};

use ledger::Ledger;

mod api;
mod ledger;
mod lists;
mod news;

/// The account that tests use.
pub(crate) const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// Its auth token: the password of the API and the key of signatures.
pub(crate) const TOKEN: &str = "twilio-test-auth-token";
/// A Messaging Service of the account.
pub(crate) const MESSAGING_SERVICE: &str = "MG00000000000000000000000000000003";
/// A wait that is longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the next request that would change something meets. After that the fake accepts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Takes it and answers 201.
    Accept,
    /// Takes it, then drops the connection without an answer.
    LoseAnswer,
    /// Takes it, and answers 201 once [`FakeTwilio::release`] is called.
    HoldAnswer,
    /// Takes it, then answers 500.
    Fail500AfterAccept,
    /// Answers 500 and does nothing.
    Fail500WithoutAccept,
    /// Answers 429 with this `Retry-After`, in seconds, and does nothing.
    TooMany {
        /// Seconds.
        retry_after: u32,
    },
    /// Answers this status with this error code, and does nothing.
    Reject {
        /// The HTTP status.
        http: u16,
        /// Twilio's code.
        code: u32,
    },
    /// Takes it, then answers 201 with a body that is not Twilio's.
    Malformed2xx,
    /// Does nothing and never answers.
    Hang,
}

/// How a list, or a single message, is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Listing {
    /// As it is.
    #[default]
    Truth,
    /// Well-formed, and without any message.
    EmptyLie,
    /// Answers 500.
    Fail500,
    /// Answers 429 with this `Retry-After`, in seconds.
    TooMany {
        /// Seconds.
        retry_after: u32,
    },
    /// Answers 200 with a body that is not Twilio's.
    Malformed,
    /// Drops the connection without an answer.
    LoseAnswer,
}

/// The fake. It stops when it is dropped.
pub(crate) struct FakeTwilio {
    base_url: String,
    state: Arc<State>,
    tasks: Vec<AbortHandle>,
}

struct State {
    prism: Option<String>,
    http: Client<HttpConnector, Full<Bytes>>,
    ledger: Mutex<Ledger>,
    changed: watch::Sender<usize>,
    /// Answers held back before this was raised are given.
    released: watch::Sender<usize>,
    clock: Arc<dyn Clock>,
    offset_ms: AtomicI64,
    auto: Mutex<Option<Auto>>,
    news: TaskTracker,
}

impl State {
    /// Twilio's clock.
    fn now(&self) -> Timestamp {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        self.clock.now().plus_millis(offset)
    }

    /// Reads or changes the ledger, after what is due has gone out.
    fn with<T>(&self, use_it: impl FnOnce(&mut Ledger) -> T) -> T {
        let now = self.now();
        let mut ledger = self.ledger.lock().unwrap();
        ledger.turn(now);
        use_it(&mut ledger)
    }

    fn new_sid(&self, kind: &str) -> String {
        self.with(|ledger| ledger.new_sid(kind))
    }
}

impl FakeTwilio {
    /// Starts on a free port, with the machine's clock. `prism` is the base address of a mock of Twilio's OpenAPI document, if
    /// one runs.
    pub(crate) async fn start(prism: Option<String>) -> Self {
        Self::with_clock(prism, Arc::new(SystemClock)).await
    }

    /// The same with a clock of the test's.
    pub(crate) async fn with_clock(prism: Option<String>, clock: Arc<dyn Clock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        // Each call has a connection of its own: the mock closes idle ones after five seconds, now and then just as one is used.
        let http = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build_http();
        let state = Arc::new(State {
            prism,
            http,
            ledger: Mutex::default(),
            changed: watch::Sender::new(0),
            released: watch::Sender::new(0),
            clock,
            offset_ms: AtomicI64::new(0),
            auto: Mutex::default(),
            news: TaskTracker::new(),
        });
        let tasks = TaskTracker::new();
        let accept = api::accept(listener, Arc::clone(&state), tasks.clone());
        let tasks = vec![tasks.spawn(accept).abort_handle()];
        Self {
            base_url,
            state,
            tasks,
        }
    }

    /// For the service's setting `base_url`.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The section `[providers.twilio]` that makes a service use this fake, with `from` as its number.
    pub(crate) fn settings(&self, from: &str) -> String {
        format!(
            "account_sid = \"{ACCOUNT}\"\nsecret = \"{TOKEN}\"\nfrom = \"{from}\"\nbase_url = \"{}\"\n",
            self.base_url()
        )
    }

    /// Plans what the next request meets; repeated calls plan the ones after it.
    pub(crate) fn next(&self, behaviour: Behaviour) {
        self.state.with(|ledger| ledger.plan.push_back(behaviour));
    }

    /// Forgets what was planned and has not been met: from now on everything works.
    pub(crate) fn forget_plan(&self) {
        self.state.with(|ledger| ledger.plan.clear());
    }

    /// Plans how the next list is answered; repeated calls plan the ones after it.
    pub(crate) fn next_list(&self, listing: Listing) {
        self.state.with(|ledger| ledger.listings.push_back(listing));
    }

    /// How every list is answered for which nothing is planned.
    pub(crate) fn lists(&self, listing: Listing) {
        self.state.with(|ledger| ledger.listing = listing);
    }

    /// From now on a message is seen in lists this many seconds after it was taken.
    pub(crate) fn lists_after(&self, seconds: i64) {
        self.state.with(|ledger| ledger.hidden_seconds = seconds);
    }

    /// From now on lists hide the words of messages, or show them.
    pub(crate) fn redact(&self, redacted: bool) {
        self.state.with(|ledger| ledger.redacted = redacted);
    }

    /// Twilio's clock is so many milliseconds ahead of the one that it was started with.
    pub(crate) fn set_offset_ms(&self, offset: i64) {
        self.state.offset_ms.store(offset, Ordering::Relaxed);
    }

    /// Gives every answer that is held back.
    pub(crate) fn release(&self) {
        self.state.released.send_modify(|round| *round += 1);
    }

    /// How many answers were held back so far, given meanwhile or not.
    pub(crate) fn held(&self) -> usize {
        self.state.with(|ledger| ledger.held)
    }

    /// Returns once at least `n` answers were held back.
    pub(crate) async fn held_once(&self, n: usize) {
        self.wait(|ledger| ledger.held >= n).await;
    }

    /// Every message taken so far, in order.
    pub(crate) fn messages(&self) -> Vec<SentMessage> {
        self.state.with(|ledger| ledger.messages.clone())
    }

    /// The messages taken since there were `known`.
    pub(crate) fn messages_after(&self, known: usize) -> Vec<SentMessage> {
        self.state.with(|ledger| ledger.messages[known..].to_vec())
    }

    /// The messages that really reached a contact, or will with nobody able to stop them.
    pub(crate) fn delivered_to(&self, number: &str) -> Vec<SentMessage> {
        let mut messages = self.messages();
        messages.retain(|message| message.to == number && message.reached());
        messages
    }

    /// The numbers that more than one message reached. Each number is asked once in most stories, so this is to be empty.
    pub(crate) fn reached_twice(&self) -> Vec<String> {
        let mut numbers: Vec<String> = self
            .messages()
            .into_iter()
            .filter(SentMessage::reached)
            .map(|message| message.to)
            .collect();
        numbers.sort();
        let twice = numbers.windows(2).filter(|pair| pair[0] == pair[1]);
        twice.map(|pair| pair[0].clone()).collect()
    }

    /// Every call update taken so far, in order.
    pub(crate) fn calls(&self) -> Vec<CallUpdate> {
        self.state.with(|ledger| ledger.calls.clone())
    }

    /// How many requests came in that would change something, taken or not.
    pub(crate) fn requests(&self) -> usize {
        self.state.with(|ledger| ledger.requests)
    }

    /// How many lists or single messages were asked for.
    pub(crate) fn looks(&self) -> usize {
        self.state.with(|ledger| ledger.looks)
    }

    /// Returns once at least `n` requests came in; panics if that takes too long.
    pub(crate) async fn requests_once(&self, n: usize) {
        self.wait(|ledger| ledger.requests >= n).await;
    }

    /// Requests that Twilio would not have understood, with the reason. A good test ends with none.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.state.with(|ledger| ledger.failures.clone())
    }

    async fn wait(&self, done: impl Fn(&Ledger) -> bool) {
        let mut changed = self.state.changed.subscribe();
        let reached = changed.wait_for(|_| done(&self.state.ledger.lock().unwrap()));
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(
            reached.is_ok(),
            "twilio still waits; its misunderstandings: {:?}",
            self.failures()
        );
    }
}

impl Drop for FakeTwilio {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        *self.state.auto.lock().unwrap() = None;
    }
}
