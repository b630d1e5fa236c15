//! The shapes in which a value is a rating: it opens the reply, it ends it, or a sentence says that it is given.

use super::lang::class::{
    ADJECTIVE, ARTICLE, BAD, COUNTED, CUE, DOUBT, FOLLOWS, FOR, FRAME, FROM, GOOD, GREETING, ME,
    MIDDLING, NAMES, NOT, OBJECT, OF, PEOPLE, STRONGER, UNIT, WORK,
};
use super::second::{self, Value};
use super::token::Kind;
use super::view::View;

/// A reading: the value, and where the comment starts; `None` means that the whole reply is the comment.
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) comment: Option<usize>,
}

/// Reads a reply in one language.
pub(super) fn read(view: View<'_>) -> Option<Found> {
    let reply = view.reply;
    // Brackets and quotation marks around the value say nothing, and an emoji before it greets.
    let lead = reply
        .tokens
        .iter()
        .take_while(|token| matches!(token.kind, Kind::Mark('"' | '\'' | '(' | '*' | '[')))
        .count();
    let value = find(view, lead)?;
    let opens = value.place == lead;
    if second::has_second(view, value, opens)
        || !second::stars_agree(reply, value.score)
        || second::counts(reply, value)
    {
        return None;
    }
    let found = shape(view, lead, value)?;
    // Last, because it looks at every word.
    let taken_back = second::is_imagined(reply, value)
        || second::is_turned(view, value.score, &(value.place..value.rest));
    (!taken_back).then_some(found)
}

/// The reading of a value, if it is given in one of the shapes.
fn shape(view: View<'_>, lead: usize, value: Value) -> Option<Found> {
    let opens = value.place == lead;
    let read = if is_numbered(view, lead, value) {
        return Some(Found {
            value,
            comment: Some(value.rest),
        });
    } else if !second::stands_alone(view.reply, value) {
        false
    } else if opens {
        leads(view, value)
    } else {
        is_sentence(view, value) || trails(view, lead, value) || ends_alone(view, value)
    };
    read.then_some(Found {
        value,
        comment: opens.then_some(value.rest),
    })
}

/// The first digits, or else the first word that is a value and no article.
fn find(view: View<'_>, lead: usize) -> Option<Value> {
    let reply = view.reply;
    let len = reply.tokens.len();
    let place = (lead..len).find(|at| reply.is_digits(*at)).or_else(|| {
        (lead..len).find(|at| {
            view.value(*at).is_some()
                && (*at == lead && !is_before_value(view, *at)
                    || !view.is_article_one(*at)
                    || said_to_rate(view, *at))
        })
    })?;
    let score = view.value(place)?;
    let unit = unit(view, place + 1);
    let after = place + 1 + unit + scale(view, place + 1 + unit);
    // "4 out of 5 stars": the unit may stand behind the scale too.
    let rest = after
        + if unit == 0 {
            self::unit(view, after)
        } else {
            0
        };
    let after = if unit == 0 { after } else { rest };
    Some(Value {
        score,
        place,
        after,
        rest,
    })
}

/// `un cinco`: the word is the article of the value behind it.
fn is_before_value(view: View<'_>, at: usize) -> bool {
    let mut next = at + 1;
    while view.is(next, ADJECTIVE) {
        next += 1;
    }
    view.is_article_one(at) && view.value(next).is_some()
}

fn unit(view: View<'_>, at: usize) -> usize {
    usize::from(view.is(at, UNIT))
}

/// How many tokens say "of 5": `/5`, `of 5`, `out of 5`, `van de 5`.
fn scale(view: View<'_>, at: usize) -> usize {
    let is_five = |at| view.value(at).is_some_and(|score| score.get() == 5);
    if view.reply.mark(at) == Some('/') && is_five(at + 1) {
        return 2;
    }
    let words = (at..).take_while(|at| view.is(*at, OF)).take(3).count();
    // "4 of 5" is "4 or 5" in Dutch; "4 out of 5" is not.
    let choice = words == 1 && view.reply.in_any(at, DOUBT);
    if words > 0 && !choice && is_five(at + words) {
        words + 1
    } else {
        0
    }
}

fn has_scale_or_unit(value: Value) -> bool {
    value.rest > value.place + 1
}

/// `#4` and nothing else: the number of an answer.
fn is_numbered(view: View<'_>, lead: usize, value: Value) -> bool {
    let reply = view.reply;
    lead + 1 == value.place
        && reply.mark(lead) == Some('#')
        && (value.rest..reply.tokens.len()).all(|at| matches!(reply.mark(at), Some('.' | '!')))
}

/// Whether what follows a value at the start leaves it a score.
fn leads(view: View<'_>, value: Value) -> bool {
    let (reply, next) = (view.reply, value.rest);
    if !has_scale_or_unit(value) && !view.is_whole(value.place) {
        return false;
    }
    if reply.begins_line(next) && !view.is_article_one(value.place) {
        return true;
    }
    if !reply.is_word(next) {
        return separated(view, value);
    }
    if view.is_article_one(value.place) && !has_scale_or_unit(value) {
        return false;
    }
    if view.is(next, FOLLOWS) && view.links(next) || is_from_me(view, next) {
        return true;
    }
    if has_scale_or_unit(value) && view.is(next, FOR) {
        return true;
    }
    if !reply.is_digits(value.place) && !has_scale_or_unit(value) {
        return false;
    }
    let strong = next + usize::from(view.is(next, STRONGER) && reply.is_word(next + 1));
    let ends = !reply.is_word(strong + 1) || view.is(strong + 1, FOLLOWS | WORK);
    // "2 slow answers" counts answers, "2 slow" does not. "5 too late" is no praise.
    view.agrees(strong, value.score) && ends
}

/// A mark, an emoji or the end stands between the value and what comes.
fn separated(view: View<'_>, value: Value) -> bool {
    let reply = view.reply;
    if value.rest < reply.tokens.len() && reply.mark(value.rest).is_none() {
        // Digits or stars right behind the value; stars have been counted.
        return reply
            .tokens
            .get(value.rest)
            .is_some_and(|token| token.kind == Kind::Star);
    }
    let next = (value.rest..reply.tokens.len()).find(|at| reply.mark(*at).is_none());
    let Some(next) = next.filter(|at| reply.is_word(*at)) else {
        return true;
    };
    // "3. Ticket" is "third ticket" in German: after a full stop only words that begin a sentence and name nothing.
    let stop = next == value.rest + 1
        && reply.mark(value.rest) == Some('.')
        && reply.is_digits(value.place);
    let opener = DOUBT
        | FOLLOWS
        | STRONGER
        | FRAME
        | GREETING
        | GOOD
        | BAD
        | MIDDLING
        | OBJECT
        | ARTICLE
        | CUE;
    !stop || reply.begins_line(next) || reply.in_any(next, opener)
}

/// `from me`, `de ma part`.
fn is_from_me(view: View<'_>, at: usize) -> bool {
    view.is(at, FROM) && view.is(at + 1, ME)
}

/// `a 4`, `a solid four`.
fn article_before(view: View<'_>, place: usize) -> bool {
    let at = view.skip_back(place, ADJECTIVE);
    at.checked_sub(1).is_some_and(|at| view.is(at, ARTICLE))
}

/// Whether a sentence says that the value inside it is a rating.
fn is_sentence(view: View<'_>, value: Value) -> bool {
    let reply = view.reply;
    // "ich würde eine 4 geben": in some languages the verb comes last.
    let said_after = view.is(value.rest, CUE) && article_before(view, value.place);
    let rest = value.rest + usize::from(said_after);
    let asked = (0..reply.tokens.len()).any(|at| matches!(reply.mark(at), Some('?' | '¿')));
    let ends = rest >= reply.tokens.len()
        || reply.mark(rest).is_some()
        || reply.begins_line(rest)
        || is_from_me(view, rest)
        || view.is(rest, FOR) && !reply.anywhere(rest + 1, COUNTED);
    // A second thought after the value ("but", "if") may take it back.
    if asked || !ends || (0..reply.tokens.len()).any(|at| view.doubts(at)) {
        return false;
    }
    let article_first = article_before(view, value.place)
        && view.skip_back(value.place, ADJECTIVE | ARTICLE) == 0
        && !view.is_article_one(value.place)
        // "um 4" is "at four" in German.
        && !reply.in_any(0, DOUBT);
    let marked = has_scale_or_unit(value) || is_from_me(view, rest);
    said_after
        || said_to_rate(view, value.place)
        || article_first
        || marked && article_before(view, value.place)
}

/// `I give it a 4`, `rating: 4`, `my score is four`.
fn said_to_rate(view: View<'_>, place: usize) -> bool {
    let mut at = view.skip_back(place, ADJECTIVE);
    let article = at.checked_sub(1).filter(|at| view.is(*at, ARTICLE));
    at = article.unwrap_or(at);
    // "give one reason" is no rating, "give it a one" is.
    if article.is_none() && view.is_article_one(place) {
        return false;
    }
    if matches!(view.reply.mark_before(at), Some(':' | '=')) {
        at -= 1;
    }
    at = view.skip_back(at, OBJECT);
    at.checked_sub(1).is_some_and(|at| view.is(at, CUE))
}

/// `Thank you! 5`, `excellent, 5`, `definitely a 5`: the value ends the reply, and nothing before it can be what it counts.
fn trails(view: View<'_>, lead: usize, value: Value) -> bool {
    let reply = view.reply;
    let article = article_before(view, value.place);
    let sure = (reply.is_digits(value.place) || article || has_scale_or_unit(value))
        && !view.is_article_one(value.place);
    if !sure || !only_marks_after(view, value) || counts_people(view, value) {
        return false;
    }
    // An emoji may be glued to the value, nothing else; a full stop may end a word instead of a sentence ("Str. 4").
    let apart =
        matches!(reply.mark_before(value.place), Some(mark) if !matches!(mark, '.' | '\'' | '-'));
    let frame = if article || apart { FRAME } else { 0 };
    (lead..value.place).all(|at| match reply.tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Word(_)) => {
            view.is(at, GREETING | ADJECTIVE | WORK | STRONGER | frame)
                && !view.is(at, COUNTED & !GREETING)
                || view.agrees(at, value.score)
        }
        Some(Kind::Mark(mark)) => *mark != '?',
        Some(Kind::Star) => true,
        Some(Kind::EmptyStar | Kind::Number(_) | Kind::OtherNumber) | None => false,
    })
}

/// `thank you 2`, `good for 2`, `so 2`: right behind such words a digit counts people, or sounds like "too" or "for".
fn counts_people(view: View<'_>, value: Value) -> bool {
    let reply = view.reply;
    let Some(before) = value
        .place
        .checked_sub(1)
        .filter(|at| reply.is_word(*at) && !reply.begins_line(value.place))
    else {
        return false;
    };
    let few = (2..=4).contains(&value.score.get()) && !has_scale_or_unit(value);
    // "Service was slow so 2" says why.
    let says_why = (0..before).any(|at| view.agrees(at, value.score));
    let strong = view.is(before, STRONGER) && !says_why && !view.agrees(before, value.score);
    reply.is_digits(value.place)
        && (few && view.is(before, PEOPLE) || view.is(before, FOR) || strong)
}

fn only_marks_after(view: View<'_>, value: Value) -> bool {
    let mut after = view.reply.tokens.iter().skip(value.rest);
    after.all(|token| {
        matches!(token.kind, Kind::Mark(mark) if mark != '?') || token.kind == Kind::Star
    })
}

/// A digit alone on the last line or behind an exclamation mark, "Works again!\n5", or behind words that say why: "he was rude, 1".
fn ends_alone(view: View<'_>, value: Value) -> bool {
    let reply = view.reply;
    if !reply.is_digits(value.place) || !only_marks_after(view, value) {
        return false;
    }
    let before = reply.mark_before(value.place);
    let apart = reply.begins_line(value.place) && !matches!(before, Some(':' | ',' | '-'))
        || before == Some('!');
    // "No more errors, perfect 5"; but "good 4" may be "good for".
    let close = value
        .place
        .checked_sub(1)
        .is_some_and(|at| !matches!(value.score.get(), 2 | 4) && view.feels(at, GOOD | BAD));
    let pointed = matches!(before, Some(',' | '.'));
    let explained = (apart || close || pointed) && second::is_explained(view, value);
    if !apart && !explained {
        return false;
    }
    let asked = (0..reply.tokens.len()).any(|at| matches!(reply.mark(at), Some('?' | '¿')));
    // "Definitely not! 5" takes it back, "please press\n5" goes on with it. What turns blame into praise doubts nothing, nor does
    // a complaint beside the worst score: "It still does not work!\n1".
    let words = (0..value.place).filter(|at| reply.is_word(*at)).count();
    let told = explained || value.score.get() == 1 && words > 3;
    let doubted = (0..value.place).any(|at| view.doubts(at) && !(told && reply.in_any(at, NOT)));
    let named = (0..value.place)
        .rev()
        .find(|at| reply.is_word(*at))
        .is_some_and(|at| reply.in_any(at, NAMES | FOR | COUNTED));
    !asked && !doubted && !named
}
