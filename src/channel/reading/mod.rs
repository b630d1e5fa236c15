//! Understands what a contact wrote or pressed. Pure and total: any text has a meaning, if only [`Understood::Words`].
//!
//! STOP is looked for before everything else. A score is read only where there is exactly one way to read it, because a wrong
//! rating is worse than a missed one: in doubt the text is words, and the contact is asked again. The rules know no language;
//! the words are in `lang`, one list a language, and every reply is read in all of them at once.

use crate::domain::rating::Score;
use crate::domain::reply::Understood;

mod command;
mod digit;
mod grammar;
mod lang;
mod phrase;
mod reaction;
mod score;
mod second;
mod token;
mod view;

/// What a text message means.
pub fn text(raw: &str) -> Understood {
    let tokens = token::tokens(raw);
    if reaction::is_one(&tokens) {
        return Understood::Reaction;
    }
    if let Some(command) = command::read(&tokens) {
        return command;
    }
    match score::read(raw, &tokens) {
        Some((score, comment)) => Understood::Rating(score, comment),
        None => Understood::Words(raw.trim().to_owned()),
    }
}

/// What a key means. A key that is not on the scale is no score.
pub fn key(raw: &str) -> Option<Score> {
    raw.trim().parse().ok()
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
