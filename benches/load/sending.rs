//! Sending to a provider that takes its time: how much of what it would take it gets, with every send written down twice.

use std::time::{Duration, Instant};

use super::client::{self, float};
use super::floor::{COUNT, Role};
use super::process::{Server, cpu_of};
use super::report::Samples;
use super::single::{store, until_none};
use super::stage::{Setting, Stage};
use super::{Bench, Fault};

/// How long the pretend provider takes for a text.
const PROVIDER: Duration = Duration::from_millis(50);

/// What the provider did not take.
const UNSENT: &str = "select count(*) from requests where delivery not in ('accepted', 'none')";

/// Sends what is stored, as many at once as the provider allows.
pub(crate) async fn sending(bench: &Bench, samples: &mut Samples) -> Result<(), Fault> {
    for (name, database) in bench.databases() {
        for in_flight in [256, 1024] {
            eprintln!("sending, {name}, {in_flight} at once");
            one(bench, samples, (name, database), in_flight).await?;
        }
    }
    Ok(())
}

async fn one(
    bench: &Bench,
    samples: &mut Samples,
    (name, database): (&str, Option<&str>),
    in_flight: u32,
) -> Result<(), Fault> {
    let provider = Server::in_role(Role::Provider, PROVIDER).await?;
    let setting = Setting {
        provider: provider.address,
        ..Setting::usual()?
    };
    let mut stage = Stage::new(&bench.binary, &bench.folder, database, setting).await?;
    let server = stage.start().await?;
    let count = u64::from(in_flight) * if bench.quick { 30 } else { 100 };
    // Below what a desk may send in a day.
    let count = count.min(45_000);
    store(bench, samples, &stage, &server, count).await?;
    stage.settle().await?;
    server.stop().await?;
    stage.make_due().await?;
    stage.set(Setting {
        in_flight: usize::try_from(in_flight)?,
        ..setting
    });
    let server = stage.start().await?;
    let (pid, postmaster) = (server.pid(), stage.postmaster);
    let (rate, cpu) = rate_of(&provider, count, || cpu_of(pid, postmaster)).await?;
    let limit = f64::from(in_flight) / PROVIDER.as_secs_f64();
    let name = format!("{name}.sending.{in_flight}");
    samples.add(format!("{name}.rate"), rate);
    samples.add(format!("{name}.ratio"), rate / limit);
    samples.add(format!("{name}.cpu"), cpu);
    let left = until_none(&stage, UNSENT).await?;
    samples.must_be_none("lost", float(left), "never sent");
    server.stop().await?;
    stage.end().await?;
    provider.stop().await
}

/// Texts per second that the provider took between the first and the last tenth of them, and microseconds of processor time for each.
/// Gives up after two minutes.
async fn rate_of(
    provider: &Server,
    count: u64,
    cpu: impl Fn() -> f64,
) -> Result<(f64, f64), Fault> {
    let since = Instant::now();
    let mut first = None;
    while since.elapsed() < Duration::from_mins(2) {
        let (_, body, _) = client::get(provider.address, COUNT).await?;
        let taken: u64 = body.trim().parse()?;
        match first {
            None if taken >= count / 10 => first = Some((Instant::now(), taken, cpu())),
            Some((at, from, before)) if taken >= count - count / 10 => {
                let sent = float(taken - from);
                let seconds = at.elapsed().as_secs_f64();
                return Ok((sent / seconds, (cpu() - before) * 1e6 / sent));
            }
            None | Some(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((f64::NAN, f64::NAN))
}
