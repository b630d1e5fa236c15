//! Reactions: a phone that likes a message says so in a text of its own, with that message in quotation marks. Such a text holds
//! our own words, the word STOP among them, and nothing that the contact wrote.

use super::lang;
use super::token::{Kind, Token};

/// The most words that stand around the quotation.
const AROUND: usize = 6;

/// `Liked “How was our service?”`, `👍 to “…”`, `Hat „…“ geliebt`: all but a few words of reaction is a quotation.
pub(super) fn is_one(tokens: &[Token]) -> bool {
    let is_quote = |token: &Token| token.kind == Kind::Mark('"');
    let Some(open) = tokens.iter().position(is_quote) else {
        return false;
    };
    // A long message is cut, and its end has no quotation mark.
    let close = tokens
        .iter()
        .rposition(is_quote)
        .filter(|close| *close > open);
    let end = close.unwrap_or(tokens.len());
    let (Some(before), Some(quoted)) = (tokens.get(..open), tokens.get(open + 1..end)) else {
        return false;
    };
    let after = tokens.get(end.saturating_add(1)..).unwrap_or_default();
    let cut = close.is_some()
        || quoted
            .last()
            .is_some_and(|token| token.kind == Kind::Mark('.'));
    let around = || before.iter().chain(after);
    let numbers = around().any(|token| {
        matches!(
            token.kind,
            Kind::Number(_) | Kind::OtherNumber | Kind::Star | Kind::EmptyStar
        )
    });
    let reacts = around().any(|token| token.word().is_some_and(lang::is_reaction));
    let other = around()
        .filter_map(Token::word)
        .any(|word| !lang::is_reaction(word));
    // "👍 to", and nothing but a face.
    let face = before
        .first()
        .is_some_and(|token| matches!(token.kind, Kind::Mark(mark) if u32::from(mark) > 0x2190));
    let words = |tokens: &[Token]| tokens.iter().filter_map(Token::word).count();
    cut && (reacts || face)
        && !other
        && !numbers
        && words(before) + words(after) <= AROUND
        && !quoted.is_empty()
}
