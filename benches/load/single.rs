//! What stands for itself: a scrape with many series, and starting.

use std::time::{Duration, Instant};

use super::client::{self, float};
use super::process::Server;
use super::report::Samples;
use super::rounds::check;
use super::stage::{Setting, Stage, UNFOLDED};
use super::work::{Triggers, Work};
use super::{Bench, Fault, seed};

/// Connections that store what is to be sent, or load an old database.
pub(crate) const CONNECTIONS: usize = 64;

/// Every scrape, start and series count on a database with requests in it.
pub(crate) async fn scrape_and_start(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    for (name, database) in bench.databases() {
        eprintln!("scrape and start, {name}");
        let stage = Stage::new(&bench.binary, &bench.folder, database, Setting::usual()?).await?;
        let server = stage.start().await?;
        store(bench, samples, &stage, &server, 20_000).await?;
        server.stop().await?;
        for _ in 0..5 {
            let server = stage.start().await?;
            samples.add(
                format!("{name}.start"),
                server.started_in.as_secs_f64() * 1000.0,
            );
            server.stop().await?;
        }
        seed::totals(&stage).await?;
        // A statement of its own for the sums, so that what is still to be folded does not count.
        let server = stage.start().await?;
        folded(&stage).await?;
        let (series, times) = scrapes(&stage, &server).await?;
        samples.add(format!("{name}.scrape.series"), series);
        for time in times {
            samples.add(format!("{name}.scrape"), time);
        }
        server.stop().await?;
        stage.end().await?;
    }
    Ok(())
}

/// Waits until no event is left to fold.
pub(crate) async fn folded(stage: &Stage) -> Result<(), Fault> {
    match until_none(stage, UNFOLDED).await? {
        0 => Ok(()),
        left => Err(format!("{left} events are not folded after a minute").into()),
    }
}

/// Asks for a count until it is 0, for a minute at most; what is left.
pub(crate) async fn until_none(stage: &Stage, sql: &'static str) -> Result<u64, Fault> {
    let since = Instant::now();
    loop {
        let left = u64::try_from(stage.number(sql.to_owned()).await?)?;
        if left == 0 || since.elapsed() > Duration::from_mins(1) {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The number of series and the milliseconds of some scrapes.
pub(crate) async fn scrapes(stage: &Stage, server: &Server) -> Result<(f64, Vec<f64>), Fault> {
    let path = if stage.is_sqlite() {
        "/metrics"
    } else {
        "/metrics/totals"
    };
    let (mut series, mut times) = (0, Vec::new());
    for _ in 0..15 {
        let (status, body, took) = client::get(server.address, path).await?;
        if status != 200 {
            return Err(format!("a scrape was answered {status}").into());
        }
        series = body.lines().filter(|line| !line.starts_with('#')).count();
        times.push(took.as_secs_f64() * 1000.0);
    }
    // The first one prepares its statement.
    times.remove(0);
    Ok((float(series as u64), times))
}

/// Stores this many triggers, to be sent in an hour; the numbers asked.
pub(crate) async fn store(
    bench: &Bench,
    samples: &mut Samples,
    stage: &Stage,
    server: &Server,
    count: u64,
) -> Result<Vec<u64>, Fault> {
    let work = Work::Triggers(Triggers::new(&stage.key, bench.seed()), count);
    let long = Duration::from_mins(5);
    let (run, work) = client::closed(server.address, CONNECTIONS, long, work).await?;
    check(samples, &run)?;
    Ok(work.asked())
}
