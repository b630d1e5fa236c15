//! `/sandbox`: pretend devices. The routes exist only when a channel is configured to use the sandbox provider.

use askama::Template as _;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};

use super::error::Problem;
use super::{Doors, pages};
use crate::provider::sandbox::Sandbox;
use crate::web::SandboxPage;

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/sandbox", get(page))
        .route("/sandbox/config", get(config))
        .route("/sandbox/state", get(state))
}

async fn page(State(doors): State<Doors>) -> Response {
    pages::html(StatusCode::OK, SandboxPage { base: doors.base() }.render())
}

async fn config(State(doors): State<Doors>) -> Result<Response, Problem> {
    with(&doors, |sandbox| {
        axum::Json(sandbox.page_config()).into_response()
    })
}

async fn state(State(doors): State<Doors>) -> Result<Response, Problem> {
    with(&doors, |sandbox| axum::Json(sandbox.kept()).into_response())
}

fn with(doors: &Doors, show: impl FnOnce(&Sandbox) -> Response) -> Result<Response, Problem> {
    let providers = doors.journey.routes.providers();
    let sandbox = providers
        .iter()
        .find_map(|provider| provider.sandbox())
        .ok_or_else(Problem::not_found)?;
    let mut response = show(sandbox);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
