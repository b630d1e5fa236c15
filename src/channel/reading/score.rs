//! Finds the one score in a reply, or none: stars, or a value that at least one language reads and none reads otherwise.

use crate::domain::rating::Score;

use super::grammar::{self, Found};
use super::lang;
use super::second;
use super::token::{Kind, Token};
use super::view::{Reply, View};

/// The score and the comment, if there is exactly one way to read them.
pub(super) fn read(raw: &str, tokens: &[Token]) -> Option<(Score, String)> {
    let reply = Reply::new(raw, tokens);
    stars(&reply).or_else(|| valued(&reply))
}

/// `★★★★`, `★★★☆☆ could be faster`, `Thank you ⭐⭐⭐⭐⭐`, `****`.
fn stars(reply: &Reply<'_>) -> Option<(Score, String)> {
    let tokens = reply.tokens;
    let is_star = |token: &Token| matches!(token.kind, Kind::Star | Kind::EmptyStar);
    let asterisks = tokens.iter().all(|token| token.kind == Kind::Mark('*'));
    // One asterisk is a slip, one star is praise as often as a score.
    if asterisks {
        return score(tokens.len())
            .filter(|_| tokens.len() > 1)
            .map(|score| (score, String::new()));
    }
    let first = tokens.iter().position(is_star)?;
    let shown = tokens
        .iter()
        .skip(first)
        .take_while(|token| is_star(token))
        .count();
    let filled = tokens
        .iter()
        .skip(first)
        .take_while(|token| token.kind == Kind::Star)
        .count();
    let end = first + shown;
    let all = tokens.iter().filter(|token| is_star(token)).count() == shown;
    let empty_last = tokens
        .iter()
        .skip(first + filled)
        .take(shown - filled)
        .all(|token| token.kind == Kind::EmptyStar);
    let whole = all && empty_last && (filled == shown || shown == 5) && (shown > 1);
    let numbers = (0..tokens.len()).any(|at| {
        let token = tokens.get(at).map(|token| &token.kind);
        matches!(token, Some(Kind::Number(_) | Kind::OtherNumber))
            || reply.senses(at).is_some_and(|senses| {
                senses.value_anywhere || senses.anywhere & lang::class::NUMBER > 0
            })
    });
    let turned = |score| {
        (0..lang::COUNT)
            .any(|language| second::is_turned(View { reply, language }, score, &(first..end)))
    };
    let plain = whole && !numbers && score(filled).is_some_and(|score| !turned(score));
    if plain && first == 0 {
        return score(filled).map(|score| (score, comment(reply, end)));
    }
    // Behind words a few stars may be decoration; all five are not.
    let five = plain && end == tokens.len() && shown == 5;
    let asked = (0..tokens.len()).any(|at| reply.mark(at) == Some('?'));
    let doubted = (0..first).any(|at| reply.anywhere(at, lang::class::DOUBT | lang::class::NOT));
    let said = || reply.raw.trim().to_owned();
    score(filled)
        .filter(|_| five && !asked && !doubted)
        .map(|score| (score, said()))
}

fn score(count: usize) -> Option<Score> {
    i64::try_from(count)
        .ok()
        .and_then(|count| Score::try_from(count).ok())
}

fn valued(reply: &Reply<'_>) -> Option<(Score, String)> {
    // Most words are no reply to us: without a value in any language there is nothing to weigh.
    if !(0..reply.tokens.len()).any(|at| reply.is_value(at)) {
        return None;
    }
    let mut found: Option<Found> = None;
    for language in 0..lang::COUNT {
        let Some(read) = grammar::read(View { reply, language }) else {
            continue;
        };
        match &found {
            Some(before) if before.value.score != read.value.score => return None,
            // The reading that understands more around the value leaves less for the comment.
            Some(before) if before.comment >= read.comment => {}
            Some(_) | None => found = Some(read),
        }
    }
    let found = found?;
    let words = match found.comment {
        Some(start) => comment(reply, start),
        None => reply.raw.trim().to_owned(),
    };
    Some((found.value.score, words))
}

/// The words after the value, as they were written, without the marks that separate them from it.
fn comment(reply: &Reply<'_>, rest: usize) -> String {
    let separates = |token: &&Token| match token.kind {
        Kind::Star => true,
        // A bracket or a quotation mark after a blank opens the words.
        Kind::Mark('(' | '[' | '{' | '"' | '\'') => !token.spaced,
        Kind::Mark(mark) => mark.is_ascii_punctuation(),
        Kind::Word(_) | Kind::Number(_) | Kind::EmptyStar | Kind::OtherNumber => false,
    };
    let skipped = reply.tokens.iter().skip(rest).take_while(separates).count();
    let start = reply
        .tokens
        .get(rest + skipped)
        .map_or(reply.raw.len(), |token| token.start);
    let words = reply.raw.get(start..).unwrap_or_default().trim();
    // A lone smiley made of marks is no comment.
    if words
        .chars()
        .all(|c| c.is_ascii_punctuation() || c.is_whitespace())
    {
        String::new()
    } else {
        words.to_owned()
    }
}
