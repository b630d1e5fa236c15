//! `/v1/requests`: the trigger, and what became of it.

#![expect(
    unused_qualifications,
    reason = "the macro that documents a path writes its parameters' type twice"
)]

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::view::RequestView;
use super::{cursor, exports, instant, limit, next, text};
use crate::domain::desk::Scope;
use crate::domain::id::RequestId;
use crate::domain::policy::Decision;
use crate::domain::request::State as RequestState;
use crate::domain::trigger::Trigger;
use crate::http::error::Problem;
use crate::http::{Doors, Path, body};
use crate::journey::Asked;
use crate::store::{Cancelled, Filter};

/// Ask a customer for a rating
///
/// Call this once when a conversation has ended. The answer is given when the decision is stored: `202` if the customer will be
/// asked (or, for a chat, with the ask itself), `200` with a `reason` if not. Sending the same again changes nothing and gets the
/// same request, with `Idempotent-Replayed: true`.
#[utoipa::path(
    post, path = "/v1/requests", tag = "requests", request_body = Trigger,
    params(("Idempotency-Key" = Option<String>, Header, description = "Up to 255 visible ASCII characters; the same key with another body is refused")),
    responses(
        (status = 202, description = "The customer will be asked", body = RequestView),
        (status = 200, description = "The customer is not asked, and why; or a dry run", body = RequestView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `send`", body = Problem),
        (status = 408, description = "The body did not arrive in time", body = Problem),
        (status = 413, description = "The body is longer than 64 KiB", body = Problem),
        (status = 415, description = "The body is not application/json", body = Problem),
        (status = 422, description = "The idempotency key was used with another body", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn create(
    State(doors): State<Doors>,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Send).await?;
    let key = idempotency_key(&headers)?;
    let trigger: Trigger = body::call(&headers, raw, body::LARGE, doors.body_deadline).await?;
    match doors.journey.accept(&desk, &trigger, &key).await? {
        Asked::Considered { decision, due_at } => {
            let answer = match decision {
                Decision::Suppress(reason) => {
                    json!({ "dry_run": true, "state": RequestState::Suppressed, "reason": reason })
                }
                Decision::Wait(_) => {
                    json!({ "dry_run": true, "state": RequestState::Scheduled, "due_at": due_at, "delayed_by": "quiet_hours" })
                }
                Decision::Ask => {
                    json!({ "dry_run": true, "state": RequestState::Scheduled, "due_at": due_at })
                }
            };
            Ok(Json(answer).into_response())
        }
        Asked::Stored {
            request,
            replayed,
            ask,
        } => {
            let status = if request.reason.is_some() {
                StatusCode::OK
            } else {
                StatusCode::ACCEPTED
            };
            let view = RequestView::new(&request, None).with_ask(ask);
            let mut response = (status, Json(view)).into_response();
            if replayed {
                response
                    .headers_mut()
                    .insert("idempotent-replayed", HeaderValue::from_static("true"));
            }
            Ok(response)
        }
    }
}

/// The header as the IETF draft has it (a quoted text) or bare.
fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(String::new());
    };
    let text = value.to_str().unwrap_or_default().trim();
    let bare = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let good = (1..=255).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_graphic());
    if good && headers.get_all("idempotency-key").iter().count() == 1 {
        return Ok(bare.to_owned());
    }
    let expected =
        "Idempotency-Key must be 1 to 255 visible ASCII characters without blanks, sent once.";
    Err(Problem {
        field: "Idempotency-Key".to_owned(),
        ..Problem::new("invalid_idempotency_key", expected)
    })
}

/// One request
#[utoipa::path(
    get, path = "/v1/requests/{id}", tag = "requests", params(("id" = String, Path, description = "`req_…`")),
    responses(
        (status = 200, body = RequestView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `read`", body = Problem),
        (status = 404, description = "You have no such request", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn one(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Read).await?;
    let id: RequestId = id.parse().map_err(|_| Problem::not_found())?;
    let found = doors.journey.store.request(desk.id, id).await?;
    let (request, rating) = found.ok_or_else(Problem::not_found)?;
    let view = RequestView::new(&request, rating.as_ref()).explained(&doors.journey.routes);
    Ok(Json(view).into_response())
}

/// Take an open request back
///
/// For a conversation that was reopened. What is not sent yet never goes out; an answer to what was sent is not taken any more.
/// Closing the conversation again is a resolution of its own and may be asked about.
#[utoipa::path(
    post, path = "/v1/requests/{id}/cancel", tag = "requests", params(("id" = String, Path, description = "`req_…`")),
    responses(
        (status = 200, description = "It is cancelled", body = RequestView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `send`", body = Problem),
        (status = 404, description = "You have no such request", body = Problem),
        (status = 409, description = "It has ended: answered, expired, failed or suppressed", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn cancel(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Send).await?;
    let id: RequestId = id.parse().map_err(|_| Problem::not_found())?;
    match doors
        .journey
        .store
        .cancel(desk.id, id, doors.journey.clock.now())
        .await?
    {
        Some(Cancelled::Done(request)) => {
            Ok(Json(RequestView::new(&request, None)).into_response())
        }
        Some(Cancelled::Ended(request)) => Err(Problem::new(
            "request_ended",
            format!("Its state is {}.", request.state.as_str()),
        )),
        None => Err(Problem::not_found()),
    }
}

/// Which requests.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only this conversation.
    conversation: Option<String>,
    /// Only this state.
    state: Option<String>,
    /// Only this channel.
    channel: Option<String>,
    /// Only created at or after this instant (RFC 3339).
    from: Option<String>,
    /// Only created before this instant (RFC 3339).
    to: Option<String>,
    /// The `next` of an earlier page.
    cursor: Option<String>,
    /// Entries on the page: 1 to 200, 50 if not given.
    limit: Option<String>,
}

/// A page of requests.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RequestPage {
    /// The requests, oldest first.
    items: Vec<RequestView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Requests, oldest first
///
/// `Accept: text/csv`, `application/x-ndjson` (JSON lines) or `application/vnd.apache.parquet` streams all that match instead of a page;
/// `cursor` then says after which entry to go on. JSON lines are what a page has. The columns of the other two are `id`, `state`, `reason`, `channel`, `to`, `conversation`, `resolution`, `contact`, `agent_id`, `agent_name`, `agent_kind`, `team`, `queue`, `touchpoint`, `phase`, `topic`, `language`, `switches`, `delivery`, `attempts`, `delivery_code`, `created_at`, `due_at`, `expires_at`, `sent_at`, `delivered_at`, `reached_at`, `answered_at`, `ended_at`: texts
/// (empty if there is none), whole numbers, and instants (RFC 3339 in CSV, milliseconds UTC in Parquet). A text of a CSV cell that
/// a spreadsheet would take for a formula begins with an apostrophe.
#[utoipa::path(
    get, path = "/v1/requests", tag = "requests", params(Wanted),
    responses(
        (status = 200, description = "A page; or by `Accept` all that match, as a stream", content(
            (RequestPage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = 400, description = "A parameter cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `read`", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn list(
    State(doors): State<Doors>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Read).await?;
    let Query(wanted) =
        wanted.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    let state = wanted.state.as_deref().map(|word| {
        let words: Vec<&str> = RequestState::ALL
            .iter()
            .map(|state| state.as_str())
            .collect();
        RequestState::parse(word).ok_or_else(|| {
            Problem::parameter("state", format!("must be one of {}", words.join(", ")))
        })
    });
    let format = exports::format(&headers);
    if format.is_some() && wanted.limit.is_some() {
        return Err(Problem::parameter("limit", "is for pages; this is all"));
    }
    let limit = limit(wanted.limit.as_deref())?;
    let filter = Filter {
        conversation: text("conversation", wanted.conversation)?,
        state: state.transpose()?,
        channel: text("channel", wanted.channel)?,
        from: instant("from", wanted.from.as_deref())?,
        to: instant("to", wanted.to.as_deref())?,
        after: cursor(wanted.cursor.as_deref())?,
        limit: limit + 1,
    };
    if let Some(format) = format {
        return exports::requests(&doors, desk.id, filter, format);
    }
    let mut requests = doors.journey.store.requests(desk.id, &filter).await?;
    let next = next(&mut requests, limit, |request| request.id.uuid().simple());
    let items = requests
        .iter()
        .map(|request| RequestView::new(request, None).explained(&doors.journey.routes))
        .collect();
    Ok(Json(RequestPage { items, next }).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_may_be_quoted_or_bare() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_str(text).unwrap());
            idempotency_key(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(read("abc-1").as_deref(), Ok("abc-1"));
        assert_eq!(read("\"abc-1\"").as_deref(), Ok("abc-1"));
        for bad in ["", "\"\"", "two words", &"x".repeat(256)] {
            assert_eq!(read(bad), Err("invalid_idempotency_key"), "{bad:?}");
        }
    }
}
