//! NATS JetStream: every event is in the stream once, under its identifier, whatever happened to the server in between.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::story;
use crate::support::daemon::Daemon;
use crate::support::database::Database;
use crate::support::http;
use crate::support::load::{Load, Wish};
use crate::support::program::{Http, Program};
use crate::support::stage::Stage;

const DEADLINE: Duration = Duration::from_secs(40);
const IDS: &str = "select id from events";
const UNTOLD: &str = "select count(*) from streams s where s.seq > \
    coalesce((select m.seq from sink_marks m where m.desk_id = s.desk_id and m.sink = 'nats'), 0)";

/// A message as whoever reads the stream sees it.
struct Message {
    subject: String,
    id: String,
    json: Value,
}

/// Everything in the stream.
async fn messages(server: &Daemon) -> Vec<Message> {
    let client = async_nats::connect(&server.address).await.unwrap();
    let context = jetstream::new(client);
    let mut stream = context.get_stream("ONEFIVE").await.unwrap();
    let count = stream.info().await.unwrap().state.messages;
    let config = consumer::pull::OrderedConfig::default();
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut incoming = consumer.messages().await.unwrap();
    let mut messages = Vec::new();
    while (messages.len() as u64) < count {
        let message = timeout(DEADLINE, incoming.next()).await.unwrap();
        let message = message.unwrap().unwrap();
        let headers = message.headers.as_ref().unwrap();
        messages.push(Message {
            subject: message.subject.to_string(),
            id: headers.get("Nats-Msg-Id").unwrap().to_string(),
            json: serde_json::from_slice(&message.payload).unwrap(),
        });
    }
    messages
}

async fn with(server: &Daemon, database: Database) -> Stage {
    let url = format!("nats://{}", server.address);
    Stage::with(database, &[("SINKS__NATS__URL", &url)]).await
}

async fn ask(stage: &Stage, conversation: &str) {
    let body =
        json!({"channel": "chat", "to": format!("v-{conversation}"), "conversation": conversation});
    assert_eq!(stage.trigger(&body).await.status, 202);
}

story!(
    an_event_is_in_the_stream_under_its_identifier_and_its_subject,
    async |database: Database| {
        let mut server = Daemon::nats();
        server.start().await;
        let stage = with(&server, database).await;
        for n in 0..3 {
            ask(&stage, &format!("C-{n}")).await;
        }
        stage.app.journey.publish().await.unwrap();
        stage.app.journey.publish().await.unwrap();
        let told = messages(&server).await;
        assert_eq!(told.len(), 3);
        for (at, message) in told.iter().enumerate() {
            assert_eq!(message.subject, "onefive.acme.request.sent");
            assert_eq!(message.id, message.json["id"]);
            assert_eq!(message.json["seq"], at + 1);
        }
        // Told and not noted, as after a crash in between: the same identifiers, and the stream holds each once.
        stage
            .database
            .execute("update sink_marks set seq = 1")
            .await;
        stage.app.journey.publish().await.unwrap();
        assert_eq!(messages(&server).await.len(), 3);
        assert_eq!(stage.database.number(UNTOLD).await, 0);
        stage.finish().await;
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_the_server_is_away_waits_and_comes_in_order() {
    let mut server = Daemon::nats();
    let stage = with(&server, Database::sqlite()).await;
    ask(&stage, "C-0").await;
    stage.app.journey.publish().await.unwrap();
    let down = stage
        .app
        .journey
        .metrics
        .streams
        .sink_down
        .with_label_values(&["nats"]);
    assert_eq!(down.get(), 1);
    server.start().await;
    for n in 1..600 {
        ask(&stage, &format!("C-{n}")).await;
    }
    let caught_up = timeout(DEADLINE, async {
        while stage.database.number(UNTOLD).await > 0 {
            stage.app.journey.publish().await.unwrap();
        }
    });
    caught_up.await.unwrap();
    assert_eq!(down.get(), 0);
    let told = messages(&server).await;
    let seqs: Vec<i64> = told
        .iter()
        .map(|message| message.json["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=600).collect::<Vec<_>>());
    // A stream that was lost is made again, and what is kept may be told again.
    server.kill();
    std::fs::remove_dir_all(server.folder().join("jetstream")).unwrap();
    server.start().await;
    stage.database.execute("delete from sink_marks").await;
    let again = timeout(DEADLINE, async {
        while stage.database.number(UNTOLD).await > 0 {
            stage.app.journey.publish().await.unwrap();
        }
    });
    again.await.unwrap();
    assert_eq!(messages(&server).await.len(), 600);
    stage.finish().await;
}

/// The real program under load, the server killed for a while: what is in the database is in the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_under_load_has_everything_in_the_end() {
    let mut server = Daemon::nats();
    server.start().await;
    let database = Database::postgres().await;
    let mut program = Program::new(&database);
    program.set("sinks.nats.url", &format!("nats://{}", server.address));
    let client: Http =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http();
    program.serve(&client).await;
    let load = Load::begin(Wish {
        urls: vec![program.url.clone()],
        key: program.desk(),
        workers: 4,
        texts: false,
        bulk: 0,
    });
    load.more(100).await;
    server.kill();
    load.more(400).await;
    server.start().await;
    load.more(200).await;
    let outcome = load.end(&program.url).await;
    assert_eq!(outcome.lost, Vec::<String>::new());
    let caught_up = timeout(DEADLINE, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while database.number(UNTOLD).await > 0 {
            ticks.tick().await;
        }
    });
    assert!(caught_up.await.is_ok(), "{}", program.log());
    let told = messages(&server).await;
    let ids: BTreeSet<String> = told.iter().map(|message| message.id.clone()).collect();
    let wanted = database.ids(IDS).await;
    let wanted: BTreeSet<String> = wanted
        .iter()
        .map(|id| format!("evt_{}", id.simple()))
        .collect();
    assert!(wanted.len() >= 700);
    assert_eq!(ids, wanted);
    println!(
        "nats: {} events, {} messages after an outage",
        wanted.len(),
        told.len()
    );
    let answer = http::get(&format!("{}/metrics", program.url)).await;
    assert!(
        answer
            .body
            .contains("onefive_published_total{result=\"ok\",sink=\"nats\"}")
    );
}
