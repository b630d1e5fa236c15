//! Killed at any instant: what a provider was told to be taken is there when the service is back, and nothing is answered with 5xx.

use std::time::Duration;

use super::client::{self, Run, float};
use super::report::Samples;
use super::single::store;
use super::stage::{Setting, Stage};
use super::work::{Work, replies};
use super::{Bench, Fault};

/// Connections that reply at the same time.
const CONNECTIONS: usize = 256;
/// Replies prepared for each kill: more than are taken until then.
const REPLIES: u64 = 24_000;

/// Kills the service while it takes replies, again and again, on each database.
pub(crate) async fn kills(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    let times = if bench.quick { 2 } else { 20 };
    for (name, database) in bench.databases() {
        let stage = Stage::new(&bench.binary, &bench.folder, database, Setting::usual()?).await?;
        let (mut acknowledged, mut unanswered) = (0, 0);
        for n in 1..=times {
            eprintln!("kill {n} of {times}, {name}");
            let server = stage.start().await?;
            let asked = store(bench, samples, &stage, &server, REPLIES).await?;
            stage.mark_sent().await?;
            let before = ratings(&stage).await?;
            let work = Work::Prepared(replies(&asked, bench.seed()));
            // Before the time runs: while events of the triggers are folded they take a while.
            let lines = client::lines(server.address, CONNECTIONS).await?;
            // At another point of a batch each time.
            let until = Duration::from_millis(300 + 37 * n);
            let killer = async {
                tokio::time::sleep(until).await;
                server.kill()
            };
            let load = client::closed_on(lines, bench.time, work);
            let (run, died) = tokio::join!(load, killer);
            died?;
            let (run, _): (Run, Work) = run?;
            drop(server);
            // What is there after it is back, which is when a database has rolled back what was not committed.
            stage.start().await?.stop().await?;
            let stored = ratings(&stage).await? - before;
            samples.add("broken", float(run.broken));
            let lost = (float(run.good) - stored).max(0.0);
            samples.must_be_none("lost", lost, name);
            acknowledged += run.good;
            unanswered += run.lost;
        }
        println!(
            "\n{name}: killed {times} times under {CONNECTIONS} connections: {acknowledged} replies acknowledged, all looked for \
             afterwards; {unanswered} had no answer when it died"
        );
        samples.add(format!("{name}.kills"), float(times));
        stage.end().await?;
    }
    Ok(())
}

async fn ratings(stage: &Stage) -> Result<f64, Fault> {
    let count = stage
        .number("select count(*) from ratings".to_owned())
        .await?;
    Ok(float(u64::try_from(count)?))
}
