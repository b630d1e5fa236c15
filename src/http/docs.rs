//! `/openapi.json`, made from the handlers, and `/docs`, which shows it without any outside file.

use std::sync::Arc;

use askama::Template as _;
use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{StatusCode, header};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};

use super::error::{CODES, Problem};
use super::{Doors, pages};
use crate::web::DocsPage;

#[derive(OpenApi)]
#[openapi(
    info(title = "onefive", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    components(schemas(Problem)),
    modifiers(&Key),
    security(("key" = []))
)]
struct Document;

struct Key;

impl utoipa::Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key: `o5_…`"))
            .build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The document without its paths; the API's handlers add theirs.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let codes: Vec<String> = CODES
        .iter()
        .map(|(code, status, meaning)| format!("- `{code}` ({status}): {meaning}"))
        .collect();
    document.info.description = Some(format!(
        "A conversation with a customer has ended: call `POST /v1/requests` once, and the customer is asked for a rating from \
         1 to 5 in the channel that the conversation took place in.\n\nErrors are problem details (RFC 9457) with a stable \
         `code`:\n\n{}",
        codes.join("\n")
    ));
    document
}

/// The document with the answer that every call may get: it comes before the handlers.
pub(super) fn limited(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let answer = ResponseBuilder::new()
        .description("Too many calls of the key, or too many wrong keys; `Retry-After` says when to try again")
        .content("application/json", problem)
        .build();
    for path in document.paths.paths.values_mut() {
        let operations = [
            &mut path.get,
            &mut path.put,
            &mut path.post,
            &mut path.patch,
            &mut path.delete,
        ];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            responses
                .entry("429".to_owned())
                .or_insert_with(|| answer.clone().into());
        }
    }
    document
}

pub(super) fn router(document: Arc<utoipa::openapi::OpenApi>) -> Router<Doors> {
    let json = move || {
        let document = Arc::clone(&document);
        async move { axum::Json(document.as_ref().clone()) }
    };
    Router::new()
        .route("/openapi.json", get(json))
        .route("/docs", get(page))
        // The files of the public pages are served where customers come, which may be another listener.
        .route("/docs/{name}", get(pages::asset))
        .route("/", get(home))
}

async fn page() -> Response {
    pages::html(StatusCode::OK, DocsPage.render())
}

/// Whoever comes by hand wants to read. Said from where they are: the public address may be another listener's.
async fn home() -> Response {
    let to = [(header::LOCATION, "docs")];
    (StatusCode::TEMPORARY_REDIRECT, to).into_response()
}
