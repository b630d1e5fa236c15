//! The doors. Three routers: what customers and providers reach (no API key, each door proves itself), what desks call (API
//! keys), and what operators scrape. Which listener serves which is configuration.
//!
//! Nothing is decided here: a handler reads, proves, calls the journey or the store, and writes. The only user of axum,
//! but for `app`, which merges the routers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, header};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::journey::Journey;

mod admin;
mod api;
mod auth;
mod board;
mod body;
mod cared;
mod chat;
mod client;
mod docs;
mod error;
mod hooks;
mod limits;
mod pages;
mod sandbox;
mod seats;
pub mod server;
mod totals;
mod visitor;

pub use auth::KnownKeys;
use error::{Problem, StoreFailed};
pub use limits::{LimitSettings, Limits};
pub use seats::Seats;
pub use totals::all::families;

/// What every handler has.
#[derive(Clone, Debug)]
pub struct Doors {
    /// The steps. Shared, because every request passes several layers and each holds its own copy of this.
    pub journey: Arc<Journey>,
    /// API keys that were found lately.
    pub known_keys: KnownKeys,
    /// Who reads events.
    pub readers: Seats,
    /// Who takes exports.
    pub exports: Seats,
    /// Who tries doors, and who calls too often.
    pub limits: Limits,
    /// For a request's body.
    pub body_deadline: Duration,
    /// Whether metrics want a key.
    pub metrics_key: bool,
    /// Whether `/metrics` holds the totals too: with one process there is nothing to keep apart.
    pub totals_in_metrics: bool,
    /// Set while we drain: a balancer shall send no more.
    pub draining: CancellationToken,
}

impl Doors {
    /// The path part of the public address, for links of our pages: usually empty.
    fn base(&self) -> &str {
        let url = self.journey.rules.public_url.as_str();
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        url[after_scheme..]
            .find('/')
            .map_or("", |at| &url[after_scheme + at..])
    }

    fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }
}

/// The three routers.
pub struct Routers {
    /// For customers and providers.
    pub public: Router,
    /// For desks.
    pub api: Router,
    /// For operators.
    pub admin: Router,
}

impl std::fmt::Debug for Routers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Routers")
    }
}

/// Builds the routers, still without their common layers (see [`finish`]).
pub fn routers(doors: &Doors) -> Routers {
    let (api, openapi) = OpenApiRouter::with_openapi(docs::document())
        .merge(api::router())
        .merge(board::api())
        .split_for_parts();
    let openapi = Arc::new(docs::limited(openapi));
    let mut public = Router::new()
        .merge(hooks::router())
        .merge(pages::router())
        .merge(chat::router());
    if doors
        .journey
        .routes
        .providers()
        .iter()
        .any(|provider| provider.sandbox().is_some())
    {
        public = public.merge(sandbox::router());
    }
    Routers {
        public: public.with_state(doors.clone()),
        api: api
            .merge(docs::router(openapi))
            .merge(board::router())
            .with_state(doors.clone()),
        admin: admin::router().with_state(doors.clone()),
    }
}

/// Adds what every listener has: metrics, a caught panic as a 500, and problem details for what no handler answers.
pub fn finish(router: Router, doors: &Doors) -> Router {
    router
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::new("method_not_allowed", ""))
        .layer(CatchPanicLayer::custom(|_| {
            Problem::new("internal", "").into_response()
        }))
        .layer(middleware::from_fn_with_state(doors.clone(), limits::limit))
        .layer(middleware::from_fn_with_state(doors.clone(), measure))
}

/// Counts and times each request. Labels are routes of ours and fixed words, never what came in.
async fn measure(State(doors): State<Doors>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = method_word(request.method());
    let begun = Instant::now();
    let mut response = next.run(request).await;
    let metrics = &doors.journey.metrics;
    metrics
        .http_requests
        .with_label_values(&[route.as_str(), method, response.status().as_str()])
        .inc();
    metrics
        .http_seconds
        .with_label_values(&[route.as_str()])
        .observe(begun.elapsed().as_secs_f64());
    if let Some(StoreFailed(kind)) = response.extensions().get() {
        let kind = [kind.as_str()];
        metrics.store_errors.with_label_values(&kind).inc();
    }
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    response
}

fn method_word(method: &Method) -> &'static str {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ]
    .iter()
    .zip(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
    .find_map(|(known, word)| (known == method).then_some(word))
    .unwrap_or("other")
}

/// What a path names. A part that is not even text names nothing of ours, and the answer is a problem like every other.
struct Path<T>(T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: serde::de::DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(named)| Self(named))
            .map_err(|_| Problem::not_found())
    }
}

/// A header's text, empty if it is missing or no text.
fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
