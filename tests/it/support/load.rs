//! A desk and its customers who never rest, and remember every answer that they have read: what was answered with 2xx is there
//! afterwards, whatever failed meanwhile. A call that fails is repeated as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::program::Http;

/// Between two calls of one worker.
const PACE: Duration = Duration::from_millis(10);
/// For one call, and for anything that is waited for. Only a broken service comes near.
const DEADLINE: Duration = Duration::from_secs(40);

/// What is asked of the service.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Addresses of replicas; the workers take turns.
    pub(crate) urls: Vec<String>,
    /// The desk's key.
    pub(crate) key: String,
    /// Who works at the same time.
    pub(crate) workers: usize,
    /// Whether every second request is a text message, which is sent and not answered.
    pub(crate) texts: bool,
    /// Bytes of the desk's own that each request carries.
    pub(crate) bulk: usize,
}

#[derive(Debug, Default)]
struct Book {
    /// Request by conversation, and score by request, as acknowledged.
    triggers: BTreeMap<String, String>,
    ratings: BTreeMap<String, u64>,
    /// How long it took to be refused, and to hear nothing.
    refused: Vec<Duration>,
    unheard: usize,
    /// Answers that must not be.
    wrong: Vec<String>,
}

/// The desk and its customers at work.
pub(crate) struct Load {
    client: Arc<Crowd>,
    workers: JoinSet<()>,
}

struct Crowd {
    http: Http,
    wish: Wish,
    stop: CancellationToken,
    book: Mutex<Book>,
    acknowledged: watch::Sender<usize>,
    refused: watch::Sender<usize>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Acknowledged triggers and ratings, and those of them that are not there.
    pub(crate) acknowledged: usize,
    pub(crate) lost: Vec<String>,
    /// How long refusals took, shortest first.
    pub(crate) refused: Vec<Duration>,
    /// Calls without an answer.
    pub(crate) unheard: usize,
}

impl Outcome {
    /// 99 of 100 refusals took no longer.
    pub(crate) fn p99(&self) -> Duration {
        let last = self.refused.len().saturating_sub(1);
        self.refused
            .get(last * 99 / 100)
            .copied()
            .unwrap_or_default()
    }

    /// For the book of faults.
    pub(crate) fn summary(&self) -> String {
        let stored = self.acknowledged - self.lost.len();
        format!("acknowledged = stored, {stored} of {}", self.acknowledged)
    }
}

impl Load {
    /// Begins.
    pub(crate) fn begin(wish: Wish) -> Self {
        let client = Arc::new(Crowd {
            http: Client::builder(TokioExecutor::new()).build_http(),
            wish,
            stop: CancellationToken::new(),
            book: Mutex::default(),
            acknowledged: watch::Sender::new(0),
            refused: watch::Sender::new(0),
        });
        let workers = (0..client.wish.workers)
            .map(|worker| Arc::clone(&client).work(worker))
            .collect();
        Self { client, workers }
    }

    /// How much was acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        *self.client.acknowledged.borrow()
    }

    /// Returns once `more` were acknowledged from now on; how long that took.
    pub(crate) async fn more(&self, more: usize) -> Duration {
        let begun = Instant::now();
        let point = self.acknowledged() + more;
        let mut watch = self.client.acknowledged.subscribe();
        let done = timeout(DEADLINE, watch.wait_for(|count| *count >= point))
            .await
            .is_ok();
        assert!(
            done,
            "{more} more are not acknowledged: {:?}",
            self.client.book.lock().unwrap().wrong
        );
        begun.elapsed()
    }

    /// Returns once `more` were refused from now on.
    pub(crate) async fn refused(&self, more: usize) {
        let mut watch = self.client.refused.subscribe();
        let point = *watch.borrow_and_update() + more;
        let done = timeout(DEADLINE, watch.wait_for(|count| *count >= point))
            .await
            .is_ok();
        assert!(done, "nothing is refused");
    }

    /// Ends, and looks for everything that was acknowledged at `url`.
    pub(crate) async fn end(mut self, url: &str) -> Outcome {
        self.client.stop.cancel();
        let all = async {
            while let Some(ended) = self.workers.join_next().await {
                ended.unwrap();
            }
        };
        assert!(
            timeout(DEADLINE, all).await.is_ok(),
            "the workers do not end"
        );
        self.client.look(url).await
    }
}

impl Crowd {
    async fn work(self: Arc<Self>, worker: usize) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let url = self.wish.urls[worker % self.wish.urls.len()].clone();
        for n in 0_u64.. {
            pace.tick().await;
            let conversation = format!("INC-{worker}-{n}");
            let text = self.wish.texts && n % 2 == 1;
            let (channel, to) = if text {
                ("sms", format!("+1415{:03}{:04}", 200 + worker, n))
            } else {
                ("chat", format!("visitor-{worker}-{n}"))
            };
            let body = json!({"channel": channel, "to": to, "conversation": conversation,
                "metadata": {"bulk": "x".repeat(self.wish.bulk)}});
            let trigger = || {
                Request::post(format!("{url}/v1/requests"))
                    .header("authorization", format!("Bearer {}", self.wish.key))
                    .header("content-type", "application/json")
                    .header("idempotency-key", &conversation)
                    .body(Full::from(body.to_string()))
                    .unwrap()
            };
            let Some(made) = self.insist(&mut pace, trigger).await else {
                return;
            };
            let id = made["id"].as_str().unwrap().to_owned();
            self.book
                .lock()
                .unwrap()
                .triggers
                .insert(conversation.clone(), id.clone());
            self.acknowledged.send_modify(|count| *count += 1);
            let Some(token) = made["token"].as_str() else {
                continue;
            };
            let score = n % 5 + 1;
            let reply = || {
                Request::post(format!("{url}/w/{token}"))
                    .header("content-type", "application/json")
                    .body(Full::from(json!({ "score": score }).to_string()))
                    .unwrap()
            };
            let Some(answered) = self.insist(&mut pace, reply).await else {
                return;
            };
            if answered["score"] != json!(score) {
                self.book
                    .lock()
                    .unwrap()
                    .wrong
                    .push(format!("{score} was answered with {answered}"));
            }
            self.book.lock().unwrap().ratings.insert(id, score);
            self.acknowledged.send_modify(|count| *count += 1);
        }
    }

    /// Repeats a call until it is answered with 2xx; `None` if it was told to end before.
    async fn insist(
        &self,
        pace: &mut tokio::time::Interval,
        make: impl Fn() -> Request<Full<Bytes>>,
    ) -> Option<Value> {
        while !self.stop.is_cancelled() {
            let begun = Instant::now();
            match timeout(DEADLINE, call(&self.http, make()))
                .await
                .ok()
                .flatten()
            {
                Some((200..300, _, body)) => return serde_json::from_slice(&body).ok(),
                Some((503, true, _)) => {
                    self.book.lock().unwrap().refused.push(begun.elapsed());
                    self.refused.send_modify(|count| *count += 1);
                }
                Some((status, retry_after, body)) => {
                    let what = format!("{status} (Retry-After: {retry_after}): {body:?}");
                    self.book.lock().unwrap().wrong.push(what);
                }
                None => self.book.lock().unwrap().unheard += 1,
            }
            pace.tick().await;
        }
        None
    }

    async fn look(&self, url: &str) -> Outcome {
        let book = std::mem::take(&mut *self.book.lock().unwrap());
        assert_eq!(
            book.wrong,
            Vec::<String>::new(),
            "only 503 with Retry-After may refuse"
        );
        let ids: BTreeSet<&String> = book.triggers.values().collect();
        assert_eq!(
            ids.len(),
            book.triggers.len(),
            "two conversations share a request"
        );
        let mut lost = Vec::new();
        for (conversation, id) in &book.triggers {
            let request = Request::get(format!("{url}/v1/requests/{id}"))
                .header("authorization", format!("Bearer {}", self.wish.key))
                .body(Full::default())
                .unwrap();
            let (status, _, body) = call(&self.http, request).await.expect("an answer");
            let seen: Value = serde_json::from_slice(&body).unwrap();
            let score = seen["rating"]["score"].as_u64();
            let acknowledged = book.ratings.get(id).copied();
            // A rating that nobody was told of may be there: its answer was lost.
            let right = status == 200
                && seen["conversation"] == conversation.as_str()
                && (acknowledged.is_none() || score == acknowledged);
            if !right {
                lost.push(format!("{conversation}: {status} {seen}"));
            }
        }
        let mut refused = book.refused;
        refused.sort_unstable();
        Outcome {
            acknowledged: book.triggers.len() + book.ratings.len(),
            lost,
            refused,
            unheard: book.unheard,
        }
    }
}

/// One call: status, whether it says when to try again, and body. `None` if no whole answer came back.
async fn call(http: &Http, request: Request<Full<Bytes>>) -> Option<(u16, bool, Bytes)> {
    let response = http.request(request).await.ok()?;
    let (status, later) = (
        response.status().as_u16(),
        response.headers().contains_key("retry-after"),
    );
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, later, body))
}
