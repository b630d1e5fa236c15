//! `/v1/decisions`: what other rules would have decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::desk::{Desk, DeskSettings, Scope};
use crate::domain::id::RequestId;
use crate::domain::policy::{Rules, Tally, decision_word};
use crate::domain::strict::{self, Refused};
use crate::domain::time::Timestamp;
use crate::domain::trigger::FieldError;
use crate::http::error::Problem;
use crate::http::{Doors, body};
use crate::journey::{Replayed, Stretch};

/// Rules to try on past triggers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"rules": {"caps": [{"count": 1, "days": 14}]}, "from": "2026-11-01T00:00:00Z", "to": "2026-11-15T00:00:00Z"}))]
pub(super) struct ReplayCall {
    /// The rules, as in the desk's settings. A rule that is left out stays as it is now.
    #[schema(value_type = Rules)]
    rules: serde_json::Map<String, serde_json::Value>,
    /// Only triggers that came at or after this instant.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Only triggers that came before this instant.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// The `cursor` of an answer that was cut, with the same rules and instants.
    #[serde(default)]
    cursor: Option<String>,
}

/// What the rules would have decided.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReplayView {
    /// Triggers looked at.
    triggers: usize,
    /// Of these, decided otherwise.
    differ: usize,
    /// What was decided.
    before: TallyView,
    /// What would have been decided.
    after: TallyView,
    /// The first differences, at most 50.
    examples: Vec<Example>,
    /// There is more: at most 50,000 triggers are looked at in one call.
    cut: bool,
    /// Where to go on. The next call takes the asks up to here as they were, not as these rules would have had them.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// How often each decision was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TallyView {
    /// By decision: `asked`, or the reason why not.
    decisions: BTreeMap<&'static str, u64>,
    /// Of those asked, how many were delayed by quiet hours.
    delayed: u64,
}

/// A trigger that would have been decided otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Example {
    /// Its request.
    request: String,
    /// What was decided: `asked`, or the reason why not.
    before: &'static str,
    /// What would have been decided.
    after: &'static str,
}

impl From<Tally> for TallyView {
    fn from(tally: Tally) -> Self {
        Self {
            decisions: tally.decisions,
            delayed: tally.delayed,
        }
    }
}

impl From<Replayed> for ReplayView {
    fn from(replayed: Replayed) -> Self {
        let examples = replayed.examples.into_iter();
        Self {
            triggers: replayed.triggers,
            differ: replayed.differ,
            before: replayed.before.into(),
            after: replayed.after.into(),
            examples: examples
                .map(|(id, compared)| Example {
                    request: id.to_string(),
                    before: decision_word(compared.before),
                    after: decision_word(compared.after),
                })
                .collect(),
            cut: replayed.cut.is_some(),
            cursor: replayed.cut.map(|id| id.to_string()),
        }
    }
}

/// Try other rules on past triggers
///
/// Walks what was decided in that time, asked and not asked, in the order in which it came, and decides again with other rules:
/// nothing is sent or changed. What cannot be known again is taken from what was decided: a duplicate, an opt-out, a request
/// that was open, a channel that nothing carried, an agent's own address. An ask that was suppressed only when it fell due counts as
/// suppressed.
#[utoipa::path(
    post, path = "/v1/decisions/replay", tag = "desk", request_body = ReplayCall,
    responses(
        (status = 200, description = "What would have differed", body = ReplayView),
        (status = 400, description = "A field cannot be used", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "The key lacks the scope `admin`", body = Problem),
        (status = 408, description = "The body did not arrive in time", body = Problem),
        (status = 413, description = "The body is longer than 64 KiB", body = Problem),
        (status = 415, description = "The body is not application/json", body = Problem),
        (status = 503, description = "Try again later", body = Problem),
    )
)]
pub(super) async fn replay(
    State(doors): State<Doors>,
    headers: HeaderMap,
    raw: Body,
) -> Result<Response, Problem> {
    let caller = doors.caller(&headers, Scope::Admin).await?;
    let call: ReplayCall = body::call(&headers, raw, body::LARGE, doors.body_deadline).await?;
    let found = doors.journey.store.desk(caller.id).await?;
    let desk = found.ok_or_else(Problem::not_found)?;
    if call.from >= call.to {
        return Err(FieldError::new("to", "must be after `from`").into());
    }
    let after = call.cursor.as_deref().map(str::parse::<RequestId>);
    let after = after
        .transpose()
        .map_err(|_| FieldError::new("cursor", "must be the `cursor` of an earlier answer"))?;
    let settings = changed(&desk, call.rules)?;
    let stretch = Stretch {
        from: call.from,
        to: call.to,
        after,
    };
    let replayed = doors.journey.replay(&desk, settings, stretch).await?;
    Ok(Json(ReplayView::from(replayed)).into_response())
}

/// The desk's settings with these rules changed.
fn changed(
    desk: &Desk,
    rules: serde_json::Map<String, serde_json::Value>,
) -> Result<DeskSettings, Problem> {
    let mut all = serde_json::to_value(&desk.settings.rules)
        .map_err(|error| Problem::new("internal", error.to_string()))?;
    if let Some(all) = all.as_object_mut() {
        all.extend(rules);
    }
    let rules: Rules = strict::read(all).map_err(|refused| match refused {
        Refused::Unknown(field) => Problem::field(format!("rules.{field}"), "is no rule"),
        Refused::Wrong(field, error) => Problem::field(format!("rules.{field}"), error),
        Refused::Whole(error) => Problem::field("rules", error),
    })?;
    rules.check("rules.")?;
    Ok(DeskSettings {
        rules: Arc::new(rules),
        ..desk.settings.clone()
    })
}
