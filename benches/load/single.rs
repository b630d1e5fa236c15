//! What stands for itself: a scrape with many series, sending to a slow provider, starting, and the cost of age.

use std::time::{Duration, Instant};

use super::client::{self, float};
use super::floor::{COUNT, Role};
use super::process::Server;
use super::report::{Samples, median, number};
use super::rounds::check;
use super::stage::{Setting, Stage};
use super::work::{Triggers, Work, replies};
use super::{Bench, Fault, seed};

/// How long the pretend provider takes for a text.
const PROVIDER: Duration = Duration::from_millis(50);
/// Connections that store what is to be sent, or load an old database.
const CONNECTIONS: usize = 64;

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
async fn folded(stage: &Stage) -> Result<(), Fault> {
    match until_none(stage, "select count(*) from events where folded = 0").await? {
        0 => Ok(()),
        left => Err(format!("{left} events are not folded after a minute").into()),
    }
}

/// Asks for a count until it is 0, for a minute at most; what is left.
async fn until_none(stage: &Stage, sql: &'static str) -> Result<u64, Fault> {
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
async fn scrapes(stage: &Stage, server: &Server) -> Result<(f64, Vec<f64>), Fault> {
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

/// Sends what is stored to a provider that takes its time, as many at once as it allows.
pub(crate) async fn sending(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    for in_flight in [256_u32, 1024] {
        eprintln!("sending, {in_flight} at once");
        let provider = Server::in_role(Role::Provider, PROVIDER).await?;
        let setting = Setting {
            provider: provider.address,
            ..Setting::usual()?
        };
        let mut stage = Stage::new(&bench.binary, &bench.folder, None, setting).await?;
        let server = stage.start().await?;
        let count = u64::from(in_flight) * if bench.quick { 30 } else { 60 };
        store(bench, samples, &stage, &server, count).await?;
        server.stop().await?;
        stage.make_due().await?;
        stage.set(Setting {
            in_flight: usize::try_from(in_flight)?,
            ..setting
        });
        let server = stage.start().await?;
        let rate = rate_of(&provider, count).await?;
        let limit = f64::from(in_flight) / PROVIDER.as_secs_f64();
        samples.add(format!("sending.{in_flight}.rate"), rate);
        samples.add(format!("sending.{in_flight}.ratio"), rate / limit);
        let left = until_none(
            &stage,
            "select count(*) from requests where delivery <> 'accepted'",
        )
        .await?;
        samples.add("lost", float(left));
        server.stop().await?;
        stage.end().await?;
        provider.stop().await?;
    }
    Ok(())
}

/// Texts per second that the provider took between the first and the last tenth of them. Gives up after two minutes.
async fn rate_of(provider: &Server, count: u64) -> Result<f64, Fault> {
    let since = Instant::now();
    let mut first = None;
    while since.elapsed() < Duration::from_mins(2) {
        let (_, body, _) = client::get(provider.address, COUNT).await?;
        let taken: u64 = body.trim().parse()?;
        match first {
            None if taken >= count / 10 => first = Some((Instant::now(), taken)),
            Some((at, from)) if taken >= count - count / 10 => {
                return Ok(float(taken - from) / at.elapsed().as_secs_f64());
            }
            None | Some(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(f64::NAN)
}

/// The same work on databases that hold more and more ended requests.
pub(crate) async fn age(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    let sizes: &[i64] = if bench.large {
        &[100_000, 1_000_000, 10_000_000]
    } else {
        &[100_000, 1_000_000]
    };
    println!("\nCost of age (64 connections):");
    println!(
        "{:<12} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "database", "stored", "triggers/s", "replies/s", "reply p99 ms", "scrape ms"
    );
    for (name, database) in bench.databases() {
        let stage = Stage::new(&bench.binary, &bench.folder, database, Setting::usual()?).await?;
        let server = stage.start().await?;
        let asked = store(bench, samples, &stage, &server, 1).await?;
        stage.mark_sent().await?;
        let work = Work::Prepared(replies(&asked, bench.seed()));
        client::closed(server.address, 1, bench.time, work).await?;
        server.stop().await?;
        let mut stored = 0;
        for size in sizes {
            eprintln!("age, {name}, {size} stored");
            seed::ended(&stage, stored, *size).await?;
            stored = *size;
            let server = stage.start().await?;
            let work = Work::Triggers(Triggers::new(&stage.key, bench.seed()), u64::MAX);
            let (run, work) = client::closed(server.address, CONNECTIONS, bench.time, work).await?;
            check(samples, &run)?;
            stage.mark_sent().await?;
            let work = Work::Prepared(replies(&work.asked(), bench.seed()));
            let (mut replied, _) =
                client::closed(server.address, CONNECTIONS, bench.time, work).await?;
            check(samples, &replied)?;
            folded(&stage).await?;
            let (_, mut times) = scrapes(&stage, &server).await?;
            println!(
                "{name:<12} {size:>12} {:>12} {:>12} {:>12} {:>12}",
                number(run.rate()),
                number(replied.rate()),
                number(replied.wait_ms(0.99)),
                number(median(&mut times)),
            );
            server.stop().await?;
        }
        stage.end().await?;
    }
    Ok(())
}
