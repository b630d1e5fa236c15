//! The answer: a score from 1 to 5, how we know that a person gave it, and the rules for a second answer.

use serde::{Deserialize, Serialize};

use super::id::{RatingId, RequestId};
use super::time::Timestamp;
use super::view::ClientKey;

/// A rating's value. 5 is always best; nothing outside 1 to 5 can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Score(u8);

/// The number is not from 1 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to 5")]
pub struct ScoreError;

impl Score {
    /// All scores from worst to best.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// The score as a number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for Score {
    type Error = ScoreError;

    fn try_from(value: i64) -> Result<Self, ScoreError> {
        u8::try_from(value)
            .ok()
            .filter(|v| (1..=5).contains(v))
            .map(Self)
            .ok_or(ScoreError)
    }
}

impl From<Score> for i64 {
    fn from(score: Score) -> Self {
        Self::from(score.0)
    }
}

impl std::str::FromStr for Score {
    type Err = ScoreError;

    fn from_str(text: &str) -> Result<Self, ScoreError> {
        match text {
            "1" => Ok(Self(1)),
            "2" => Ok(Self(2)),
            "3" => Ok(Self(3)),
            "4" => Ok(Self(4)),
            "5" => Ok(Self(5)),
            _ => Err(ScoreError),
        }
    }
}

/// How we know that the contact gave the rating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// The channel itself proves it: a signed text message or key, or the chat's one-time token.
    Channel,
    /// A trusted pointer, touch, key or scroll event on our page, or its button.
    Tap,
    /// The page was opened and shown, without such an event. Kept, not counted.
    Auto,
    /// Looks like a machine. Kept, not counted.
    Suspect,
}

impl Grade {
    /// The word used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Tap => "tap",
            Self::Auto => "auto",
            Self::Suspect => "suspect",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Channel, Self::Tap, Self::Auto, Self::Suspect]
            .into_iter()
            .find(|grade| grade.as_str() == word)
    }

    /// Whether a person is known to have given it.
    pub const fn is_human(self) -> bool {
        matches!(self, Self::Channel | Self::Tap)
    }
}

/// One counted answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rating {
    /// Its identifier.
    pub id: RatingId,
    /// The request that it answers.
    pub request: RequestId,
    /// The score as it stands, after corrections.
    pub score: Score,
    /// How we know that a person gave it.
    pub grade: Grade,
    /// The optional words; empty if none.
    pub comment: String,
    /// When the first answer came.
    pub answered_at: Timestamp,
    /// When it was last corrected; the same as `answered_at` if never.
    pub changed_at: Timestamp,
    /// Milliseconds from sending the request to the first answer.
    pub elapsed_ms: i64,
    /// The client of our page that gave it; none where the channel proves the contact.
    pub client: Option<ClientKey>,
    /// That a manager took it out of the reports. It stays, and the contact may still correct it: what is excluded is the
    /// answer to this request, whatever it says.
    pub excluded: Option<Exclusion>,
}

impl Rating {
    /// Whether this client of our page may change it. What a machine may have given, every person may; what a person gave, only
    /// the same client: mail gateways post the form after the person did.
    pub fn is_open_to(&self, client: ClientKey) -> bool {
        !self.grade.is_human() || self.client == Some(client)
    }
}

/// A manager's note on a rating: who did something to it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// When.
    pub at: Timestamp,
    /// Who, as the caller named them; empty if not.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Longest comment kept, in characters.
pub const COMMENT_MAX: usize = 1000;

/// A comment as it is kept: control characters become blanks, blank ends are cut, at most [`COMMENT_MAX`] characters.
pub fn clean_comment(raw: &str) -> String {
    let plain: String = raw
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    plain
        .trim()
        .chars()
        .take(COMMENT_MAX)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// What a further answer to a request that already has one does: the contact may correct for a while, and nobody else may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondAnswer {
    /// The same score, and no new words: nothing changes.
    Same,
    /// A correction inside the window.
    Correct,
    /// The same score with words that were not there.
    Comment,
    /// Too late: kept as a reply, the rating stays.
    TooLate,
}

/// Decides what a second answer does. `window_ms` counts from the first answer.
pub fn second_answer(
    rating: &Rating,
    score: Option<Score>,
    comment: &str,
    now: Timestamp,
    window_ms: i64,
) -> SecondAnswer {
    // A person's answer takes the place of one that nobody is known to have given, whenever that was.
    if score.is_some() && !rating.grade.is_human() {
        return SecondAnswer::Correct;
    }
    let changes_score = score.is_some_and(|score| score != rating.score);
    let changes_comment = !comment.is_empty() && comment != rating.comment;
    if !changes_score && !changes_comment {
        SecondAnswer::Same
    } else if now.millis_since(rating.answered_at) > window_ms {
        SecondAnswer::TooLate
    } else if changes_score {
        SecondAnswer::Correct
    } else {
        SecondAnswer::Comment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rating() -> Rating {
        Rating {
            id: RatingId::new(Timestamp::default(), [0; 10]),
            request: RequestId::new(Timestamp::default(), [0; 10]),
            score: Score(4),
            grade: Grade::Channel,
            comment: String::new(),
            answered_at: Timestamp::from_millis(1000),
            changed_at: Timestamp::from_millis(1000),
            elapsed_ms: 10,
            client: None,
            excluded: None,
        }
    }

    #[test]
    fn a_score_is_one_to_five_and_nothing_else() {
        assert_eq!(
            (-3..9)
                .filter(|n| Score::try_from(*n).is_ok())
                .collect::<Vec<i64>>(),
            [1, 2, 3, 4, 5]
        );
        assert!("05".parse::<Score>().is_err());
    }

    #[test]
    fn a_second_answer_corrects_only_inside_the_window() {
        let at = Timestamp::from_millis(1500);
        let two = Score::try_from(2).ok();
        assert_eq!(
            second_answer(&rating(), Some(Score(4)), "", at, 900),
            SecondAnswer::Same
        );
        assert_eq!(
            second_answer(&rating(), two, "", at, 900),
            SecondAnswer::Correct
        );
        assert_eq!(
            second_answer(&rating(), None, "slow", at, 900),
            SecondAnswer::Comment
        );
        assert_eq!(
            second_answer(&rating(), two, "", Timestamp::from_millis(1901), 900),
            SecondAnswer::TooLate
        );
    }

    #[test]
    fn a_persons_answer_takes_the_place_of_a_machines_and_of_no_other_persons() {
        let late = Timestamp::from_millis(9_000_000);
        let auto = Rating {
            grade: Grade::Auto,
            ..rating()
        };
        assert_eq!(
            second_answer(&auto, Some(Score(4)), "", late, 900),
            SecondAnswer::Correct
        );
        assert!(auto.is_open_to([1; 16]));
        let tapped = Rating {
            grade: Grade::Tap,
            client: Some([1; 16]),
            ..rating()
        };
        assert!(tapped.is_open_to([1; 16]) && !tapped.is_open_to([2; 16]));
        assert!(!rating().is_open_to([1; 16]), "given by another way");
    }

    #[test]
    fn a_comment_loses_control_characters_and_length() {
        assert_eq!(
            clean_comment("  fine\u{0}\u{7} thanks \r\n"),
            "fine   thanks"
        );
        assert_eq!(
            clean_comment(&"é".repeat(2000)).chars().count(),
            COMMENT_MAX
        );
    }
}
