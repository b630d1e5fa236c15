//! Webhooks and what was tried as desks see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::Timestamp;
use crate::domain::webhook::{Delivery, Webhook, WebhookFormat};

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
    /// The shape of the body.
    format: WebhookFormat,
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
    pub(super) previous_secret_until: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The secret that signs; shown once, when the webhook is made or its secret is rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    pub(super) secret: Option<String>,
}

impl WebhookView {
    pub(super) fn new(webhook: &Webhook, now: Timestamp) -> Self {
        let future = |at: Timestamp| (at > now).then_some(at);
        Self {
            id: webhook.id.to_string(),
            url: webhook.url.clone(),
            types: webhook.kinds.iter().map(|kind| kind.as_str()).collect(),
            format: webhook.format,
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
    pub(super) items: Vec<WebhookView>,
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
    pub(super) items: Vec<DeliveryView>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// A secret that has just begun to sign.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rotated {
    /// The new secret; shown once.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    pub(super) secret: String,
    /// Until when the one before it goes on signing beside it.
    #[schema(value_type = String, format = DateTime)]
    pub(super) previous_secret_until: Timestamp,
}
