//! What a caller asks of the results, read from the parameters of the query.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{instant, text};
use crate::domain::statistics::figures::AGENT_MINIMUM;
use crate::domain::statistics::grouping::{Dimension, GROUPINGS_MAX, Question, Slots};
use crate::http::error::Problem;
use crate::store::Group;

/// Which conversations, and how their results are grouped.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Limits {
    /// Up to three of `channel`, `team`, `queue`, `agent`, `touchpoint`, `phase`, `topic`, `language`, `wording`, `week`, `day`,
    /// with commas between them. `week` and `day` exclude each other.
    group_by: Option<String>,
    /// Only conversations that ended at or after this instant (RFC 3339); widened to the half hour.
    from: Option<String>,
    /// Only conversations that ended before this instant (RFC 3339); widened likewise.
    to: Option<String>,
    /// The time zone of `day` and `week`, such as `America/New_York`; UTC if not given. Half hours of UTC are the finest that is kept: in
    /// the three zones whose midnight is not on one (Nepal, Chatham, Eucla) the quarter of an hour after it counts to the day before.
    timezone: Option<String>,
    /// Show no ratings of a group that has fewer than this. What names an agent is not shown for fewer than 5, and neither is a total
    /// that would tell what is left out. So that nobody is judged by a handful of answers; it keeps nothing secret: whoever may read
    /// results can ask twice and subtract.
    minimum: Option<String>,
    /// Only this channel.
    channel: Option<String>,
    /// Only this team.
    team: Option<String>,
    /// Only this queue.
    queue: Option<String>,
    /// Only this agent: your id, or the name if you gave no id.
    agent: Option<String>,
    /// Only this touchpoint.
    touchpoint: Option<String>,
    /// Only this phase.
    phase: Option<String>,
    /// Only this topic.
    topic: Option<String>,
    /// Only this language.
    language: Option<String>,
    /// Only asks in these words: `de` are those of the service in that language, `de/own` the desk's own in place of them (any text of
    /// the ask's channel, or a word of the scale), `de/own/vpn` those that the desk has for the touchpoint `vpn`; as they were set
    /// when the conversation ended.
    wording: Option<String>,
}

/// Time that results are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
}

/// One thing that results are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// What the trigger said.
    Of(Dimension),
    /// When the conversation ended.
    In(Period),
}

impl Piece {
    /// The word used in the API.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Of(dimension) => dimension.as_str(),
            Self::In(Period::Day) => "day",
            Self::In(Period::Week) => "week",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        match word {
            "day" => Some(Self::In(Period::Day)),
            "week" => Some(Self::In(Period::Week)),
            word => Dimension::parse(word).map(Self::Of),
        }
    }
}

/// A question that can be answered.
#[derive(Debug)]
pub(super) struct Asking {
    /// What the store is asked.
    pub(super) question: Question,
    /// By what it is grouped, in the caller's order.
    pub(super) by: Vec<Piece>,
    /// The time zone's name.
    pub(super) timezone: String,
    /// The fewest ratings that a group is shown for.
    pub(super) minimum: i64,
    /// The same for what is not about an agent.
    pub(super) plain_minimum: i64,
}

impl Limits {
    /// From parameters by name.
    pub(super) fn of(parameters: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let text = serde_urlencoded::to_string(parameters).unwrap_or_default();
        serde_urlencoded::from_str(&text)
            .map_err(|error| Problem::new("invalid_parameter", error.to_string()))
    }

    /// The question, grouped by agent and nothing else.
    pub(super) fn by_agent(self) -> Result<Asking, Problem> {
        if self.group_by.is_some() {
            return Err(Problem::parameter("group_by", "cannot be used here"));
        }
        let group_by = Some("agent".to_owned());
        Self { group_by, ..self }.read()
    }

    /// The question, if it can be answered.
    pub(super) fn read(self) -> Result<Asking, Problem> {
        let by = pieces(self.group_by.as_deref())?;
        let timezone = self.timezone.unwrap_or_else(|| "UTC".to_owned());
        let zone = TimeZone::get(&timezone).map_err(|_| {
            Problem::parameter(
                "timezone",
                "must be an IANA time zone such as Europe/Madrid",
            )
        })?;
        let plain_minimum = minimum(self.minimum.as_deref())?;
        let mut only = BTreeMap::new();
        for (dimension, wanted) in [
            (Dimension::Channel, self.channel),
            (Dimension::Team, self.team),
            (Dimension::Queue, self.queue),
            (Dimension::Agent, self.agent),
            (Dimension::Touchpoint, self.touchpoint),
            (Dimension::Phase, self.phase),
            (Dimension::Topic, self.topic),
            (Dimension::Language, self.language),
            (Dimension::Wording, self.wording),
        ] {
            // Nothing to choose from, as from a form that was not filled in.
            if let Some(wanted) = text(dimension.as_str(), wanted)?.filter(|text| !text.is_empty())
            {
                only.insert(dimension, wanted);
            }
        }
        let in_time = by.iter().find_map(|piece| match piece {
            Piece::In(period) => Some(*period),
            Piece::Of(_) => None,
        });
        let slots = match in_time {
            None => Slots::None,
            Some(Period::Day) => Slots::Days(zone),
            Some(Period::Week) => Slots::Weeks(zone),
        };
        let mut question = Question {
            by: by
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Of(dimension) => Some(*dimension),
                    Piece::In(_) => None,
                })
                .collect(),
            slots,
            only,
            from: instant("from", self.from.as_deref())?,
            to: instant("to", self.to.as_deref())?,
        };
        question.widen();
        let minimum = if question.names_agents() {
            plain_minimum.max(AGENT_MINIMUM)
        } else {
            plain_minimum
        };
        Ok(Asking {
            question,
            by,
            timezone,
            minimum,
            plain_minimum,
        })
    }
}

impl Asking {
    /// The names of a group, in the caller's order.
    pub(super) fn named(&self, group: &Group) -> Vec<String> {
        let mut names = group.by.iter().cloned();
        let name = |piece: &Piece| match piece {
            Piece::Of(_) => names.next().unwrap_or_default(),
            Piece::In(_) => date(group.day),
        };
        self.by.iter().map(name).collect()
    }
}

/// The day that lies so many days after 1970-01-01.
fn date(days: i64) -> String {
    let span = jiff::Span::new().try_days(days);
    let date = span.and_then(|span| jiff::civil::date(1970, 1, 1).checked_add(span));
    date.map_or_else(|_| days.to_string(), |date| date.to_string())
}

fn pieces(words: Option<&str>) -> Result<Vec<Piece>, Problem> {
    let mut by: Vec<Piece> = Vec::new();
    let words = words.unwrap_or_default().split(',').map(str::trim);
    for word in words.filter(|word| !word.is_empty()) {
        let piece = Piece::parse(word).ok_or_else(|| {
            let known = Dimension::ALL.map(Dimension::as_str).join(", ");
            Problem::parameter("group_by", format!("may name {known}, week, day"))
        })?;
        let twice = by
            .iter()
            .any(|known| *known == piece || matches!((known, piece), (Piece::In(_), Piece::In(_))));
        if twice {
            let message = "must name each once, and only one of week and day";
            return Err(Problem::parameter("group_by", message));
        }
        by.push(piece);
    }
    if by.len() > GROUPINGS_MAX {
        return Err(Problem::parameter(
            "group_by",
            format!("may name at most {GROUPINGS_MAX}"),
        ));
    }
    Ok(by)
}

fn minimum(text: Option<&str>) -> Result<i64, Problem> {
    text.map_or(Ok(0), |text| {
        text.parse()
            .ok()
            .filter(|minimum| (0..=1000).contains(minimum))
            .ok_or_else(|| Problem::parameter("minimum", "must be a whole number from 0 to 1000"))
    })
}
