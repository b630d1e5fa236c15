//! `/v1/opt-outs/import`: a list from elsewhere, line by line.

#![expect(
    unused_qualifications,
    reason = "the macro that documents a path writes its parameters' type twice"
)]

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::people::table;
use crate::domain::desk::Scope;
use crate::http::error::Problem;
use crate::http::{Doors, body, header_text};

/// Bad lines that an answer lists.
const LISTED: usize = 100;

/// How to take it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// `true` takes the good lines of a file that has bad ones; otherwise such a file changes nothing.
    partial: Option<String>,
}

/// What became of a file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Imported {
    /// Lines that are on the list now and were not before.
    taken: u64,
    /// Lines that were on the list already, or stand twice in the file.
    already: u64,
    /// Lines that cannot be used.
    bad: usize,
    /// The first hundred of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<BadLine>,
}

/// A line that cannot be used.
#[derive(Debug, Serialize, ToSchema)]
struct BadLine {
    /// Its number in the file, from 1.
    line: u64,
    /// Which field; absent where the line cannot be read at all.
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'static str,
    /// What is wrong with it.
    message: String,
}

/// The same where nothing was done.
#[derive(Serialize)]
struct Refused {
    #[serde(flatten)]
    problem: Problem,
    #[serde(flatten)]
    imported: Imported,
}

/// Put a whole list on yours
///
/// CSV with a first line that names the columns, or JSON lines (by `Content-Type`: `text/csv`, `application/x-ndjson`), of at most
/// 64 KiB; larger lists come in several calls. `address` is needed, `channel` (`*` if empty) and `reason` are not; other columns are
/// read over, so that a list of ours can come in again. Doing it again changes nothing. A file with bad lines changes nothing unless
/// `partial=true`.
#[utoipa::path(
    post, path = "/v1/opt-outs/import", tag = "contacts", params(How),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 200, body = Imported),
        (status = 400, description = "Lines cannot be used, and nothing was changed: the problem also has what a success has", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 413, description = "The body is longer than 64 KiB", body = Problem),
        (status = 415, description = "The body is neither CSV nor JSON lines", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn import(
    State(doors): State<Doors>,
    headers: HeaderMap,
    how: Result<Query<How>, axum::extract::rejection::QueryRejection>,
    raw: Body,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Admin).await?;
    let Query(how) = how.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    let partial = match how.partial.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::parameter("partial", "must be true or false")),
    };
    let kind = table::kind(header_text(&headers, header::CONTENT_TYPE))
        .filter(|kind| *kind != table::Kind::Json)
        .ok_or_else(|| {
            let expected = "Send Content-Type: text/csv or application/x-ndjson.";
            Problem::new("unsupported_media_type", expected)
        })?;
    let bytes = body::read(raw, body::LARGE, doors.body_deadline).await?;
    let (good, bad) = table::read(kind, &bytes);
    let mut imported = Imported {
        taken: 0,
        already: 0,
        bad: bad.len(),
        lines: bad
            .into_iter()
            .take(LISTED)
            .map(|bad| BadLine {
                line: bad.line,
                field: bad.field,
                message: bad.message,
            })
            .collect(),
    };
    if imported.bad > 0 && !partial {
        return Ok(refused(imported));
    }
    let (store, now) = (&doors.journey.store, doors.journey.clock.now());
    imported.taken = store.add_opt_outs(desk.id, &good, now).await?;
    imported.already = good.len() as u64 - imported.taken;
    Ok(Json(imported).into_response())
}

fn refused(imported: Imported) -> Response {
    let detail = format!(
        "{} lines cannot be used; nothing was changed.",
        imported.bad
    );
    let problem = Problem::new("invalid_lines", detail);
    let mut response =
        (StatusCode::BAD_REQUEST, Json(Refused { problem, imported })).into_response();
    let media = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}
