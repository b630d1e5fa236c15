//! `GET /v1/events`: what happens in a desk, as it happens, as server-sent events.
//!
//! A reader that is slow is not waited for with memory: it takes the next events from the store when it has taken the last ones, and its
//! connection ends when it takes nothing for a while. Whoever comes back says the last `id` it has seen and misses nothing.

#![expect(
    unused_qualifications,
    reason = "the macro that documents a path writes its parameters' type twice"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::time::{Instant, Interval, interval_at};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use super::webhooks::kinds;
use crate::domain::desk::{Desk, Scope};
use crate::domain::event::EventKind;
use crate::domain::notice::Notice;
use crate::http::Doors;
use crate::http::auth::presented;
use crate::http::error::Problem;
use crate::http::seats::Seat;
use crate::journey::Reader;

/// Readers with one key.
const READERS_MAX: usize = 20;
/// So often a comment is sent, because balancers cut silent connections, with the place that the reader has come to, and the key is
/// looked at again.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// After which a reader that was cut off should come back.
const RETRY: Duration = Duration::from_secs(1);

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Begin behind this place of the stream, such as the `seq` of the last event that you have; 0 for all that is kept. The header
    /// `Last-Event-ID` goes before it. With neither, begin now.
    after: Option<String>,
    /// Only these types, with commas between them.
    types: Option<String>,
}

/// What happens, as it happens
///
/// Server-sent events: `id` is the place in the stream of the desk, `event` the type, `data` the event as JSON. After a break, send the
/// last `id` as `Last-Event-ID` and get exactly what follows; the stream begins with an `id` without an event, and signs of life have
/// one too, so that there is one even before the first event. Events are kept for seven days unless configured otherwise.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(Wanted, ("Last-Event-ID" = Option<String>, Header, description = "The last `id` that you have")),
    responses(
        (status = 200, description = "The stream; it ends when the service is restarted, and soon after the key is revoked", content_type = "text/event-stream", body = Notice),
        (status = 400, description = "A parameter cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `read`", body = Problem),
        (status = 429, description = "The key reads 20 streams already", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn read(
    State(doors): State<Doors>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk: Arc<Desk> = doors.caller(&headers, Scope::Read).await?;
    let Query(wanted) =
        wanted.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    let after = match headers.get("last-event-id") {
        Some(last) => Some(place("Last-Event-ID", last.to_str().unwrap_or_default())?),
        None => match &wanted.after {
            Some(after) => Some(place("after", after)?),
            None => None,
        },
    };
    let words: Vec<String> = wanted
        .types
        .iter()
        .flat_map(|types| types.split(','))
        .map(|word| word.trim().to_owned())
        .collect();
    let kinds = kinds(&words).map_err(|problem| Problem::parameter("types", problem.detail))?;
    let handle = presented(&headers)
        .map(|key| key.handle().to_owned())
        .unwrap_or_default();
    let gauge = doors.journey.metrics.streams.readers.clone();
    let seat = doors
        .readers
        .sit(handle, READERS_MAX, Some(gauge))
        .ok_or_else(|| Problem::new("too_many_streams", ""))?;
    let reader = doors.journey.reader(desk.id, after).await?;
    // A block without data is no event, and yet its `id` is the last one that the reader has (WHATWG HTML, 9.2.6).
    let first = Event::default().id(reader.place().to_string()).retry(RETRY);
    let reading = Reading {
        reader,
        kinds,
        ready: VecDeque::from([first]),
        draining: doors.draining.clone(),
        look: interval_at(Instant::now() + HEARTBEAT, HEARTBEAT),
        headers,
        doors,
        _seat: seat,
    };
    // Comes to it only while the store does not answer whether the key may still read.
    let alive = KeepAlive::new().interval(2 * HEARTBEAT);
    let mut response = Sse::new(events(reading)).keep_alive(alive).into_response();
    // For balancers that would rather collect the answer first.
    let unbuffered = HeaderValue::from_static("no");
    response
        .headers_mut()
        .insert("x-accel-buffering", unbuffered);
    Ok(response)
}

fn place(name: &str, text: &str) -> Result<i64, Problem> {
    let place = text.trim().parse().ok().filter(|place: &i64| *place >= 0);
    place.ok_or_else(|| {
        Problem::parameter(
            name,
            "must be the `id` of an event: a whole number from 0 on",
        )
    })
}

/// One connection.
struct Reading {
    reader: Reader,
    kinds: Vec<EventKind>,
    ready: VecDeque<Event>,
    draining: CancellationToken,
    /// When the key is looked at again, and who looks.
    look: Interval,
    headers: HeaderMap,
    doors: Doors,
    _seat: Seat,
}

impl Reading {
    /// Whether the key may still read: it may have been revoked meanwhile. A store that does not answer refuses nobody.
    async fn may(&self) -> bool {
        let caller = self.doors.caller(&self.headers, Scope::Read).await;
        caller.map_or_else(|problem| !matches!(problem.status, 401 | 403), |_| true)
    }
}

fn events(reading: Reading) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(reading, |mut reading| async move {
        loop {
            if let Some(event) = reading.ready.pop_front() {
                return Some((Ok(event), reading));
            }
            let next = tokio::select! {
                // Whoever reads comes back to another replica.
                () = reading.draining.cancelled() => return None,
                _ = reading.look.tick() => {
                    if !reading.may().await {
                        return None;
                    }
                    // All that it wants up to here went out before.
                    let place = reading.reader.place().to_string();
                    reading.ready.push_back(Event::default().comment("").id(place));
                    continue;
                }
                next = reading.reader.next() => next,
            };
            // When the store fails the stream ends, and whoever reads comes back where they were.
            let recorded = next.ok().flatten()?;
            for event in recorded {
                if reading.kinds.is_empty() || reading.kinds.contains(&event.kind) {
                    reading.ready.push_back(told(&Notice::of(event)));
                }
            }
        }
    })
}

fn told(notice: &Notice) -> Event {
    let json = String::from_utf8(notice.to_json()).unwrap_or_default();
    Event::default()
        .id(notice.seq.to_string())
        .event(notice.kind)
        .data(json)
}
