//! What came back, what it means, and what it does to the request that it answers.

use super::rating::{Grade, Rating, Score, SecondAnswer, second_answer};
use super::request::State;
use super::time::Timestamp;

/// In which form a reply came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyKind {
    /// A text message.
    Text,
    /// A key on the phone.
    Key,
    /// A button in a chat.
    Button,
    /// A post of our own page.
    Click,
    /// A mail that answers ours.
    Mail,
}

impl ReplyKind {
    /// The word used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Key => "key",
            Self::Button => "button",
            Self::Click => "click",
            Self::Mail => "mail",
        }
    }
}

/// A reply as it came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// In which form.
    pub kind: ReplyKind,
    /// The provider's id of it. A second reply to the same request with the same id is the same reply.
    pub provider_id: String,
    /// Exactly what was written or pressed.
    pub raw: String,
    /// How we know that the contact gave it.
    pub grade: Grade,
    /// When we got it.
    pub at: Timestamp,
}

/// What a reply means, read without knowing the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Understood {
    /// Do not write to me.
    Stop,
    /// You may write to me again.
    Start,
    /// Who are you?
    Help,
    /// A phone's word that somebody liked, loved or questioned a message, with that message quoted: the contact wrote nothing.
    Reaction,
    /// A score, with the words around it (may be empty).
    Rating(Score, String),
    /// No score in it.
    Words(String),
}

/// What a reply does to its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The first answer: makes the rating.
    Rated(Score, String),
    /// Corrects the score; empty words leave the comment as it is.
    Changed(Score, String),
    /// Adds words to the rating.
    Commented(String),
    /// The contact opts out.
    OptedOut,
    /// The contact opts in again.
    OptedIn,
    /// The contact asks who we are.
    Helped,
    /// No score where one was expected, or words after the comment: for the desk to read.
    Unrecognized(String),
    /// Nothing changes: said before, or too late.
    Nothing,
}

impl Effect {
    /// The word used in the store.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Rated(..) => "rated",
            Self::Changed(..) => "changed",
            Self::Commented(_) => "commented",
            Self::OptedOut => "opted_out",
            Self::OptedIn => "opted_in",
            Self::Helped => "helped",
            Self::Unrecognized(_) => "unrecognized",
            Self::Nothing => "nothing",
        }
    }
}

/// Decides what a reply does. `rating` is the request's rating if it has one; `window_ms` is the time for corrections. What
/// no person is known to have given is kept and does nothing.
pub fn effect(
    state: State,
    rating: Option<&Rating>,
    understood: Understood,
    grade: Grade,
    now: Timestamp,
    window_ms: i64,
) -> Effect {
    if !grade.is_human() {
        return Effect::Nothing;
    }
    match (understood, rating) {
        (Understood::Stop, _) => Effect::OptedOut,
        (Understood::Start, _) => Effect::OptedIn,
        (Understood::Help, _) => Effect::Helped,
        (Understood::Rating(score, words), None) if state.admits(State::Answered) => {
            Effect::Rated(score, words)
        }
        (Understood::Rating(_, _), None) | (Understood::Reaction, _) => Effect::Nothing,
        (Understood::Words(words), None) => Effect::Unrecognized(words),
        (Understood::Rating(score, words), Some(rating)) => {
            match second_answer(rating, Some(score), &words, now, window_ms) {
                SecondAnswer::Same | SecondAnswer::TooLate => Effect::Nothing,
                SecondAnswer::Correct => Effect::Changed(score, words),
                SecondAnswer::Comment => Effect::Commented(words),
            }
        }
        // The next text after a rating is the comment; what follows that is a message to the desk.
        (Understood::Words(words), Some(rating)) if rating.comment.is_empty() => {
            match second_answer(rating, None, &words, now, window_ms) {
                SecondAnswer::Comment => Effect::Commented(words),
                SecondAnswer::Same | SecondAnswer::Correct => Effect::Nothing,
                SecondAnswer::TooLate => Effect::Unrecognized(words),
            }
        }
        (Understood::Words(words), Some(_)) => Effect::Unrecognized(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{RatingId, RequestId};

    fn score(n: i64) -> Score {
        Score::try_from(n).unwrap()
    }

    fn rated() -> Rating {
        let at = Timestamp::from_millis(1_000);
        Rating {
            id: RatingId::new(at, [0; 10]),
            request: RequestId::new(at, [0; 10]),
            score: score(4),
            grade: Grade::Channel,
            comment: String::new(),
            answered_at: at,
            changed_at: at,
            elapsed_ms: 5,
            client: None,
            excluded: None,
        }
    }

    #[test]
    fn the_first_score_rates_and_the_next_words_are_the_comment() {
        let now = Timestamp::from_millis(2_000);
        let four = Understood::Rating(score(4), String::new());
        assert_eq!(
            effect(
                State::Sent,
                None,
                four.clone(),
                Grade::Channel,
                now,
                900_000
            ),
            Effect::Rated(score(4), String::new())
        );
        assert_eq!(
            effect(
                State::Answered,
                Some(&rated()),
                four,
                Grade::Channel,
                now,
                900_000
            ),
            Effect::Nothing
        );
        let words = Understood::Words("quick help".into());
        let commented = Effect::Commented("quick help".into());
        assert_eq!(
            effect(
                State::Answered,
                Some(&rated()),
                words,
                Grade::Channel,
                now,
                900_000
            ),
            commented
        );
    }

    #[test]
    fn stop_is_heard_in_every_state() {
        for state in State::ALL {
            assert_eq!(
                effect(
                    state,
                    None,
                    Understood::Stop,
                    Grade::Channel,
                    Timestamp::default(),
                    0
                ),
                Effect::OptedOut
            );
        }
    }

    #[test]
    fn a_reaction_says_nothing_before_and_after_a_rating() {
        for (state, rating) in [(State::Sent, None), (State::Answered, Some(&rated()))] {
            let now = Timestamp::from_millis(2_000);
            let effect = effect(
                state,
                rating,
                Understood::Reaction,
                Grade::Channel,
                now,
                900_000,
            );
            assert_eq!(effect, Effect::Nothing);
        }
    }

    #[test]
    fn a_machine_rates_nothing() {
        for grade in [Grade::Auto, Grade::Suspect] {
            let five = Understood::Rating(score(5), String::new());
            assert_eq!(
                effect(State::Sent, None, five, grade, Timestamp::default(), 0),
                Effect::Nothing
            );
        }
    }

    #[test]
    fn a_cancelled_request_takes_no_rating() {
        let five = Understood::Rating(score(5), String::new());
        assert_eq!(
            effect(
                State::Cancelled,
                None,
                five,
                Grade::Channel,
                Timestamp::default(),
                0
            ),
            Effect::Nothing
        );
    }
}
