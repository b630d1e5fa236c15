//! What was sent to a webhook, and sending it again.

#![expect(
    unused_qualifications,
    reason = "the macro that documents a path writes its parameters' type twice"
)]

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::webhook_view::{DeliveryPage, DeliveryView, WebhookView};
use super::webhooks::named;
use super::{cursor, limit, next};
use crate::domain::desk::Scope;
use crate::domain::time::Timestamp;
use crate::http::error::Problem;
use crate::http::{Doors, Path, body};

/// From where events are sent again: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    /// Everything behind this place of the stream: the `seq` of the last event that you have, or 0 for all that is kept.
    #[schema(minimum = 0)]
    after: Option<i64>,
    /// Everything that happened at or after this instant.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

/// Send events again
///
/// Everything from there on is sent again, as far as it is kept (seven days unless configured otherwise), with the same identifiers.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/replay", tag = "webhooks", request_body = Replay,
    params(("id" = String, Path, description = "`whk_…`")),
    responses(
        (status = 202, body = WebhookView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "There is no such webhook of this desk", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn replay(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let id = named(&id)?;
    let replay: Replay = body::call(&headers, raw, body::SMALL, doors.body_deadline).await?;
    let store = &doors.journey.store;
    let head = store.head(desk.id).await?;
    let after = match (replay.after, replay.since) {
        (Some(after), None) if (0..=head).contains(&after) => after,
        (Some(_), None) => {
            let message = format!("must be from 0 to {head}, the last event there is");
            return Err(Problem::field("after", message));
        }
        (None, Some(since)) => store.place_before(desk.id, since).await?,
        (None, None) | (Some(_), Some(_)) => {
            let message = "must be given, or `since`, but not both";
            return Err(Problem::field("after", message));
        }
    };
    if !store.rewind_webhook(desk.id, id, after).await? {
        return Err(Problem::not_found());
    }
    let now = doors.journey.clock.now();
    let found = store.webhook(desk.id, id, now).await?;
    let (webhook, _) = found.ok_or_else(Problem::not_found)?;
    let view = WebhookView::new(&webhook, now);
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// Which tries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The `next` of an earlier page.
    cursor: Option<String>,
    /// Entries on the page: 1 to 200, 50 if not given.
    limit: Option<String>,
}

/// What was tried, newest first
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks",
    params(("id" = String, Path, description = "`whk_…`"), Wanted),
    responses(
        (status = 200, body = DeliveryPage),
        (status = 400, description = "A parameter cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "There is no such webhook of this desk", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn list(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let id = named(&id)?;
    let Query(wanted) =
        wanted.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    let limit = limit(wanted.limit.as_deref())?;
    let before = cursor(wanted.cursor.as_deref())?;
    let store = &doors.journey.store;
    let now = doors.journey.clock.now();
    if store.webhook(desk.id, id, now).await?.is_none() {
        return Err(Problem::not_found());
    }
    let mut tries = store
        .webhook_deliveries(desk.id, id, before, limit + 1)
        .await?;
    let next = next(&mut tries, limit, |delivery| delivery.id.simple());
    let items = tries.into_iter().map(DeliveryView::from).collect();
    Ok(Json(DeliveryPage { items, next }).into_response())
}
