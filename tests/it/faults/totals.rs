//! Totals and results are what the rows are, at every look, while folding breaks off in the middle and replicas die.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::time::timeout;

use crate::story;
use crate::summary::chat;
use crate::support::database::Database;
use crate::support::faults;
use crate::support::http;
use crate::support::program::{Http, Program};
use crate::support::stage::Stage;

use super::scene::{PATIENCE, call};

/// The counters of an exposition.
fn counters(metrics: &str) -> BTreeMap<String, f64> {
    let series = metrics.lines().filter(|line| !line.starts_with('#'));
    let counted = ["_total", "_bucket", "_sum", "_count"];
    series
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(name, _)| {
            let name = name.split('{').next().unwrap_or_default();
            counted.iter().any(|end| name.ends_with(end)) && !name.starts_with("onefive_http")
        })
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// The sum of the series of one family, and whether one of all counters is lower than before.
fn ratings(now: &BTreeMap<String, f64>) -> i64 {
    let of_ratings = now
        .iter()
        .filter(|(name, _)| name.starts_with("onefive_ratings_total{"));
    let sum: f64 = of_ratings.map(|(_, value)| value).sum();
    format!("{sum}").parse().unwrap()
}

fn none_fell(before: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>) {
    for (series, value) in before {
        let still = now.get(series).copied().unwrap_or_default();
        assert!(still >= *value, "{series} fell from {value} to {still}");
    }
}

const RATINGS: &str = "select count(*) from ratings";

story!(
    folding_that_breaks_off_in_the_middle_counts_nothing_twice,
    async |database: Database| {
        let rounds = faults::count(40, 400);
        let stage = Stage::start(database).await;
        // Events are taken, sums are written, and somewhere between them the database fails.
        let break_off: &[&'static str] = match &stage.database {
            Database::Sqlite(_) => &[
                "create trigger break_off before insert on totals when abs(random()) % 10 = 0 \
                 begin select raise(abort, 'broken off'); end",
            ],
            Database::Postgres { .. } => &[
                "create function break_off() returns trigger language plpgsql as \
                 $$ begin if random() < 0.1 then raise exception 'broken off'; end if; return new; end $$",
                "create trigger break_off before insert on totals for each row execute function break_off()",
            ],
        };
        for statement in break_off {
            stage.database.execute(statement).await;
        }
        let (mut before, mut broken, mut folded) = (BTreeMap::new(), 0, 0);
        for round in 0..rounds {
            let team = ["network", "desktop"][round % 2];
            let about = json!({"team": team, "agent": {"id": "a-1"}});
            let score = u8::try_from(round % 5 + 1).unwrap();
            chat(
                &stage,
                &format!("INC-{round}"),
                about,
                (round % 3 > 0).then_some(score),
            )
            .await;
            // Often enough that both happen, however the dice fall.
            if round % 2 == 1 {
                match stage.app.journey.tidy().await {
                    Ok((_, events)) => folded += events,
                    Err(_) => broken += 1,
                }
            }
            let rows = stage.database.number(RATINGS).await;
            let answer = http::get(&format!("{}/metrics/totals", stage.url)).await;
            let now = counters(&answer.body);
            none_fell(&before, &now);
            assert_eq!(ratings(&now), rows, "round {round}");
            before = now;
            let summary = stage.api("/v1/summary?group_by=team,topic").await;
            assert_eq!(summary["total"]["ratings"]["n"], rows, "round {round}");
            assert_eq!(summary["total"]["asked"]["triggers"], round + 1);
        }
        assert!(
            broken > 0 && folded > 0,
            "{broken} broken off, {folded} folded"
        );
        let result = format!(
            "totals and results were the rows at each of {rounds} looks; {folded} events folded"
        );
        faults::record("F32", "folding breaks off in the middle", broken, &result);
        let mend: &[&'static str] = match &stage.database {
            Database::Sqlite(_) => &["drop trigger break_off"],
            Database::Postgres { .. } => &["drop trigger break_off on totals"],
        };
        for statement in mend {
            stage.database.execute(statement).await;
        }
        while stage.app.journey.tidy().await.unwrap().1 > 0 {}
        stage.finish().await;
    }
);

/// What the desk and its customers do, and what was acknowledged.
struct Traffic {
    http: Http,
    bearer: String,
    urls: Vec<String>,
    rated: AtomicUsize,
    done: AtomicBool,
    seen: Mutex<BTreeMap<String, f64>>,
}

impl Traffic {
    /// A customer is asked in a chat and answers, whoever of the replicas is there.
    async fn one(&self, n: usize) {
        let insisted = timeout(PATIENCE, async {
            let mut turn = n;
            let mut url = || {
                turn += 1;
                &self.urls[turn % self.urls.len()]
            };
            let body = json!({"channel": "chat", "to": format!("visitor-{n}"), "conversation": format!("INC-{n}")});
            let token = loop {
                let path = format!("{}/v1/requests", url());
                if let Some((200..300, asked)) =
                    call(&self.http, &self.bearer, &path, Some(&body)).await
                {
                    break asked["token"].as_str().unwrap().to_owned();
                }
                tokio::task::yield_now().await;
            };
            let body = json!({"score": n % 5 + 1});
            loop {
                let path = format!("{}/w/{token}", url());
                if let Some((200..300, _)) =
                    call(&self.http, &self.bearer, &path, Some(&body)).await
                {
                    break;
                }
                tokio::task::yield_now().await;
            }
        });
        insisted.await.expect("an answer in time");
        self.rated.fetch_add(1, Ordering::SeqCst);
    }

    /// Looks at the totals of whoever answers, as long as anything happens; how often.
    async fn looks(&self) -> usize {
        let (mut looks, mut turn) = (0, 0);
        while !self.done.load(Ordering::SeqCst) {
            turn += 1;
            let least = self.rated.load(Ordering::SeqCst);
            let url = format!("{}/metrics/totals", self.urls[turn % self.urls.len()]);
            let request = ::http::Request::get(url).body(http_body_util::Full::default());
            let Some((200, body)) =
                crate::support::program::once(&self.http, request.unwrap()).await
            else {
                tokio::task::yield_now().await;
                continue;
            };
            let now = counters(std::str::from_utf8(&body).unwrap());
            let mut seen = self.seen.lock().unwrap();
            none_fell(&seen, &now);
            // What was acknowledged before the look is in it.
            let counted = usize::try_from(ratings(&now)).unwrap();
            assert!(counted >= least, "{counted} counted, {least} acknowledged");
            *seen = now;
            looks += 1;
        }
        looks
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_counter_falls_while_replicas_die() {
    let kills = faults::count(8, 100);
    let customers = (kills + 1) * 20;
    let database = Database::postgres().await;
    let mut replicas: Vec<Program> = (0..2).map(|_| Program::new(&database)).collect();
    replicas[0].run(&["migrate"]);
    let bearer = format!("Bearer {}", replicas[0].desk());
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    for replica in &mut replicas {
        replica.serve(&http).await;
    }
    let traffic = Arc::new(Traffic {
        http: http.clone(),
        bearer: bearer.clone(),
        urls: replicas.iter().map(|replica| replica.url.clone()).collect(),
        rated: AtomicUsize::new(0),
        done: AtomicBool::new(false),
        seen: Mutex::default(),
    });
    let looker = Arc::clone(&traffic);
    let looks = tokio::spawn(async move { looker.looks().await });
    for n in 1..=customers {
        traffic.one(n).await;
        if n % 20 == 0 && n < customers {
            // Whoever dies has the duty of folding every second time.
            let unlucky = &mut replicas[n / 20 % 2];
            unlucky.kill();
            unlucky.launch();
        }
    }
    for replica in &replicas {
        replica.ready(&http).await;
    }
    traffic.done.store(true, Ordering::SeqCst);
    let looks = looks.await.unwrap();
    assert_eq!(
        database.number(RATINGS).await,
        i64::try_from(customers).unwrap()
    );
    for replica in &replicas {
        let summary = call(&http, &bearer, &format!("{}/v1/summary", replica.url), None).await;
        let (status, summary) = summary.expect("an answer");
        assert_eq!(
            (status, &summary["total"]["ratings"]["n"]),
            (200, &json!(customers))
        );
        let answer = http::get(&format!("{}/metrics/totals", replica.url)).await;
        let now = counters(&answer.body);
        none_fell(&traffic.seen.lock().unwrap(), &now);
        assert_eq!(ratings(&now), i64::try_from(customers).unwrap());
    }
    assert!(looks > kills, "{looks} looks");
    let result =
        format!("{customers} ratings, {looks} looks at the totals, none lower than before");
    faults::record(
        "F31",
        "kill -9 of a replica while totals are scraped",
        kills,
        &result,
    );
}
