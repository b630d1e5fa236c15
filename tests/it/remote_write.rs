//! Remote write: the totals arrive as they are scraped, in the order of time, also after an outage and from another replica.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use onefive::clock::Clock as _;
use onefive::journey::Duty;

use crate::support::daemon::Daemon;
use crate::support::database::Database;
use crate::support::http;
use crate::support::program::{Http, Program};
use crate::support::stage::Stage;

const DEADLINE: Duration = Duration::from_secs(40);

/// The samples of a query over the whole time: time and value.
async fn samples(server: &Daemon, query: &str) -> Vec<(f64, f64)> {
    let url = format!("http://{}/api/v1/query", server.address);
    let now = onefive::clock::SystemClock
        .now()
        .plus_millis(60_000)
        .as_millis()
        / 1000;
    let form = [
        ("query", &*format!("{query}[30d]")),
        ("time", &*now.to_string()),
    ];
    let answer = http::post_form(&url, &form, "*/*").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let results = answer["data"]["result"].as_array().unwrap().clone();
    let value = |sample: &Value| {
        (
            sample[0].as_f64().unwrap(),
            sample[1].as_str().unwrap().parse().unwrap(),
        )
    };
    results
        .iter()
        .flat_map(|result| {
            result["values"]
                .as_array()
                .unwrap()
                .iter()
                .map(value)
                .collect::<Vec<_>>()
        })
        .collect()
}

async fn until(
    server: &Daemon,
    query: &str,
    wanted: impl Fn(&[(f64, f64)]) -> bool,
) -> Vec<(f64, f64)> {
    let mut last = Vec::new();
    let seen = timeout(DEADLINE, async {
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            last = samples(server, query).await;
            if wanted(&last) {
                return;
            }
        }
    });
    assert!(seen.await.is_ok(), "{query}: {last:?}");
    last
}

async fn rate(stage: &Stage, n: u32) {
    let body = json!({"channel": "chat", "to": format!("v-{n}"), "conversation": format!("C-{n}")});
    let asked = stage.trigger(&body).await.json();
    let url = stage.real(asked["ask"]["url"].as_str().unwrap());
    let answer = http::post_json(&url, &[], &json!({"score": 5})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// One round of the duty.
async fn push(stage: &Stage) {
    let duty = Duty::Samples.name();
    let store = &stage.app.journey.store;
    let lease = store
        .hold_duty(duty, "test", 60_000)
        .await
        .unwrap()
        .unwrap();
    stage.app.journey.tell_samples(duty, lease).await.unwrap();
}

async fn arrives_in(mut server: Daemon, path: &str) {
    let url = format!("http://{}{path}", server.address);
    let settings = [
        ("SINKS__REMOTE_WRITE__URL", url.as_str()),
        ("SINKS__REMOTE_WRITE__SECONDS", "15"),
    ];
    let stage = Stage::with(Database::sqlite(), &settings).await;
    // The stage's clock is the machine's here: who takes samples refuses what is far from its own time.
    let ahead = onefive::clock::SystemClock.now().millis_since(stage.now());
    stage.pass(ahead / 1000 - 3_000);
    // A desk that is paused has a line of its own.
    crate::support::stage::desk(&stage.app, "other", "Other").await;
    let pause = "update desks set paused_at = 1 where slug = 'other'";
    stage.database.execute(pause).await;
    let mut wanted = Vec::new();
    for n in 0..6 {
        // It is away for the first three.
        if n == 3 {
            server.start().await;
        }
        rate(&stage, n).await;
        wanted.push(f64::from(n + 1));
        push(&stage).await;
        // Too early for another one.
        stage.pass(14);
        push(&stage).await;
        stage.pass(1);
    }
    let ratings = r#"onefive_ratings_total{desk="acme",channel="chat",score="5",job="onefive"}"#;
    let seen = until(&server, ratings, |seen| seen.len() >= 6).await;
    let values: Vec<f64> = seen.iter().map(|(_, value)| *value).collect();
    assert_eq!(values, wanted, "every sample, in order");
    assert!(
        seen.windows(2)
            .all(|two| (two[1].0 - two[0].0 - 15.0).abs() < 0.01),
        "{seen:?}"
    );
    for series in [
        r#"onefive_answer_seconds_bucket{le="+Inf"}"#,
        "onefive_answer_seconds_count",
        r#"onefive_requests_total{state="answered"}"#,
    ] {
        let seen = until(&server, series, |seen| seen.len() >= 6).await;
        assert!((seen[5].1 - 6.0).abs() < 1e-9, "{series}: {seen:?}");
    }
    // Whatever is scraped is pushed too.
    let scraped = http::get(&format!("{}/metrics/totals", stage.url)).await;
    let names = scraped.body.lines();
    let names = names.filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    for (name, _) in names.filter(|(_, kind)| *kind != "histogram") {
        until(&server, name, |seen| !seen.is_empty()).await;
    }
    for name in ["onefive_totals_epoch_seconds", "onefive_desk_paused"] {
        until(&server, name, |seen| !seen.is_empty()).await;
    }
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_arrive_in_victoria_metrics() {
    arrives_in(Daemon::victoria_metrics(), "/api/v1/write").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_arrive_in_prometheus() {
    arrives_in(Daemon::prometheus(), "/api/v1/write").await;
}

/// Two replicas, the one that writes is killed: the other goes on, and Prometheus, which refuses what is out of order, refuses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_goes_on_where_a_dead_one_was() {
    let mut server = Daemon::prometheus();
    server.start().await;
    let database = Database::postgres().await;
    let client: Http =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http();
    let mut replicas = [Program::new(&database), Program::new(&database)];
    for replica in &mut replicas {
        let url = format!("http://{}/api/v1/write", server.address);
        replica.set("sinks.remote_write.url", &url);
        replica.set("sinks.remote_write.seconds", "1");
        replica.serve(&client).await;
    }
    let gauge = "onefive_delivery_queue_seconds";
    let before = until(&server, gauge, |seen| seen.len() >= 2).await;
    replicas[0].kill();
    let dead = before.last().unwrap().0;
    let after = until(&server, gauge, |seen| {
        seen.iter().filter(|(at, _)| *at > dead + 5.0).count() >= 2
    })
    .await;
    assert!(after.windows(2).all(|two| two[0].0 < two[1].0), "{after:?}");
    let metrics = http::get(&format!("{}/metrics", replicas[1].url))
        .await
        .body;
    assert!(
        metrics.contains(r#"onefive_published_total{result="refused",sink="remote_write"} 0"#),
        "{metrics}"
    );
}
