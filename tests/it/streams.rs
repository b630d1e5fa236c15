//! What holds for everybody who is told: a newer version's words, a desk that cannot be read and a database that was put back stop
//! nobody.

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::events::{LOCAL, subscribe};
use crate::story;
use crate::support::daemon::Daemon;
use crate::support::database::Database;
use crate::support::http::{self, Answer};
use crate::support::program::{Http, Program};
use crate::support::receiver::{Receiver, Told};
use crate::support::sse::Stream;
use crate::support::stage::Stage;
use crate::webhooks::{ask, publish};

async fn trigger(url: &str, key: &str, conversation: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let body =
        json!({"channel": "chat", "to": format!("v-{conversation}"), "conversation": conversation});
    let url = format!("{url}/v1/requests");
    let answer = http::post_json(&url, &[("authorization", &bearer)], &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer
}

story!(
    what_a_newer_version_wrote_is_passed_by_and_nobody_waits_for_it,
    async |database: Database| {
        let stage = Stage::with(database, &LOCAL).await;
        let receiver = Receiver::start().await;
        subscribe(&stage, &receiver.url, &[]).await;
        let path = "/v1/events?after=0";
        for n in 1..=4 {
            ask(&stage, &format!("C-{n}")).await;
        }
        for newer in [
            "update events set kind = 'rating.foretold' where seq in (1, 4)",
            "update events set reason = 'full_moon' where seq = 2",
        ] {
            assert!(stage.database.execute(newer).await > 0);
        }
        let mut reader = Stream::open(&stage.url, path, &stage.key, None).await;
        publish(&stage).await;
        let told = || {
            let told = receiver.sorted();
            let seqs = told.iter().map(|told: &Told| told.json()["seq"].clone());
            seqs.collect::<Vec<Value>>()
        };
        assert_eq!(told(), [3]);
        assert_eq!(reader.next().await.unwrap().seq, 3);
        let busy = stage.app.journey.store.busy_webhooks(stage.now(), 9).await;
        assert_eq!(busy.unwrap(), [], "it is not looked at again and again");
        let shown = http::get(&format!("{}/metrics/totals", stage.url)).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        let totals = stage.app.journey.store.totals().await.unwrap();
        let sums = totals.iter().flat_map(|at| &at.sums);
        let counted: i64 = sums.map(|total| total.count).sum();
        assert_eq!(counted, 1, "what is known is counted");
        let other = Receiver::start().await;
        subscribe(&stage, &other.url, &["rating.low"]).await;
        let newer = "update webhooks set kinds = 'rating.foretold' where kinds = 'rating.low'";
        assert_eq!(stage.database.execute(newer).await, 1);
        ask(&stage, "C-5").await;
        publish(&stage).await;
        assert!(
            other.told().is_empty(),
            "it wants only what a newer version tells"
        );
        assert_eq!(told(), [3, 5]);
        assert_eq!(reader.next().await.unwrap().seq, 5);
        let back = "update events set kind = 'request.sent', reason = ''";
        stage.database.execute(back).await;
        drop(reader);
        stage.finish().await;
    }
);

/// Each of two desks in turn, so that it does not matter which of them is looked at first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_desk_whose_events_cannot_be_read_holds_up_no_other() {
    let mut server = Daemon::nats();
    server.start().await;
    let url = format!("nats://{}", server.address);
    let stage = Stage::with(Database::sqlite(), &[("SINKS__NATS__URL", &url)]).await;
    let (_, other) = crate::support::stage::desk(&stage.app, "other", "Other").await;
    let spoils = [
        "update events set request_id = cast(request_id || x'ff' as blob) \
         where desk_id = (select id from desks where slug = 'acme')",
        "update events set request_id = cast(request_id || x'ff' as blob) \
         where desk_id = (select id from desks where slug = 'other')",
    ];
    let behind = "select count(*) from streams s where s.seq > \
        coalesce((select m.seq from sink_marks m where m.desk_id = s.desk_id and m.sink = 'nats'), 0)";
    let journey = &stage.app.journey;
    for (n, spoil) in spoils.into_iter().enumerate() {
        for key in [&stage.key, &other] {
            trigger(&stage.url, key, &format!("C-{n}")).await;
        }
        assert!(stage.database.execute(spoil).await > 0);
        assert_eq!(stage.database.number(behind).await, 2);
        assert!(journey.tell_streams().await.is_err(), "it is said");
        assert_eq!(stage.database.number(behind).await, 1);
        let mend = "update events set request_id = substr(request_id, 1, 16)";
        stage.database.execute(mend).await;
        assert!(!journey.tell_streams().await.unwrap());
        assert_eq!(stage.database.number(behind).await, 0);
    }
    stage.finish().await;
}

/// Who reads on from a place that was lost would wait while the same places are given to other events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_place_is_given_twice_after_a_database_was_put_back() {
    let database = Database::sqlite();
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    let mut program = Program::new(&database);
    program.serve(&client).await;
    let key = program.desk();
    trigger(&program.url, &key, "C-1").await;
    let mut reader = Stream::open(&program.url, "/v1/events?after=0", &key, None).await;
    assert_eq!(reader.next().await.unwrap().seq, 1);
    program.kill();
    program.run(&["restored"]);
    program.serve(&client).await;
    let mut reader = Stream::open(&program.url, "/v1/events", &key, Some(700)).await;
    trigger(&program.url, &key, "C-2").await;
    assert_eq!(reader.next().await.unwrap().seq, 1_000_002);
    let shown = http::get(&format!("{}/metrics/totals", program.url)).await;
    let epoch = shown
        .body
        .lines()
        .find_map(|line| line.strip_prefix("onefive_totals_epoch_seconds "));
    assert!(epoch.unwrap().parse::<f64>().unwrap() > 0.0);
}
