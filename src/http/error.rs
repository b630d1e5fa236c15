//! The one place where an error becomes an HTTP answer: RFC 9457 problem details with a stable `code`. Internal texts go to
//! the log, never to the client.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::domain::trigger::FieldError;
use crate::journey::AcceptError;
use crate::provider::HookError;
use crate::store::{StoreError, StoreErrorKind};

/// An error as the client sees it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// Where the code is explained: a reference to `/docs`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// A stable word to match on.
    pub code: &'static str,
    /// What was wrong this time.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The field that cannot be used, with dots for what is inside.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// Seconds after which to try again.
    #[serde(skip)]
    pub retry_after: Option<u32>,
    /// The kind of the store's error, if that is the cause.
    #[serde(skip)]
    pub store: Option<StoreErrorKind>,
}

/// Left in an answer that is a problem because of the store: the kind of its error. Counted where answers are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreFailed(pub StoreErrorKind);

/// Every code, its status and its meaning.
pub(super) const CODES: &[(&str, u16, &str)] = &[
    (
        "malformed_json",
        400,
        "The body is not the JSON that is expected.",
    ),
    ("invalid_field", 400, "A field cannot be used."),
    ("invalid_lines", 400, "Lines of the file cannot be used."),
    (
        "invalid_parameter",
        400,
        "A parameter of the query cannot be used.",
    ),
    (
        "invalid_idempotency_key",
        400,
        "The Idempotency-Key cannot be used.",
    ),
    ("unauthorized", 401, "A valid API key is needed."),
    ("forbidden", 403, "The key lacks the scope that this needs."),
    (
        "forged",
        403,
        "The request does not prove where it comes from.",
    ),
    ("not_found", 404, "There is no such thing here."),
    (
        "method_not_allowed",
        405,
        "This address does not know that method.",
    ),
    ("timeout", 408, "The request took too long to arrive."),
    (
        "request_ended",
        409,
        "The request has ended and cannot be cancelled.",
    ),
    ("already_rated", 409, "The request has a rating already."),
    (
        "request_closed",
        409,
        "The request has ended; no answer to it can be counted any more.",
    ),
    (
        "limit_reached",
        409,
        "There are as many of these as there may be.",
    ),
    ("follow_up_taken", 409, "Somebody else takes care of it."),
    (
        "follow_up_closed",
        409,
        "It is closed and takes no further step.",
    ),
    (
        "opted_out_by_contact",
        409,
        "The contact said it; only the contact takes it back, by START.",
    ),
    ("too_large", 413, "The body is too large."),
    (
        "unsupported_media_type",
        415,
        "The body has another media type than the one expected.",
    ),
    (
        "idempotency_key_reused",
        422,
        "The Idempotency-Key was used with another body.",
    ),
    (
        "too_many_streams",
        429,
        "The key reads as many streams as it may.",
    ),
    (
        "too_many_exports",
        429,
        "The desk takes as many exports at once as it may.",
    ),
    (
        "rate_limited",
        429,
        "Too many calls or attempts. Try again after Retry-After.",
    ),
    ("internal", 500, "Something went wrong here; it is logged."),
    (
        "unavailable",
        503,
        "The service cannot do this now. Try again later.",
    ),
    ("overloaded", 503, "Too much is waiting. Try again later."),
];

impl Problem {
    /// The problem with this code.
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let (status, title) = CODES.iter().find(|(known, ..)| *known == code).map_or(
            (500, "Something went wrong here; it is logged."),
            |(_, status, title)| (*status, *title),
        );
        Self {
            kind: format!("/docs#{code}"),
            title,
            status,
            code,
            detail: detail.into(),
            field: String::new(),
            retry_after: (status == 503).then_some(1),
            store: None,
        }
    }

    /// A field that cannot be used.
    pub(super) fn field(field: impl Into<String>, message: impl std::fmt::Display) -> Self {
        let field = field.into();
        let detail = format!("`{field}` {message}");
        Self {
            field,
            ..Self::new("invalid_field", detail)
        }
    }

    /// A parameter of the query that cannot be used.
    pub(super) fn parameter(name: &str, message: impl std::fmt::Display) -> Self {
        Self {
            field: name.to_owned(),
            ..Self::new("invalid_parameter", format!("`{name}` {message}"))
        }
    }

    /// Nothing here.
    pub(super) fn not_found() -> Self {
        Self::new("not_found", "")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(kind) = self.store {
            response.extensions_mut().insert(StoreFailed(kind));
        }
        response
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::field(error.field, error.message)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let kind = error.kind();
        let problem = match error {
            StoreError::Busy => Self::new("overloaded", ""),
            // A full disk too is 503 and not 507, which says the same but is not repeated by every client and provider.
            StoreError::Unavailable(_)
            | StoreError::Full(_)
            | StoreError::Broken(_)
            | StoreError::Conflict => {
                // An outage is logged once, where it is noticed; here it would be a line for every call.
                if error.is_outage() {
                    tracing::debug!(%error, "the store could not do it");
                } else {
                    tracing::warn!(%error, "the store could not do it");
                }
                Self::new("unavailable", "")
            }
            StoreError::Refused(_)
            | StoreError::Corrupt(_)
            | StoreError::Settings(_)
            | StoreError::Migration(_) => {
                tracing::error!(%error, "the store failed");
                Self::new("internal", "")
            }
        };
        Self {
            store: Some(kind),
            ..problem
        }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Field(error) => error.into(),
            AcceptError::KeyReused => Self::new("idempotency_key_reused", ""),
            AcceptError::Store(error) => error.into(),
        }
    }
}

impl From<HookError> for Problem {
    fn from(error: HookError) -> Self {
        match error {
            // One answer for every kind of forgery: whoever forges learns nothing.
            HookError::Forged => Self::new("forged", ""),
            HookError::Unknown => Self::not_found(),
            HookError::Malformed { field, message } => Self::field(field, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_once_and_has_a_client_or_server_status() {
        let mut codes: Vec<&str> = CODES.iter().map(|(code, ..)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
        assert!(
            CODES
                .iter()
                .all(|(_, status, _)| (400..600).contains(status))
        );
    }

    #[test]
    fn internal_texts_stay_inside() {
        for error in [
            StoreError::Unavailable("pg: password".into()),
            StoreError::Corrupt("secret".into()),
        ] {
            let body = serde_json::to_string(&Problem::from(error)).unwrap();
            assert!(
                !body.contains("password") && !body.contains("secret"),
                "{body}"
            );
        }
    }
}
