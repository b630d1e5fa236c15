//! How soon a rating is told to whoever listens, while replies keep coming.

use std::time::{Duration, Instant};

use super::client::{self, Line};
use super::heard::{self, Heard, Reader};
use super::process::Server;
use super::report::Samples;
use super::rounds::check;
use super::single::store;
use super::stage::{Setting, Stage};
use super::work::{Work, replies};
use super::{Bench, Fault};

/// Replies per second.
const RATE: u32 = 500;
/// What the desk of the bench may call.
pub(crate) const LOCAL: &str =
    "[sinks.webhook]\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\n";
/// For the last of what was told to come.
const LATE: Duration = Duration::from_secs(30);

/// From a reply to a reader and to a webhook, on each database.
pub(crate) async fn streams(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    for (name, database) in bench.databases() {
        eprintln!("telling, {name}, {RATE} replies/s");
        let mut stage =
            Stage::new(&bench.binary, &bench.folder, database, Setting::usual()?).await?;
        stage.add_settings(LOCAL);
        let server = stage.start().await?;
        let time = bench.time * 4;
        let count = u64::from(RATE) * time.as_secs();
        let asked = store(bench, samples, &stage, &server, count).await?;
        stage.mark_sent().await?;
        stage.settle().await?;
        let file = bench.folder.join(format!("told-{name}"));
        let receiver = Server::receiver(&file).await?;
        subscribe(&stage, &server, &receiver).await?;
        let reader = Reader::start(server.address, &stage.key, 0);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let work = Work::Prepared(replies(&asked, bench.seed()));
        let (run, _) = client::open(server.address, 64, RATE, time, work).await?;
        check(samples, &run)?;
        let told = || heard::read(&std::fs::read_to_string(&file).unwrap_or_default());
        let ratings = |heard: &Heard| {
            let rated = heard.values().filter(|(kind, _)| kind == "rating.created");
            rated.count() as u64
        };
        let since = Instant::now();
        while since.elapsed() < LATE
            && (ratings(&reader.heard()) < run.good || ratings(&told()) < run.good)
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for (way, heard) in [("sse", reader.heard()), ("webhook", told())] {
            let missing = run.good.saturating_sub(ratings(&heard));
            samples.add("untold", client::float(missing));
            for (part, share) in [("p50", 0.5), ("p99", 0.99)] {
                let within = heard::within(&heard, "rating.created", share);
                samples.add(format!("{name}.{way}.{part}"), within);
            }
        }
        drop(reader);
        server.stop().await?;
        receiver.stop().await?;
        stage.end().await?;
    }
    Ok(())
}

/// Names the receiver to the desk.
pub(crate) async fn subscribe(
    stage: &Stage,
    server: &Server,
    receiver: &Server,
) -> Result<(), Fault> {
    let body = format!("{{\"url\":\"http://{}/hook\"}}", receiver.address);
    let mut line = Line::open(server.address).await?;
    let request = format!(
        "POST /v1/webhooks HTTP/1.1\r\nhost: bench.example\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        stage.key,
        body.len()
    );
    match line.ask(request.as_bytes()).await? {
        201 => Ok(()),
        status => {
            let said = String::from_utf8_lossy(line.body()).into_owned();
            Err(format!("a webhook was answered {status}: {said}").into())
        }
    }
}
