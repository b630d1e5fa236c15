//! The cost of age: the same work on databases that hold more and more ended requests.

use std::process::Command;

use super::client::{self, Run};
use super::process::Server;
use super::report::{Samples, median, number};
use super::rounds::check;
use super::single::{CONNECTIONS, scrapes, store};
use super::stage::{Setting, Stage};
use super::work::{Triggers, Work, lookups, replies};
use super::{Bench, Fault, seed};

/// Requests that are looked up one after the other.
const LOOKUPS: usize = 5_000;
/// Disk that a million ended requests take, with what is written while they are made.
const GB_A_MILLION: i64 = 3;

/// Triggers, replies, look-ups and scrapes at each size, on each database.
pub(crate) async fn curve(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    let sizes: &[i64] = if bench.large {
        &[100_000, 1_000_000, 10_000_000]
    } else {
        &[100_000, 1_000_000]
    };
    let most = sizes.last().copied().unwrap_or_default() * GB_A_MILLION / 1_000_000;
    let free = free_gb(bench)?;
    if free < most {
        return Err(format!("the curve needs {most} GB of disk, and {free} GB are free").into());
    }
    println!("\nCost of age ({CONNECTIONS} connections; look-ups one after the other):");
    println!(
        "{:<9} {:>11} {:>9} {:>11} {:>10} {:>11} {:>13} {:>13} {:>10}",
        "database",
        "stored",
        "MB",
        "triggers/s",
        "replies/s",
        "reply p99",
        "look-up p50",
        "look-up p99",
        "scrape ms"
    );
    for (name, database) in bench.databases() {
        let stage = Stage::new(&bench.binary, &bench.folder, database, Setting::usual()?).await?;
        let server = stage.start().await?;
        let asked = store(bench, samples, &stage, &server, 1).await?;
        stage.mark_sent().await?;
        let work = Work::Prepared(replies(&asked, bench.seed()));
        client::closed(server.address, 1, bench.time, work).await?;
        server.stop().await?;
        let (mut stored, mut first) = (0, None);
        for size in sizes {
            eprintln!("curve, {name}, {size} stored");
            seed::ended(&stage, stored, *size).await?;
            stored = *size;
            stage.warm().await?;
            let server = stage.start().await?;
            let at = point(bench, samples, &stage, &server, *size).await?;
            server.stop().await?;
            println!(
                "{name:<9} {size:>11} {:>9} {:>11} {:>10} {:>11} {:>13} {:>13} {:>10}",
                number(at.megabytes),
                number(at.triggers),
                number(at.replies),
                number(at.reply_p99),
                number(at.lookup_p50),
                number(at.lookup_p99),
                number(at.scrape),
            );
            let (triggers, lookup) = *first.get_or_insert((at.triggers, at.lookup_p99));
            if Some(size) == sizes.last() {
                samples.add(format!("{name}.curve.triggers"), at.triggers / triggers);
                samples.add(format!("{name}.curve.lookup"), at.lookup_p99 / lookup);
            }
        }
        stage.end().await?;
    }
    Ok(())
}

/// What one size costs.
struct Point {
    megabytes: f64,
    triggers: f64,
    replies: f64,
    reply_p99: f64,
    lookup_p50: f64,
    lookup_p99: f64,
    scrape: f64,
}

async fn point(
    bench: &Bench,
    samples: &mut Samples,
    stage: &Stage,
    server: &Server,
    size: i64,
) -> Result<Point, Fault> {
    let megabytes = stage.size_mb().await?;
    let size = usize::try_from(size)?;
    let work = Work::Prepared(lookups(&stage.key, size, LOOKUPS, bench.seed()));
    let (mut looked, _) = client::closed(server.address, 1, bench.time, work).await?;
    check(samples, &looked)?;
    let work = Work::Triggers(Triggers::new(&stage.key, bench.seed()), u64::MAX);
    let (run, work) = client::closed(server.address, CONNECTIONS, bench.time, work).await?;
    check(samples, &run)?;
    stage.mark_sent().await?;
    stage.settle().await?;
    let work = Work::Prepared(replies(&work.asked(), bench.seed()));
    let (mut replied, _): (Run, Work) =
        client::closed(server.address, CONNECTIONS, bench.time, work).await?;
    check(samples, &replied)?;
    stage.settle().await?;
    let (_, mut times) = scrapes(stage, server).await?;
    Ok(Point {
        megabytes,
        triggers: run.rate(),
        replies: replied.rate(),
        reply_p99: replied.wait_ms(0.99),
        lookup_p50: looked.wait_ms(0.5),
        lookup_p99: looked.wait_ms(0.99),
        scrape: median(&mut times),
    })
}

/// What is free where the databases are made.
fn free_gb(bench: &Bench) -> Result<i64, Fault> {
    let output = Command::new("df")
        .args(["--output=avail", "--block-size=1G"])
        .arg(&bench.folder)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let free = text.lines().last().unwrap_or_default().trim().parse()?;
    Ok(free)
}
