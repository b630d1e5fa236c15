//! Finds the one score in a reply, or none. Three shapes are known: only stars; a value at the start, then words; and a value
//! inside a sentence that says "I rate". Any second number, and any word that makes the number count something else, ends it.

use crate::domain::rating::Score;

use super::token::{Kind, Token};
use super::words::{
    ADJECTIVES, CUES, DOUBT, FOLLOWS, FOLLOWS_BAD, FOLLOWS_GOOD, FOLLOWS_MIDDLING, GREETING,
    OBJECTS, OTHER_VALUES, STRONGER, UNIT, VALUES, WORK,
};

/// The score and the comment, if there is exactly one way to read them.
pub(super) fn read(raw: &str, tokens: &[Token]) -> Option<(Score, String)> {
    stars(tokens).or_else(|| valued(raw, tokens))
}

/// `★★★★` or `★★★★☆`, and nothing else.
fn stars(tokens: &[Token]) -> Option<(Score, String)> {
    let filled = tokens
        .iter()
        .take_while(|token| token.kind == Kind::Star)
        .count();
    let empty = tokens.get(filled..)?;
    let whole = empty.iter().all(|token| token.kind == Kind::EmptyStar)
        && (empty.is_empty() || tokens.len() == 5);
    let score = i64::try_from(filled)
        .ok()
        .and_then(|value| Score::try_from(value).ok())?;
    whole.then(|| (score, String::new()))
}

fn valued(raw: &str, tokens: &[Token]) -> Option<(Score, String)> {
    // Brackets and quotation marks around the value say nothing; any other mark before it (- # $ + ~ <) changes it.
    let lead = tokens
        .iter()
        .take_while(|token| matches!(token.kind, Kind::Mark('"' | '\'' | '(' | '*' | '[')))
        .count();
    let place = (lead..tokens.len())
        .find(|at| is_digits(tokens, *at))
        .or_else(|| {
            // "one" inside a sentence is a pronoun far more often than a value.
            let word = |at: &usize| {
                value(tokens, *at).is_some_and(|score| {
                    *at == lead || score.get() > 1 || said_to_rate(tokens, *at)
                })
            };
            (lead..tokens.len()).find(word)
        })?;
    let score = value(tokens, place)?;
    let scale = scale_after(tokens, place + 1);
    let after = place + 1 + scale;
    if (0..tokens.len())
        .any(|at| !(place..after).contains(&at) && is_other_value(tokens, at, place))
        || !stars_agree(tokens, score)
        || !stands_alone(tokens, place, after)
    {
        return None;
    }
    let unit = usize::from(word(tokens, after).is_some_and(|word| UNIT.contains(&word)));
    let rest = after + unit;
    if place == lead {
        let plain = leads(tokens, place, rest, score)
            || scale + unit > 0 && word(tokens, rest) == Some("for");
        (plain && !is_inverted(tokens, rest, score)).then(|| (score, comment(raw, tokens, rest)))
    } else {
        let marked = scale + unit > 0 || from_me(tokens, rest);
        let read = is_sentence(tokens, place, rest, marked) || trails(tokens, place, rest, score);
        read.then(|| (score, raw.trim().to_owned()))
    }
}

fn word(tokens: &[Token], at: usize) -> Option<&str> {
    tokens.get(at).and_then(Token::word)
}

fn mark(tokens: &[Token], at: usize) -> Option<char> {
    match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Mark(mark)) => Some(*mark),
        Some(
            Kind::Word(_) | Kind::Number(_) | Kind::Star | Kind::EmptyStar | Kind::OtherNumber,
        )
        | None => None,
    }
}

fn is_digits(tokens: &[Token], at: usize) -> bool {
    matches!(
        tokens.get(at).map(|token| &token.kind),
        Some(Kind::Number(_))
    )
}

/// The score at this place: one digit or a number word.
fn value(tokens: &[Token], at: usize) -> Option<Score> {
    match &tokens.get(at)?.kind {
        Kind::Number(digits) => digits.parse().ok(),
        Kind::Word(word) => {
            let place = VALUES.iter().position(|value| value == word)?;
            Score::ALL.get(place).copied()
        }
        Kind::Star | Kind::EmptyStar | Kind::OtherNumber | Kind::Mark(_) => None,
    }
}

/// Whether something beside the value at `place` is a number too.
fn is_other_value(tokens: &[Token], at: usize, place: usize) -> bool {
    match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Number(_) | Kind::OtherNumber) => true,
        // "one" beside a digit is a pronoun: "5, the one I spoke to was kind".
        Some(Kind::Word(word)) if word == "one" => !is_digits(tokens, place) && at == place + 1,
        Some(Kind::Word(word)) => {
            VALUES.contains(&word.as_str()) || OTHER_VALUES.contains(&word.as_str())
        }
        Some(Kind::Star | Kind::EmptyStar | Kind::Mark(_)) | None => false,
    }
}

/// Star emoji beside a value: one means "stars", several must be as many as the value.
fn stars_agree(tokens: &[Token], score: Score) -> bool {
    let stars = tokens
        .iter()
        .filter(|token| token.kind == Kind::Star)
        .count();
    stars <= 1 || stars == usize::from(score.get())
}

/// How many tokens after the value say "of 5": `/5`, `of 5`, `out of 5`.
fn scale_after(tokens: &[Token], at: usize) -> usize {
    let is_five = |at| value(tokens, at).is_some_and(|score| score.get() == 5);
    if mark(tokens, at) == Some('/') && is_five(at + 1)
        || word(tokens, at) == Some("of") && is_five(at + 1)
    {
        2
    } else if word(tokens, at) == Some("out")
        && word(tokens, at + 1) == Some("of")
        && is_five(at + 2)
    {
        3
    } else {
        0
    }
}

/// No letter or mark is glued to the value in a way that makes it something else: `4th`, `x4`, `4%`, `$4`, `-4`, `4.5`, `4+`.
fn stands_alone(tokens: &[Token], place: usize, after: usize) -> bool {
    let before = place.checked_sub(1).and_then(|at| tokens.get(at));
    let glued_before = !tokens.get(place).is_some_and(|token| token.spaced)
        && before.is_some_and(|token| {
            !matches!(
                token.kind,
                Kind::Mark('"' | '\'' | '(' | '*' | '[' | ':' | ',' | '=') | Kind::Star
            )
        });
    let changed_before = before.is_some_and(|token| {
        matches!(
            token.kind,
            Kind::Mark('#' | '$' | '€' | '£' | '+' | '-' | '~' | '<' | '>' | '/' | '@' | '&')
        )
    });
    let next_glued = tokens.get(after).filter(|token| !token.spaced);
    let glued_after = next_glued.is_some_and(|token| matches!(token.kind, Kind::Word(_)))
        || matches!(
            mark(tokens, after),
            Some(
                '%' | '$'
                    | '€'
                    | '£'
                    | '°'
                    | '+'
                    | '='
                    | '#'
                    | '/'
                    | '?'
                    | '&'
                    | '@'
                    | '\''
                    | '<'
                    | '>'
                    | '~'
            )
        ) && !closes_quote(tokens, place, after);
    !glued_before && !changed_before && !glued_after
}

/// Whether there is something at this place, without a blank before it.
fn is_glued(tokens: &[Token], at: usize) -> bool {
    tokens.get(at).is_some_and(|token| !token.spaced)
}

/// `'4'`: the apostrophe after the value closes the one before it.
fn closes_quote(tokens: &[Token], place: usize, after: usize) -> bool {
    mark(tokens, after) == Some('\'')
        && place
            .checked_sub(1)
            .is_some_and(|at| mark(tokens, at) == Some('\''))
}

/// Whether what follows a value at the start leaves it a score.
fn leads(tokens: &[Token], place: usize, rest: usize, score: Score) -> bool {
    let Some(next) = word(tokens, rest) else {
        // A mark, an emoji or the end separates the value from what comes, unless it joins it to a word: "2-hour wait".
        return !(mark(tokens, rest) == Some('-')
            && is_glued(tokens, rest)
            && is_glued(tokens, rest + 1));
    };
    if tokens.get(rest).is_some_and(|token| token.line) {
        return true;
    }
    if FOLLOWS.contains(&next) && (next != "from" || from_me(tokens, rest)) {
        return true;
    }
    // "One very rude agent" starts with a word that counts people.
    let strong = if STRONGER.contains(&next) {
        rest + 1
    } else {
        rest
    };
    let said = word(tokens, strong).unwrap_or_default();
    let ends =
        word(tokens, strong + 1).is_none_or(|word| FOLLOWS.contains(&word) || WORK.contains(&word));
    let agrees = agrees(said, score);
    is_digits(tokens, place) && agrees && (ends || score.get() == 5)
}

/// Whether a word of praise or blame fits the score.
fn agrees(said: &str, score: Score) -> bool {
    match score.get() {
        1 | 2 => FOLLOWS_BAD.contains(&said),
        3 => FOLLOWS_MIDDLING.contains(&said),
        4 => FOLLOWS_GOOD.contains(&said) || FOLLOWS_MIDDLING.contains(&said),
        _ => FOLLOWS_GOOD.contains(&said),
    }
}

/// `1 - excellent`: whoever turned the scale around has to be asked again.
fn is_inverted(tokens: &[Token], rest: usize, score: Score) -> bool {
    let mut words = tokens
        .iter()
        .skip(rest)
        .filter_map(Token::word)
        .skip_while(|word| STRONGER.contains(word));
    let said = words.next().unwrap_or_default();
    (score.get() == 1 && FOLLOWS_GOOD.contains(&said))
        || (score.get() == 5 && FOLLOWS_BAD.contains(&said))
}

/// `Thank you! 5`, `excellent, 5`, `definitely a 5`: the value ends the reply, and nothing before it can be what it counts.
fn trails(tokens: &[Token], place: usize, rest: usize, score: Score) -> bool {
    let is_mark = |token: &Token| {
        matches!(token.kind, Kind::Mark(mark) if mark != '?') || token.kind == Kind::Star
    };
    let before = tokens.iter().take(place);
    let fits = |token: &Token| {
        token.word().map_or(is_mark(token), |word| {
            GREETING.contains(&word) || agrees(word, score)
        })
    };
    let sure =
        (is_digits(tokens, place) || article_before(tokens, place)) && !is_glued(tokens, place);
    sure && before.clone().all(fits) && tokens.iter().skip(rest).all(is_mark)
}

fn from_me(tokens: &[Token], at: usize) -> bool {
    word(tokens, at) == Some("from") && matches!(word(tokens, at + 1), Some("me" | "us"))
}

/// Whether a sentence says that the value inside it is a rating.
fn is_sentence(tokens: &[Token], place: usize, rest: usize, marked: bool) -> bool {
    let doubted = |at: usize| word(tokens, at).is_some_and(|word| DOUBT.contains(&word));
    let asked = tokens.iter().any(|token| token.kind == Kind::Mark('?'));
    let ends = rest >= tokens.len()
        || mark(tokens, rest).is_some()
        || from_me(tokens, rest)
        || word(tokens, rest) == Some("for");
    // A second thought after the value ("but", "if") may take it back.
    if asked || !ends || (0..tokens.len()).any(doubted) {
        return false;
    }
    said_to_rate(tokens, place) || marked && article_before(tokens, place)
}

/// `a 4`, `a solid four`.
fn article_before(tokens: &[Token], place: usize) -> bool {
    let at = skip_back(tokens, place, ADJECTIVES);
    at.checked_sub(1)
        .is_some_and(|at| matches!(word(tokens, at), Some("a" | "an")))
}

/// `I give it a 4`, `rating: 4`, `my score is four`.
fn said_to_rate(tokens: &[Token], place: usize) -> bool {
    let mut at = skip_back(tokens, place, ADJECTIVES);
    let article = at
        .checked_sub(1)
        .filter(|at| matches!(word(tokens, *at), Some("a" | "an")));
    at = article.unwrap_or(at);
    // "give one reason" is no rating, "give it a one" is.
    if article.is_none() && word(tokens, place) == Some("one") {
        return false;
    }
    if at
        .checked_sub(1)
        .is_some_and(|at| matches!(mark(tokens, at), Some(':' | '=')))
    {
        at -= 1;
    }
    at = skip_back(tokens, at, OBJECTS);
    at.checked_sub(1)
        .and_then(|at| word(tokens, at))
        .is_some_and(|word| CUES.contains(&word))
}

fn skip_back(tokens: &[Token], mut at: usize, words: &[&str]) -> usize {
    while let Some(before) = at
        .checked_sub(1)
        .filter(|before| word(tokens, *before).is_some_and(|word| words.contains(&word)))
    {
        at = before;
    }
    at
}

/// The words after the value, as they were written, without the marks that separate them from it.
fn comment(raw: &str, tokens: &[Token], rest: usize) -> String {
    let separates = |token: &&Token| match token.kind {
        Kind::Star => true,
        // A bracket or a quotation mark after a blank opens the words.
        Kind::Mark('(' | '[' | '{' | '"' | '\'') => !token.spaced,
        Kind::Mark(mark) => mark.is_ascii_punctuation(),
        Kind::Word(_) | Kind::Number(_) | Kind::EmptyStar | Kind::OtherNumber => false,
    };
    let skipped = tokens.iter().skip(rest).take_while(separates).count();
    let start = tokens
        .get(rest + skipped)
        .map_or(raw.len(), |token| token.start);
    let words = raw.get(start..).unwrap_or_default().trim();
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
