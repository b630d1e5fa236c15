//! `/v1/webhooks`: the addresses that a desk wants its events sent to.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::webhook_view::{DeliveryView, Rotated, WebhookList, WebhookView};
use crate::domain::desk::Scope;
use crate::domain::event::EventKind;
use crate::domain::id::WebhookId;
use crate::domain::webhook::{WebhookFormat, WebhookState};
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
    /// The shape of the body: `event`, the event as JSON (see `GET /v1/events`), or `slack`, `{"text": "…"}` as Slack's incoming
    /// webhooks take it, best for the type `rating.low`: score, channel, touchpoint, agent, desk and the comment. Both are signed.
    #[serde(default)]
    format: WebhookFormat,
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
        .add_webhook(desk.id, &wish.url, (kinds, wish.format), &wish.description)
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
/// What is not said is set to its default. How the webhook failed before is forgotten. Switching one off with the address that it has
/// succeeds also when that may not or cannot be called any more.
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
    // Whoever only switches it off may do so when its host is not there any more. One that cannot be read is vetted like any other.
    let now = journey.clock.now();
    let found = journey.store.webhook(desk.id, id, now).await;
    let same = matches!(&found, Ok(Some((webhook, _))) if webhook.url == wish.url);
    if wish.enabled || !same {
        journey.vet_webhook(&wish.url).await?;
    }
    if !journey.store.change_webhook(desk.id, id, &change).await? {
        return Err(Problem::not_found());
    }
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

async fn wish(doors: &Doors, headers: &HeaderMap, raw: Body) -> Result<Wish, Problem> {
    let wish: Wish = body::call(headers, raw, body::SMALL, doors.body_deadline).await?;
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
        format: wish.format,
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

pub(super) fn named(id: &str) -> Result<WebhookId, Problem> {
    id.parse().map_err(|_| Problem::not_found())
}
