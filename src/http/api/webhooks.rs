//! `/v1/webhooks`: the addresses that a desk wants its events sent to.

#![expect(
    unused_qualifications,
    reason = "the macro that documents a path writes its parameters' type twice"
)]

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{cursor, limit};
use crate::domain::desk::Scope;
use crate::domain::event::EventKind;
use crate::domain::id::WebhookId;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Delivery, Webhook, WebhookState};
use crate::http::error::Problem;
use crate::http::{Doors, Path, body};
use crate::journey::WebhookError;
use crate::store::WebhookChange;

/// The longest description, in characters.
const DESCRIPTION_MAX: usize = 200;

/// What a webhook is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// Where events are sent: an `https` address that is reached over the public internet.
    #[schema(example = "https://desk.example.com/hooks/onefive")]
    url: String,
    /// The types of events to send; all if none are named. See `GET /v1/events`.
    #[serde(default)]
    #[schema(example = json!(["rating.created", "rating.changed"]))]
    types: Vec<String>,
    /// Your own words for it. At most 200 characters.
    #[serde(default)]
    description: String,
    /// Whether it is used. Enabling one that was disabled forgets how it failed, and sends what it has missed.
    #[serde(default = "yes")]
    enabled: bool,
}

const fn yes() -> bool {
    true
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookView {
    /// Its identifier.
    #[schema(example = "whk_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01")]
    id: String,
    /// Where events are sent.
    url: String,
    /// The types of events that are sent; all if none are named.
    types: Vec<&'static str>,
    /// Your own words for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    /// `enabled`, or why it is not used: `off` (by you), `gone` (it answered 410), `failing` (it took nothing for five days).
    state: &'static str,
    /// Everything up to this place of the stream was tried at least once.
    tried: i64,
    /// Tries that failed in a row.
    failures: i64,
    /// Until when it is left alone because it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    paused_until: Option<Timestamp>,
    /// Until when the secret before the present one goes on signing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    previous_secret_until: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The secret that signs; shown once, when the webhook is made or its secret is rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: Option<String>,
}

impl WebhookView {
    fn new(webhook: &Webhook, now: Timestamp) -> Self {
        let future = |at: Timestamp| (at > now).then_some(at);
        Self {
            id: webhook.id.to_string(),
            url: webhook.url.clone(),
            types: webhook.kinds.iter().map(|kind| kind.as_str()).collect(),
            description: webhook.description.clone(),
            state: webhook.state.as_str(),
            tried: webhook.mark,
            failures: webhook.health.failures,
            paused_until: future(webhook.health.open_until),
            previous_secret_until: future(webhook.old_until),
            created_at: webhook.created_at,
            secret: None,
        }
    }
}

/// The webhooks of a desk.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookList {
    /// The webhooks, oldest first.
    items: Vec<WebhookView>,
}

/// One try to send an event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryView {
    /// The event; the `webhook-id` of the call.
    event: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// Which try it was, from 1.
    attempt: i64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The status that came back; 0 if none did.
    status: i64,
    /// Milliseconds until then.
    ms: i64,
    /// The class of the failure, absent if the event was taken: `address_refused`, `resolve`, `connect`, `timeout`, `broken`,
    /// `redirect`, `busy` (429 or 5xx), `refused` (another status), `gone` (410).
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            event: delivery.event.to_string(),
            kind: delivery.kind,
            attempt: delivery.attempt,
            at: delivery.at,
            status: delivery.status,
            ms: delivery.elapsed_ms,
            error: delivery.error,
        }
    }
}

/// A page of tries.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryPage {
    /// The tries, newest first. They are kept for seven days.
    items: Vec<DeliveryView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

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

/// A secret that has just begun to sign.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rotated {
    /// The new secret; shown once.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: String,
    /// Until when the one before it goes on signing beside it.
    #[schema(value_type = String, format = DateTime)]
    previous_secret_until: Timestamp,
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Field(error) => error.into(),
            WebhookError::TooMany => Self::new("limit_reached", ""),
            WebhookError::Store(error) => error.into(),
        }
    }
}

/// Send events to an address
///
/// Each event is sent as `POST` by the specification Standard Webhooks: `webhook-id` is the event's identifier (the same in every
/// repetition), `webhook-timestamp` the time of the try, `webhook-signature` the signatures by your secret; while a secret is rotated
/// there are two. Answer 2xx within 15 seconds. Anything else is tried again after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and
/// 24 h; redirects are not followed; 410 disables the webhook. Events of one request are sent in their order, but a repeated one may
/// come after later ones: `seq` tells. A webhook that fails again and again is left alone for a while, and gets everything afterwards.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "webhooks", request_body = Wish,
    responses(
        (status = 201, description = "Made; with the secret", body = WebhookView),
        (status = 400, description = "A field cannot be used, or the address may not be called", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 409, description = "The desk has 20 webhooks", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn create(
    State(doors): State<Doors>,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let wish = wish(&doors, &headers, raw).await?;
    let (kinds, journey) = (kinds(&wish.types)?, &doors.journey);
    let (mut webhook, secret) = journey
        .add_webhook(desk.id, &wish.url, kinds, &wish.description)
        .await?;
    if !wish.enabled {
        webhook.state = WebhookState::Off;
        let change = change(&wish)?;
        journey
            .store
            .change_webhook(desk.id, webhook.id, &change)
            .await?;
    }
    let mut view = WebhookView::new(&webhook, journey.clock.now());
    view.secret = Some(secret.expose());
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// Webhooks, oldest first
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks",
    responses(
        (status = 200, body = WebhookList),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn list(
    State(doors): State<Doors>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let now = doors.journey.clock.now();
    let webhooks = doors.journey.store.webhooks(desk.id).await?;
    let items = webhooks
        .iter()
        .map(|webhook| WebhookView::new(webhook, now))
        .collect();
    Ok(Json(WebhookList { items }).into_response())
}

/// One webhook
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path, description = "`whk_…`")),
    responses(
        (status = 200, body = WebhookView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "There is no such webhook of this desk", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn one(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let now = doors.journey.clock.now();
    let found = doors
        .journey
        .store
        .webhook(desk.id, named(&id)?, now)
        .await?;
    let (webhook, _) = found.ok_or_else(Problem::not_found)?;
    Ok(Json(WebhookView::new(&webhook, now)).into_response())
}

/// Change a webhook
///
/// What is not said is set to its default. How the webhook failed before is forgotten.
#[utoipa::path(
    put, path = "/v1/webhooks/{id}", tag = "webhooks", request_body = Wish,
    params(("id" = String, Path, description = "`whk_…`")),
    responses(
        (status = 200, body = WebhookView),
        (status = 400, description = "A field cannot be used, or the address may not be called", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "There is no such webhook of this desk", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn change_one(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let id = named(&id)?;
    let wish = wish(&doors, &headers, raw).await?;
    let (change, journey) = (change(&wish)?, &doors.journey);
    journey.vet_webhook(&wish.url).await?;
    if !journey.store.change_webhook(desk.id, id, &change).await? {
        return Err(Problem::not_found());
    }
    let now = journey.clock.now();
    let found = journey.store.webhook(desk.id, id, now).await?;
    let (webhook, _) = found.ok_or_else(Problem::not_found)?;
    Ok(Json(WebhookView::new(&webhook, now)).into_response())
}

/// Remove a webhook
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path, description = "`whk_…`")),
    responses(
        (status = 204, description = "Removed, with its log"),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "There is no such webhook of this desk", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn remove(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let store = &doors.journey.store;
    if store.remove_webhook(desk.id, named(&id)?).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::not_found())
    }
}

/// Send a test
///
/// Sends an event of the type `webhook.test` at once, signed like any other, and says what came of it. What the address answers is
/// not shown.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/test", tag = "webhooks", params(("id" = String, Path, description = "`whk_…`")),
    responses(
        (status = 200, body = DeliveryView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "There is no such webhook of this desk", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn test(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let tried = doors.journey.test_webhook(&desk, named(&id)?).await?;
    let tried = tried.ok_or_else(Problem::not_found)?;
    Ok(Json(DeliveryView::from(tried)).into_response())
}

/// Make a new secret
///
/// The one before it goes on signing for a day beside the new one, so that you can change over without losing an event.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks", params(("id" = String, Path, description = "`whk_…`")),
    responses(
        (status = 200, body = Rotated),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 404, description = "There is no such webhook of this desk", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn rotate(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let journey = &doors.journey;
    let secret = journey.new_secret();
    let until = journey
        .store
        .rotate_webhook(desk.id, named(&id)?, &secret, journey.clock.now())
        .await?;
    let rotated = Rotated {
        secret: secret.expose(),
        previous_secret_until: until.ok_or_else(Problem::not_found)?,
    };
    Ok(Json(rotated).into_response())
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
    body::expect_type(&headers, "application/json")?;
    let replay: Replay = body::json(&body::read(raw, body::SMALL, doors.body_deadline).await?)?;
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
pub(super) async fn deliveries(
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
    let more = i64::try_from(tries.len()).unwrap_or(0) > limit;
    tries.truncate(usize::try_from(limit).unwrap_or(0));
    let next = tries.last().filter(|_| more);
    let next = next.map(|delivery| delivery.id.simple().to_string());
    let items = tries.into_iter().map(DeliveryView::from).collect();
    Ok(Json(DeliveryPage { items, next }).into_response())
}

async fn wish(doors: &Doors, headers: &HeaderMap, raw: Body) -> Result<Wish, Problem> {
    body::expect_type(headers, "application/json")?;
    let wish: Wish = body::json(&body::read(raw, body::SMALL, doors.body_deadline).await?)?;
    let long = wish.description.chars().count() > DESCRIPTION_MAX;
    if long || wish.description.chars().any(char::is_control) {
        let message = format!(
            "must be at most {DESCRIPTION_MAX} characters and none of them control characters"
        );
        return Err(Problem::field("description", message));
    }
    Ok(wish)
}

fn change(wish: &Wish) -> Result<WebhookChange, Problem> {
    let state = if wish.enabled {
        WebhookState::Enabled
    } else {
        WebhookState::Off
    };
    Ok(WebhookChange {
        url: wish.url.clone(),
        kinds: kinds(&wish.types)?,
        description: wish.description.clone(),
        state,
    })
}

/// Types of events by their words, each once.
pub(super) fn kinds(words: &[String]) -> Result<Vec<EventKind>, Problem> {
    let mut kinds = Vec::new();
    for word in words {
        let kind = EventKind::parse(word).ok_or_else(|| {
            let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
            Problem::field("types", format!("must be of {}", known.join(", ")))
        })?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

fn named(id: &str) -> Result<WebhookId, Problem> {
    id.parse().map_err(|_| Problem::not_found())
}
