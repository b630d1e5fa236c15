//! What a caller asks of the results, read from the parameters of the query.

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{instant, text};
use crate::domain::statistics::figures::AGENT_MINIMUM;
use crate::domain::statistics::grouping::{Dimension, GROUPINGS_MAX, Question, SLOT_MS};
use crate::domain::time::Timestamp;
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
    /// Only this wording of the ask.
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

impl Period {
    const fn days(self) -> i64 {
        match self {
            Self::Day => 1,
            Self::Week => 7,
        }
    }
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
    zone: TimeZone,
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
        let mut question = Question {
            by: by
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Of(dimension) => Some(*dimension),
                    Piece::In(_) => None,
                })
                .collect(),
            borders: Vec::new(),
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
            zone,
            minimum,
            plain_minimum,
        })
    }
}

impl Asking {
    /// Divides it in time, if that is asked for: into the days or weeks of its zone from `first`, before which there is nothing, to
    /// `now`.
    pub(super) fn divide(&mut self, first: Timestamp, now: Timestamp) {
        let period = self.by.iter().find_map(|piece| match piece {
            Piece::In(period) => Some(*period),
            Piece::Of(_) => None,
        });
        let Some(period) = period else {
            return;
        };
        let begin = self.question.from.map_or(first, |from| from.max(first));
        let end = self.question.to.map_or(now, |to| to.min(now)).as_millis();
        let mut borders = vec![begin.as_millis()];
        let mut date = self.beginning(begin.as_millis(), period);
        let step = jiff::Span::new().days(period.days());
        while let Some(next) = date.and_then(|date| date.checked_add(step).ok()) {
            let Ok(start) = next.to_zoned(self.zone.clone()) else {
                break;
            };
            // A half hour belongs to the day that it begins in.
            let at = start.timestamp().as_millisecond() + SLOT_MS - 1;
            let at = at - at.rem_euclid(SLOT_MS);
            if at >= end {
                break;
            }
            borders.push(at);
            date = Some(next);
        }
        self.question.borders = borders;
    }

    /// Whether it is divided in time.
    pub(super) fn in_time(&self) -> bool {
        self.by.iter().any(|piece| matches!(piece, Piece::In(_)))
    }

    /// The names of a group, in the caller's order.
    pub(super) fn named(&self, group: &Group) -> Vec<String> {
        let mut names = group.by.iter().cloned();
        let name = |piece: &Piece| match piece {
            Piece::Of(_) => names.next().unwrap_or_default(),
            Piece::In(period) => self.date(group.slot, *period),
        };
        self.by.iter().map(name).collect()
    }

    /// The day, or the Monday of the week, that an instant belongs to.
    fn date(&self, at: i64, period: Period) -> String {
        let date = self.beginning(at, period);
        date.map_or_else(|| at.to_string(), |date| date.to_string())
    }

    fn beginning(&self, at: i64, period: Period) -> Option<Date> {
        let instant = jiff::Timestamp::from_millisecond(at).ok()?;
        let date = self.zone.to_datetime(instant).date();
        let back = match period {
            Period::Day => 0,
            Period::Week => i64::from(date.weekday().since(Weekday::Monday)),
        };
        Some(
            date.checked_sub(jiff::Span::new().days(back))
                .unwrap_or(date),
        )
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let instant: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_millis(instant.as_millisecond())
    }

    /// Where the groups begin, and how they are named.
    fn groups(by: &str, zone: &str, from: Option<&str>) -> Vec<(String, String)> {
        let limits = Limits {
            group_by: Some(by.to_owned()),
            timezone: Some(zone.to_owned()),
            from: from.map(str::to_owned),
            ..Limits::default()
        };
        let mut asking = limits.read().unwrap();
        asking.divide(at("2026-10-31T00:00:00Z"), at("2026-11-03T12:00:00Z"));
        let period = if by == "week" {
            Period::Week
        } else {
            Period::Day
        };
        let borders = asking.question.borders.iter();
        borders
            .map(|border| {
                let instant = jiff::Timestamp::from_millisecond(*border).unwrap();
                (instant.to_string(), asking.date(*border, period))
            })
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(border, name): &(&str, &str)| ((*border).to_owned(), (*name).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn days_are_those_of_the_zone_also_when_its_clocks_are_changed() {
        assert_eq!(
            groups("day", "America/New_York", Some("2020-01-01T00:00:00Z")),
            pairs(&[
                ("2026-10-31T00:00:00Z", "2026-10-30"),
                ("2026-10-31T04:00:00Z", "2026-10-31"),
                ("2026-11-01T04:00:00Z", "2026-11-01"),
                ("2026-11-02T05:00:00Z", "2026-11-02"),
                ("2026-11-03T05:00:00Z", "2026-11-03"),
            ])
        );
        // A quarter past six: a half hour belongs to the day that it begins in.
        assert_eq!(
            groups("day", "Asia/Kathmandu", Some("2026-11-01T20:00:00Z")),
            pairs(&[
                ("2026-11-01T20:00:00Z", "2026-11-02"),
                ("2026-11-02T18:30:00Z", "2026-11-03"),
            ])
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_the_first_is_named_whole() {
        assert_eq!(
            groups("week", "UTC", None),
            pairs(&[
                ("2026-10-31T00:00:00Z", "2026-10-26"),
                ("2026-11-02T00:00:00Z", "2026-11-02"),
            ])
        );
    }
}
