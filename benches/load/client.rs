//! The load client: HTTP/1.1 over plain sockets on one thread, so that it takes little from the server beside it.
//!
//! A closed loop measures throughput: each connection sends again when its answer is there. An open loop measures waiting: it
//! sends at a fixed rate whatever the answers do, and counts from the intended start, so that a stall cannot hide itself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::Fault;
use super::work::Work;

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a run measured.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Answers with 2xx.
    pub(crate) good: u64,
    /// Answers with 5xx.
    pub(crate) broken: u64,
    /// Other answers.
    pub(crate) other: u64,
    /// Requests without an answer.
    pub(crate) lost: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Microseconds of every request.
    waits: Vec<u32>,
}

impl Run {
    /// Good answers per second.
    pub(crate) fn rate(&self) -> f64 {
        float(self.good) / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Milliseconds below which a share of the requests was answered.
    pub(crate) fn wait_ms(&mut self, share: f64) -> f64 {
        self.waits.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into at most some million waits"
        )]
        let at = (self.waits.len().saturating_sub(1) as f64 * share) as usize;
        self.waits
            .get(at)
            .map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
    }

    fn add(&mut self, other: Self) {
        self.good += other.good;
        self.broken += other.broken;
        self.other += other.other;
        self.lost += other.lost;
        self.waits.extend(other.waits);
    }

    fn note(&mut self, status: &Result<u16, Fault>, since: Instant) -> bool {
        let micros = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.waits.push(micros);
        match status {
            Ok(200..=299) => self.good += 1,
            Ok(500..=599) => self.broken += 1,
            Ok(_) => self.other += 1,
            Err(_) => self.lost += 1,
        }
        status.is_ok()
    }
}

/// A counter as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Line {
    /// Connects, on this machine only.
    pub(crate) async fn open(to: SocketAddr) -> Result<Self, Fault> {
        if !to.ip().is_loopback() {
            return Err("load is only for this machine".into());
        }
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let read = Vec::with_capacity(4096);
        Ok(Self { stream, read })
    }

    /// Sends one request and reads its answer; the status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<u16, Fault> {
        timeout(PATIENCE, self.exchange(request))
            .await
            .map_err(|_| "no answer in time")?
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        let start = head_end(&self.read).unwrap_or(0);
        self.read.get(start..).unwrap_or_default()
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<u16, Fault> {
        self.stream.write_all(request).await?;
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err("the connection was closed".into());
            }
            let Some(start) = head_end(&self.read) else {
                continue;
            };
            let (status, length) = head(&self.read[..start])?;
            let whole = start + length;
            while self.read.len() < whole {
                self.read.reserve(whole - self.read.len());
                if self.stream.read_buf(&mut self.read).await? == 0 {
                    return Err("the connection was closed within an answer".into());
                }
            }
            return Ok(status);
        }
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

/// Status and length of the body.
fn head(bytes: &[u8]) -> Result<(u16, usize), Fault> {
    const LENGTH: &str = "content-length:";
    let text = std::str::from_utf8(bytes)?;
    let status = text.get(9..12).ok_or("the answer has no status")?.parse()?;
    let length = text.lines().find_map(|line| {
        let name = line.get(..LENGTH.len())?;
        name.eq_ignore_ascii_case(LENGTH)
            .then(|| line[LENGTH.len()..].trim())
    });
    Ok((status, length.map_or(Ok(0), str::parse)?))
}

/// Every connection sends again as soon as it is answered, until the time is over or there is no work left.
pub(crate) async fn closed(
    to: SocketAddr,
    connections: usize,
    time: Duration,
    work: Work,
) -> Result<(Run, Work), Fault> {
    let lines = lines(to, connections).await?;
    closed_on(lines, time, work).await
}

/// Connections, opened one after the other.
pub(crate) async fn lines(to: SocketAddr, connections: usize) -> Result<Vec<Line>, Fault> {
    let mut lines = Vec::with_capacity(connections);
    for _ in 0..connections {
        lines.push(Line::open(to).await?);
    }
    Ok(lines)
}

/// The same as [`closed`], on connections that are open.
pub(crate) async fn closed_on(
    lines: Vec<Line>,
    time: Duration,
    work: Work,
) -> Result<(Run, Work), Fault> {
    let work = Arc::new(Mutex::new(work));
    let start = Instant::now();
    let mut running = JoinSet::new();
    for mut line in lines {
        let work = Arc::clone(&work);
        running.spawn(async move {
            let (mut run, mut request) = (Run::default(), Vec::new());
            while start.elapsed() < time {
                let more = work
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .next(&mut request);
                if !more {
                    break;
                }
                let since = Instant::now();
                let status = line.ask(&request).await;
                if !run.note(&status, since) {
                    break;
                }
            }
            run
        });
    }
    finish(running, start, work).await
}

/// Sends at a fixed rate. It gives up after three times the intended time.
pub(crate) async fn open(
    to: SocketAddr,
    connections: u32,
    rate: u32,
    time: Duration,
    work: Work,
) -> Result<(Run, Work), Fault> {
    let work = Arc::new(Mutex::new(work));
    let mut lines = Vec::new();
    for _ in 0..connections {
        lines.push(Line::open(to).await?);
    }
    let start = Instant::now() + Duration::from_millis(100);
    let gap = Duration::from_secs(1) / rate.max(1);
    let mut running = JoinSet::new();
    for (first, mut line) in (0..).zip(lines) {
        let work = Arc::clone(&work);
        running.spawn(async move {
            let (mut run, mut request, mut at) = (Run::default(), Vec::new(), first);
            loop {
                let due = start + gap * at;
                if due >= start + time || start.elapsed() > time * 3 {
                    break;
                }
                let more = work
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .next(&mut request);
                if !more {
                    break;
                }
                sleep_until(due.into()).await;
                let status = line.ask(&request).await;
                if !run.note(&status, due) {
                    break;
                }
                at += connections;
            }
            run
        });
    }
    finish(running, start, work).await
}

async fn finish(
    mut running: JoinSet<Run>,
    start: Instant,
    work: Arc<Mutex<Work>>,
) -> Result<(Run, Work), Fault> {
    let mut all = Run::default();
    while let Some(run) = running.join_next().await {
        all.add(run?);
    }
    all.elapsed = start.elapsed();
    let work = Arc::into_inner(work).ok_or("a connection still holds the work")?;
    Ok((
        all,
        work.into_inner().unwrap_or_else(PoisonError::into_inner),
    ))
}

/// One GET on a connection of its own: status, body and time.
pub(crate) async fn get(to: SocketAddr, path: &str) -> Result<(u16, String, Duration), Fault> {
    let mut line = Line::open(to).await?;
    let since = Instant::now();
    let status = line
        .ask(format!("GET {path} HTTP/1.1\r\nhost: {to}\r\n\r\n").as_bytes())
        .await?;
    let took = since.elapsed();
    Ok((
        status,
        String::from_utf8_lossy(line.body()).into_owned(),
        took,
    ))
}
