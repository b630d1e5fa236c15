//! A real Prometheus scrapes the service and answers what people ask it: satisfaction, response rate, time to answer, and
//! every panel of the dashboard. `promtool` finds nothing to say, the counters never fall, and the names are those that the
//! checks of the Kubernetes files hold the dashboard to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::story;
use crate::support::database::Database;
use crate::support::http;
use crate::support::prometheus::{DEADLINE, Prometheus, promtool};
use crate::support::stage::{OUR_NUMBER, Stage};

/// Each round asks this many customers; the scores, and one who does not answer.
const SCORES: [Option<u8>; 6] = [Some(5), Some(4), Some(4), Some(2), Some(1), None];

fn repository(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What each panel of the dashboard asks, with its variables filled in.
fn dashboard() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_str(&repository("k8s/dashboards/onefive.json")).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"]
                .as_str()
                .unwrap()
                .replace("$__rate_interval", "1m")
                .replace("$__range", "1m")
                .replace("$desk", "acme");
            assert!(!query.contains('$'), "{query}");
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}

/// What is done about the low scores: each is taken, the customer is told, and it is closed.
async fn care(stage: &Stage) {
    let bearer = format!("Bearer {}", stage.key);
    let open = stage.api("/v1/follow-ups?state=open").await;
    let items = open["items"].as_array().unwrap();
    assert!(!items.is_empty(), "a low score waits for somebody");
    for item in items {
        let id = item["id"].as_str().unwrap();
        let steps = [
            ("take", json!({"owner": "Sam"})),
            ("told", json!({})),
            ("close", json!({})),
        ];
        for (step, body) in steps {
            stage.pass(20);
            let url = format!("{}/v1/follow-ups/{id}/{step}", stage.url);
            let made = http::post_json(&url, &[("authorization", &bearer)], &body).await;
            assert_eq!(made.status, 200, "{step}: {made:?}");
        }
    }
}

/// One round of everything that is counted: [`SCORES`], one who was not asked, a correction, a reply that is no score, an
/// opt-out, a forged hook, the care for low scores, and somebody who reads the stream. `round` keeps the addresses apart.
async fn traffic(stage: &Stage, round: usize) {
    let twilio = &stage.twilio;
    let journey = &stage.app.journey;
    let mut reader = journey.reader(stage.desk.id, None).await.unwrap();
    let number = |n: usize| format!("+1415555{:04}", 1_000 + round * 100 + n);
    let begun = twilio.messages().len();
    for n in 0..=SCORES.len() {
        stage
            .ask("sms", &number(n), &format!("INC-{round}-{n}"))
            .await;
    }
    let nobody = json!({"channel": "sms", "to": "", "conversation": format!("INC-{round}"), "touchpoint": "test"});
    assert_eq!(stage.trigger(&nobody).await.json()["reason"], "no_address");
    // Somebody sees the ask in a chat and says nothing.
    let chat = json!({"channel": "chat", "to": format!("visitor-{round}"), "conversation": format!("CHAT-{round}"), "touchpoint": "test"});
    let chat = stage.trigger(&chat).await.json();
    let token = chat["token"].as_str().unwrap();
    let shown = http::post_json(&format!("{}/w/{token}/shown", stage.url), &[], &json!({})).await;
    assert!((200..300).contains(&shown.status), "{shown:?}");
    while stage.deliver().await > 0 {}
    for message in &twilio.messages()[begun..] {
        let (status, _) = twilio.status(&stage.service(), message, "delivered").await;
        assert!((200..300).contains(&status), "{status}");
    }

    stage.pass(20);
    let say = async |n: usize, words: String| {
        let (status, _) = twilio
            .text(&stage.service(), &number(n), OUR_NUMBER, &words)
            .await;
        assert_eq!(status, 200);
    };
    for (n, score) in SCORES.iter().enumerate() {
        match score {
            Some(score) => say(n, score.to_string()).await,
            None => say(n, "who is this".to_owned()).await,
        }
    }
    say(1, "5".to_owned()).await;
    say(SCORES.len(), "STOP".to_owned()).await;
    let forged = [("From", ANYBODY)];
    let (status, _) = twilio
        .post_signed(
            &stage.service(),
            "/hooks/twilio/sms",
            &forged,
            "no signature",
        )
        .await;
    assert_eq!(status, 403);
    care(stage).await;
    journey.publish().await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
}

const ANYBODY: &str = "+14155550123";

story!(
    prometheus_answers_what_people_ask,
    async |database: Database| {
        let whole = matches!(database, Database::Sqlite(_));
        let stage = Stage::start(database).await;
        let paths: &[&str] = if whole {
            &["/metrics"]
        } else {
            &["/metrics", "/metrics/totals"]
        };
        let prometheus = Prometheus::start(&stage.app.admin.to_string(), paths);
        let ratings = "sum(onefive_ratings_total)";
        // A rise is a difference between two scrapes: one with the first round, one with the second.
        traffic(&stage, 0).await;
        prometheus.wait_for(ratings, 5.0).await;
        // What is counted per process is another target, and comes when that is scraped.
        let forged = r#"sum(onefive_hooks_total{provider="twilio",result="forged"})"#;
        prometheus.wait_for(forged, 1.0).await;
        traffic(&stage, 1).await;
        stage.app.journey.audit().await;
        prometheus.wait_for(ratings, 10.0).await;
        prometheus.wait_for(forged, 2.0).await;
        let audited = "count(onefive_invariant_violations) > bool 0";
        prometheus.wait_for(audited, 1.0).await;
        // The rates of the process need two scrapes of it as well.
        let scrapes = "min(count_over_time(up[1m]))";
        timeout(DEADLINE, async {
            let mut ticks = interval(Duration::from_millis(100));
            while prometheus.query(scrapes).await.first() < Some(&2.0) {
                ticks.tick().await;
            }
        })
        .await
        .expect("two scrapes");

        for (query, wanted) in [
            ("sum(up)", if whole { 1.0 } else { 2.0 }),
            (
                r#"100 * sum(onefive_ratings_total{score=~"4|5"}) / sum(onefive_ratings_total)"#,
                60.0,
            ),
            (
                r#"sum(onefive_requests_total{state="answered"}) / sum(onefive_requests_total{state="delivered"})"#,
                5.0 / 8.0,
            ),
            (
                r#"sum(onefive_requests_total{state="suppressed",reason="no_address"})"#,
                2.0,
            ),
            // All answers came after 20 s: the middle of the bucket from 10 to 30.
            (
                "histogram_quantile(0.5, sum by (le) (onefive_answer_seconds_bucket))",
                20.0,
            ),
            ("sum(onefive_answer_seconds_sum)", 200.0),
            ("sum(onefive_rating_changes_total)", 2.0),
            ("sum(onefive_opt_outs_total)", 2.0),
            ("sum(onefive_replies_unrecognized_total)", 2.0),
            (
                r#"onefive_hooks_total{provider="twilio",result="forged"}"#,
                2.0,
            ),
            // Two of each round.
            ("sum(onefive_low_ratings_total)", 4.0),
            ("sum(onefive_follow_ups)", 0.0),
            (
                r#"sum(onefive_follow_up_seconds_count{step="closed"})"#,
                4.0,
            ),
        ] {
            // Each is scraped from one of two targets, and the last look at the other may be older.
            prometheus.wait_for(query, wanted).await;
        }
        let panels = dashboard();
        assert!(panels.len() > 25, "{}", panels.len());
        for (title, query) in panels {
            let values = prometheus.query(&query).await;
            assert!(
                values.iter().any(|value| value.is_finite()),
                "{title} shows nothing: {query} is {values:?}"
            );
        }
        stage.finish().await;
    }
);

async fn scrape(stage: &Stage, path: &str) -> String {
    let answer = http::get(&format!("{}{path}", stage.url)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// The names of the families in an exposition.
fn families(metrics: &str) -> BTreeSet<String> {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// The names that `tests/k8s/check.py` lists.
fn listed() -> BTreeSet<String> {
    repository("tests/k8s/check.py")
        .lines()
        .filter_map(|line| line.strip_prefix("    \"")?.split_once("\": "))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with("onefive_") || name.starts_with("process_"))
        .collect()
}

story!(promtool_has_nothing_to_say, async |database: Database| {
    let stage = Stage::start(database).await;
    let quiet = (true, String::new());
    for path in ["/metrics", "/metrics/totals"] {
        assert_eq!(
            promtool(&scrape(&stage, path).await),
            quiet,
            "{path} before"
        );
    }
    traffic(&stage, 0).await;
    stage.app.journey.audit().await;
    let mut names = BTreeSet::new();
    for path in ["/metrics", "/metrics/totals"] {
        let metrics = scrape(&stage, path).await;
        assert_eq!(promtool(&metrics), quiet, "{path} after");
        names.extend(families(&metrics));
    }
    let mut listed = listed();
    // Only where a sink of the whole service is configured.
    listed.remove("onefive_sink_down");
    if matches!(stage.database, Database::Postgres { .. }) {
        listed.retain(|name| !name.starts_with("onefive_sqlite_"));
    }
    assert_eq!(names, listed);
    stage.finish().await;
});

/// Every counter of an exposition (also those that make a histogram) with its value.
fn counters(metrics: &str) -> BTreeMap<String, f64> {
    let series = metrics.lines().filter(|line| !line.starts_with('#'));
    series
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(name, _)| {
            let name = name.split('{').next().unwrap_or_default();
            ["_total", "_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.ends_with(end))
        })
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

story!(counters_never_fall, async |database: Database| {
    let stage = Stage::start(database).await;
    let (done, mut running) = tokio::sync::watch::channel(false);
    let writing = async {
        for round in 0..3 {
            traffic(&stage, round).await;
        }
        done.send_replace(true);
    };
    let folding = async {
        let mut folded = 0;
        let mut stopped = done.subscribe();
        loop {
            let last = *stopped.borrow_and_update();
            // A round that gets no connection on a busy machine is made up for by the next, as it is in the duty.
            folded += stage.app.journey.tidy().await.map_or(0, |done| done.1);
            if last {
                return folded;
            }
            tokio::task::yield_now().await;
        }
    };
    let scraping = async {
        let (mut before, mut rises) = (BTreeMap::new(), 0);
        loop {
            let last = *running.borrow_and_update();
            let answer = http::get(&format!("{}/metrics/totals", stage.url)).await;
            // No answer is a gap in the graph, and no wrong number.
            if answer.status == 503 && !last {
                tokio::task::yield_now().await;
                continue;
            }
            assert_eq!(answer.status, 200, "{answer:?}");
            let now = counters(&answer.body);
            for (series, value) in &before {
                let still = now.get(series).copied().unwrap_or_default();
                assert!(still >= *value, "{series} fell from {value} to {still}");
            }
            rises += usize::from(now != before);
            before = now;
            if last {
                return rises;
            }
        }
    };
    let ((), folded, rises) = tokio::join!(writing, folding, scraping);
    assert!(folded > 0, "nothing was folded");
    assert!(rises > 10, "too few scrapes saw a rise: {rises}");
    stage.finish().await;
});

story!(
    an_error_of_the_store_is_counted,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let errors = |kind: &str| {
            let counter = &stage.app.journey.metrics.store_errors;
            counter.with_label_values(&[kind]).get()
        };
        assert_eq!(errors("unavailable"), 0);
        stage.app.journey.store.close().await;
        let body = json!({"channel": "chat", "to": "visitor", "conversation": "INC-1"});
        assert_eq!(stage.trigger(&body).await.status, 503);
        assert_eq!(errors("unavailable"), 1);
        stage.app.stop().await;
    }
);
