//! What is compared with the bare server: runs of a few seconds, taken in turns within a round, so that both sides of a ratio
//! saw the same machine.

use std::net::SocketAddr;
use std::time::Duration;

use super::client::{self, Run, float};
use super::floor::Role;
use super::process::{self, Server, cpu_of, cpu_of_bench, cpu_of_machine};
use super::report::Samples;
use super::stage::{Setting, Stage};
use super::work::{Triggers, Work, replies};
use super::{Bench, Fault};

/// Replies per second of the open loop.
const OPEN_RATE: u32 = 2000;
/// The most replies prepared for one run: each is a kilobyte.
const PREPARED_MAX: usize = 80_000;

/// Triggers before anything is measured.
const WARM: u64 = 500;

/// A server with what belongs to it.
struct Subject {
    name: &'static str,
    server: Server,
    stage: Stage,
    asked: Vec<u64>,
}

/// One run with the processor time that it took.
struct Measured {
    run: Run,
    work: Work,
    /// Microseconds per good answer.
    cpu: f64,
    /// The part of them in PostgreSQL.
    cpu_database: f64,
}

/// All rounds.
pub(crate) async fn all(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    for round in 1..=bench.rounds {
        eprintln!("round {round} of {}", bench.rounds);
        samples.add("fsync", process::fsync_ms(&bench.folder)?);
        one(bench, samples).await?;
    }
    Ok(())
}

async fn one(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    let floor = Server::in_role(Role::Floor, Duration::ZERO).await?;
    let (mut mains, mut singles) = (Vec::new(), Vec::new());
    for (name, database) in bench.databases() {
        mains.push(subject(bench, name, database, Setting::usual()?).await?);
        let one_each = Setting {
            batch: 1,
            ..Setting::usual()?
        };
        singles.push(subject(bench, name, database, one_each).await?);
    }
    for subject in &mains {
        let idle = process::memory(subject.server.pid(), "VmRSS");
        samples.add(format!("{}.memory.idle", subject.name), idle);
        let start = subject.server.started_in.as_secs_f64() * 1000.0;
        samples.add(format!("{}.start.empty", subject.name), start);
    }
    for subject in mains.iter().chain(&singles) {
        warm(bench, samples, subject).await?;
    }
    for connections in [64, 256] {
        triggers(bench, samples, &floor, &mut mains, connections).await?;
    }
    for subject in &mut singles {
        let work = Work::Triggers(Triggers::new(&subject.stage.key, bench.seed()), u64::MAX);
        let name = subject.name;
        let (server, postmaster) = (&subject.server, subject.stage.postmaster);
        eprintln!("  {name}, one commit each, 64 connections");
        let measured = measure(bench, samples, server, postmaster, 64, work).await?;
        subject.stage.settle().await?;
        let usual = samples.last(&format!("{name}.trigger.64.rate"));
        samples.add(format!("{name}.single.rate"), measured.run.rate());
        samples.add(format!("{name}.single.cpu"), measured.cpu);
        samples.add(format!("{name}.one.rate"), usual);
        samples.add(format!("{name}.one.ratio"), usual / measured.run.rate());
    }
    closed_replies(bench, samples, &floor, &mut mains).await?;
    open_replies(bench, samples, &floor, &mut mains).await?;
    for subject in &mains {
        let most = process::memory(subject.server.pid(), "VmHWM");
        samples.add(format!("{}.memory.most", subject.name), most);
    }
    for subject in mains.into_iter().chain(singles) {
        subject.server.stop().await?;
        subject.stage.end().await?;
    }
    Ok(())
}

async fn subject(
    bench: &Bench,
    name: &'static str,
    database: Option<&str>,
    setting: Setting,
) -> Result<Subject, Fault> {
    let stage = Stage::new(&bench.binary, &bench.folder, database, setting).await?;
    let server = stage.start().await?;
    Ok(Subject {
        name,
        server,
        stage,
        asked: Vec::new(),
    })
}

/// PostgreSQL counts its tables within a minute and plans anew; until then it takes them for small ones, and keeps plans that read
/// them whole. Here it counts at once: what is measured is a service that runs for longer than that.
async fn warm(bench: &Bench, samples: &mut Samples, subject: &Subject) -> Result<(), Fault> {
    let triggers = Triggers::new(&subject.stage.key, bench.seed());
    let work = Work::Triggers(triggers, WARM);
    let (run, _) = client::closed(subject.server.address, 64, bench.time * 20, work).await?;
    check(samples, &run)?;
    if subject.stage.is_sqlite() {
        return Ok(());
    }
    subject.stage.execute("analyze".to_owned()).await
}

async fn triggers(
    bench: &Bench,
    samples: &mut Samples,
    floor: &Server,
    subjects: &mut [Subject],
    connections: usize,
) -> Result<(), Fault> {
    let work = Work::Triggers(Triggers::new("bare", bench.seed()), u64::MAX);
    let mut bare = measure(bench, samples, floor, None, connections, work).await?;
    note_floor(samples, &connections.to_string(), &mut bare);
    for subject in subjects {
        let before = stored(&subject.stage, "requests").await?;
        let work = Work::Triggers(Triggers::new(&subject.stage.key, bench.seed()), u64::MAX);
        let (server, postmaster) = (&subject.server, subject.stage.postmaster);
        eprintln!("  {}, triggers, {connections} connections", subject.name);
        let mut measured = measure(bench, samples, server, postmaster, connections, work).await?;
        let after = stored(&subject.stage, "requests").await?;
        let name = format!("{}.trigger.{connections}", subject.name);
        note(samples, &name, &mut measured, &bare, before, after);
        subject.asked.extend(measured.work.asked());
        subject.stage.settle().await?;
    }
    Ok(())
}

async fn closed_replies(
    bench: &Bench,
    samples: &mut Samples,
    floor: &Server,
    subjects: &mut [Subject],
) -> Result<(), Fault> {
    let anybody: Vec<u64> = (2_000_000_000..).take(PREPARED_MAX).collect();
    let work = Work::Prepared(replies(&anybody, bench.seed()));
    let mut bare = measure(bench, samples, floor, None, 64, work).await?;
    note_floor(samples, "reply", &mut bare);
    for subject in subjects {
        // A slow machine may have stored fewer requests than the replies need.
        let needed = 2 * bench.open_replies(OPEN_RATE);
        let missing = needed.saturating_sub(subject.asked.len());
        let triggers = Triggers::new(&subject.stage.key, bench.seed());
        let work = Work::Triggers(triggers, u64::try_from(missing)?);
        let (run, work) = client::closed(subject.server.address, 64, bench.time * 20, work).await?;
        check(samples, &run)?;
        subject.asked.extend(work.asked());
        subject.stage.mark_sent().await?;
        subject.stage.settle().await?;
        eprintln!("  {}, replies, 64 connections", subject.name);
        let before = stored(&subject.stage, "ratings").await?;
        // The last ones are left for the open loop.
        let most = subject
            .asked
            .len()
            .saturating_sub(bench.open_replies(OPEN_RATE));
        let now: Vec<u64> = subject.asked.drain(..most.min(PREPARED_MAX)).collect();
        let work = Work::Prepared(replies(&now, bench.seed()));
        let (server, postmaster) = (&subject.server, subject.stage.postmaster);
        let mut measured = measure(bench, samples, server, postmaster, 64, work).await?;
        let after = stored(&subject.stage, "ratings").await?;
        let name = format!("{}.reply", subject.name);
        note(samples, &name, &mut measured, &bare, before, after);
        subject.stage.settle().await?;
    }
    Ok(())
}

async fn open_replies(
    bench: &Bench,
    samples: &mut Samples,
    floor: &Server,
    subjects: &mut [Subject],
) -> Result<(), Fault> {
    let anybody: Vec<u64> = (2_000_000_000..)
        .take(bench.open_replies(OPEN_RATE))
        .collect();
    let [p50, bare] = open(bench, samples, floor.address, &anybody).await?;
    samples.add("floor.open.p50", p50);
    samples.add("floor.open.p99", bare);
    for subject in subjects {
        eprintln!("  {}, replies, {OPEN_RATE}/s", subject.name);
        let [p50, p99] = open(bench, samples, subject.server.address, &subject.asked).await?;
        samples.add(format!("{}.open.p50", subject.name), p50);
        samples.add(format!("{}.open.p99", subject.name), p99);
        samples.add(format!("{}.open.over", subject.name), p99 - bare);
        subject.stage.settle().await?;
    }
    Ok(())
}

async fn open(
    bench: &Bench,
    samples: &mut Samples,
    to: SocketAddr,
    from: &[u64],
) -> Result<[f64; 2], Fault> {
    let work = Work::Prepared(replies(from, bench.seed()));
    let (mut run, _) = client::open(to, 64, OPEN_RATE, bench.time, work).await?;
    check(samples, &run)?;
    Ok([0.5, 0.99].map(|share| run.wait_ms(share)))
}

/// The rows of the table that one operation adds one row to, and of all tables together.
async fn stored(stage: &Stage, table: &str) -> Result<[f64; 2], Fault> {
    let sql = format!("select count(*) from {table}");
    let (one, all) = (stage.number(sql).await?, stage.rows().await?);
    Ok([one, all].map(|count| float(u64::try_from(count).unwrap_or_default())))
}

fn note_floor(samples: &mut Samples, name: &str, bare: &mut Measured) {
    samples.add(format!("floor.{name}.rate"), bare.run.rate());
    samples.add(format!("floor.{name}.cpu"), bare.cpu);
    samples.add(format!("floor.{name}.p50"), bare.run.wait_ms(0.5));
    samples.add(format!("floor.{name}.p99"), bare.run.wait_ms(0.99));
}

fn note(
    samples: &mut Samples,
    name: &str,
    measured: &mut Measured,
    bare: &Measured,
    before: [f64; 2],
    after: [f64; 2],
) {
    let good = float(measured.run.good);
    let [stored, rows] = std::array::from_fn(|n| after[n] - before[n]);
    samples.must_be_none("lost", (good - stored).max(0.0), name);
    samples.add(format!("{name}.rows"), rows / good);
    samples.add(format!("{name}.rate"), measured.run.rate());
    samples.add(
        format!("{name}.ratio"),
        measured.run.rate() / bare.run.rate(),
    );
    samples.add(format!("{name}.p50"), measured.run.wait_ms(0.5));
    samples.add(format!("{name}.p99"), measured.run.wait_ms(0.99));
    samples.add(format!("{name}.cpu"), measured.cpu);
    samples.add(format!("{name}.cpu.database"), measured.cpu_database);
    samples.add(format!("{name}.cpu.ratio"), measured.cpu / bare.cpu);
}

/// One closed run with its share of the processors, and what others took of them.
async fn measure(
    bench: &Bench,
    samples: &mut Samples,
    server: &Server,
    postmaster: Option<u32>,
    connections: usize,
    work: Work,
) -> Result<Measured, Fault> {
    let read = || {
        [
            cpu_of_machine(),
            cpu_of_bench(),
            cpu_of(server.pid(), None),
            cpu_of(server.pid(), postmaster),
        ]
    };
    let before = read();
    let (run, work) = client::closed(server.address, connections, bench.time, work).await?;
    let after = read();
    let [machine, ours, own, all] = std::array::from_fn(|n| after[n] - before[n]);
    let processors = float(std::thread::available_parallelism().map_or(1, |n| n.get() as u64));
    let foreign = (machine - ours - all) / (run.elapsed.as_secs_f64() * processors);
    samples.add("foreign", foreign.max(0.0) * 100.0);
    check(samples, &run)?;
    let per_answer = |seconds: f64| seconds * 1e6 / float(run.good.max(1));
    Ok(Measured {
        cpu: per_answer(all),
        cpu_database: per_answer(all - own),
        run,
        work,
    })
}

/// Counts what must not happen. Answers that are neither good nor 5xx mean that the bench itself is wrong.
pub(crate) fn check(samples: &mut Samples, run: &Run) -> Result<(), Fault> {
    samples.add("broken", float(run.broken));
    samples.must_be_none("lost", float(run.lost), "without an answer");
    if run.other > 0 {
        return Err(format!("{} answers were neither 2xx nor 5xx", run.other).into());
    }
    Ok(())
}
