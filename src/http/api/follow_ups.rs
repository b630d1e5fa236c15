//! `/v1/follow-ups`: low scores that somebody should care for.

#![expect(
    unused_qualifications,
    reason = "the macro that documents a path writes its parameters' type twice"
)]

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::view::RatingView;
use super::{cursor, limit, next, text};
use crate::domain::desk::Scope;
use crate::domain::follow_up::{FollowUpState, NOTE_MAX, OWNER_MAX, Refused, Step};
use crate::domain::id::FollowUpId;
use crate::domain::time::Timestamp;
use crate::http::error::Problem;
use crate::http::{Doors, Path, body};
use crate::store::{Followed, LowFilter};

/// Which follow-ups.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only `open`, `taken` or `closed` ones.
    state: Option<String>,
    /// `oldest` first, which it is if not given, or `newest` first.
    order: Option<String>,
    /// Only of this channel.
    channel: Option<String>,
    /// Only of this team.
    team: Option<String>,
    /// Only of this queue.
    queue: Option<String>,
    /// Only of this touchpoint.
    touchpoint: Option<String>,
    /// The `next` of an earlier page, in the same order.
    cursor: Option<String>,
    /// Entries on the page: 1 to 200, 50 if not given.
    limit: Option<String>,
}

/// A page of follow-ups.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FollowUpPage {
    /// The follow-ups, in the order that was asked for.
    items: Vec<FollowUpView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A low score, and what was done about it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FollowUpView {
    /// Its identifier.
    #[schema(example = "fol_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01")]
    id: String,
    /// `open`, `taken` or `closed`.
    state: &'static str,
    /// The low score; what the rating says now may be better.
    #[schema(minimum = 1, maximum = 3)]
    score: u8,
    /// Who takes care.
    #[serde(skip_serializing_if = "String::is_empty")]
    owner: String,
    /// What the customer was told.
    #[serde(skip_serializing_if = "String::is_empty")]
    told_note: String,
    /// What came of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    close_note: String,
    /// Why it is closed: by its `owner`, `corrected` by the customer, or because a manager `excluded` the rating. The last is open
    /// again once the rating is restored.
    #[serde(skip_serializing_if = "String::is_empty")]
    closed_by: String,
    /// When the low score came.
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    /// When somebody took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    taken_at: Option<Timestamp>,
    /// When the customer was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    told_at: Option<Timestamp>,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
    /// The rating as it is now, with what it is about.
    rating: RatingView,
}

impl FollowUpView {
    fn new((follow_up, rating, request): &Followed) -> Self {
        Self {
            id: follow_up.id.to_string(),
            state: follow_up.state.as_str(),
            score: follow_up.score.get(),
            owner: follow_up.owner.clone(),
            told_note: follow_up.told_note.clone(),
            close_note: follow_up.close_note.clone(),
            closed_by: follow_up.closed_by.clone(),
            opened_at: follow_up.opened_at,
            taken_at: follow_up.taken_at,
            told_at: follow_up.told_at,
            closed_at: follow_up.closed_at,
            rating: RatingView::new(rating, request),
        }
    }
}

/// Low scores that somebody should care for, oldest or newest first
#[utoipa::path(
    get, path = "/v1/follow-ups", tag = "follow-ups", params(Wanted),
    responses(
        (status = 200, body = FollowUpPage),
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
    let limit = limit(wanted.limit.as_deref())?;
    let state = wanted.state.as_deref().map(|word| {
        FollowUpState::parse(word)
            .ok_or_else(|| Problem::parameter("state", "must be one of open, taken, closed"))
    });
    let newest = match wanted.order.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Problem::parameter("order", "must be oldest or newest")),
    };
    let filter = LowFilter {
        state: state.transpose()?,
        channel: text("channel", wanted.channel)?,
        team: text("team", wanted.team)?,
        queue: text("queue", wanted.queue)?,
        touchpoint: text("touchpoint", wanted.touchpoint)?,
        newest,
        after: cursor(wanted.cursor.as_deref())?,
        limit: limit + 1,
    };
    let store = &doors.journey.store;
    let mut found = store.follow_ups(desk.id, &filter).await?;
    let next = next(&mut found, limit, |(last, ..)| last.id.uuid().simple());
    let items = found.iter().map(FollowUpView::new).collect();
    Ok(Json(FollowUpPage { items, next }).into_response())
}

/// Who takes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Take {
    /// Who takes care of it. 1 to 100 characters.
    owner: String,
    /// Take it even if somebody else has it.
    #[serde(default)]
    handover: bool,
}

/// What to remember of a step.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// At most 1000 characters.
    #[serde(default)]
    note: String,
}

/// Take a low score
#[utoipa::path(
    post, path = "/v1/follow-ups/{id}/take", tag = "follow-ups", request_body = Take,
    params(("id" = String, Path, description = "`fol_…`")),
    responses(
        (status = 200, description = "It is yours", body = FollowUpView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `send`", body = Problem),
        (status = 404, description = "You have no such follow-up", body = Problem),
        (status = 408, description = "The body did not arrive in time", body = Problem),
        (status = 409, description = "It is closed, or somebody else has it", body = Problem),
        (status = 413, description = "The body is longer than 64 KiB", body = Problem),
        (status = 415, description = "The body is not application/json", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn take(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Send).await?.id;
    let take: Take = body::call(&headers, raw, body::LARGE, doors.body_deadline).await?;
    let owner = words("owner", &take.owner, OWNER_MAX)?;
    if owner.is_empty() {
        return Err(Problem::field("owner", "must not be empty"));
    }
    let handover = take.handover;
    made(&doors, desk, &id, &Step::Take { owner, handover }).await
}

/// The customer was told
#[utoipa::path(
    post, path = "/v1/follow-ups/{id}/told", tag = "follow-ups", request_body = Note,
    params(("id" = String, Path, description = "`fol_…`")),
    responses(
        (status = 200, description = "It is noted", body = FollowUpView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `send`", body = Problem),
        (status = 404, description = "You have no such follow-up", body = Problem),
        (status = 408, description = "The body did not arrive in time", body = Problem),
        (status = 409, description = "It is closed", body = Problem),
        (status = 413, description = "The body is longer than 64 KiB", body = Problem),
        (status = 415, description = "The body is not application/json", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn told(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Send).await?.id;
    let note = note(&doors, &headers, raw).await?;
    made(&doors, desk, &id, &Step::Told { note }).await
}

/// Close a low score
#[utoipa::path(
    post, path = "/v1/follow-ups/{id}/close", tag = "follow-ups", request_body = Note,
    params(("id" = String, Path, description = "`fol_…`")),
    responses(
        (status = 200, description = "It is closed", body = FollowUpView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `send`", body = Problem),
        (status = 404, description = "You have no such follow-up", body = Problem),
        (status = 408, description = "The body did not arrive in time", body = Problem),
        (status = 413, description = "The body is longer than 64 KiB", body = Problem),
        (status = 415, description = "The body is not application/json", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn close(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Send).await?.id;
    let note = note(&doors, &headers, raw).await?;
    made(&doors, desk, &id, &Step::Close { note }).await
}

async fn note(doors: &Doors, headers: &HeaderMap, raw: Body) -> Result<String, Problem> {
    let note: Note = body::call(headers, raw, body::LARGE, doors.body_deadline).await?;
    words("note", &note.note, NOTE_MAX)
}

/// A text as somebody typed it: one that is too long is refused, because what is cut off may be what matters.
fn words(field: &str, text: &str, most: usize) -> Result<String, Problem> {
    let text = text.trim();
    if text.chars().count() > most {
        return Err(Problem::field(
            field,
            format!("must have at most {most} characters"),
        ));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Problem::field(field, "must not contain control characters"));
    }
    Ok(text.to_owned())
}

async fn made(
    doors: &Doors,
    desk: crate::domain::id::DeskId,
    id: &str,
    step: &Step,
) -> Result<Response, Problem> {
    let id: FollowUpId = id.parse().map_err(|_| Problem::not_found())?;
    let (store, now) = (&doors.journey.store, doors.journey.clock.now());
    match store.follow(desk, id, step, now).await? {
        Some(Ok(())) => {
            let found = store.follow_up(desk, id).await?;
            let found = found.ok_or_else(Problem::not_found)?;
            Ok(Json(FollowUpView::new(&found)).into_response())
        }
        Some(Err(Refused::Taken)) => Err(Problem::new("follow_up_taken", "")),
        Some(Err(Refused::Closed)) => Err(Problem::new("follow_up_closed", "")),
        None => Err(Problem::not_found()),
    }
}
