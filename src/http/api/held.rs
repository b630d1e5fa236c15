//! `/v1/held-answers`: answers that no person is known to have given. They are kept, not counted, and a manager may release one.

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
use super::{cursor, limit, next};
use crate::domain::desk::Scope;
use crate::domain::id::ReplyId;
use crate::domain::time::Timestamp;
use crate::http::error::Problem;
use crate::http::{Doors, Path, body};
use crate::store::Release;

/// Who does something, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reasons {
    /// Why: 1 to 500 characters. Written down, never deleted; do not name the customer here.
    #[schema(min_length = 1, max_length = 500)]
    pub(super) reason: String,
    /// Who, as you name them: at most 100 characters.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub(super) by: String,
}

impl Reasons {
    /// Reads and checks the body.
    pub(super) async fn read(
        doors: &Doors,
        headers: &HeaderMap,
        raw: Body,
    ) -> Result<Self, Problem> {
        let mut read: Self = body::call(headers, raw, body::SMALL, doors.body_deadline).await?;
        for (name, text, most) in [("reason", &mut read.reason, 500), ("by", &mut read.by, 100)] {
            *text = text.trim().to_owned();
            if text.chars().count() > most {
                return Err(Problem::field(
                    name,
                    format!("must have at most {most} characters"),
                ));
            }
            if text.chars().any(char::is_control) {
                return Err(Problem::field(name, "must not contain control characters"));
            }
        }
        if read.reason.is_empty() {
            return Err(Problem::field("reason", "must not be empty"));
        }
        Ok(read)
    }
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The `next` of an earlier page.
    cursor: Option<String>,
    /// Entries on the page: 1 to 200, 50 if not given.
    limit: Option<String>,
    /// `no` (if not given): only answers to requests that have no rating; `yes`: only those to requests that were rated all the same;
    /// `any`: all.
    rated: Option<String>,
}

/// An answer that is kept and not counted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeldView {
    /// Its identifier.
    #[schema(example = "rep_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01")]
    id: String,
    /// The request that it answers.
    request: String,
    /// From 1 to 5; 5 is best.
    #[schema(minimum = 1, maximum = 5)]
    score: u8,
    /// The words that came with it.
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    /// `auto`: the page was shown with the score chosen and not touched. `suspect`: it looks like a machine's.
    grade: &'static str,
    /// What led to the grade, such as `several_scores`, `trap`, `webdriver`, `program`, `early`, `fast` or `another_client`.
    signs: Vec<String>,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The channel.
    channel: String,
    /// Your id of the conversation.
    conversation: String,
    /// The state of the request; where it is `answered`, a release is refused.
    state: &'static str,
}

/// A page of held answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeldPage {
    /// The answers, oldest first.
    items: Vec<HeldView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Answers that are kept and not counted, oldest first
///
/// Those of requests that a person rated all the same are only listed with `rated`.
#[utoipa::path(
    get, path = "/v1/held-answers", tag = "ratings", params(Wanted),
    responses(
        (status = 200, body = HeldPage),
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
    let after = cursor(wanted.cursor.as_deref())?;
    let rated = match wanted.rated.as_deref() {
        None | Some("" | "no") => Some(false),
        Some("yes") => Some(true),
        Some("any") => None,
        Some(_) => return Err(Problem::parameter("rated", "must be no, yes or any")),
    };
    let store = &doors.journey.store;
    let mut held = store.held_answers(desk.id, rated, after, limit + 1).await?;
    let next = next(&mut held, limit, |(answer, _)| answer.id.uuid().simple());
    let view =
        |(answer, request): (crate::store::HeldAnswer, crate::domain::request::Request)| HeldView {
            id: answer.id.to_string(),
            request: request.id.to_string(),
            score: answer.score.get(),
            comment: answer.comment,
            grade: answer.grade.as_str(),
            signs: answer.signs,
            at: answer.at,
            channel: request.channel.to_string(),
            conversation: request.conversation,
            state: request.state.as_str(),
        };
    let items = held.into_iter().map(view).collect();
    Ok(Json(HeldPage { items, next }).into_response())
}

/// Make the rating of a held answer
///
/// For an answer that a person gave although it looked like a machine's. It becomes the rating if the request has none; a
/// person's own answer still takes its place later. Doing so twice changes nothing.
#[utoipa::path(
    post, path = "/v1/held-answers/{id}/release", tag = "ratings",
    params(("id" = String, Path, description = "The held answer")),
    request_body = Reasons,
    responses(
        (status = 200, body = RatingView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "The desk has no such answer", body = Problem),
        (status = 409, description = "The request has a rating already (`already_rated`), or has ended (`request_closed`)", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn release(
    State(doors): State<Doors>,
    Path(id): Path<String>,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let reasons = Reasons::read(&doors, &headers, raw).await?;
    let id: ReplyId = id.parse().map_err(|_| Problem::not_found())?;
    let released = doors
        .journey
        .release_held(&desk, id, &reasons.by, &reasons.reason)
        .await?;
    match released {
        None => Err(Problem::not_found()),
        Some(Release::Rated) => Err(Problem::new("already_rated", "")),
        Some(Release::Ended) => Err(Problem::new("request_closed", "")),
        Some(Release::Done(noted)) => {
            Ok(Json(RatingView::new(&noted.rating, &noted.request)).into_response())
        }
    }
}
