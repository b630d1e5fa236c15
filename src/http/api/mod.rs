//! What desks call, with their keys.

use std::fmt::Display;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Doors;
use super::error::Problem;
use crate::domain::time::Timestamp;

mod cells;
mod columnar;
mod comments;
mod compare;
mod contacts;
mod decisions;
mod deliveries;
mod desk;
mod events;
mod exports;
mod follow_ups;
mod formula;
mod held;
mod import;
mod opt_outs;
mod people;
mod questions;
mod ratings;
mod requests;
mod summary;
mod view;
mod webhook_view;
mod webhooks;

pub(super) fn router() -> OpenApiRouter<Doors> {
    OpenApiRouter::new()
        .routes(routes!(requests::create, requests::list))
        .routes(routes!(requests::one))
        .routes(routes!(requests::cancel))
        .routes(routes!(ratings::list))
        .routes(routes!(comments::list))
        .routes(routes!(desk::show, desk::change))
        .routes(routes!(desk::resume))
        .routes(routes!(decisions::replay))
        .routes(routes!(ratings::exclude))
        .routes(routes!(ratings::restore))
        .routes(routes!(held::list))
        .routes(routes!(held::release))
        .routes(routes!(events::read))
        .routes(routes!(webhooks::create, webhooks::list))
        .routes(routes!(
            webhooks::one,
            webhooks::change_one,
            webhooks::remove
        ))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(summary::summary))
        .routes(routes!(compare::compare))
        .routes(routes!(summary::agents))
        .routes(routes!(follow_ups::list))
        .routes(routes!(follow_ups::take))
        .routes(routes!(follow_ups::told))
        .routes(routes!(follow_ups::close))
        .routes(routes!(deliveries::replay))
        .routes(routes!(deliveries::list))
        .routes(routes!(opt_outs::list))
        .routes(routes!(import::import))
        .routes(routes!(opt_outs::one, opt_outs::put, opt_outs::remove))
        .routes(routes!(contacts::export, contacts::erase))
}

/// The most entries of one page.
const LIMIT_MAX: i64 = 200;
/// Entries of one page if the caller does not say.
const LIMIT_DEFAULT: i64 = 50;

/// How many entries the caller wants.
fn limit(text: Option<&str>) -> Result<i64, Problem> {
    let Some(text) = text else {
        return Ok(LIMIT_DEFAULT);
    };
    text.parse()
        .ok()
        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        .ok_or_else(|| {
            Problem::parameter(
                "limit",
                format!("must be a whole number from 1 to {LIMIT_MAX}"),
            )
        })
}

/// Cuts what was read with one more than asked for to a page; the cursor of the next one, if there is one.
fn next<T, C: Display>(found: &mut Vec<T>, limit: i64, name: impl Fn(&T) -> C) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    last.map(|last| name(last).to_string())
}

/// A cursor is the last identifier seen, opaque to the caller.
fn cursor(text: Option<&str>) -> Result<Option<uuid::Uuid>, Problem> {
    text.map(|text| {
        uuid::Uuid::try_parse(text)
            .map_err(|_| Problem::parameter("cursor", "must be the `next` of an earlier page"))
    })
    .transpose()
}

/// A text to look for. Nothing that we keep has control characters, and PostgreSQL refuses to compare with NUL.
fn text(name: &'static str, text: Option<String>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.chars().any(char::is_control) => Err(Problem::parameter(
            name,
            "must not contain control characters",
        )),
        text => Ok(text),
    }
}

/// An instant of the query.
fn instant(name: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    text.map(|text| {
        let parsed = text.parse::<jiff::Timestamp>();
        parsed
            .map(|instant| Timestamp::from_millis(instant.as_millisecond()))
            .map_err(|_| {
                Problem::parameter(name, "must be an instant such as 2026-11-21T18:00:00Z")
            })
    })
    .transpose()
}
