//! Quiet hours: when a contact may be disturbed, by the clock on their wall.
//!
//! A time zone that is not known exactly is taken from the contact's country; where that has several, it has to be day in all of
//! them. Time zone arithmetic is jiff's, and a rule is about what the wall clock shows, so a change of summer time needs no care.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::trigger::FieldError;

/// The hours in which nobody is disturbed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
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
