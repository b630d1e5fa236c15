//! Measures the release build under load, beside servers that do nothing but HTTP: `cargo bench --bench load`.
//!
//! Everything runs on this machine, each server in a process of its own, and stops by itself. Absolute numbers are those of the
//! machine; the ratios carry over, and the processor time per operation moves least of all when something else is running.
//! Nothing fails because it is slow: the table says which goals are met, the exit code only whether it could be measured.

#![expect(
    clippy::disallowed_methods,
    reason = "no product code: the address of the database comes from the environment, as for the tests"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;

use floor::Role;
use report::{Samples, with_unit};

mod away;
mod client;
mod curve;
mod floor;
mod heard;
mod kills;
mod process;
mod report;
mod results;
mod rounds;
mod seed;
mod sending;
mod single;
mod stage;
mod streams;
mod work;

/// What went wrong; only ever printed.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Triggers and replies beside the bare server.
    Rounds,
    /// A scrape of 10,000 series, and starting.
    Scrape,
    /// A provider that takes 50 ms.
    Sending,
    /// How soon ratings are told to a reader and to a webhook, at 500 replies/s.
    Streams,
    /// All sinks killed for two minutes at 200 replies/s, and what they have afterwards; only if it is named.
    Away,
    /// Replies at 256 connections while the service is killed, 20 times on each database.
    Kills,
    /// Databases with 0.1 and 1 million ended requests; with --large also 10 million.
    #[value(alias = "age")]
    Curve,
    /// Questions about a month with 10 thousand to 1 million answers, and exports of it; only if it is named.
    Results,
}

#[derive(Debug, Parser)]
#[command(about = "Load on the release build, beside servers that do nothing but HTTP")]
struct Arguments {
    /// One round of 2 seconds a run, two kills, and no old databases
    #[arg(long)]
    quick: bool,
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a run
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// An address at which databases may be made and dropped; else `ONEFIVE_TEST_POSTGRES`
    #[arg(long)]
    postgres: Option<String>,
    /// Only this part; may be given several times
    #[arg(long)]
    part: Vec<Part>,
    /// Also 10 million ended requests: takes half an hour, and 25 GB of disk for each database
    #[arg(long)]
    large: bool,
    /// Answers in the month of the part `results`; may be given several times
    #[arg(long)]
    answers: Vec<i64>,
    /// Another build of the service
    #[arg(long, default_value = env!("CARGO_BIN_EXE_onefive"))]
    binary: PathBuf,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    /// Given by the bench to itself
    #[arg(long, hide = true, requires = "address")]
    role: Option<Role>,
    #[arg(long, hide = true)]
    address: Option<SocketAddr>,
    #[arg(long, hide = true, default_value_t = 0)]
    pause_ms: u64,
    #[arg(long, hide = true, default_value = "-")]
    file: PathBuf,
}

/// What all parts share.
#[derive(Debug)]
pub(crate) struct Bench {
    quick: bool,
    large: bool,
    answers: Vec<i64>,
    rounds: usize,
    time: Duration,
    postgres: Option<String>,
    binary: PathBuf,
    folder: PathBuf,
    seeds: AtomicU64,
}

impl Bench {
    /// The databases to measure, by name, with the address of a server.
    fn databases(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let postgres = self.postgres.as_deref().map(|url| ("postgres", Some(url)));
        std::iter::once(("sqlite", None)).chain(postgres)
    }

    /// Another seed at every call, so that no run repeats the conversations of an earlier one.
    fn seed(&self) -> u64 {
        self.seeds
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    /// How many replies an open run at `rate` takes.
    fn open_replies(&self, rate: u32) -> usize {
        usize::try_from(self.time.as_secs()).unwrap_or_default()
            * usize::try_from(rate).unwrap_or_default()
    }
}

impl stage::Setting {
    /// As delivered, with a provider that does not answer: nothing is due while it is measured.
    pub(crate) fn usual() -> Result<Self, Fault> {
        let provider = process::free_address()?;
        Ok(Self {
            batch: 512,
            provider,
            in_flight: 16,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn client(arguments: Arguments) -> Result<(), Fault> {
    let postgres = arguments
        .postgres
        .or_else(|| std::env::var("ONEFIVE_TEST_POSTGRES").ok());
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bench = Bench {
        quick: arguments.quick,
        large: arguments.large,
        answers: arguments.answers,
        rounds: if arguments.quick { 1 } else { arguments.rounds },
        time: Duration::from_secs(if arguments.quick {
            2
        } else {
            arguments.seconds.max(1)
        }),
        postgres,
        binary: arguments.binary,
        folder: folder.path().to_owned(),
        seeds: AtomicU64::new(u64::from_be_bytes(onefive::clock::random(
            &onefive::clock::SystemEntropy,
        ))),
    };
    if bench.postgres.is_none() {
        println!("PostgreSQL is left out: neither --postgres nor ONEFIVE_TEST_POSTGRES names one.");
    }
    let mut samples = Samples::default();
    #[expect(clippy::cast_precision_loss, reason = "a program is not that large")]
    samples.add(
        "binary",
        std::fs::metadata(&bench.binary)?.len() as f64 / 1e6,
    );
    samples.add("fsync", process::fsync_ms(&bench.folder)?);
    let wanted = |part| {
        if arguments.part.is_empty() {
            !matches!(part, Part::Results | Part::Away) && (part != Part::Curve || !bench.quick)
        } else {
            arguments.part.contains(&part)
        }
    };
    if wanted(Part::Rounds) {
        rounds::all(&bench, &mut samples).await?;
    }
    if wanted(Part::Scrape) {
        single::scrape_and_start(&bench, &mut samples).await?;
    }
    if wanted(Part::Sending) {
        sending::sending(&bench, &mut samples).await?;
    }
    if wanted(Part::Streams) {
        streams::streams(&bench, &mut samples).await?;
    }
    if wanted(Part::Away) {
        away::away(&bench, &mut samples).await?;
    }
    if wanted(Part::Kills) {
        kills::kills(&bench, &mut samples).await?;
    }
    if wanted(Part::Curve) {
        curve::curve(&bench, &mut samples).await?;
    }
    if wanted(Part::Results) {
        results::results(&bench, &mut samples).await?;
    }
    samples.add("fsync", process::fsync_ms(&bench.folder)?);
    samples.worst(&["broken", "lost", "untold"]);
    println!(
        "\n{} rounds of {} s a run; fsync p50 {}; processor time of others: median {}, at most {}\n",
        bench.rounds,
        bench.time.as_secs(),
        with_unit(samples.median("fsync"), "ms"),
        with_unit(samples.median("foreign"), "%"),
        with_unit(samples.most("foreign"), "%"),
    );
    report::print(&samples);
    report::print_also(&samples);
    Ok(())
}

#[tokio::main]
async fn serve(
    role: Role,
    address: SocketAddr,
    pause: Duration,
    file: PathBuf,
) -> Result<(), Fault> {
    floor::serve(role, address, pause, file).await
}

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    match (arguments.role, arguments.address) {
        (Some(role), Some(address)) => {
            let pause = Duration::from_millis(arguments.pause_ms);
            serve(role, address, pause, arguments.file)
        }
        _ => client(arguments),
    }
}
