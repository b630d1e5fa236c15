//! `/v1/comments`: what customers wrote, newest first.

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

use super::view::RatingView;
use super::{instant, limit, text};
use crate::domain::desk::Scope;
use crate::domain::time::Timestamp;
use crate::http::Doors;
use crate::http::error::Problem;
use crate::store::CommentFilter;

/// Which comments.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only this channel.
    channel: Option<String>,
    /// Only this team.
    team: Option<String>,
    /// Only this queue.
    queue: Option<String>,
    /// Only this touchpoint.
    touchpoint: Option<String>,
    /// Only answers that came at or after this instant (RFC 3339).
    from: Option<String>,
    /// How many: 1 to 200, 50 if not given.
    limit: Option<String>,
}

/// What customers wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CommentPage {
    /// Ratings with words, newest first.
    items: Vec<RatingView>,
}

/// What customers wrote, newest first
///
/// For a display or a look: the latest ratings that have words, without those that were taken out. Only the latest 20,000 ratings are
/// looked through; for all of them there is `GET /v1/ratings`. The words are text, never HTML.
#[utoipa::path(
    get, path = "/v1/comments", tag = "ratings", params(Wanted),
    responses(
        (status = 200, body = CommentPage),
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
    let any = |name, value| Ok::<_, Problem>(text(name, value)?.unwrap_or_default());
    let filter = CommentFilter {
        channel: any("channel", wanted.channel)?,
        team: any("team", wanted.team)?,
        queue: any("queue", wanted.queue)?,
        touchpoint: any("touchpoint", wanted.touchpoint)?,
        from: instant("from", wanted.from.as_deref())?.unwrap_or(Timestamp::from_millis(0)),
        limit: limit(wanted.limit.as_deref())?,
    };
    let found = doors.journey.store.comments(desk.id, &filter).await?;
    let items = found
        .iter()
        .map(|(rating, request)| RatingView::new(rating, request))
        .collect();
    Ok(Json(CommentPage { items }).into_response())
}
