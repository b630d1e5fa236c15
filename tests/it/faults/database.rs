//! The database goes away: stopped, out of reach, full of others, cut off in the middle of a commit, or replaced by its standby.

use std::time::{Duration, Instant};

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{interval, timeout};

use crate::support::database::Database;
use crate::support::faults::{count, record};
use crate::support::http as plain;
use crate::support::load::{Load, Outcome, Wish};
use crate::support::postgres::{Cluster, Pooler};
use crate::support::program::{Http, Program};
use crate::support::twilio::FakeTwilio;
use crate::support::way::Way;

/// Connections of the service, as `Database::settings` has it.
const CONNECTIONS: i64 = 6;
/// For anything that is waited for.
const DEADLINE: Duration = Duration::from_secs(40);
const UNSENT: &str =
    "select count(*) from requests where channel = 'sms' and delivery <> 'accepted'";
const NOBODY_TWICE: &str = "select count(*) from (select conversation from requests group by conversation having count(*) > 1) t";
const RATED_TWICE: &str = "select count(*) from (select request_id from ratings group by request_id having count(*) > 1) t";
const COUNTED_TWICE: &str = "select count(*) from (select request_id from events where kind = 'rating.created' group by request_id having count(*) > 1) t";
const UNCOUNTED: &str = "select count(*) from ratings g where not exists (select 1 from events e where e.desk_id = g.desk_id and e.request_id = g.request_id and e.kind = 'rating.created')";

/// A service on a database that a story can break.
struct Scene {
    cluster: Cluster,
    way: Way,
    program: Program,
    key: String,
    twilio: FakeTwilio,
    /// Holds the key file.
    _database: Database,
}

impl Scene {
    async fn start(cluster: Cluster) -> Self {
        cluster.execute("postgres", "create database onefive").await;
        let way = Way::to(cluster.port).await;
        let twilio = FakeTwilio::start(None).await;
        let database = Database::at(way.url("onefive"));
        let mut program = Program::twilio(&database, &twilio, "+14155550199");
        let key = program.desk();
        let http: Http = Client::builder(TokioExecutor::new()).build_http();
        program.serve(&http).await;
        Self {
            cluster,
            way,
            program,
            key,
            twilio,
            _database: database,
        }
    }

    fn load(&self, workers: usize) -> Load {
        Load::begin(Wish {
            urls: vec![self.program.url.clone()],
            key: self.key.clone(),
            workers,
            texts: true,
            bulk: 0,
        })
    }

    /// `/livez` answers at once, whatever the database does.
    async fn lives(&self) {
        let begun = Instant::now();
        let answer = plain::get(&format!("{}/livez", self.program.url)).await;
        assert_eq!(answer.status, 200);
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
    }

    /// The service comes back within five seconds, however long it was alone.
    async fn comes_back(&self, load: &Load) -> Duration {
        let gap = load.more(1).await;
        assert!(
            gap < Duration::from_secs(5),
            "back after {gap:?}: {}",
            self.program.log()
        );
        load.more(300).await;
        gap
    }

    async fn holds_no_more_connections(&self, cluster: &Cluster) {
        let few = async {
            let mut look = interval(Duration::from_millis(100));
            loop {
                look.tick().await;
                if cluster.connections().await <= CONNECTIONS {
                    break;
                }
            }
        };
        let few = timeout(DEADLINE, few).await.is_ok();
        assert!(few, "{} connections are left", cluster.connections().await);
    }

    /// What was acknowledged is there, and nothing is there twice.
    async fn settle(&self, cluster: &Cluster, outcome: &Outcome) {
        assert!(outcome.lost.is_empty(), "{:#?}", outcome.lost);
        // Nobody is forgotten either: what nobody was permitted to send is sent later, and what a lost claim holds, when its lease ends.
        let sent = async {
            let mut look = interval(Duration::from_millis(100));
            while cluster.number("onefive", UNSENT).await > 0 {
                look.tick().await;
            }
        };
        let sent = timeout(DEADLINE, sent).await.is_ok();
        let metrics = plain::get(&format!("{}/metrics/totals", self.program.url))
            .await
            .body;
        let carried = metrics
            .lines()
            .filter(|line| line.starts_with("onefive_deliveries{"));
        assert!(sent, "not all are sent: {:?}", carried.collect::<Vec<_>>());
        for twice in [NOBODY_TWICE, RATED_TWICE, COUNTED_TWICE, UNCOUNTED] {
            assert_eq!(cluster.number("onefive", twice).await, 0, "{twice}");
        }
        let messages = self.twilio.messages();
        let mut numbers: Vec<&String> = messages.iter().map(|message| &message.to).collect();
        let sent = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(sent, numbers.len(), "somebody was sent two messages");
        assert!(sent > 0, "nothing was sent");
    }
}

fn fast(outcome: &Outcome, least: usize) {
    assert!(
        outcome.refused.len() >= least,
        "only {} were refused",
        outcome.refused.len()
    );
    assert!(
        outcome.p99() < Duration::from_secs(1),
        "{:?}",
        outcome.p99()
    );
    assert_eq!(outcome.unheard, 0, "every call is answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_is_said_so_at_once_and_used_again_when_it_is_back() {
    let mut scene = Scene::start(Cluster::start(&["max_connections=20"]).await).await;
    let outages = count(3, 30);
    let mut worst = Duration::ZERO;
    let load = scene.load(12);
    load.more(100).await;
    for outage in 0..outages {
        // Stopped, out of reach without a word, and taken up by others.
        match outage % 3 {
            0 => {
                scene.cluster.stop_at_once();
                load.refused(3_000).await;
                scene.lives().await;
                scene.cluster.begin();
                scene.cluster.ready().await;
            }
            1 => {
                scene.way.hold(true);
                load.refused(400).await;
                scene.lives().await;
                scene.way.hold(false);
            }
            _ => {
                let mut others = Vec::new();
                scene.way.cut();
                while let Ok(other) = PgConnection::connect(&scene.cluster.url("postgres")).await {
                    others.push(other);
                    scene.way.cut();
                }
                scene.way.cut();
                load.refused(30).await;
                scene.lives().await;
                drop(others);
            }
        }
        worst = worst.max(scene.comes_back(&load).await);
    }
    scene.holds_no_more_connections(&scene.cluster).await;
    let outcome = load.end(&scene.program.url).await;
    fast(&outcome, 400);
    scene.settle(&scene.cluster, &outcome).await;
    let result = format!(
        "{}; p99 of {} refusals {} ms; back after {} ms",
        outcome.summary(),
        outcome.refused.len(),
        outcome.p99().as_millis(),
        worst.as_millis()
    );
    record(
        "F11",
        "PostgreSQL stopped, out of reach, full",
        outages,
        &result,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_has_no_effect_twice() {
    let scene = Scene::start(Cluster::start(&[]).await).await;
    let cuts = count(60, 400);
    let load = scene.load(12);
    load.more(50).await;
    for _ in 0..cuts {
        scene.way.lose_a_commit().await;
        load.more(3).await;
    }
    let outcome = load.end(&scene.program.url).await;
    assert_eq!(outcome.unheard, 0);
    assert!(
        outcome.refused.len() >= cuts / 2,
        "the cuts hit too little: {}",
        outcome.refused.len()
    );
    scene.settle(&scene.cluster, &outcome).await;
    let result = format!("rows = oracle, {}; 0 double effects", outcome.summary());
    record("F12", "connection cut during COMMIT", cuts, &result);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_with_everything_that_was_acknowledged() {
    let failovers = count(1, 5);
    let (mut acknowledged, mut worst) = (0, Duration::ZERO);
    for _ in 0..failovers {
        // A commit waits for the standby, or what was acknowledged could stay behind.
        let primary = Cluster::start(&["synchronous_standby_names=*"]).await;
        let standby = primary.standby(&[]).await;
        let mut scene = Scene::start(primary).await;
        let load = scene.load(12);
        load.more(150).await;
        let begun = Instant::now();
        scene.cluster.stop_at_once();
        load.refused(50).await;
        // The address moves first; a server that only reads is as good as none.
        scene.way.lead(standby.port);
        load.refused(50).await;
        scene.lives().await;
        standby.promote().await;
        load.more(1).await;
        worst = worst.max(begun.elapsed());
        load.more(150).await;
        let outcome = load.end(&scene.program.url).await;
        fast(&outcome, 50);
        scene.settle(&standby, &outcome).await;
        scene.holds_no_more_connections(&standby).await;
        acknowledged += outcome.acknowledged;
    }
    assert!(worst < Duration::from_secs(15), "{worst:?}");
    let result = format!(
        "acknowledged = stored, {acknowledged} of {acknowledged}; 0 sent twice; gap {} ms",
        worst.as_millis()
    );
    record("F13", "fail-over to a standby", failovers, &result);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_would_acknowledge_before_it_has_written_is_not_used() {
    let cluster = Cluster::start(&["synchronous_commit=off"]).await;
    cluster.execute("postgres", "create database onefive").await;
    let pooler = Pooler::start(&cluster).await;
    let database = Database::at(pooler.url("onefive"));
    let mut program = Program::new(&database);
    program.launch();
    assert!(!program.end().await.success());
    let log = program.log();
    assert!(log.contains("synchronous_commit is off"), "{log}");
    // Where nothing is left to the session, each transaction asks for it.
    program.set("database.statement_cache", "0");
    program
        .serve(&Client::builder(TokioExecutor::new()).build_http())
        .await;
}
