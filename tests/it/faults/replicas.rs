//! Three replicas on one PostgreSQL under load, and one of them, whichever, dies again and again by SIGKILL.
//!
//! A journal outside keeps every operation that was answered with 2xx: triggers of the desk, texts of contacts. The double's
//! ledger keeps what was sent. At the end the rows are the journal's, and no number has two messages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::support::database::Database;
use crate::support::faults;
use crate::support::program::{Http, Program, once};
use crate::support::stage::{OUR_NUMBER, PUBLIC_URL};
use crate::support::twilio::{Auto, FakeTwilio, SentMessage, Service};

use super::scene::{PATIENCE, call, until};

const REPLICAS: usize = 3;
/// Triggers between two kills, and the most a second.
const STRETCH: usize = 25;
const A_SECOND: u64 = 50;
/// Triggers, and answers of contacts, that are under way at once: who asks faster than it is answered only builds a queue.
const AT_ONCE: usize = 16;
/// Sends that one replica has under way at most: what a kill may leave in doubt.
const IN_FLIGHT: usize = 16;

/// What the desk and the contacts share, and what was acknowledged.
struct Journal {
    http: Http,
    bearer: String,
    twilio: FakeTwilio,
    /// In the order in which they are tried: like a balancer that does not know who is dead.
    urls: Vec<String>,
    turn: AtomicUsize,
    repeated: AtomicUsize,
    /// Request by conversation, and score by number.
    triggers: Mutex<BTreeMap<String, String>>,
    ratings: Mutex<BTreeMap<String, u64>>,
    done: AtomicBool,
}

impl Journal {
    fn url(&self) -> &str {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.urls[turn % self.urls.len()]
    }

    /// What was answered with 2xx; otherwise it is to be repeated. Nobody may answer anything but that, or 503, or nothing.
    async fn acknowledged(&self, answer: Option<(u16, Value)>) -> Option<Value> {
        match answer {
            Some((200..300, body)) => return Some(body),
            Some((503, _)) | None => {}
            Some((status, body)) => panic!("{status}: {body}"),
        }
        self.repeated.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        None
    }

    async fn trigger(self: Arc<Self>, n: usize) {
        let conversation = format!("INC-{n}");
        let body = json!({"channel": "sms", "to": number(n), "conversation": conversation});
        let insisted = timeout(PATIENCE, async {
            loop {
                let request = Request::post(format!("{}/v1/requests", self.url()))
                    .header("authorization", &self.bearer)
                    .header("content-type", "application/json")
                    .header("idempotency-key", format!("key-{n}"))
                    .body(Full::from(body.to_string()))
                    .unwrap();
                let answer = once(&self.http, request).await.map(|(status, body)| {
                    (status, serde_json::from_slice(&body).unwrap_or_default())
                });
                if let Some(made) = self.acknowledged(answer).await {
                    return made;
                }
            }
        });
        let made = insisted.await.expect("an answer in time");
        let id = made["id"].as_str().unwrap().to_owned();
        self.triggers.lock().unwrap().insert(conversation, id);
    }

    /// A contact answers what arrived.
    async fn reply(self: Arc<Self>, n: usize, message: SentMessage) {
        let score = n as u64 % 5 + 1;
        let sid = format!("SM{:032x}", 0xF000_0000 + n);
        let words = score.to_string();
        let insisted = timeout(PATIENCE, async {
            loop {
                let service = Service {
                    listen: self.url().to_owned(),
                    public_url: PUBLIC_URL.to_owned(),
                };
                let twilio = &self.twilio;
                let answer = twilio
                    .try_text_as(&service, &sid, &message.to, OUR_NUMBER, &words)
                    .await
                    .map(|(status, twiml)| (status, Value::String(twiml)));
                if self.acknowledged(answer).await.is_some() {
                    return;
                }
            }
        });
        insisted.await.expect("an answer in time");
        self.ratings.lock().unwrap().insert(message.to, score);
    }

    /// Contacts answer each message once, as long as messages may come.
    async fn replies(self: Arc<Self>) {
        let (mut known, mut replies) = (0, JoinSet::new());
        let mut ticks = interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            let last = self.done.load(Ordering::SeqCst);
            for message in self.twilio.messages_after(known) {
                known += 1;
                if replies.len() >= AT_ONCE {
                    replies.join_next().await.unwrap().unwrap();
                }
                replies.spawn(Arc::clone(&self).reply(known, message));
            }
            if last {
                break;
            }
        }
        while let Some(ended) = replies.join_next().await {
            ended.unwrap();
        }
    }
}

fn number(n: usize) -> String {
    format!("+1415{n:07}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_replicas_die() {
    let kills = faults::count(12, 200);
    let triggers = (kills + 1) * STRETCH;
    let database = Database::postgres().await;
    let twilio = FakeTwilio::start(None).await;
    let mut replicas: Vec<Program> = (0..REPLICAS)
        .map(|_| {
            let mut replica = Program::twilio(&database, &twilio, OUR_NUMBER);
            replica.set("server.public_url", PUBLIC_URL);
            replica
        })
        .collect();
    replicas[0].run(&["migrate"]);
    let bearer = format!("Bearer {}", replicas[0].desk());
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    for replica in &mut replicas {
        replica.serve(&http).await;
    }
    twilio.auto_callbacks(Some(Auto {
        services: replicas.iter().map(Program::service).collect(),
        duplicates: 1,
        ..Auto::default()
    }));
    let journal = Arc::new(Journal {
        http: http.clone(),
        bearer,
        twilio,
        urls: replicas.iter().map(|replica| replica.url.clone()).collect(),
        turn: AtomicUsize::new(0),
        repeated: AtomicUsize::new(0),
        triggers: Mutex::default(),
        ratings: Mutex::default(),
        done: AtomicBool::new(false),
    });

    let replies = tokio::spawn(Arc::clone(&journal).replies());
    let mut load = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(1000 / A_SECOND));
    for n in 1..=triggers {
        ticks.tick().await;
        if load.len() >= AT_ONCE {
            load.join_next().await.unwrap().unwrap();
        }
        load.spawn(Arc::clone(&journal).trigger(n));
        if n % STRETCH == 0 && n < triggers {
            let kill = n / STRETCH;
            let unlucky = &mut replicas[kill * 7 % REPLICAS];
            // The one before may not be up yet; it dies as well.
            unlucky.kill();
            unlucky.launch();
        }
    }
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }

    // Everybody dies once more, and this time their leases are over at once.
    for replica in &mut replicas {
        replica.kill();
    }
    let ended = "update requests set lease_until = 1 where delivery in ('claimed', 'dispatching')";
    database.execute(ended).await;
    database.execute("update duties set until = 1").await;
    for replica in &mut replicas {
        replica.serve(&http).await;
    }
    let moving =
        "select count(*) from requests where delivery in ('queued', 'claimed', 'dispatching')";
    until("at rest", async || database.number(moving).await == 0).await;
    journal.done.store(true, Ordering::SeqCst);
    replies.await.unwrap();
    journal.twilio.told().await;
    rows_are_the_journal(&journal, &database, triggers).await;

    let repeated = journal.repeated.load(Ordering::Relaxed);
    assert!(repeated >= kills, "the kills hit too little: {repeated}");
    let doubts = "select count(*) from requests where delivery in ('unknown', 'lost')";
    let doubts = usize::try_from(database.number(doubts).await).unwrap();
    assert!(doubts <= (kills + REPLICAS) * IN_FLIGHT, "{doubts}");
    let ratings = journal.ratings.lock().unwrap().len();
    let result = format!(
        "{triggers} triggers and {ratings} ratings acknowledged, 0 lost, 0 numbers with two messages, {doubts} in doubt"
    );
    let fault = "kill -9 of one of three replicas under load";
    faults::record("F2", fault, kills + REPLICAS, &result);
}

async fn rows_are_the_journal(journal: &Journal, database: &Database, triggers: usize) {
    let made = journal.triggers.lock().unwrap().clone();
    let ratings = journal.ratings.lock().unwrap().clone();
    assert_eq!(made.len(), triggers);
    let mut lost = Vec::new();
    for n in 1..=triggers {
        let conversation = format!("INC-{n}");
        let url = format!("{}/v1/requests/{}", journal.url(), made[&conversation]);
        let answer = call(&journal.http, &journal.bearer, &url, None).await;
        let (status, seen) = answer.expect("an answer");
        let score = ratings.get(&number(n)).copied();
        let has = !journal.twilio.delivered_to(&number(n)).is_empty();
        let standing = seen["delivery"]["state"].as_str().unwrap_or_default();
        let right = status == 200
            && seen["conversation"] == conversation.as_str()
            && seen["rating"]["score"].as_u64() == score
            && has == score.is_some()
            && (standing == "accepted" || (!has && matches!(standing, "unknown" | "lost")));
        if !right {
            lost.push(format!("{conversation}, {score:?}, {has}: {seen}"));
        }
    }
    assert_eq!(lost, Vec::<String>::new());
    let wanted = |count: usize| i64::try_from(count).unwrap();
    for (sql, count) in [
        ("select count(*) from requests", triggers),
        ("select count(*) from ratings", ratings.len()),
        (
            "select count(*) from events where kind = 'rating.created'",
            ratings.len(),
        ),
        (
            "select count(*) from (select request_id from attempts where state in ('accepted', 'unknown', 'dispatching') \
             group by request_id having count(*) > 1) t",
            0,
        ),
    ] {
        assert_eq!(database.number(sql).await, wanted(count), "{sql}");
    }
    assert_eq!(journal.twilio.reached_twice(), Vec::<String>::new());
    assert_eq!(journal.twilio.failures(), Vec::<String>::new());
}
