//! Everybody who is told is gone for two minutes, killed in the middle of it, while replies keep coming: afterwards each has everything.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::client::{self, float};
use super::heard::{self, Heard, Reader};
use super::process::{Server, free_address};
use super::report::Samples;
use super::rounds::check;
use super::single::store;
use super::stage::{Setting, Stage};
use super::streams::{LOCAL, subscribe};
use super::work::{Work, replies};
use super::{Bench, Fault};

/// Replies per second.
const RATE: u32 = 200;
/// For so long nobody is there, and everybody before and after that while replies come.
const AWAY: Duration = Duration::from_mins(2);
const AROUND: Duration = Duration::from_secs(10);
/// Until everybody has everything. A webhook is left alone for five minutes at most.
const LATE: Duration = Duration::from_mins(8);
/// Between two samples of the totals, in seconds.
const EVERY: u64 = 2;

/// All sinks away at once, on each database.
pub(crate) async fn away(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    for (name, database) in bench.databases() {
        one(bench, samples, name, database).await?;
    }
    Ok(())
}

/// Everybody who is told, and where they keep it.
struct Listeners {
    file: PathBuf,
    nats: Option<Nats>,
    prometheus: Option<Prometheus>,
}

impl Listeners {
    fn new(folder: &Path) -> Result<Self, Fault> {
        let nats = program("ONEFIVE_TEST_NATS_SERVER", "nats-server");
        let prometheus = program("ONEFIVE_TEST_PROMETHEUS", "prometheus");
        Ok(Self {
            file: folder.join("told"),
            nats: nats.map(|path| Nats::new(path, folder)).transpose()?,
            prometheus: prometheus
                .map(|path| Prometheus::new(path, folder))
                .transpose()?,
        })
    }

    /// The sections of the settings that name them.
    fn settings(&self) -> String {
        let nats = |nats: &Nats| format!("[sinks.nats]\nurl = \"{}\"\n", nats.url);
        let prometheus = |prometheus: &Prometheus| {
            format!(
                "[sinks.remote_write]\nurl = \"http://{}/api/v1/write\"\nseconds = {EVERY}\n",
                prometheus.address
            )
        };
        let sections = [
            Some(LOCAL.to_owned()),
            self.nats.as_ref().map(nats),
            self.prometheus.as_ref().map(prometheus),
        ];
        sections.into_iter().flatten().collect()
    }

    /// Starts the programs among them.
    async fn start(&self) -> Result<Vec<Server>, Fault> {
        let mut servers = Vec::new();
        if let Some(nats) = &self.nats {
            servers.push(nats.start().await?);
        }
        if let Some(prometheus) = &self.prometheus {
            servers.push(prometheus.start().await?);
        }
        Ok(servers)
    }

    fn names(&self) -> Vec<&'static str> {
        let mut names = vec!["sse", "webhook"];
        names.extend(self.nats.is_some().then_some("nats"));
        names.extend(self.prometheus.is_some().then_some("remote_write"));
        names
    }

    /// How many events one of them has, or ratings where it counts these.
    async fn has(&self, name: &str, read: &Heard) -> Result<u64, Fault> {
        Ok(match (name, &self.nats, &self.prometheus) {
            ("sse", ..) => read.len() as u64,
            ("nats", Some(nats), _) => nats.messages().await?,
            ("remote_write", _, Some(prometheus)) => prometheus.ratings().await?,
            _ => heard::read(&std::fs::read_to_string(&self.file).unwrap_or_default()).len() as u64,
        })
    }
}

async fn one(
    bench: &Bench,
    samples: &mut Samples,
    name: &str,
    database: Option<&str>,
) -> Result<(), Fault> {
    let gone = if bench.quick { AROUND } else { AWAY };
    let folder = bench.folder.join(format!("away-{name}"));
    std::fs::create_dir_all(&folder)?;
    let listeners = Listeners::new(&folder)?;
    let mut stage = Stage::new(&bench.binary, &bench.folder, database, Setting::usual()?).await?;
    stage.add_settings(&listeners.settings());
    let receiver = Server::receiver(&listeners.file).await?;
    let address = receiver.address;
    let mut servers = listeners.start().await?;
    let server = stage.start().await?;
    let since = Instant::now();
    subscribe(&stage, &server, &receiver).await?;
    servers.push(receiver);
    let reader = Reader::start(server.address, &stage.key, 0);
    let time = AROUND * 2 + gone;
    let count = u64::from(RATE) * time.as_secs();
    let asked = store(bench, samples, &stage, &server, count).await?;
    stage.mark_sent().await?;
    stage.settle().await?;

    eprintln!(
        "away, {name}, {RATE} replies/s, nobody is there for {} s",
        gone.as_secs()
    );
    let work = Work::Prepared(replies(&asked, bench.seed()));
    let load = client::open(server.address, 64, RATE, time, work);
    let drama = async {
        tokio::time::sleep(AROUND).await;
        servers.iter().try_for_each(Server::kill)?;
        drop(servers);
        let (before, place) = (reader.heard(), reader.place());
        drop(reader);
        tokio::time::sleep(gone).await;
        let mut servers = listeners.start().await?;
        servers.push(Server::receiver_at(address, &listeners.file).await?);
        let reader = Reader::start(server.address, &stage.key, place);
        Ok::<_, Fault>((servers, before, reader, Instant::now()))
    };
    let (run, drama) = tokio::join!(load, drama);
    let ((run, _), (servers, before, reader, back)) = (run?, drama?);
    check(samples, &run)?;
    stage.settle().await?;
    let count = async |table: &str| -> Result<u64, Fault> {
        let count = stage
            .number(format!("select count(*) from {table}"))
            .await?;
        Ok(u64::try_from(count)?)
    };
    let (events, ratings) = (count("events").await?, count("ratings").await?);
    samples.add("lost", float(run.good.saturating_sub(ratings)));
    println!(
        "\n{name}: {} replies, {events} events, all sinks killed for {} s; each has everything so long after they are back:",
        run.good,
        gone.as_secs()
    );
    samples.add(format!("{name}.away.events"), float(events));

    let mut lack = listeners.names();
    while back.elapsed() < LATE && !lack.is_empty() {
        let mut read = before.clone();
        read.extend(reader.heard());
        let mut rest = Vec::new();
        for sink in lack {
            let wanted = if sink == "remote_write" {
                ratings
            } else {
                events
            };
            if listeners.has(sink, &read).await? < wanted {
                rest.push(sink);
                continue;
            }
            let after = back.elapsed().as_secs_f64();
            println!("  {sink} {after:.1} s");
            samples.add(format!("{name}.away.{sink}"), after);
        }
        lack = rest;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for sink in &lack {
        println!("  {sink} NOT within {} s", LATE.as_secs());
    }
    samples.add("untold", float(lack.len() as u64));
    if let Some(prometheus) = &listeners.prometheus {
        let share = prometheus.share(since.elapsed().as_secs_f64()).await?;
        samples.add(format!("{name}.away.samples"), share * 100.0);
    }
    drop((reader, servers));
    server.stop().await?;
    stage.end().await
}

/// Where a program of this machine is, if it is there.
fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var(variable).ok().map(PathBuf::from);
    let found = || {
        let places = std::env::var_os("PATH")?;
        std::env::split_paths(&places)
            .map(|place| place.join(name))
            .find(|path| path.is_file())
    };
    let path = named.or_else(found);
    if path.is_none() {
        println!("{name} is left out: it is not on this machine.");
    }
    path
}

/// A NATS server that keeps its stream in a folder.
struct Nats {
    path: PathBuf,
    folder: PathBuf,
    url: String,
    port: u16,
    monitor: std::net::SocketAddr,
}

impl Nats {
    fn new(path: PathBuf, folder: &Path) -> Result<Self, Fault> {
        let port = free_address()?.port();
        Ok(Self {
            path,
            folder: folder.join("nats"),
            url: format!("nats://127.0.0.1:{port}"),
            port,
            monitor: free_address()?,
        })
    }

    async fn start(&self) -> Result<Server, Fault> {
        let mut command = Command::new(&self.path);
        command.args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string()]);
        command.args(["-m", &self.monitor.port().to_string(), "-l"]);
        command
            .arg(self.folder.with_extension("log"))
            .arg("-sd")
            .arg(&self.folder);
        Server::start(command, self.monitor, "/healthz").await
    }

    /// How many different events are in the stream.
    async fn messages(&self) -> Result<u64, Fault> {
        let client = async_nats::connect(&self.url).await?;
        let mut stream = jetstream::new(client).get_stream("ONEFIVE").await?;
        let count = stream.info().await?.state.messages;
        let config = consumer::pull::OrderedConfig::default();
        let mut incoming = stream.create_consumer(config).await?.messages().await?;
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..count {
            let Some(message) = incoming.next().await else {
                break;
            };
            let message = message?;
            let id = message
                .headers
                .as_ref()
                .and_then(|headers| headers.get("Nats-Msg-Id"));
            ids.insert(id.map(ToString::to_string));
        }
        Ok(ids.len() as u64)
    }
}

/// A Prometheus that is written to.
struct Prometheus {
    path: PathBuf,
    folder: PathBuf,
    address: std::net::SocketAddr,
}

impl Prometheus {
    fn new(path: PathBuf, folder: &Path) -> Result<Self, Fault> {
        let folder = folder.join("prometheus");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("prometheus.yml"), "global: {}\n")?;
        let address = free_address()?;
        Ok(Self {
            path,
            folder,
            address,
        })
    }

    async fn start(&self) -> Result<Server, Fault> {
        let mut command = Command::new(&self.path);
        let argument = |name: &str, value: &str| format!("--{name}={value}");
        command.args([
            argument(
                "config.file",
                &self.folder.join("prometheus.yml").display().to_string(),
            ),
            argument(
                "storage.tsdb.path",
                &self.folder.join("data").display().to_string(),
            ),
            argument("web.listen-address", &self.address.to_string()),
            "--web.enable-remote-write-receiver".to_owned(),
            "--log.level=error".to_owned(),
        ]);
        Server::start(command, self.address, "/-/ready").await
    }

    async fn ask(&self, query: &str) -> Result<Value, Fault> {
        let query = serde_urlencoded::to_string([("query", query)])?;
        let (status, body, _) =
            client::get(self.address, &format!("/api/v1/query?{query}")).await?;
        if status != 200 {
            return Err(format!("Prometheus answered {status}: {body}").into());
        }
        Ok(serde_json::from_str(&body)?)
    }

    /// How many ratings its newest sample counts.
    async fn ratings(&self) -> Result<u64, Fault> {
        let answer = self.ask("sum(onefive_ratings_total)").await?;
        let value = answer["data"]["result"][0]["value"][1].as_str();
        Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    /// The share of the samples of so many seconds that it has.
    async fn share(&self, seconds: f64) -> Result<f64, Fault> {
        let answer = self
            .ask("count_over_time(onefive_totals_epoch_seconds[1h])")
            .await?;
        let value = answer["data"]["result"][0]["value"][1].as_str();
        let count: f64 = value.and_then(|value| value.parse().ok()).unwrap_or(0.0);
        Ok(count * float(EVERY) / seconds)
    }
}
