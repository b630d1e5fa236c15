//! What is done about a low score: somebody takes it, tells the customer, and closes it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::{FollowUpId, RatingId, RequestId};
use super::rating::Score;
use super::time::Timestamp;
use super::trigger::FieldError;

/// Longest name of an owner, in characters.
pub const OWNER_MAX: usize = 100;
/// Longest note, in characters.
pub const NOTE_MAX: usize = 1000;

/// When a score is low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LowScores {
    /// The highest score that is low: 0 (none is) to 3.
    #[schema(minimum = 0, maximum = 3)]
    pub at_most: u8,
}

impl Default for LowScores {
    fn default() -> Self {
        Self { at_most: 2 }
    }
}

impl LowScores {
    /// The highest setting there is. A better score costs no look at the settings.
    pub const HIGHEST: u8 = 3;

    /// Whether the settings can be used.
    pub fn check(&self, field: &str) -> Result<(), FieldError> {
        if self.at_most > Self::HIGHEST {
            let field = format!("{field}.at_most");
            return Err(FieldError::new(&field, "must be from 0 to 3"));
        }
        Ok(())
    }

    /// Whether this score is low.
    pub fn is_low(&self, score: Score) -> bool {
        score.get() <= self.at_most.min(Self::HIGHEST)
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FollowUpState {
    /// Nobody has it.
    Open,
    /// Somebody cares for it.
    Taken,
    /// Done, or not needed any more.
    Closed,
}

impl FollowUpState {
    /// Every state in order.
    pub const ALL: [Self; 3] = [Self::Open, Self::Taken, Self::Closed];

    /// The word used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Taken => "taken",
            Self::Closed => "closed",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A low score that somebody should care for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowUp {
    /// Its identifier.
    pub id: FollowUpId,
    /// The rating.
    pub rating: RatingId,
    /// The request that it answers.
    pub request: RequestId,
    /// The score that it is about.
    pub score: Score,
    /// How far it is.
    pub state: FollowUpState,
    /// Who takes care; empty if nobody yet.
    pub owner: String,
    /// What the customer was told.
    pub told_note: String,
    /// What came of it.
    pub close_note: String,
    /// Why it is closed: by its `owner`, `corrected` by the customer, or with its rating `excluded`; empty while it is not.
    pub closed_by: String,
    /// When the low score came.
    pub opened_at: Timestamp,
    /// When somebody first took it.
    pub taken_at: Option<Timestamp>,
    /// When the customer was first told.
    pub told_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}

/// What somebody does about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Takes it. Somebody else's is taken only with `handover`.
    Take {
        /// Who.
        owner: String,
        /// Whether it may be somebody else's now.
        handover: bool,
    },
    /// The customer was told.
    Told {
        /// What.
        note: String,
    },
    /// It is done.
    Close {
        /// What came of it.
        note: String,
    },
}

/// Why a step cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is somebody else's.
    Taken,
    /// It is closed.
    Closed,
}

impl FollowUp {
    /// Makes a step. Whether anything changed for the first time, which is what is counted; repeating a step is harmless.
    pub fn step(&mut self, step: &Step, now: Timestamp) -> Result<bool, Refused> {
        let closed = self.state == FollowUpState::Closed;
        match step {
            _ if closed && !matches!(step, Step::Close { .. }) => Err(Refused::Closed),
            Step::Take { owner, handover } => {
                if !self.owner.is_empty() && self.owner != *owner && !handover {
                    return Err(Refused::Taken);
                }
                self.owner.clone_from(owner);
                self.state = FollowUpState::Taken;
                Ok(first(&mut self.taken_at, now))
            }
            Step::Told { note } => {
                self.told_note.clone_from(note);
                Ok(first(&mut self.told_at, now))
            }
            Step::Close { .. } if closed => Ok(false),
            Step::Close { note } => {
                self.close_note.clone_from(note);
                "owner".clone_into(&mut self.closed_by);
                self.state = FollowUpState::Closed;
                Ok(first(&mut self.closed_at, now))
            }
        }
    }
}

fn first(at: &mut Option<Timestamp>, now: Timestamp) -> bool {
    let is_first = at.is_none();
    at.get_or_insert(now);
    is_first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> FollowUp {
        let now = Timestamp::default();
        FollowUp {
            id: FollowUpId::new(now, [0; 10]),
            rating: RatingId::new(now, [0; 10]),
            request: RequestId::new(now, [0; 10]),
            score: Score::ALL[0],
            state: FollowUpState::Open,
            owner: String::new(),
            told_note: String::new(),
            close_note: String::new(),
            closed_by: String::new(),
            opened_at: now,
            taken_at: None,
            told_at: None,
            closed_at: None,
        }
    }

    fn take(owner: &str, handover: bool) -> Step {
        Step::Take {
            owner: owner.to_owned(),
            handover,
        }
    }

    #[test]
    fn two_who_take_the_same_are_told() {
        let (mut low, at) = (open(), Timestamp::from_millis);
        assert_eq!(low.step(&take("Sam", false), at(5)), Ok(true));
        assert_eq!(low.step(&take("Sam", false), at(6)), Ok(false));
        assert_eq!(low.step(&take("Kim", false), at(7)), Err(Refused::Taken));
        assert_eq!(low.step(&take("Kim", true), at(8)), Ok(false));
        assert_eq!((low.owner.as_str(), low.taken_at), ("Kim", Some(at(5))));
        let close = Step::Close {
            note: "refunded".to_owned(),
        };
        assert_eq!(low.step(&close, at(9)), Ok(true));
        assert_eq!(low.step(&close, at(10)), Ok(false));
        assert_eq!(low.closed_at, Some(at(9)));
        assert_eq!(low.step(&take("Kim", true), at(11)), Err(Refused::Closed));
    }

    #[test]
    fn what_is_low_is_a_setting_with_bounds() {
        let low = |at_most| LowScores { at_most };
        let lows = |at_most: u8| {
            Score::ALL
                .iter()
                .filter(|score| low(at_most).is_low(**score))
                .count()
        };
        assert_eq!([0, 1, 2, 3].map(lows), [0, 1, 2, 3]);
        assert!(low(3).check("low_scores").is_ok());
        assert_eq!(
            low(4).check("low_scores").unwrap_err().field,
            "low_scores.at_most"
        );
        assert_eq!(LowScores::default(), low(2));
    }
}
