//! `/v1/summary`: what the answers come to, by group, with its certainty.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::questions::{Asking, Limits, Piece};
use crate::channel;
use crate::domain::desk::Scope;
use crate::domain::statistics::counts::Counts;
use crate::domain::statistics::evidence::{ByChannel, add, together};
use crate::domain::statistics::figures::{Asked, Figures, Response as Rates, hidden};
use crate::domain::statistics::grouping::Dimension;
use crate::domain::statistics::outliers::{Outlier, outliers};
use crate::domain::time::Timestamp;
use crate::http::Doors;
use crate::http::error::Problem;
use crate::store::Group;

/// Groups of one answer; the smallest beyond that are one, `_other`.
const GROUPS_MAX: usize = 500;
const OTHER: &str = "_other";

/// Results by group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Summary {
    /// Conversations that ended at or after this; absent if all earlier ones are counted. Half hours are the finest that is kept, so
    /// this may be earlier than what you asked for.
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
    /// All groups together. Its ratings are not shown either if, less the groups that are shown, they would be those of too few.
    total: Figures,
}

/// One group.
#[derive(Debug, Serialize, ToSchema)]
struct GroupView {
    /// What its conversations have in common, such as `{"channel": "sms", "week": "2026-11-16"}` (a week is named by its Monday).
    by: BTreeMap<String, String>,
    /// How many groups are together here, because they are beyond the number of groups of one answer; they are named `_other`. Absent
    /// for a group of its own, whatever its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    together: Option<usize>,
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
    let evidence = channel::evidence();
    let mut total = ByChannel::new();
    let mut groups: BTreeMap<Vec<String>, ByChannel> = BTreeMap::new();
    for group in kept.iter().filter(|group| !group.counts.is_empty()) {
        put(&mut total, group);
        put(groups.entry(asking.named(group)).or_default(), group);
    }
    let groups = few(groups, asking.by.len());
    let counts: Vec<Counts> = groups
        .iter()
        .map(|group| together(&group.channels))
        .collect();
    let hide = groups_hidden(&asking, &groups, &counts);
    let hide_total = total_hidden(&asking, &together(&total), &counts, &hide);
    let views = groups.iter().zip(&hide).map(|(group, hidden)| {
        let names = asking.by.iter().map(|piece| piece.as_str().to_owned());
        GroupView {
            by: names.zip(group.key.iter().cloned()).collect(),
            together: group.together,
            figures: Figures::of(&group.channels, &evidence, *hidden),
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
        total: Figures::of(&total, &evidence, hide_total),
    };
    Ok(Json(answer).into_response())
}

/// More groups than one answer may be made of.
pub(super) fn too_many() -> Problem {
    let message = "makes more groups than one answer can hold; ask for less time, or group by less";
    Problem::parameter("group_by", message)
}

/// Adds what was found of a group in one channel.
pub(super) fn put(to: &mut ByChannel, group: &Group) {
    let counts = to.entry(group.channel.clone()).or_default();
    counts.add(&group.counts);
}

/// A group of the answer.
struct Shown {
    key: Vec<String>,
    channels: ByChannel,
    /// How many it stands for, if it is what is left over.
    together: Option<usize>,
}

/// At most [`GROUPS_MAX`]: the largest keep their names, so that what is left over moves the least.
fn few(groups: BTreeMap<Vec<String>, ByChannel>, names: usize) -> Vec<Shown> {
    let mut all: Vec<Shown> = groups
        .into_iter()
        .map(|(key, channels)| Shown {
            key,
            channels,
            together: None,
        })
        .collect();
    if all.len() <= GROUPS_MAX {
        return all;
    }
    all.sort_by_cached_key(|group| {
        let counts = together(&group.channels);
        std::cmp::Reverse((counts.triggers(), counts.n()))
    });
    let rest = all.split_off(GROUPS_MAX - 1);
    all.sort_by(|a, b| a.key.cmp(&b.key));
    let mut other = ByChannel::new();
    for group in &rest {
        add(&mut other, &group.channels);
    }
    all.push(Shown {
        key: vec![OTHER.to_owned(); names],
        channels: other,
        together: Some(rest.len()),
    });
    all
}

/// Whether the total is not shown: it is of too few, or less the groups that are shown it would be what is hidden.
fn total_hidden(asking: &Asking, total: &Counts, groups: &[Counts], hidden: &[bool]) -> bool {
    let about_one = asking.question.only.contains_key(&Dimension::Agent);
    let minimum = if about_one {
        asking.minimum
    } else {
        asking.plain_minimum
    };
    let hidden = groups.iter().zip(hidden).filter(|(_, hidden)| **hidden);
    let left: i64 = hidden.map(|(counts, _)| counts.n()).sum();
    let tells = asking.question.names_agents() && (1..asking.minimum).contains(&left);
    total.n() < minimum || tells
}

/// Which groups are too small to be shown. Agents are looked at beside the others of the same team, day or whatever else it is
/// grouped by, because those are what one could subtract.
fn groups_hidden(asking: &Asking, groups: &[Shown], counts: &[Counts]) -> Vec<bool> {
    let agent = Piece::Of(Dimension::Agent);
    let Some(place) = asking.by.iter().position(|piece| *piece == agent) else {
        let small = counts.iter().map(|counts| counts.n() < asking.minimum);
        return small.collect();
    };
    let mut wholes: BTreeMap<Vec<&String>, Vec<usize>> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        let rest = group.key.iter().enumerate().filter(|(n, _)| *n != place);
        let whole = rest.map(|(_, name)| name).collect();
        wholes.entry(whole).or_default().push(at);
    }
    let mut hide = vec![false; counts.len()];
    for places in wholes.values() {
        let whole: Vec<&Counts> = places.iter().map(|at| &counts[*at]).collect();
        for (at, hidden) in places.iter().zip(hidden(&whole, asking.minimum)) {
            hide[*at] = hidden;
        }
    }
    hide
}

/// Who asks whom.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Fairness {
    /// Conversations that ended at or after this, widened to the half hour; absent if all earlier ones are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Conversations that ended before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
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
/// So that nobody can choose unseen who is asked: a share that is out of line with that of all other agents in the same channels is
/// flagged. Conversations that were not asked about because of the desk's rules, chance or the customer count against nobody.
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
    let mut agents: BTreeMap<String, ByChannel> = BTreeMap::new();
    for group in &groups {
        let agent = group.by.first().cloned().unwrap_or_default();
        put(agents.entry(agent).or_default(), group);
    }
    let evidence = channel::evidence();
    let channels: Vec<ByChannel> = agents.values().cloned().collect();
    let agents = agents
        .into_iter()
        .zip(outliers(&channels, &evidence))
        .map(|((agent, channels), outliers)| {
            let figures = Figures::of(&channels, &evidence, true);
            AgentView {
                agent,
                asked: figures.asked,
                response: figures.response,
                excluded: together(&channels).excluded,
                outliers,
            }
        })
        .collect();
    let answer = Fairness {
        from: asking.question.from,
        to: asking.question.to,
        agents,
    };
    Ok(Json(answer).into_response())
}
