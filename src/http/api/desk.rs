//! `/v1/desk`: the desk of the key and its settings.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use crate::channel;
use crate::domain::contact::Address;
use crate::domain::desk::{Desk, DeskSettings, Paused, Scope};
use crate::domain::policy::region;
use crate::domain::trigger::FieldError;
use crate::http::error::Problem;
use crate::http::{Doors, body};

/// A desk and its settings.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeskView {
    /// Its short name: a metric label.
    #[schema(example = "acme")]
    desk: String,
    /// The name that contacts see.
    name: String,
    /// Its settings, with every default.
    settings: DeskSettings,
    /// Sending is paused, because messages were not answered and their numbers look pumped.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<Paused>,
    /// What is allowed and perhaps not meant.
    warnings: Vec<String>,
}

impl DeskView {
    fn new(doors: &Doors, desk: &Desk) -> Self {
        Self {
            desk: desk.slug.clone(),
            name: desk.name.clone(),
            settings: desk.settings.clone(),
            paused: desk.paused.clone(),
            warnings: warnings(doors, &desk.settings),
        }
    }
}

/// Your desk and its settings
#[utoipa::path(
    get, path = "/v1/desk", tag = "desk",
    responses(
        (status = 200, body = DeskView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn show(
    State(doors): State<Doors>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    stored(&doors, &desk).await
}

/// Change your desk's settings
///
/// Replaces all settings: what is left out gets its default. Send what `GET` gave as `settings`, with your changes. A change counts
/// for every trigger that comes a second later, and for what was asked before and waits to be sent.
#[utoipa::path(
    put, path = "/v1/desk", tag = "desk", request_body = DeskSettings,
    responses(
        (status = 200, description = "The settings as they stand now", body = DeskView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 408, description = "The body did not arrive in time", body = Problem),
        (status = 413, description = "The body is longer than 64 KiB", body = Problem),
        (status = 415, description = "The body is not application/json", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn change(
    State(doors): State<Doors>,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let settings: DeskSettings =
        body::call(&headers, raw, body::LARGE, doors.body_deadline).await?;
    settings.check()?;
    senders(&settings)?;
    let saved = doors.journey.store.save_settings(desk.id, &settings);
    if !saved.await? {
        return Err(Problem::not_found());
    }
    doors.known_keys.forget(desk.id);
    stored(&doors, &desk).await
}

/// Let your desk send again
///
/// After the conversion watch has paused it: see why at `GET /v1/desk`. What waited meanwhile is decided again before it is sent;
/// what has expired is not sent any more. A desk that is not paused stays as it is.
#[utoipa::path(
    post, path = "/v1/desk/resume", tag = "desk",
    responses(
        (status = 200, description = "It sends", body = DeskView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn resume(
    State(doors): State<Doors>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let now = doors.journey.clock.now();
    if doors.journey.store.resume(desk.id, now).await? {
        tracing::info!(desk = desk.slug, "sending goes on");
        doors.journey.bell.notify_one();
    }
    stored(&doors, &desk).await
}

/// What a desk may set and perhaps does not mean.
fn warnings(doors: &Doors, settings: &DeskSettings) -> Vec<String> {
    let mut warnings = channel::wording::warnings(&settings.wording);
    for channel in ["sms", "voice"] {
        let ours = doors.journey.routes.get(channel);
        let ours = ours.map_or("", |provider| provider.sender(channel));
        let sender = settings.senders.get(channel).map_or(ours, String::as_str);
        let of_a_country = Address::phone(sender).is_ok_and(|sender| !region(&sender).is_empty());
        if settings.rules.countries.is_empty() && !sender.is_empty() && !of_a_country {
            warnings.push(format!(
                "`rules.countries` is empty, and the sender of {channel} belongs to no country: numbers of every country are asked"
            ));
        }
    }
    warnings
}

/// The desk as the store has it: the one that goes with the key may be a second old.
async fn stored(doors: &Doors, desk: &Desk) -> Result<Response, Problem> {
    let found = doors.journey.store.desk(desk.id).await?;
    let desk = found.ok_or_else(Problem::not_found)?;
    Ok(Json(DeskView::new(doors, &desk)).into_response())
}

/// Each sender is an address of its channel.
fn senders(settings: &DeskSettings) -> Result<(), FieldError> {
    for (name, sender) in &settings.senders {
        let field = format!("senders.{name}");
        let channel =
            channel::find(name).ok_or_else(|| FieldError::new(&field, "names no channel"))?;
        // A Messaging Service of Twilio sends in the place of a number.
        let service = sender
            .strip_prefix("MG")
            .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if !service {
            channel
                .address(sender)
                .map_err(|error| FieldError::new(&field, error.to_string()))?;
        }
    }
    Ok(())
}
