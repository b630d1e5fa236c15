//! `/livez`, `/readyz`, `/metrics`, `/metrics/totals`: for those who run it.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};
use serde::Deserialize;

use super::error::Problem;
use super::{Doors, families};
use crate::domain::desk::{Desk, Scope};
use crate::store::Condition;

pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/metrics/totals", get(all_totals))
}

/// Ready: not draining, and the schema fits. A database that does not answer is no reason to take every replica out: calls are
/// answered with 503 and a `Retry-After` until it is back.
async fn ready(State(doors): State<Doors>) -> Response {
    if doors.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match doors.journey.store.ready().await {
        Ok(true) => "ok\n".into_response(),
        Ok(false) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the schema is older than this version\n",
        )
            .into_response(),
        Err(_) => "ok, but the database does not answer\n".into_response(),
    }
}

async fn metrics(State(doors): State<Doors>, headers: HeaderMap) -> Result<Response, Problem> {
    let desk = allow(&doors, &headers).await?;
    let mut families = doors.journey.metrics.gather();
    let condition =
        condition(doors.journey.store.condition()).map_err(|error| unwritten(&error))?;
    families.extend(condition);
    if doors.totals_in_metrics {
        families.extend(database(&doors, desk.as_deref()).await?);
    }
    encode(&families)
}

/// What of the totals is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The short name of a desk: one target for each of many desks, none of which shares its series with another.
    desk: Option<String>,
}

async fn all_totals(
    State(doors): State<Doors>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let own = allow(&doors, &headers).await?;
    let Query(wanted) =
        wanted.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    let desk = match (own, wanted.desk) {
        (own, None) => own,
        (Some(own), Some(slug)) if own.slug != slug => {
            return Err(Problem::new("forbidden", "The key is another desk's."));
        }
        (_, Some(slug)) => {
            let desk = doors.journey.store.find_desk(&slug).await?;
            let unknown = || Problem::parameter("desk", "is no desk's short name");
            Some(Arc::new(desk.ok_or_else(unknown)?))
        }
    };
    encode(&database(&doors, desk.as_deref()).await?)
}

/// With keys, each shows its own desk; without, all are shown.
async fn allow(doors: &Doors, headers: &HeaderMap) -> Result<Option<Arc<Desk>>, Problem> {
    if doors.metrics_key {
        return doors.caller(headers, Scope::Metrics).await.map(Some);
    }
    Ok(None)
}

/// Read at scrape time. If the database does not answer there is a gap in the graph, which is true; an old number would not be.
async fn database(doors: &Doors, desk: Option<&Desk>) -> Result<Vec<MetricFamily>, Problem> {
    let mut figures = doors.journey.figures().await?;
    if let Some(desk) = desk {
        figures.only(&desk.slug);
    }
    Ok(families(&figures, doors.journey.clock.now()))
}

/// The connections and files of the database, as they are at this instant: no question to it, so this stays when it is away.
fn condition(condition: Condition) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let connections = IntGaugeVec::new(
        Opts::new(
            "onefive_database_connections",
            "Connections to the database that this process holds, by use.",
        ),
        &["state"],
    )?;
    for (state, count) in [("busy", condition.busy), ("idle", condition.idle)] {
        connections.with_label_values(&[state]).set(number(count));
    }
    let mut families = connections.collect();
    if let Some(bytes) = condition.log_bytes {
        let log = IntGauge::new(
            "onefive_sqlite_wal_bytes",
            "Size of SQLite's write-ahead log. It grows while somebody reads an old state of the file.",
        )?;
        log.set(number(bytes));
        families.extend(log.collect());
    }
    Ok(families)
}

fn encode(families: &[MetricFamily]) -> Result<Response, Problem> {
    let text = prometheus::TextEncoder::new()
        .encode_to_string(families)
        .map_err(|error| unwritten(&error))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

fn unwritten(error: &prometheus::Error) -> Problem {
    tracing::error!(%error, "the metrics could not be written");
    Problem::new("internal", "")
}
