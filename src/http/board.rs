//! `/board`: the live board of a desk, and `GET /v1/key`, by which it learns whose key it was given. The page itself shows
//! nothing to anybody; every number comes from the API with the reader's key.

use askama::Template as _;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Problem;
use super::{Doors, pages};
use crate::domain::desk::Scope;
use crate::domain::time::Timestamp;
use crate::web::BoardPage;

/// The board loads our files and asks our API, and that is all: no form is sent anywhere, nobody frames it, and no script of it can
/// turn a text into HTML.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; \
     frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/board", get(page))
        // The files of the public pages are served where customers come, which may be another listener.
        .route("/board/{name}", get(pages::asset))
}

pub(super) fn api() -> OpenApiRouter<Doors> {
    OpenApiRouter::new().routes(routes!(key))
}

async fn page() -> Response {
    let mut response = pages::html(StatusCode::OK, BoardPage.render());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// A key: whose it is and what it may do.
#[derive(Debug, Serialize, ToSchema)]
struct KeyView {
    /// The desk's short name: a metric label.
    #[schema(example = "acme")]
    desk: String,
    /// The name that contacts see.
    name: String,
    /// The desk's time zone; empty if it has set none.
    #[schema(example = "Europe/Madrid")]
    timezone: String,
    /// What the key may be used for: `send`, `read`, `admin`, `metrics`.
    scopes: Vec<&'static str>,
    /// What time it is here.
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
}

/// Whose key is this
///
/// Answers every valid key, whatever its scopes.
#[utoipa::path(
    get, path = "/v1/key", tag = "desk",
    responses(
        (status = 200, body = KeyView),
        (status = 401, description = "No valid key", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
async fn key(State(doors): State<Doors>, headers: HeaderMap) -> Result<Response, Problem> {
    let known = doors.identify(&headers).await?;
    let desk = known.desk();
    let view = KeyView {
        desk: desk.slug.clone(),
        name: desk.name.clone(),
        timezone: desk.settings.timezone.clone(),
        scopes: known
            .key
            .scopes
            .iter()
            .copied()
            .map(Scope::as_str)
            .collect(),
        now: doors.journey.clock.now(),
    };
    let mut response = Json(view).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
