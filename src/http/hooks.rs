//! `/hooks/{provider}/…`: raw bytes to the provider, which proves and reads them; our words to the journey; its answer back
//! through the provider. An answer with 2xx means that what came is committed.

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Method, header};

use super::error::Problem;
use super::{Doors, Path, body};
use crate::provider::{Hook, HookError, Intake};

pub(super) fn router() -> Router<Doors> {
    Router::new().route("/hooks/{provider}/{*path}", any(hook))
}

async fn hook(
    State(doors): State<Doors>,
    Path((provider, path)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    method: Method,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let provider = doors
        .journey
        .routes
        .named(&provider)
        .cloned()
        .ok_or_else(Problem::not_found)?;
    let mut hook = Hook {
        method: method.as_str(),
        path: &path,
        target: uri.path_and_query().map_or("/", |target| target.as_str()),
        query: uri.query().unwrap_or_default(),
        headers: &headers,
        body: &[],
    };
    let hooks = &doors.journey.metrics.hooks;
    let count = |result: &str| {
        hooks.with_label_values(&[provider.name(), result]).inc();
    };
    let refused = |error: &HookError| {
        count(match error {
            HookError::Forged => "forged",
            HookError::Unknown => "unknown",
            HookError::Malformed { .. } => "malformed",
        });
        tracing::warn!(provider = provider.name(), %error, "a hook was refused");
    };
    let within = doors.body_deadline;
    let bytes = match provider.admit(&hook).inspect_err(refused)? {
        Intake::Whole => body::read(raw, body::LARGE, within).await?,
        Intake::Start(limit) => body::read_start(raw, limit, within).await?,
    };
    hook.body = &bytes;
    let inbound = provider.inbound(&hook).inspect_err(refused)?;
    let answer = doors.journey.receive(provider.as_ref(), &inbound).await?;
    count("taken");
    let reply = provider.answer(&inbound, &answer);
    let mut response = reply.body.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(reply.content_type),
    );
    Ok(response)
}
