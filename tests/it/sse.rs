//! `GET /v1/events`: as it happens, from where one was, on every replica, and never at the cost of others.

use std::time::{Duration, Instant};

use ::http::Method;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{interval, timeout};

use crate::events::call;
use crate::story;
use crate::support::database::Database;
use crate::support::program::{Http, Program};
use crate::support::sse::Stream;
use crate::support::stage::Stage;

const DEADLINE: Duration = Duration::from_secs(40);

async fn ask(stage: &Stage, conversation: &str) {
    let body = json!({"channel": "chat", "to": format!("visitor-{conversation}"), "conversation": conversation});
    let answer = stage.trigger(&body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

async fn publish(stage: &Stage) {
    stage.app.journey.publish().await.unwrap();
}

fn readers(stage: &Stage) -> i64 {
    stage.app.journey.metrics.streams.readers.get()
}

story!(
    a_reader_who_comes_back_gets_exactly_what_follows,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for n in 0..100 {
            ask(&stage, &format!("C-{n}")).await;
        }
        publish(&stage).await;
        let mut live = Stream::open(&stage.url, "/v1/events", &stage.key, None).await;
        let mut all = Stream::open(&stage.url, "/v1/events?after=0", &stage.key, None).await;
        let mut resumed =
            Stream::open(&stage.url, "/v1/events?after=7", &stage.key, Some(40)).await;
        let seqs = |events: &[crate::support::sse::Event]| {
            events.iter().map(|event| event.seq).collect::<Vec<_>>()
        };
        let first = all.take(100).await;
        assert_eq!(seqs(&first), (1..=100).collect::<Vec<_>>());
        assert_eq!(first[0].kind, "request.sent");
        assert_eq!(first[0].json["seq"], 1);
        assert_eq!(
            seqs(&resumed.take(60).await),
            (41..=100).collect::<Vec<_>>()
        );
        ask(&stage, "C-100").await;
        publish(&stage).await;
        for stream in [&mut live, &mut all, &mut resumed] {
            assert_eq!(seqs(&stream.take(1).await), [101]);
        }
        assert_eq!(readers(&stage), 3);
        drop((live, all, resumed));
        stage.finish().await;
    }
);

story!(
    a_reader_may_want_some_types_only_and_sees_no_other_desk,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (_, other) = crate::support::stage::desk(&stage.app, "other", "Other").await;
        let path = "/v1/events?after=0&types=rating.created,rating.changed";
        let mut ratings = Stream::open(&stage.url, path, &stage.key, None).await;
        let mut foreign = Stream::open(&stage.url, "/v1/events?after=0", &other, None).await;
        let body = json!({"channel": "chat", "to": "v", "conversation": "C-1"});
        let asked = stage.trigger(&body).await.json();
        let url = stage.real(asked["ask"]["url"].as_str().unwrap());
        crate::support::http::post_json(&url, &[], &json!({"score": 3})).await;
        publish(&stage).await;
        let event = ratings.next().await.unwrap();
        assert_eq!((event.kind.as_str(), event.seq), ("rating.created", 2));
        assert_eq!(event.json["data"]["rating"]["score"], 3);
        // What the other desk reads first is its own.
        let bearer = format!("Bearer {other}");
        let headers = [("authorization", bearer.as_str())];
        let made =
            crate::support::http::post_json(&format!("{}/v1/requests", stage.url), &headers, &body)
                .await;
        assert_eq!(made.status, 202);
        publish(&stage).await;
        let event = foreign.next().await.unwrap();
        assert_eq!((event.seq, &event.json["desk"]), (1, &json!("other")));
        for (path, field) in [
            ("/v1/events?after=x", "after"),
            ("/v1/events?after=-1", "after"),
            ("/v1/events?types=rating.lost", "types"),
        ] {
            let answer = call(&stage, Method::GET, path, &json!(null)).await;
            assert_eq!(
                (answer.status, &answer.json()["field"]),
                (400, &json!(field)),
                "{path}"
            );
        }
        drop((ratings, foreign));
        stage.finish().await;
    }
);

story!(
    a_reader_who_was_cut_off_before_the_first_event_misses_nothing,
    async |database: Database| {
        let stage = Stage::start(database).await;
        ask(&stage, "C-1").await;
        publish(&stage).await;
        let path = "/v1/events?types=rating.low";
        let mut cut = Stream::open(&stage.url, path, &stage.key, None).await;
        cut.come_to(1).await;
        drop(cut);
        crate::summary::chat(&stage, "C-2", json!({}), Some(1)).await;
        publish(&stage).await;
        let mut back = Stream::open(&stage.url, path, &stage.key, Some(1)).await;
        let event = back.next().await.unwrap();
        assert_eq!((event.kind.as_str(), event.seq), ("rating.low", 4));
        drop(back);
        stage.finish().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_reads_so_many_streams_and_a_drain_ends_them() {
    let stage = Stage::start(Database::sqlite()).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let stream = Stream::open(&stage.url, "/v1/events", &stage.key, None).await;
        assert_eq!(stream.status, 200);
        streams.push(stream);
    }
    let more = Stream::open(&stage.url, "/v1/events", &stage.key, None).await;
    assert_eq!(more.status, 429);
    stage.app.drain();
    for stream in &mut streams {
        assert!(stream.next().await.is_none());
    }
    stage.finish().await;
}

/// The socket is open and nothing is read: memory does not grow with what it misses, and its place is free again in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_does_not_read_is_cut_off() {
    let stage = Stage::with(Database::sqlite(), &[("SERVER__REQUEST_SECONDS", "2")]).await;
    let bulk = "x".repeat(4_000);
    for n in 0..1_500 {
        let body = json!({"channel": "chat", "to": format!("v-{n}"), "conversation": format!("C-{n}"), "metadata": {"bulk": bulk}});
        let answer = stage.trigger(&body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    publish(&stage).await;
    let address = stage.url.strip_prefix("http://").unwrap();
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/events?after=0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        stage.key
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let cut = timeout(DEADLINE, async {
        let mut ticks = interval(Duration::from_millis(20));
        while readers(&stage) == 0 {
            ticks.tick().await;
        }
        while readers(&stage) > 0 {
            ticks.tick().await;
        }
    });
    cut.await.expect("its place is free again");
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "it was given its time"
    );
    let mut got = Vec::new();
    drop(slow.read_to_end(&mut got).await);
    let told = got.windows(7).filter(|seven| seven == b"\nevent:").count();
    assert!(told < 1_500, "it did not get everything: {told}");
    // Whoever comes back misses nothing.
    let last = i64::try_from(told).unwrap() - 1;
    let mut again = Stream::open(&stage.url, "/v1/events", &stage.key, Some(last)).await;
    assert_eq!(again.next().await.unwrap().seq, last + 1);
    drop(again);
    stage.finish().await;
}

/// Two replicas, one of which has the duty: who reads from the other one is told as well, and when it dies the other takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_tells_what_happened_on_any() {
    let database = Database::postgres().await;
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let mut replicas = [Program::new(&database), Program::new(&database)];
    replicas[0].serve(&http).await;
    let key = replicas[0].desk();
    replicas[1].serve(&http).await;
    let trigger = async |replica: &Program, conversation: &str| {
        let bearer = format!("Bearer {key}");
        let body = json!({"channel": "chat", "to": format!("v-{conversation}"), "conversation": conversation});
        let url = format!("{}/v1/requests", replica.url);
        let answer =
            crate::support::http::post_json(&url, &[("authorization", &bearer)], &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    };
    let mut streams = [
        Stream::open(&replicas[0].url, "/v1/events?after=0", &key, None).await,
        Stream::open(&replicas[1].url, "/v1/events?after=0", &key, None).await,
    ];
    for (n, replica) in replicas.iter().enumerate() {
        trigger(replica, &format!("C-{n}")).await;
        for stream in &mut streams {
            let event = stream.next().await.unwrap();
            assert_eq!(
                event.json["data"]["request"]["conversation"],
                format!("C-{n}")
            );
        }
    }
    replicas[0].kill();
    trigger(&replicas[1], "C-2").await;
    let event = streams[1].next().await.unwrap();
    assert_eq!(
        (event.seq, &event.json["data"]["request"]["conversation"]),
        (3, &json!("C-2"))
    );
}

/// The key is looked at again with every sign of life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_revoked_reads_no_longer() {
    let stage = Stage::start(Database::sqlite()).await;
    let (desk, other) = crate::support::stage::desk(&stage.app, "other", "Other").await;
    let mut own = Stream::open(&stage.url, "/v1/events?after=0", &stage.key, None).await;
    let mut revoked = Stream::open(&stage.url, "/v1/events", &other, None).await;
    let low = "/v1/events?types=rating.low";
    let mut filtered = Stream::open(&stage.url, low, &stage.key, None).await;
    filtered.come_to(0).await;
    ask(&stage, "C-0").await;
    publish(&stage).await;
    assert_eq!(own.next().await.unwrap().seq, 1);
    let store = &stage.app.journey.store;
    let ended = store.revoke_key(desk.id, &other[3..11], stage.now()).await;
    assert!(ended.unwrap().is_some());
    assert!(revoked.next().await.is_none());
    ask(&stage, "C-1").await;
    publish(&stage).await;
    assert_eq!(own.next().await.unwrap().seq, 2, "other keys read on");
    // Signs of life tell the place also to a reader who wants nothing of what happens.
    filtered.come_to(1).await;
    assert!(
        own.beats > 0,
        "nothing cuts a connection that is not silent"
    );
    drop((own, revoked, filtered));
    stage.finish().await;
}
