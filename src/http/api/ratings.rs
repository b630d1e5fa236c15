//! `/v1/ratings`: what the customers answered.

#![expect(
    unused_qualifications,
    reason = "the macro that documents a path writes its parameters' type twice"
)]

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::held::Reasons;
use super::view::RatingView;
use super::{cursor, exports, instant, limit, next, text};
use crate::domain::desk::Scope;
use crate::domain::id::RatingId;
use crate::http::error::Problem;
use crate::http::{Doors, Path};
use crate::store::Filter;
use axum::body::Body;

/// Which ratings.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only this conversation.
    conversation: Option<String>,
    /// Only this channel.
    channel: Option<String>,
    /// Only answered at or after this instant (RFC 3339).
    from: Option<String>,
    /// Only answered before this instant (RFC 3339).
    to: Option<String>,
    /// The `next` of an earlier page.
    cursor: Option<String>,
    /// Entries on the page: 1 to 200, 50 if not given.
    limit: Option<String>,
}

/// A page of ratings.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RatingPage {
    /// The ratings, oldest first.
    items: Vec<RatingView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Ratings, oldest first
///
/// `Accept: text/csv`, `application/x-ndjson` (JSON lines) or `application/vnd.apache.parquet` streams all that match instead of a page;
/// `cursor` then says after which entry to go on. JSON lines are what a page has. The columns of the other two are `id`, `request`, `score`, `grade`, `comment`, `answered_at`, `changed_at`, `elapsed_ms`, `channel`, `conversation`, `resolution`, `agent_id`, `agent_name`, `agent_kind`, `team`, `queue`, `touchpoint`, `phase`, `topic`, `language`,
/// `excluded_at`, `excluded_by`, `excluded_reason` (of a rating that a manager has taken out), `requested_at`, `wording`: texts
/// (empty if there is none), whole numbers, and instants (RFC 3339 in CSV, milliseconds UTC in Parquet). A text of a CSV cell that
/// a spreadsheet would take for a formula begins with an apostrophe.
#[utoipa::path(
    get, path = "/v1/ratings", tag = "ratings", params(Wanted),
    responses(
        (status = 200, description = "A page; or by `Accept` all that match, as a stream", content(
            (RatingPage = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
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
    let format = exports::format(&headers);
    if format.is_some() && wanted.limit.is_some() {
        return Err(Problem::parameter("limit", "is for pages; this is all"));
    }
    let limit = limit(wanted.limit.as_deref())?;
    let filter = Filter {
        conversation: text("conversation", wanted.conversation)?,
        state: None,
        channel: text("channel", wanted.channel)?,
        from: instant("from", wanted.from.as_deref())?,
        to: instant("to", wanted.to.as_deref())?,
        after: cursor(wanted.cursor.as_deref())?,
        limit: limit + 1,
    };
    if let Some(format) = format {
        return exports::ratings(&doors, desk.id, filter, format);
    }
    let mut ratings = doors.journey.store.ratings(desk.id, &filter).await?;
    let next = next(&mut ratings, limit, |(rating, _)| rating.id.uuid().simple());
    let items = ratings
        .iter()
        .map(|(rating, request)| RatingView::new(rating, request))
        .collect();
    Ok(Json(RatingPage { items, next }).into_response())
}

/// Take a rating out of the reports
///
/// It stays in every list, marked, and in the counters of first answers: nothing is deleted. Doing so twice changes nothing. The
/// contact may still correct it inside the window; it stays excluded.
#[utoipa::path(
    post, path = "/v1/ratings/{id}/exclude", tag = "ratings", params(("id" = String, Path, description = "The rating")),
    request_body = Reasons,
    responses(
        (status = 200, body = RatingView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "The desk has no such rating", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn exclude(
    State(doors): State<Doors>,
    Path(id): Path<String>,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    noted(&doors, &id, true, &headers, raw).await
}

/// Put an excluded rating back into the reports
#[utoipa::path(
    post, path = "/v1/ratings/{id}/restore", tag = "ratings", params(("id" = String, Path, description = "The rating")),
    request_body = Reasons,
    responses(
        (status = 200, body = RatingView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "The desk has no such rating", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn restore(
    State(doors): State<Doors>,
    Path(id): Path<String>,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    noted(&doors, &id, false, &headers, raw).await
}

async fn noted(
    doors: &Doors,
    id: &str,
    excluded: bool,
    headers: &HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(headers, Scope::Admin).await?;
    let reasons = Reasons::read(doors, headers, raw).await?;
    let id: RatingId = id.parse().map_err(|_| Problem::not_found())?;
    let noted = doors
        .journey
        .note_rating(&desk, id, excluded, &reasons.by, &reasons.reason)
        .await?
        .ok_or_else(Problem::not_found)?;
    Ok(Json(RatingView::new(&noted.rating, &noted.request)).into_response())
}
