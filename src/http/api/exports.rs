//! Everything at once: ratings and requests as CSV, JSON lines or Parquet, read page by page and sent as fast as it is taken.
//!
//! Only a few pages are in memory, however many rows there are. If the database fails in the middle, the connection is broken
//! off, so that half a file is not taken for a whole one.

use std::io::Error;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::channel::{Channel, Sender};
use serde::Serialize;
use tokio_util::task::TaskTracker;

use super::cells::{Cell, Column, Kind, in_csv};
use super::columnar::Columnar;
use super::view::{RatingView, RequestView};
use crate::domain::id::DeskId;
use crate::domain::rating::Rating;
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::trigger::{AgentKind, Attribution, Phase};
use crate::http::error::Problem;
use crate::http::{Doors, header_text};
use crate::store::{Filter, SharedStore, StoreError};

/// Rows read at once.
const PAGE: i64 = 1000;
/// Exports of one desk at the same time: each holds pages in memory, and keeps the database busy.
const AT_ONCE: usize = 3;
/// Pages that wait for a slow reader.
const WAITING: usize = 2;

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// RFC 4180, with a line of names.
    Csv,
    /// One JSON object a line.
    Lines,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    const ALL: [Self; 3] = [Self::Csv, Self::Lines, Self::Parquet];

    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Lines => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Lines => "ndjson",
            Self::Parquet => "parquet",
        }
    }
}

/// The format that the caller accepts; `None` for a page of JSON.
pub(super) fn format(headers: &HeaderMap) -> Option<Format> {
    let accepted = header_text(headers, header::ACCEPT).split(',');
    accepted
        .map(|one| one.split(';').next().unwrap_or_default().trim())
        .find_map(|one| {
            let known = Format::ALL.into_iter();
            let mut known = known.filter(|format| format.media_type().eq_ignore_ascii_case(one));
            known.next()
        })
}

macro_rules! columns {
    ($($name:ident: $kind:ident),+ $(,)?) => {
        &[$(Column { name: stringify!($name), kind: Kind::$kind }),+]
    };
}

/// What can be exported.
trait Exported: Sized + Send + 'static {
    const NAME: &'static str;
    const COLUMNS: &'static [Column];

    fn page(
        store: &SharedStore,
        desk: DeskId,
        filter: &Filter,
    ) -> impl Future<Output = Result<Vec<Self>, StoreError>> + Send;
    fn id(&self) -> uuid::Uuid;
    fn cells(&self) -> Vec<Cell>;
    fn view(&self) -> impl Serialize;
}

impl Exported for (Rating, Request) {
    const NAME: &'static str = "ratings";
    const COLUMNS: &'static [Column] = columns!(
        id: Text, request: Text, score: Int, grade: Text, comment: Text, answered_at: Instant, changed_at: Instant,
        elapsed_ms: Int, channel: Text, conversation: Text, resolution: Text, agent_id: Text, agent_name: Text,
        agent_kind: Text, team: Text, queue: Text, touchpoint: Text, phase: Text, topic: Text, language: Text,
        excluded_at: Instant, excluded_by: Text, excluded_reason: Text, requested_at: Instant, wording: Text,
    );

    async fn page(
        store: &SharedStore,
        desk: DeskId,
        filter: &Filter,
    ) -> Result<Vec<Self>, StoreError> {
        store.ratings(desk, filter).await
    }

    fn id(&self) -> uuid::Uuid {
        self.0.id.uuid()
    }

    fn cells(&self) -> Vec<Cell> {
        let (rating, request) = self;
        let mut cells = vec![
            Cell::Text(rating.id.to_string()),
            Cell::Text(request.id.to_string()),
            Cell::Int(rating.score.into()),
            Cell::Text(rating.grade.as_str().to_owned()),
            Cell::Text(rating.comment.clone()),
            Cell::At(Some(rating.answered_at)),
            Cell::At(Some(rating.changed_at)),
            Cell::Int(rating.elapsed_ms),
            Cell::Text(request.channel.to_string()),
            Cell::Text(request.conversation.clone()),
            Cell::Text(request.resolution.clone()),
        ];
        cells.extend(about(&request.attribution));
        let excluded = rating.excluded.as_ref();
        cells.extend([
            Cell::At(excluded.map(|note| note.at)),
            Cell::Text(excluded.map_or_else(String::new, |note| note.by.clone())),
            Cell::Text(excluded.map_or_else(String::new, |note| note.reason.clone())),
            Cell::At(Some(request.history.created_at)),
            Cell::Text(request.wording.clone()),
        ]);
        cells
    }

    fn view(&self) -> impl Serialize {
        RatingView::new(&self.0, &self.1)
    }
}

impl Exported for Request {
    const NAME: &'static str = "requests";
    const COLUMNS: &'static [Column] = columns!(
        id: Text, state: Text, reason: Text, channel: Text, to: Text, conversation: Text, resolution: Text, contact: Text,
        agent_id: Text, agent_name: Text, agent_kind: Text, team: Text, queue: Text, touchpoint: Text, phase: Text,
        topic: Text, language: Text, switches: Int, delivery: Text, attempts: Int, delivery_code: Text,
        created_at: Instant, due_at: Instant, expires_at: Instant, sent_at: Instant, delivered_at: Instant,
        reached_at: Instant, answered_at: Instant, ended_at: Instant,
    );

    async fn page(
        store: &SharedStore,
        desk: DeskId,
        filter: &Filter,
    ) -> Result<Vec<Self>, StoreError> {
        store.requests(desk, filter).await
    }

    fn id(&self) -> uuid::Uuid {
        self.id.uuid()
    }

    fn cells(&self) -> Vec<Cell> {
        let reason = self.reason.map_or("", |reason| reason.as_str());
        let mut cells = vec![
            Cell::Text(self.id.to_string()),
            Cell::Text(self.state.as_str().to_owned()),
            Cell::Text(reason.to_owned()),
            Cell::Text(self.channel.to_string()),
            Cell::Text(self.contact.address.to_string()),
            Cell::Text(self.conversation.clone()),
            Cell::Text(self.resolution.clone()),
            Cell::Text(self.contact.id.clone()),
        ];
        cells.extend(about(&self.attribution));
        cells.extend([
            Cell::Int(i64::from(self.attribution.switches)),
            Cell::Text(self.delivery.as_str().to_owned()),
            Cell::Int(self.attempts),
            Cell::Text(self.delivery_code.clone()),
            Cell::At(Some(self.history.created_at)),
            Cell::At(Some(self.due_at)),
            Cell::At(Some(self.expires_at)),
            Cell::At(self.history.sent_at),
            Cell::At(self.history.delivered_at),
            Cell::At(self.history.reached_at),
            Cell::At(self.history.answered_at),
            Cell::At(self.history.ended_at),
        ]);
        cells
    }

    fn view(&self) -> impl Serialize {
        RequestView::new(self, None)
    }
}

/// Who served and where, as columns.
fn about(attribution: &Attribution) -> [Cell; 9] {
    let kind = match attribution.agent.kind {
        AgentKind::Human => "human",
        AgentKind::Bot => "bot",
    };
    let phase = match attribution.phase {
        Phase::Before => "before",
        Phase::During => "during",
        Phase::After => "after",
    };
    [
        &attribution.agent.id,
        &attribution.agent.name,
        kind,
        &attribution.team,
        &attribution.queue,
        &attribution.touchpoint,
        phase,
        &attribution.topic,
        &attribution.language,
    ]
    .map(|text| Cell::Text(text.to_owned()))
}

/// All ratings that match.
pub(super) fn ratings(
    doors: &Doors,
    desk: DeskId,
    filter: Filter,
    format: Format,
) -> Result<Response, Problem> {
    stream::<(Rating, Request)>(doors, desk, filter, format)
}

/// All requests that match.
pub(super) fn requests(
    doors: &Doors,
    desk: DeskId,
    filter: Filter,
    format: Format,
) -> Result<Response, Problem> {
    stream::<Request>(doors, desk, filter, format)
}

fn stream<T: Exported>(
    doors: &Doors,
    desk: DeskId,
    filter: Filter,
    format: Format,
) -> Result<Response, Problem> {
    let seat = doors.exports.sit(desk.to_string(), AT_ONCE, None);
    let seat = seat.ok_or_else(|| Problem {
        retry_after: Some(10),
        ..Problem::new("too_many_exports", "")
    })?;
    let (mut sender, channel) = Channel::<Bytes, Error>::new(WAITING);
    let store = SharedStore::clone(&doors.journey.store);
    TaskTracker::new().spawn(async move {
        if let Err(error) = send::<T>(&store, desk, filter, format, &mut sender).await {
            tracing::warn!(%error, "an export was broken off");
            sender.abort(error);
        }
        drop(seat);
    });
    let mut response = Body::new(channel).into_response();
    let headers = response.headers_mut();
    let text = HeaderValue::from_static(format.media_type());
    headers.insert(header::CONTENT_TYPE, text);
    let name = format!("attachment; filename=\"{}.{}\"", T::NAME, format.ending());
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// Sends all that matches. Whoever has gone away is no error: the rest is not read any more.
async fn send<T: Exported>(
    store: &SharedStore,
    desk: DeskId,
    mut filter: Filter,
    format: Format,
    sender: &mut Sender<Bytes, Error>,
) -> Result<(), Error> {
    filter.limit = PAGE;
    filter.after = filter.after.max(filter.from.map(first_id));
    let mut writer = Writer::new::<T>(format)?;
    loop {
        let page = T::page(store, desk, &filter).await.map_err(Error::other)?;
        let last = i64::try_from(page.len()).unwrap_or(0) < PAGE;
        filter.after = page.last().map(Exported::id).or(filter.after);
        let mut bytes = writer.add(&page)?;
        if last {
            bytes.extend(writer.end()?);
        }
        if !bytes.is_empty() && sender.send_data(Bytes::from(bytes)).await.is_err() {
            return Ok(());
        }
        if last {
            return Ok(());
        }
    }
}

/// Below every identifier made at or after this instant: identifiers begin with their time, so nothing earlier need be read.
fn first_id(from: Timestamp) -> uuid::Uuid {
    let millis = u128::try_from(from.as_millis()).unwrap_or(0);
    uuid::Uuid::from_u128(millis << 80)
}

enum Writer {
    Csv { names: Vec<&'static str> },
    Lines,
    Parquet(Box<Columnar>),
}

impl Writer {
    fn new<T: Exported>(format: Format) -> Result<Self, Error> {
        Ok(match format {
            Format::Csv => Self::Csv {
                names: T::COLUMNS.iter().map(|column| column.name).collect(),
            },
            Format::Lines => Self::Lines,
            Format::Parquet => {
                Self::Parquet(Box::new(Columnar::new(T::COLUMNS).map_err(Error::other)?))
            }
        })
    }

    fn add<T: Exported>(&mut self, page: &[T]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Csv { names } => {
                let mut lines = csv::WriterBuilder::new()
                    .terminator(csv::Terminator::CRLF)
                    .from_writer(Vec::new());
                // The names once, before everything else.
                let names = std::mem::take(names);
                if !names.is_empty() {
                    lines.write_record(names)?;
                }
                for row in page {
                    lines.write_record(row.cells().into_iter().map(in_csv))?;
                }
                lines.into_inner().map_err(csv::IntoInnerError::into_error)
            }
            Self::Lines => {
                let mut lines = Vec::new();
                for row in page {
                    serde_json::to_writer(&mut lines, &row.view())?;
                    lines.push(b'\n');
                }
                Ok(lines)
            }
            Self::Parquet(file) => {
                let rows = page.iter().map(Exported::cells).collect();
                file.add(rows).map_err(Error::other)
            }
        }
    }

    fn end(&mut self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Csv { .. } | Self::Lines => Ok(Vec::new()),
            Self::Parquet(file) => file.end().map_err(Error::other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_type_is_taken() {
        let wanted = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            format(&headers)
        };
        assert_eq!(wanted("text/csv"), Some(Format::Csv));
        assert_eq!(
            wanted("text/html, Application/X-NDJSON;q=0.9"),
            Some(Format::Lines)
        );
        assert_eq!(
            wanted("application/vnd.apache.parquet"),
            Some(Format::Parquet)
        );
        assert_eq!(wanted("application/json"), None);
        assert_eq!(wanted("*/*"), None);
    }

    #[test]
    fn what_was_made_earlier_is_not_read() {
        use crate::domain::id::RatingId;
        let at = |ms| RatingId::new(Timestamp::from_millis(ms), [0; 10]).uuid();
        let first = first_id(Timestamp::from_millis(1_700_000_000_000));
        assert!(at(1_699_999_999_999) < first && first < at(1_700_000_000_000));
    }
}
