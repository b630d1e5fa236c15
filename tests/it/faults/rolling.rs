//! Leaving: SIGTERM under load loses nothing that was acknowledged, and behind a balancer nobody notices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::story;
use crate::support::database::Database;
use crate::support::faults;
use crate::support::program::{Http, once};
use crate::support::replica::{Balancer, Replica};
use crate::support::stage::{ANA, OUR_NUMBER, Stage};
use crate::support::twilio::{Behaviour, FakeTwilio};

/// For what has to happen after a restart. Only a broken service comes near.
const PATIENCE: Duration = Duration::from_mins(1);
/// A process that was told to end is killed by others after this long.
const END: Duration = Duration::from_secs(25);

fn client() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

/// The settings that make a service send texts through `twilio`.
fn through(twilio: &FakeTwilio) -> String {
    let settings = twilio.settings(OUR_NUMBER);
    format!(
        "channels.sms = \"twilio\"\nserver.connections_per_peer = 1000\n[providers.twilio]\n{settings}"
    )
}

fn post(url: &str, path: &str, bearer: &str, body: &Value) -> Request<Full<Bytes>> {
    Request::post(format!("{url}{path}"))
        .header("authorization", bearer)
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))
        .unwrap()
}

/// A trigger for customer `n`: every tenth is asked by text message, the others in a chat.
fn trigger(n: usize) -> Value {
    let (channel, to) = if n.is_multiple_of(10) {
        ("sms", number(n))
    } else {
        ("chat", format!("visitor-{n}"))
    };
    json!({"channel": channel, "to": to, "conversation": format!("INC-{n}"), "agent": {"name": "Sam"}})
}

fn number(n: usize) -> String {
    format!("+1415{n:07}")
}

/// Waits until every one of `numbers` is in Twilio's ledger; panics if one is there twice.
async fn sent_once(twilio: &FakeTwilio, numbers: &BTreeSet<String>, why: &dyn Fn() -> String) {
    let arrived = async {
        let mut ticks = interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            let messages = twilio.messages();
            let reached: BTreeSet<String> = messages.iter().map(|m| m.to.clone()).collect();
            assert_eq!(reached.len(), messages.len(), "a customer was asked twice");
            if numbers.is_subset(&reached) {
                return;
            }
        }
    };
    assert!(timeout(PATIENCE, arrived).await.is_ok(), "{}", why());
}

story!(
    told_to_end_under_load_it_ends_in_time_and_keeps_its_word,
    async |database: Database| {
        let twilio = FakeTwilio::start(None).await;
        let settings = format!("server.drain_grace_seconds = 1\n{}", through(&twilio));
        let mut replica = Replica::new(&database, &settings);
        let bearer = replica.desk();
        let http = client();
        let ends = faults::count(3, 30);
        let (mut kept, mut longest) = (BTreeMap::new(), Duration::ZERO);
        for end in 0..ends {
            replica.start(&http).await;
            // Some answers never come, so that sends are in flight when the signal comes.
            for _ in 0..4 {
                twilio.next(Behaviour::LoseAnswer);
            }
            if end == 0 {
                twilio.next(Behaviour::Hang);
            }
            let some = twilio.requests() + 8;
            let over = Arc::new(AtomicBool::new(false));
            let mut crowd = JoinSet::new();
            for task in 0..16 {
                let (http, url, bearer) = (client(), replica.url.clone(), bearer.clone());
                let over = Arc::clone(&over);
                crowd.spawn(async move {
                    let mut acknowledged = BTreeMap::new();
                    for n in (task..).step_by(16) {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        let n = end * 100_000 + n;
                        let trigger = trigger(n);
                        let conversation = trigger["conversation"].as_str().unwrap().to_owned();
                        let request = post(&url, "/v1/requests", &bearer, &trigger);
                        if let Some((status, body)) = once(&http, request).await {
                            assert_eq!(status, 202, "{body:?}");
                            let made: Value = serde_json::from_slice(&body).unwrap();
                            let id = made["id"].as_str().unwrap().to_owned();
                            acknowledged.insert(conversation, (n, id));
                        }
                    }
                    acknowledged
                });
            }
            twilio.requests_once(some).await;
            replica.terminate();
            let told = std::time::Instant::now();
            let draining = async {
                let mut ticks = interval(Duration::from_millis(5));
                while replica.readyz(&http).await == Some(200) {
                    ticks.tick().await;
                }
                replica.readyz(&http).await
            };
            let draining = timeout(PATIENCE, draining).await.unwrap();
            assert_eq!(
                draining,
                Some(503),
                "it says that it leaves, and is still there"
            );
            let served = once(
                &http,
                post(
                    &replica.url,
                    "/v1/requests",
                    &bearer,
                    &trigger(end * 100_000 + 99_999),
                ),
            );
            assert_eq!(served.await.expect("an answer in the grace").0, 202);
            let (status, _) = replica.ended().await;
            longest = longest.max(told.elapsed());
            assert_eq!(status.code(), Some(0), "{}", replica.log());
            over.store(true, Ordering::Relaxed);
            while let Some(acknowledged) = crowd.join_next().await {
                kept.extend(acknowledged.unwrap());
            }
            let held = "select count(*) from requests where delivery in ('claimed', 'dispatching')";
            assert_eq!(
                database.number(held).await,
                0,
                "nothing is left in its hands: {}",
                replica.log()
            );
        }
        assert!(longest < END, "{longest:?}");
        assert!(!replica.log().contains("cut off"), "{}", replica.log());

        replica.start(&http).await;
        let mut texts = BTreeSet::new();
        for (conversation, (n, id)) in &kept {
            let request = Request::get(format!("{}/v1/requests/{id}", replica.url))
                .header("authorization", &bearer)
                .body(Full::default());
            let (status, body) = once(&http, request.unwrap()).await.expect("an answer");
            let seen: Value = serde_json::from_slice(&body).unwrap();
            assert!(
                status == 200 && seen["conversation"] == conversation.as_str(),
                "{conversation}: {status} {seen}"
            );
            if n.is_multiple_of(10) && seen["delivery"]["state"] != "unknown" {
                texts.insert(number(*n));
            }
        }
        sent_once(&twilio, &texts, &|| replica.log()).await;
        assert!(kept.len() > ends * 50, "too little load: {}", kept.len());
        let result = format!(
            "ended within {:.1} s, acknowledged = stored, {} of {}",
            longest.as_secs_f64(),
            kept.len(),
            kept.len()
        );
        faults::record("term", "SIGTERM under load", ends, &result);
    }
);

story!(
    what_a_leaving_worker_has_claimed_is_another_workers_at_once,
    async |database: Database| {
        let stage = Stage::start(database).await;
        stage.ask("sms", ANA, "INC-1").await;
        let (store, now) = (&stage.app.journey.store, stage.now());
        let claimed = store.claim_deliveries("leaving", &["sms"], 8, now).await;
        assert_eq!(claimed.unwrap().len(), 1);
        assert_eq!(stage.deliver().await, 0, "it is held");
        assert_eq!(store.release("another").await.unwrap(), 0);
        assert_eq!(store.release("leaving").await.unwrap(), 1);
        assert_eq!(stage.deliver().await, 1, "nobody waited for the lease");
        assert_eq!(stage.twilio.messages().len(), 1);
        // What has passed the point of no return is not given back.
        assert_eq!(store.release("leaving").await.unwrap(), 0);
        stage.finish().await;
    }
);

/// What the customers of the rolling restart remember.
#[derive(Default)]
struct Memory {
    answers: usize,
    failed: Vec<String>,
    texts: BTreeSet<String>,
    scores: BTreeMap<String, u64>,
}

async fn converse(http: Http, url: String, bearer: String, n: usize, memory: Arc<Mutex<Memory>>) {
    let answer = async |path: &str, body: &Value| -> Option<Value> {
        let answer = once(&http, post(&url, path, &bearer, body)).await;
        let mut memory = memory.lock().unwrap();
        memory.answers += 1;
        match answer {
            Some((200..300, body)) => serde_json::from_slice(&body).ok(),
            other => {
                memory.failed.push(format!("{path}: {other:?}"));
                None
            }
        }
    };
    let Some(made) = answer("/v1/requests", &trigger(n)).await else {
        return;
    };
    let Some(token) = made["token"].as_str() else {
        memory.lock().unwrap().texts.insert(number(n));
        return;
    };
    let score = n as u64 % 5 + 1;
    let rated = answer(&format!("/w/{token}"), &json!({ "score": score })).await;
    if rated.is_some_and(|rated| rated["score"] == score) {
        let id = made["id"].as_str().unwrap().to_owned();
        memory.lock().unwrap().scores.insert(id, score);
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one story from its beginning to its end"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_behind_a_balancer_restart_in_turn_and_nobody_notices() {
    let database = Database::postgres().await;
    let twilio = FakeTwilio::start(None).await;
    let http = client();
    let mut replicas: Vec<Replica> = (0..3)
        .map(|_| Replica::new(&database, &through(&twilio)))
        .collect();
    let bearer = replicas[0].desk();
    for replica in &mut replicas {
        replica.start(&http).await;
    }
    let addresses: Vec<&str> = replicas.iter().map(|r| r.address.as_str()).collect();
    // Nothing is sent twice by the balancer: whatever goes wrong is seen.
    let rules = "http-reuse always\nretries 0\noption httpchk GET /readyz";
    let check = "check inter 500ms fall 2 rise 1";
    let balancer = Balancer::start(&addresses, rules, check).await;

    let memory: Arc<Mutex<Memory>> = Arc::default();
    let wanted = faults::count(3_000, 20_000);
    let load = {
        let (http, url, bearer) = (client(), balancer.url.clone(), bearer.clone());
        let memory = Arc::clone(&memory);
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let load = tokio::spawn(async move {
            let mut flying = JoinSet::new();
            // Each conversation is two calls: 200 in a second.
            let mut ticks = interval(Duration::from_millis(10));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for n in 0.. {
                ticks.tick().await;
                if over.load(Ordering::Relaxed) && memory.lock().unwrap().answers >= wanted {
                    break;
                }
                let memory = Arc::clone(&memory);
                flying.spawn(converse(
                    http.clone(),
                    url.clone(),
                    bearer.clone(),
                    n,
                    memory,
                ));
                while flying.try_join_next().is_some() {}
            }
            while flying.join_next().await.is_some() {}
        });
        (load, told)
    };
    let rounds = faults::count(1, 4);
    let begun = std::time::Instant::now();
    for round in 0..rounds {
        for n in 0..replicas.len() {
            // In a steady state, and not all at the beginning.
            let some = wanted * (round * replicas.len() + n) / (rounds * replicas.len() + 1) + 100;
            let reached = async {
                let mut ticks = interval(Duration::from_millis(10));
                while memory.lock().unwrap().answers < some {
                    ticks.tick().await;
                }
            };
            timeout(PATIENCE, reached).await.expect("load");
            replicas[n].terminate();
            let (status, after) = replicas[n].ended().await;
            assert_eq!(status.code(), Some(0), "{}", replicas[n].log());
            assert!(after < END, "{after:?}");
            replicas[n].start(&http).await;
            // As a roll-out does: the next one goes when this one has been seen to be back.
            let mut seen = interval(Duration::from_millis(750));
            seen.tick().await;
            seen.tick().await;
        }
    }
    load.1.store(true, Ordering::Relaxed);
    timeout(4 * PATIENCE, load.0)
        .await
        .expect("an end")
        .unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let memory = std::mem::take(&mut *memory.lock().unwrap());
    assert!(
        memory.failed.is_empty(),
        "{} of {}: {:#?}\n{}",
        memory.failed.len(),
        memory.answers,
        memory.failed,
        replicas.iter().map(Replica::warnings).collect::<String>()
    );
    let rated = i64::try_from(memory.scores.len()).unwrap();
    assert_eq!(database.number("select count(*) from ratings").await, rated);
    assert_eq!(
        database
            .number("select count(*) from events where kind = 'rating.created'")
            .await,
        rated
    );
    sent_once(&twilio, &memory.texts, &|| {
        replicas.iter().map(Replica::log).collect()
    })
    .await;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = memory.answers as f64 / seconds;
    let result = format!(
        "0 of {} calls failed, {rate:.0} in a second",
        memory.answers
    );
    faults::record(
        "F30",
        "rolling restart of three replicas behind HAProxy",
        rounds * replicas.len(),
        &result,
    );
}
