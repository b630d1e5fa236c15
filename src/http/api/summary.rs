//! `/v1/summary`: what the answers come to, by group, with its certainty.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::questions::{Asking, Limits, Piece};
use crate::domain::desk::Scope;
use crate::domain::statistics::counts::Counts;
use crate::domain::statistics::figures::{Asked, Difference, Figures, Response as Rates, hidden};
use crate::domain::statistics::grouping::Dimension;
use crate::domain::statistics::outliers::{Outlier, outliers};
use crate::domain::time::Timestamp;
use crate::http::Doors;
use crate::http::error::Problem;

/// Groups of one answer; the smallest beyond that are one, `_other`.
const GROUPS_MAX: usize = 500;
const OTHER: &str = "_other";

/// Results by group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Summary {
    /// Conversations that ended at or after this; absent if all earlier ones are counted. Half hours are the finest that is kept
    /// (days of UTC where anything but channel, team, touchpoint and phase is named), so this may be earlier than what you asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Conversations that ended before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// The time zone of `day` and `week`.
    timezone: String,
    /// By what it is grouped.
    group_by: Vec<String>,
    /// Ratings that a group must have to be shown.
    minimum: i64,
    /// The groups in order; only those in which something happened.
    groups: Vec<GroupView>,
    /// All groups together.
    total: Figures,
}

/// One group.
#[derive(Debug, Serialize, ToSchema)]
struct GroupView {
    /// What its conversations have in common, such as `{"channel": "sms", "week": "2026-11-16"}` (a week is named by its Monday).
    /// `_other` is what is beyond the number of groups of one answer.
    by: BTreeMap<String, String>,
    #[serde(flatten)]
    figures: Figures,
}

/// Results by group
///
/// Conversations are counted by when they ended (when you called us), with all that became of them until now: an answer that comes
/// tomorrow is counted in today's group. CSAT is the share of 4 and 5 in percent, never anything else.
#[utoipa::path(
    get, path = "/v1/summary", tag = "results", params(Limits),
    responses(
        (status = 200, body = Summary),
        (status = 400, description = "A parameter cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `read`", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn summary(
    State(doors): State<Doors>,
    headers: HeaderMap,
    limits: Result<Query<Limits>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Read).await?;
    let Query(limits) =
        limits.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    let mut asking = limits.read()?;
    if asking.in_time() {
        let now = doors.journey.clock.now();
        let first = doors.journey.store.first_day(desk.id).await?;
        asking.divide(first.unwrap_or(now), now);
    }
    let kept = doors
        .journey
        .store
        .groups(desk.id, &asking.question)
        .await?
        .ok_or_else(too_many)?;
    let mut total = Counts::default();
    let mut groups: BTreeMap<Vec<String>, Counts> = BTreeMap::new();
    for group in kept {
        total.add(&group.counts);
        let named = asking.named(&group);
        groups.entry(named).or_default().add(&group.counts);
    }
    groups.retain(|_, counts| !counts.is_empty());
    let groups = few(groups, asking.by.len());
    let shown = groups_shown(&asking, &groups);
    let about_one = asking.question.only.contains_key(&Dimension::Agent);
    let minimum = if about_one {
        asking.minimum
    } else {
        asking.plain_minimum
    };
    let views = groups.iter().zip(shown).map(|((key, counts), hidden)| {
        let names = asking.by.iter().map(|piece| piece.as_str().to_owned());
        GroupView {
            by: names.zip(key.iter().cloned()).collect(),
            figures: Figures::of(counts, hidden),
        }
    });
    let answer = Summary {
        from: asking.question.from,
        to: asking.question.to,
        timezone: asking.timezone.clone(),
        group_by: asking
            .by
            .iter()
            .map(|piece| piece.as_str().to_owned())
            .collect(),
        minimum: asking.minimum,
        groups: views.collect(),
        total: Figures::of(&total, total.n() < minimum),
    };
    Ok(Json(answer).into_response())
}

/// More groups than one answer may be made of.
fn too_many() -> Problem {
    let message = "makes more groups than one answer can hold; ask for less time, or group by less";
    Problem::parameter("group_by", message)
}

/// At most [`GROUPS_MAX`]: the largest keep their names, so that what is left over moves the least.
fn few(groups: BTreeMap<Vec<String>, Counts>, names: usize) -> BTreeMap<Vec<String>, Counts> {
    if groups.len() <= GROUPS_MAX {
        return groups;
    }
    let mut all: Vec<(Vec<String>, Counts)> = groups.into_iter().collect();
    all.sort_by_key(|(_, counts)| std::cmp::Reverse((counts.triggers(), counts.n())));
    let mut other = Counts::default();
    for (_, counts) in all.split_off(GROUPS_MAX - 1) {
        other.add(&counts);
    }
    all.push((vec![OTHER.to_owned(); names], other));
    all.into_iter().collect()
}

/// Which groups are too small to be shown. Agents are looked at beside the others of the same team, day or whatever else it is
/// grouped by, because those are what one could subtract.
fn groups_shown(asking: &Asking, groups: &BTreeMap<Vec<String>, Counts>) -> Vec<bool> {
    let agent = Piece::Of(Dimension::Agent);
    let Some(place) = asking.by.iter().position(|piece| *piece == agent) else {
        let small = groups.values().map(|counts| counts.n() < asking.minimum);
        return small.collect();
    };
    let mut wholes: BTreeMap<Vec<&String>, Vec<usize>> = BTreeMap::new();
    for (at, key) in groups.keys().enumerate() {
        let rest = key.iter().enumerate().filter(|(n, _)| *n != place);
        let whole = rest.map(|(_, name)| name).collect();
        wholes.entry(whole).or_default().push(at);
    }
    let counts: Vec<&Counts> = groups.values().collect();
    let mut shown = vec![false; counts.len()];
    for places in wholes.values() {
        let whole: Vec<&Counts> = places.iter().map(|at| counts[*at]).collect();
        for (at, hide) in places.iter().zip(hidden(&whole, asking.minimum)) {
            shown[*at] = hide;
        }
    }
    shown
}

/// Two groups beside each other.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Comparison {
    /// The first group.
    first: Figures,
    /// The second.
    second: Figures,
    /// First minus second; `null` if one of them has no ratings, or too few to be shown.
    #[schema(required)]
    difference: Option<Difference>,
}

/// Compare two groups, or one group in two times
///
/// The first group is what the plain parameters say, the second the same but for what begins with `versus_`. The difference has its
/// interval and a sentence that says what it means, and what not.
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
    for (name, value) in &first {
        second.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let mut sides = Vec::with_capacity(2);
    for side in [first, second] {
        let asking = Limits::of(&side)?.read()?;
        if !asking.by.is_empty() {
            return Err(Problem::parameter("group_by", "cannot be used here"));
        }
        let groups = doors.journey.store.groups(desk.id, &asking.question);
        let mut all = Counts::default();
        for group in groups.await?.ok_or_else(too_many)? {
            all.add(&group.counts);
        }
        let hidden = all.n() < asking.minimum;
        sides.push((all, hidden));
    }
    let [(one, one_hidden), (two, two_hidden)] = &sides[..] else {
        return Err(Problem::new("internal", ""));
    };
    let difference = if *one_hidden || *two_hidden {
        None
    } else {
        Difference::of(one, two)
    };
    let answer = Comparison {
        first: Figures::of(one, *one_hidden),
        second: Figures::of(two, *two_hidden),
        difference,
    };
    Ok(Json(answer).into_response())
}

/// Who asks whom.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Fairness {
    /// Every agent in order; the empty name is conversations without one.
    agents: Vec<AgentView>,
}

/// One agent: how many of the conversations were asked about and answered, without scores.
#[derive(Debug, Serialize, ToSchema)]
struct AgentView {
    /// Your id of the agent, or the name if you gave no id.
    agent: String,
    /// What became of the conversations.
    asked: Asked,
    /// Response rates.
    response: Rates,
    /// Ratings taken out of the scores.
    excluded: i64,
    /// The shares that differ from those of all other agents by more than chance and by at least five points.
    outliers: Vec<Outlier>,
}

/// Offered, reached and answered by agent
///
/// So that nobody can choose unseen who is asked: a share that is out of line with that of all other agents is flagged.
#[utoipa::path(
    get, path = "/v1/summary/agents", tag = "results", params(Limits),
    responses(
        (status = 200, body = Fairness),
        (status = 400, description = "A parameter cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `read`", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn agents(
    State(doors): State<Doors>,
    headers: HeaderMap,
    limits: Result<Query<Limits>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let desk = doors.caller(&headers, Scope::Read).await?;
    let Query(limits) =
        limits.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
    let asking = limits.by_agent()?;
    let groups = doors
        .journey
        .store
        .groups(desk.id, &asking.question)
        .await?
        .ok_or_else(too_many)?;
    let counts: Vec<Counts> = groups.iter().map(|group| group.counts.clone()).collect();
    let agents = groups
        .into_iter()
        .zip(outliers(&counts))
        .map(|(mut group, outliers)| {
            let figures = Figures::of(&group.counts, true);
            AgentView {
                agent: group.by.pop().unwrap_or_default(),
                asked: figures.asked,
                response: figures.response,
                excluded: group.counts.excluded,
                outliers,
            }
        })
        .collect();
    Ok(Json(Fairness { agents }).into_response())
}
