//! Those who are told of events: a reader of `/v1/events`, and whoever a webhook calls, which is a process of its own that can be
//! killed. Each remembers every event with how late it came.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use onefive::domain::time::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::Fault;

/// Events by their identifiers: their type, and how many milliseconds after they happened they were heard of first.
pub(crate) type Heard = BTreeMap<String, (String, f64)>;

#[derive(Deserialize)]
struct Said {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    at: Timestamp,
}

/// An event as one line: its identifier, its type and how late it is.
pub(crate) fn line(json: &[u8]) -> Option<String> {
    let said: Said = serde_json::from_slice(json).ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let late = i64::try_from(now.ok()?.as_millis()).ok()? - said.at.as_millis();
    Some(format!("{} {} {late}\n", said.id, said.kind))
}

/// Adds a line to a file, before anybody is told that it was taken.
pub(crate) fn note(file: &Path, line: &str) -> Result<(), Fault> {
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file)?;
    Ok(file.write_all(line.as_bytes())?)
}

/// The events of such lines.
pub(crate) fn read(lines: &str) -> Heard {
    let mut heard = Heard::new();
    for line in lines.lines() {
        let mut words = line.split(' ');
        if let (Some(id), Some(kind), Some(late)) = (words.next(), words.next(), words.next()) {
            let late = late.parse().unwrap_or(f64::NAN);
            heard
                .entry(id.to_owned())
                .or_insert_with(|| (kind.to_owned(), late));
        }
    }
    heard
}

/// The milliseconds within which this share of the events of a type was heard of.
pub(crate) fn within(heard: &Heard, kind: &str, share: f64) -> f64 {
    let of_kind = heard.values().filter(|(of, _)| of == kind);
    let mut late: Vec<f64> = of_kind.map(|(_, late)| *late).collect();
    late.sort_unstable_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into at most some million events"
    )]
    let at = (late.len().saturating_sub(1) as f64 * share) as usize;
    late.get(at).copied().unwrap_or(f64::NAN)
}

/// A reader of `/v1/events` that comes back where it was, until it is dropped.
pub(crate) struct Reader {
    lines: Arc<Mutex<String>>,
    place: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Begins to read behind this place.
    pub(crate) fn start(to: SocketAddr, key: &str, after: u64) -> Self {
        let (lines, place) = (Arc::default(), Arc::new(AtomicU64::new(after)));
        let (key, own) = (key.to_owned(), (Arc::clone(&lines), Arc::clone(&place)));
        let task = tokio::spawn(async move {
            loop {
                // Whoever is cut off comes back.
                drop(listen(to, &key, &own.1, &own.0).await);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { lines, place, task }
    }

    /// The last place that it has heard of.
    pub(crate) fn place(&self) -> u64 {
        self.place.load(Ordering::Relaxed)
    }

    /// What it has heard so far.
    pub(crate) fn heard(&self) -> Heard {
        read(&self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    to: SocketAddr,
    key: &str,
    last: &AtomicU64,
    lines: &Mutex<String>,
) -> Result<(), Fault> {
    let mut stream = TcpStream::connect(to).await?;
    let last_id = last.load(Ordering::Relaxed);
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nhost: bench.example\r\nauthorization: Bearer {key}\r\nlast-event-id: {last_id}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    // Sizes of chunks stand on lines of their own, which look like nothing that is looked for.
    let mut read = BufReader::new(stream).lines();
    let mut place = 0;
    while let Some(text) = read.next_line().await? {
        if let Some(id) = text.strip_prefix("id: ") {
            place = id.parse().unwrap_or(place);
        } else if let Some(json) = text.strip_prefix("data: ")
            && let Some(line) = line(json.as_bytes())
        {
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&line);
        } else if text.is_empty() {
            // Only what has come whole moves the place on.
            last.fetch_max(place, Ordering::Relaxed);
        }
    }
    Ok(())
}
