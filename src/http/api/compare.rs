//! `/v1/summary/compare`: two groups beside each other, with the certainty of their difference.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::questions::Limits;
use super::summary::{put, too_many};
use crate::channel;
use crate::domain::desk::Scope;
use crate::domain::statistics::evidence::{ByChannel, together};
use crate::domain::statistics::figures::{Difference, Figures};
use crate::domain::statistics::grouping::Question;
use crate::domain::time::Timestamp;
use crate::http::Doors;
use crate::http::error::Problem;

/// One of two groups.
#[derive(Debug, Serialize, ToSchema)]
struct Side {
    /// Its conversations ended at or after this, widened to the half hour; absent if all earlier ones are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Its conversations ended before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    #[serde(flatten)]
    figures: Figures,
}

/// Two groups beside each other.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Comparison {
    /// The first group.
    first: Side,
    /// The second.
    second: Side,
    /// First minus second; `null` if one of them has no ratings, or too few to be shown.
    #[schema(required)]
    difference: Option<Difference>,
}

/// Compare two groups, or one group in two times
///
/// The first group is what the plain parameters say, the second the same but for what begins with `versus_`. The difference has its
/// interval and a sentence that says what it means, and what not. No conversation may be in both: groups that overlap, such as a team
/// and the whole desk, or two times that meet inside a half hour, are refused.
#[utoipa::path(
    get, path = "/v1/summary/compare", tag = "results", params(
        Limits,
        ("versus_channel" = Option<String>, Query, description = "The second group's channel"),
        ("versus_team" = Option<String>, Query, description = "The second group's team"),
        ("versus_queue" = Option<String>, Query, description = "The second group's queue"),
        ("versus_agent" = Option<String>, Query, description = "The second group's agent"),
        ("versus_touchpoint" = Option<String>, Query, description = "The second group's touchpoint"),
        ("versus_phase" = Option<String>, Query, description = "The second group's phase"),
        ("versus_topic" = Option<String>, Query, description = "The second group's topic"),
        ("versus_language" = Option<String>, Query, description = "The second group's language"),
        ("versus_wording" = Option<String>, Query, description = "The second group's wording"),
        ("versus_from" = Option<String>, Query, description = "The second group's conversations ended at or after this instant"),
        ("versus_to" = Option<String>, Query, description = "The second group's conversations ended before this instant"),
    ),
    responses(
        (status = 200, body = Comparison),
        (status = 400, description = "A parameter cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `read`", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn compare(
    State(doors): State<Doors>,
    headers: HeaderMap,
    parameters: Result<Query<BTreeMap<String, String>>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Read).await?;
    let Query(mut first) =
        parameters.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    let mut second = BTreeMap::new();
    first.retain(|name, value| match name.strip_prefix("versus_") {
        Some(name) => {
            second.insert(name.to_owned(), std::mem::take(value));
            false
        }
        None => true,
    });
    if second.is_empty() {
        return Err(Problem::parameter(
            "versus_from",
            "or another `versus_…` is needed: what the first group is compared with",
        ));
    }
    let differs = ["from", "to"]
        .into_iter()
        .find(|name| second.contains_key(*name))
        .or_else(|| second.keys().next().map(String::as_str));
    let differs = format!("versus_{}", differs.unwrap_or_default());
    for (name, value) in &first {
        second.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let mut askings = Vec::with_capacity(2);
    for side in [first, second] {
        let asking = Limits::of(&side)?.read()?;
        if !asking.by.is_empty() {
            return Err(Problem::parameter("group_by", "cannot be used here"));
        }
        askings.push(asking);
    }
    if let [one, two] = &askings[..]
        && overlap(&one.question, &two.question)
    {
        let message = "makes a group that shares conversations with the first one: name two values of one thing, or two times that do \
                       not share a half hour";
        return Err(Problem::parameter(&differs, message));
    }
    let evidence = channel::evidence();
    let mut sides = Vec::with_capacity(2);
    for asking in askings {
        let groups = doors.journey.store.groups(desk.id, &asking.question);
        let mut all = ByChannel::new();
        for group in &groups.await?.ok_or_else(too_many)? {
            put(&mut all, group);
        }
        let counts = together(&all);
        let hidden = counts.n() < asking.minimum;
        let side = Side {
            from: asking.question.from,
            to: asking.question.to,
            figures: Figures::of(&all, &evidence, hidden),
        };
        sides.push((side, counts));
    }
    let (Some((second, two)), Some((first, one))) = (sides.pop(), sides.pop()) else {
        return Err(Problem::new("internal", ""));
    };
    let difference = if first.figures.insufficient || second.figures.insufficient {
        None
    } else {
        Difference::of(&one, &two)
    };
    let answer = Comparison {
        first,
        second,
        difference,
    };
    Ok(Json(answer).into_response())
}

/// Whether a conversation may belong to both.
fn overlap(one: &Question, two: &Question) -> bool {
    let before = |one: &Question, two: &Question| {
        let (to, from) = (one.to, two.from);
        to.zip(from).is_some_and(|(to, from)| to <= from)
    };
    let named = |(dimension, wanted)| two.only.get(dimension).is_some_and(|other| other != wanted);
    let apart = one.only.iter().any(named);
    !apart && !before(one, two) && !before(two, one)
}
