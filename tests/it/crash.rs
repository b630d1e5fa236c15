//! `kill -9` in the middle of everything: the real program, and a client that remembers every answer that it has read.
//!
//! What was answered with 2xx is there afterwards, what was repeated because its answer was lost is there once, and the totals
//! are the rows. Where it is killed is drawn from a fixed seed; the test also fails if the kills hit nothing in flight.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::story;
use crate::support::database::Database;
use crate::support::http as plain;
use crate::support::program::{Http, Program, once};

/// Every 21st trigger has no address: 1,000 are asked and 50 are not.
const TRIGGERS: usize = 1_050;
const ASKED: usize = 1_000;
const TASKS: usize = 16;
const KILLS: usize = 16;
/// Acknowledged operations for each pair of kills.
const STRETCH: usize = 240;
/// Triggers of a task that wait for their reply, so that some are sent before they are answered.
const WAITING: usize = 6;
/// For one operation with all its repetitions. Only a broken service comes near.
const DEADLINE: Duration = Duration::from_secs(40);

/// What a desk and its customers share, and what they remember.
struct Crowd {
    http: Http,
    url: String,
    bearer: String,
    /// The sandbox's key; none while the program is dead.
    alive: watch::Receiver<Option<String>>,
    acknowledged: watch::Sender<usize>,
    repeated: AtomicUsize,
    /// Request by conversation, and score by request, as acknowledged.
    triggers: Mutex<BTreeMap<String, String>>,
    ratings: Mutex<BTreeMap<String, u64>>,
}

impl Crowd {
    /// Repeats a call until it is answered with 2xx. Anything else than a lost answer, or a key from before a kill, is a fault.
    async fn insist(&self, make: impl Fn(&str) -> Request<Full<Bytes>>) -> Value {
        let answered = timeout(DEADLINE, async {
            let mut alive = self.alive.clone();
            loop {
                let key = alive.wait_for(Option::is_some).await.unwrap().clone();
                let key = key.unwrap();
                match once(&self.http, make(&key)).await {
                    Some((200..300, body)) => return serde_json::from_slice(&body).unwrap(),
                    Some((403, _)) if alive.borrow().as_ref() != Some(&key) => {}
                    Some((503, _)) | None => {}
                    Some((status, body)) => panic!("{status}: {body:?}"),
                }
                self.repeated.fetch_add(1, Ordering::Relaxed);
            }
        });
        answered.await.expect("an answer within the deadline")
    }

    /// Counts an answer that was read to its end. Only what happened before this is remembered.
    fn acknowledge(&self) {
        self.acknowledged.send_modify(|count| *count += 1);
    }

    async fn trigger(&self, n: usize) -> Value {
        let (channel, to) = match n {
            n if n % 21 == 20 => ("sms", String::new()),
            n if n % 2 == 0 => ("chat", format!("visitor-{n}")),
            n => ("sms", format!("+1415556{n:04}")),
        };
        let conversation = format!("INC-{n}");
        let body = json!({"channel": channel, "to": to, "conversation": conversation, "agent": {"name": "Sam"}});
        let made = self
            .insist(|_| {
                Request::post(format!("{}/v1/requests", self.url))
                    .header("authorization", &self.bearer)
                    .header("content-type", "application/json")
                    .header("idempotency-key", format!("key-{n}"))
                    .body(Full::from(body.to_string()))
                    .unwrap()
            })
            .await;
        let id = made["id"].as_str().unwrap().to_owned();
        self.triggers.lock().unwrap().insert(conversation, id);
        self.acknowledge();
        made
    }

    /// Whether a customer has something to answer: a chat's ask is handed out, a text has to leave the queue first. What a killed
    /// program had claimed is taken over when its lease ends.
    async fn has_arrived(&self, made: &Value) -> bool {
        if made["token"].is_string() {
            return true;
        }
        let id = made["id"].as_str().unwrap();
        let request = Request::get(format!("{}/v1/requests/{id}", self.url))
            .header("authorization", &self.bearer)
            .body(Full::default())
            .unwrap();
        let Some((200, body)) = once(&self.http, request).await else {
            return false;
        };
        let seen: Value = serde_json::from_slice(&body).unwrap();
        !matches!(
            seen["delivery"]["state"].as_str(),
            Some("queued" | "claimed")
        )
    }

    async fn reply(&self, n: usize, made: &Value) {
        let score = draw(n as u64) % 5 + 1;
        if let Some(token) = made["token"].as_str() {
            let answer = self
                .insist(|_| {
                    Request::post(format!("{}/w/{token}", self.url))
                        .header("content-type", "application/json")
                        .body(Full::from(json!({ "score": score }).to_string()))
                        .unwrap()
                })
                .await;
            assert_eq!(
                (&answer["state"], &answer["score"]),
                (&json!("answered"), &json!(score))
            );
        } else {
            let (from, id) = (format!("+1415556{n:04}"), format!("SM-{n}"));
            self.insist(|key| {
                let body = score.to_string();
                let form = [
                    ("key", key),
                    ("from", &from),
                    ("to", "+14155550199"),
                    ("body", &body),
                    ("id", &id),
                ];
                Request::post(format!("{}/hooks/sandbox/sms", self.url))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(Full::from(serde_urlencoded::to_string(form).unwrap()))
                    .unwrap()
            })
            .await;
        }
        let id = made["id"].as_str().unwrap().to_owned();
        self.ratings.lock().unwrap().insert(id, score);
        self.acknowledge();
    }

    /// One of the parallel tasks: asks, and answers some questions later. What has not arrived yet is answered after others.
    async fn work(self: Arc<Self>, task: usize) {
        let mut waiting = VecDeque::new();
        for n in (task..TRIGGERS).step_by(TASKS) {
            let made = self.trigger(n).await;
            if made["state"] != "suppressed" {
                waiting.push_back((n, made));
            }
            if waiting.len() > WAITING {
                self.answer_one(&mut waiting).await;
            }
        }
        let mut look = tokio::time::interval(Duration::from_millis(25));
        while !waiting.is_empty() {
            look.tick().await;
            self.answer_one(&mut waiting).await;
        }
    }

    async fn answer_one(&self, waiting: &mut VecDeque<(usize, Value)>) {
        let Some((n, made)) = waiting.pop_front() else {
            return;
        };
        if self.has_arrived(&made).await {
            self.reply(n, &made).await;
        } else {
            waiting.push_back((n, made));
        }
    }

    /// What was acknowledged and is not there, or is there otherwise.
    async fn lost(&self) -> Vec<String> {
        let (triggers, ratings) = (self.triggers.lock(), self.ratings.lock());
        let (triggers, ratings) = (triggers.unwrap().clone(), ratings.unwrap().clone());
        assert_eq!((triggers.len(), ratings.len()), (TRIGGERS, ASKED));
        let mut lost = Vec::new();
        for (conversation, id) in triggers {
            let request = Request::get(format!("{}/v1/requests/{id}", self.url))
                .header("authorization", &self.bearer)
                .body(Full::default())
                .unwrap();
            let (status, body) = once(&self.http, request).await.expect("an answer");
            let seen: Value = serde_json::from_slice(&body).unwrap();
            let score = seen["rating"]["score"].as_u64();
            let right = status == 200
                && seen["conversation"] == conversation.as_str()
                && score == ratings.get(&id).copied();
            if !right {
                lost.push(format!("{conversation}: {status} {seen}"));
            }
        }
        lost
    }
}

/// The number that a seed stands for (`SplitMix64`).
fn draw(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The sum of a counter's series that have `label`.
fn sum(metrics: &str, name: &str, label: &str) -> i64 {
    let values = metrics
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap());
    values.sum()
}

async fn totals_are_the_rows(url: &str, database: &Database) {
    let metrics = plain::get(&format!("{url}/metrics/totals")).await.body;
    let ratings = [
        (1, "select count(*) from ratings where score = 1"),
        (2, "select count(*) from ratings where score = 2"),
        (3, "select count(*) from ratings where score = 3"),
        (4, "select count(*) from ratings where score = 4"),
        (5, "select count(*) from ratings where score = 5"),
    ];
    for (score, rows) in ratings {
        let counted = sum(
            &metrics,
            "onefive_ratings_total{",
            &format!("score=\"{score}\""),
        );
        assert_eq!(counted, database.number(rows).await, "score {score}");
    }
    // Every request that was asked is answered, so each has entered every state on the way.
    let suppressed =
        "select count(*) from requests where state = 'suppressed' and reason = 'no_address'";
    let asked = "select count(*) from requests where state <> 'suppressed'";
    let answered = "select count(*) from requests where state = 'answered'";
    for (state, rows, number) in [
        ("scheduled", asked, ASKED),
        ("sent", answered, ASKED),
        ("delivered", answered, ASKED),
        ("reached", answered, ASKED),
        ("answered", answered, ASKED),
        ("suppressed", suppressed, TRIGGERS - ASKED),
    ] {
        let counted = sum(
            &metrics,
            "onefive_requests_total{",
            &format!("state=\"{state}\""),
        );
        let wanted = i64::try_from(number).unwrap();
        assert_eq!(
            (counted, database.number(rows).await),
            (wanted, wanted),
            "{state}"
        );
    }
}

async fn nothing_is_there_twice(database: &Database) {
    for (what, rows) in [
        (
            "a conversation with two requests",
            "select count(*) from (select conversation from requests group by conversation having count(*) > 1) t",
        ),
        (
            "a request with two ratings",
            "select count(*) from (select request_id from ratings group by request_id having count(*) > 1) t",
        ),
        (
            "a request that was sent twice",
            "select count(*) from (select request_id from attempts group by request_id having count(*) > 1) t",
        ),
    ] {
        assert_eq!(database.number(rows).await, 0, "{what}");
    }
    if matches!(database, Database::Sqlite(_)) {
        let damage = "select count(*) from pragma_integrity_check where integrity_check <> 'ok'";
        assert_eq!(database.number(damage).await, 0, "the file is damaged");
    }
}

story!(
    nothing_acknowledged_is_lost_by_kill_9,
    async |database: Database| {
        let mut program = Program::new(&database);
        let settings =
            serde_json::to_string(&onefive::domain::desk::DeskSettings::permissive()).unwrap();
        program.run(&[
            "desk",
            "add",
            "acme",
            "--name",
            "Acme IT",
            "--settings",
            &settings,
        ]);
        let key = program.run(&["key", "create", "--desk", "acme"]);
        let http: Http = Client::builder(TokioExecutor::new()).build_http();
        let (alive, watched) = watch::channel(Some(program.start(&http).await));
        let client = Arc::new(Crowd {
            http: http.clone(),
            url: program.url.clone(),
            bearer: format!("Bearer {key}"),
            alive: watched,
            acknowledged: watch::Sender::new(0),
            repeated: AtomicUsize::new(0),
            triggers: Mutex::default(),
            ratings: Mutex::default(),
        });
        let mut acknowledged = client.acknowledged.subscribe();
        let mut tasks: tokio::task::JoinSet<()> = (0..TASKS)
            .map(|task| Arc::clone(&client).work(task))
            .collect();

        for kill in 0..KILLS {
            let drawn = draw(15_000 + kill as u64);
            let within = |most: usize| usize::try_from(drawn).unwrap() % most;
            // Each second kill comes right after a start, while what the last one left is being tidied up.
            let point = match kill % 2 {
                0 => kill / 2 * STRETCH + within(STRETCH),
                _ => *acknowledged.borrow() + within(16),
            };
            let reached = acknowledged.wait_for(|count| *count >= point);
            timeout(DEADLINE, reached).await.expect("work").unwrap();
            for _ in 0..drawn % 32 {
                tokio::task::yield_now().await;
            }
            alive.send_replace(None);
            program.kill();
            alive.send_replace(Some(program.start(&http).await));
        }
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
        };
        if timeout(3 * DEADLINE, all).await.is_err() {
            let metrics = plain::get(&format!("{}/metrics/totals", program.url)).await;
            let carried = metrics.body.lines().filter(|line| line.contains("deliver"));
            let carried: Vec<&str> = carried.collect();
            panic!("work is stuck: {carried:#?}\n{}", program.log());
        }

        // The last kill finds the program at rest; what it leaves is what counts.
        program.kill();
        program.start(&http).await;
        let lost = client.lost().await;
        let repeated = client.repeated.load(Ordering::Relaxed);
        println!(
            "{KILLS} kills, {TRIGGERS} triggers, {ASKED} replies, {repeated} repeated, lost {}",
            lost.len()
        );
        assert!(lost.is_empty(), "{lost:#?}");
        assert!(
            repeated >= KILLS,
            "the kills hit too little in flight: {repeated}"
        );
        nothing_is_there_twice(&database).await;
        totals_are_the_rows(&program.url, &database).await;
    }
);
