//! Quiet hours: when a contact may be disturbed, by the clock on their wall.
//!
//! A time zone that is not known exactly is taken from the contact's country; where that has several, it has to be day in all of
//! them. Time zone arithmetic is jiff's, and a rule is about what the wall clock shows, so a change of summer time needs no care.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::country::zones_of;
use crate::domain::time::Timestamp;
use crate::domain::trigger::FieldError;

/// The hours in which nobody is disturbed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct QuietHours {
    /// From this time of the contact's day, `21:00` by default.
    pub from: TimeOfDay,
    /// To this one, `08:00` by default. At least four hours of a day have to be left.
    pub to: TimeOfDay,
    /// What happens to an ask that falls into them: it waits for their end (`delay`, the default), or it is not made
    /// (`suppress`, with the reason `quiet_hours`). `off`: there are none.
    pub action: QuietAction,
    /// The channels for which they hold: `sms`, `voice` and `email`; at first `sms` and `voice`. Mail is left out because it makes
    /// no sound that a sleeper would hear. A chat and a call that is going on are live: they are never held back.
    pub channels: Vec<String>,
}

/// What happens to an ask that falls into the quiet hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuietAction {
    /// It waits for their end.
    Delay,
    /// It is not made.
    Suppress,
    /// There are no quiet hours.
    Off,
}

/// A time of the day as a wall clock shows it, such as `21:00`; minutes since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "21:00", pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
pub struct TimeOfDay(u16);

/// The text is no time of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a time of the day as hh:mm, such as 21:00")]
pub struct NoTime;

impl TryFrom<String> for TimeOfDay {
    type Error = NoTime;

    fn try_from(text: String) -> Result<Self, NoTime> {
        let (hour, minute) = text.split_once(':').ok_or(NoTime)?;
        let number = |part: &str, below: u16| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            let value = part.parse::<u16>().ok().filter(|_| digits)?;
            (value < below).then_some(value)
        };
        let hour = number(hour, 24).ok_or(NoTime)?;
        let minute = number(minute, 60).ok_or(NoTime)?;
        Ok(Self(hour * 60 + minute))
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        format!("{:02}:{:02}", time.0 / 60, time.0 % 60)
    }
}

const DAY_MINUTES: u16 = 24 * 60;
/// Quiet hours leave at least this much of a day.
const AWAKE_MINUTES: u16 = 4 * 60;
const CHANNELS: [&str; 3] = ["sms", "voice", "email"];

impl Default for QuietHours {
    fn default() -> Self {
        Self {
            from: TimeOfDay(21 * 60),
            to: TimeOfDay(8 * 60),
            action: QuietAction::Delay,
            channels: vec!["sms".to_owned(), "voice".to_owned()],
        }
    }
}

impl QuietHours {
    /// None.
    pub fn off() -> Self {
        Self {
            action: QuietAction::Off,
            ..Self::default()
        }
    }

    /// Minutes from their beginning to their end.
    const fn length(&self) -> u16 {
        (self.to.0 + DAY_MINUTES - self.from.0) % DAY_MINUTES
    }

    pub(super) fn check(&self, prefix: &str) -> Result<(), FieldError> {
        if self.action != QuietAction::Off && self.length() > DAY_MINUTES - AWAKE_MINUTES {
            let message = "must leave at least four hours of a day";
            return Err(FieldError::new(prefix.trim_end_matches('.'), message));
        }
        for (at, channel) in self.channels.iter().enumerate() {
            if !CHANNELS.contains(&channel.as_str()) {
                let message = format!("must be one of {}", CHANNELS.join(", "));
                return Err(FieldError::new(&format!("{prefix}channels[{at}]"), message));
            }
        }
        if self.channels.len() > CHANNELS.len() {
            let message = "must name each channel once";
            return Err(FieldError::new(&format!("{prefix}channels"), message));
        }
        Ok(())
    }
}

impl QuietHours {
    /// Whether they hold for asks on this channel.
    pub(super) fn hold_on(&self, channel: &str) -> bool {
        self.action != QuietAction::Off
            && self.from != self.to
            && self.channels.iter().any(|named| named == channel)
    }

    /// The first instant from `due` on at which it is quiet in none of the zones. `None` if there is none in the next two days.
    pub(super) fn clear(&self, due: Timestamp, zones: &[TimeZone]) -> Option<Timestamp> {
        let mut at = jiff::Timestamp::from_millisecond(due.as_millis()).ok()?;
        let last = at.checked_add(jiff::SignedDuration::from_hours(48)).ok()?;
        while at <= last {
            let ends = zones.iter().filter_map(|zone| self.end(at, zone)).max();
            match ends {
                // Never backwards, whatever a zone does.
                Some(end) if end > at => at = end,
                Some(_) => return None,
                None => return Some(Timestamp::from_millis(at.as_millisecond())),
            }
        }
        None
    }

    /// When the quiet hours end in which this instant lies in this zone; `None` if it lies in none.
    fn end(&self, at: jiff::Timestamp, zone: &TimeZone) -> Option<jiff::Timestamp> {
        let local = zone.to_datetime(at);
        let clock = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()?;
        let (from, to) = (self.from.0, self.to.0);
        let quiet = if from < to {
            (from..to).contains(&clock)
        } else {
            clock >= from || clock < to
        };
        if !quiet {
            return None;
        }
        let day = if clock < to {
            local.date()
        } else {
            local.date().tomorrow().ok()?
        };
        let hour = i8::try_from(to / 60).ok()?;
        let minute = i8::try_from(to % 60).ok()?;
        // A time that the clock shows twice counts the second time, and one that it skips when as much has passed.
        let end = zone.to_ambiguous_timestamp(day.at(hour, minute, 0, 0));
        end.later().ok()
    }
}

/// The time zones in which it has to be day: the given one, else those of the contact's country, else the desk's, else UTC. A name
/// that this machine does not know counts as not given.
pub(super) fn zones(given: &str, region: &str, desk: &str) -> Vec<TimeZone> {
    let known = |name: &str| {
        let named = Some(name).filter(|name| !name.is_empty());
        named.and_then(|name| TimeZone::get(name).ok())
    };
    if let Some(zone) = known(given) {
        return vec![zone];
    }
    let country: Vec<TimeZone> = zones_of(region)
        .iter()
        .filter_map(|name| known(name))
        .collect();
    if country.is_empty() {
        vec![known(desk).unwrap_or(TimeZone::UTC)]
    } else {
        country
    }
}

/// The day of an instant in a zone, as days since 1970; UTC if the zone is not known.
pub(super) fn day(at: Timestamp, zone: &str) -> i64 {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let millis = jiff::Timestamp::from_millisecond(at.as_millis())
        .map_or(0, |at| i64::from(zone.to_offset(at).seconds()) * 1000);
    at.plus_millis(millis).as_millis().div_euclid(86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn clear(rules: &QuietHours, due: &str, zones: &[TimeZone]) -> String {
        let at = rules.clear(instant(due), zones).unwrap();
        at.to_rfc3339().replace(":00.000Z", "Z")
    }

    fn zone(name: &str) -> Vec<TimeZone> {
        zones(name, "", "")
    }

    #[test]
    fn the_evening_waits_for_the_morning_and_the_day_does_not_wait() {
        let rules = QuietHours::default();
        let berlin = zone("Europe/Berlin");
        for (due, end) in [
            ("2026-11-21T12:00Z", "2026-11-21T12:00Z"),
            ("2026-11-21T19:59Z", "2026-11-21T19:59Z"),
            ("2026-11-21T20:00Z", "2026-11-22T07:00Z"),
            ("2026-11-21T23:30Z", "2026-11-22T07:00Z"),
            ("2026-11-22T06:59Z", "2026-11-22T07:00Z"),
            ("2026-11-22T07:00Z", "2026-11-22T07:00Z"),
        ] {
            assert_eq!(
                clear(&rules, &due.replace('Z', ":00Z"), &berlin),
                end,
                "{due}"
            );
        }
    }

    #[test]
    fn hours_within_one_day_are_quiet_too() {
        let rules = QuietHours {
            from: TimeOfDay(12 * 60),
            to: TimeOfDay(14 * 60),
            ..QuietHours::default()
        };
        let utc = zone("");
        assert_eq!(
            clear(&rules, "2026-11-21T11:59:00Z", &utc),
            "2026-11-21T11:59Z"
        );
        assert_eq!(
            clear(&rules, "2026-11-21T12:00:00Z", &utc),
            "2026-11-21T14:00Z"
        );
        assert_eq!(
            clear(&rules, "2026-11-21T23:00:00Z", &utc),
            "2026-11-21T23:00Z"
        );
    }

    #[test]
    fn the_wall_clock_counts_when_summer_time_comes_and_goes() {
        let rules = QuietHours::default();
        let new_york = zone("America/New_York");
        // 8 March 2026 has 23 hours and 1 November 25: eight in the morning is eight on the wall.
        assert_eq!(
            clear(&rules, "2026-03-08T04:00:00Z", &new_york),
            "2026-03-08T12:00Z"
        );
        assert_eq!(
            clear(&rules, "2026-11-01T04:00:00Z", &new_york),
            "2026-11-01T13:00Z"
        );
        // An end that the clock skips, and one that it shows twice.
        let at_half_past = |hour: u16| QuietHours {
            to: TimeOfDay(hour * 60 + 30),
            ..QuietHours::default()
        };
        assert_eq!(
            clear(&at_half_past(2), "2026-03-08T04:00:00Z", &new_york),
            "2026-03-08T07:30Z"
        );
        assert_eq!(
            clear(&at_half_past(1), "2026-11-01T04:00:00Z", &new_york),
            "2026-11-01T06:30Z"
        );
        for due in ["2026-11-01T05:15:00Z", "2026-11-01T06:15:00Z"] {
            assert_eq!(clear(&at_half_past(1), due, &new_york), "2026-11-01T06:30Z");
        }
    }

    #[test]
    fn in_a_country_with_several_zones_it_has_to_be_day_in_all() {
        let rules = QuietHours::default();
        let australia = zones("", "AU", "Europe/Berlin");
        // Sydney wakes at 21:00 UTC, Perth at 00:00; Perth's night is from 13:00 on, Lord Howe's from 10:00 UTC.
        assert_eq!(
            clear(&rules, "2026-11-20T21:30:00Z", &australia),
            "2026-11-21T00:00Z"
        );
        assert_eq!(
            clear(&rules, "2026-11-21T09:30:00Z", &australia),
            "2026-11-21T09:30Z"
        );
        assert_eq!(
            clear(&rules, "2026-11-21T10:30:00Z", &australia),
            "2026-11-22T00:00Z"
        );
    }

    #[test]
    fn where_it_is_never_day_everywhere_there_is_no_instant() {
        let rules = QuietHours::default();
        let apart = ["Pacific/Honolulu", "America/Sao_Paulo", "Europe/Moscow"]
            .map(zone)
            .concat();
        assert_eq!(rules.clear(instant("2026-11-21T12:00:00Z"), &apart), None);
    }

    #[test]
    fn what_is_known_better_goes_first() {
        let names = |given, region, desk| {
            let zones = zones(given, region, desk);
            let first = zones[0].iana_name().unwrap_or("UTC").to_owned();
            (first, zones.len())
        };
        assert_eq!(
            names("Asia/Tokyo", "GB", "Europe/Paris"),
            ("Asia/Tokyo".to_owned(), 1)
        );
        assert_eq!(
            names("", "GB", "Europe/Paris"),
            ("Europe/London".to_owned(), 1)
        );
        assert_eq!(
            names("Mars/Base", "", "Europe/Paris"),
            ("Europe/Paris".to_owned(), 1)
        );
        assert_eq!(names("", "", ""), ("UTC".to_owned(), 1));
    }

    #[test]
    fn a_desks_day_is_that_of_its_own_clock() {
        let late = instant("2026-11-21T23:30:00Z");
        let utc = late.as_millis() / 86_400_000;
        assert_eq!(day(late, ""), utc);
        assert_eq!(day(late, "Europe/Berlin"), utc + 1);
        assert_eq!(
            day(instant("2026-11-21T04:30:00Z"), "America/New_York"),
            utc - 1
        );
    }
}
