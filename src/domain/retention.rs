//! For how long a desk keeps what names a person. Scores stay, and say nothing of anybody.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::trigger::FieldError;

/// The longest that an ask may wait and be answered: nothing open is older. In milliseconds.
pub const OPEN_MAX_MS: i64 = 62 * DAY_MS;

const DAY_MS: i64 = 86_400_000;
/// Rules count what was asked in the last month; what is forgotten earlier would be asked again.
const ASKED_DAYS_MIN: u32 = 31;
const DAYS_MAX: u32 = 3_650;

/// Days after which a part of what is known about a person is forgotten. Counted from when that part came; what is still open then is
/// forgotten once it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Retention {
    /// The address, the contact's id and name, the mail thread, the metadata and every hash that links requests of one person: 31
    /// to 3650 days after the request.
    #[schema(minimum = 31, maximum = 3650)]
    pub address_days: u32,
    /// Comments, the reasons of managers, and the notes of follow-ups: 2 to 3650 days after the answer or the note.
    #[schema(minimum = 2, maximum = 3650)]
    pub comment_days: u32,
    /// Replies as they came, also those without a score: 1 to 3650 days. Words in events are kept no longer than these or comments.
    #[schema(minimum = 1, maximum = 3650)]
    pub raw_days: u32,
    /// Which conversation and which agent a score was about: 31 to 3650 days after the request, or 0 to keep it. The score itself
    /// stays, and so do sums, without the agent.
    #[schema(minimum = 0, maximum = 3650)]
    pub rating_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            address_days: 90,
            comment_days: 365,
            raw_days: 30,
            rating_days: 0,
        }
    }
}

impl Retention {
    /// Checks every bound. `prefix` stands before the field's name in the error, such as `retention.`.
    pub fn check(&self, prefix: &str) -> Result<(), FieldError> {
        for (field, days, low) in [
            ("address_days", self.address_days, ASKED_DAYS_MIN),
            ("comment_days", self.comment_days, 2),
            ("raw_days", self.raw_days, 1),
            ("rating_days", self.rating_days, ASKED_DAYS_MIN),
        ] {
            let kept = field == "rating_days" && days == 0;
            if !kept && !(low..=DAYS_MAX).contains(&days) {
                let or = if field == "rating_days" {
                    ", or 0 to keep it"
                } else {
                    ""
                };
                let message = format!("must be from {low} to {DAYS_MAX} days{or}, not {days}");
                return Err(FieldError::new(&format!("{prefix}{field}"), message));
            }
        }
        Ok(())
    }

    /// So many days in milliseconds; `None` where nothing is ever forgotten.
    pub fn millis(days: u32) -> Option<i64> {
        (days > 0).then(|| i64::from(days) * DAY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds_and_each_bound_names_its_field() {
        let good = Retention::default();
        good.check("retention.").unwrap();
        for (bad, field) in [
            (
                Retention {
                    address_days: 30,
                    ..good
                },
                "retention.address_days",
            ),
            (
                Retention {
                    comment_days: 1,
                    ..good
                },
                "retention.comment_days",
            ),
            (
                Retention {
                    raw_days: 0,
                    ..good
                },
                "retention.raw_days",
            ),
            (
                Retention {
                    rating_days: 30,
                    ..good
                },
                "retention.rating_days",
            ),
            (
                Retention {
                    raw_days: 4_000,
                    ..good
                },
                "retention.raw_days",
            ),
        ] {
            assert_eq!(bad.check("retention.").unwrap_err().field, field);
        }
        assert_eq!(Retention::millis(0), None);
    }
}
