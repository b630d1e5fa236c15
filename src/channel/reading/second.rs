//! What beside a value leaves more than one way to read it: a second number, a unit that the number counts, a mark that
//! makes it an amount, words that say the opposite. These rules hold for all languages at once.

use std::ops::Range;

use crate::domain::rating::Score;

use super::lang::{self, class};
use super::token::{Kind, Token};
use super::view::{Reply, View};

/// Marks that turn a number into something else wherever they stand beside it.
const CHANGING: &str = "#$€£¥¢₩₹₽₺₫₱₴₦฿₿%‰٪°+=/?¿&@<>~^|\\_×÷±*";
/// Links that make a range or a choice of two numbers.
const JOINS: &[&str] = &[
    "to", "bis", "tot", "a", "y", "e", "et", "und", "en", "and", "or", "oder", "of", "o", "ou",
    "u", "x", "by",
];
const SAD: &str = "👎😡🤬😠🖕💩😭🙄💔😢😞😒😤😩😫☹🙁😖😣😔🤮🤢😾😿😕👿";
const GLAD: &str = "👍👏🎉🥳😍🥰🤩😀😃😄😁😊☺🙂😇🙏❤♥💕💖💗💙💚💛🧡💜😘🤗👌💯";

/// A value in a reply: where it stands, and where what belongs to it (a scale, a unit) ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    /// The score.
    pub(super) score: Score,
    /// Where it stands.
    pub(super) place: usize,
    /// What comes after the value and its scale.
    pub(super) after: usize,
    /// What comes after its unit too.
    pub(super) rest: usize,
}

/// Whether another number stands beside the value. After a value that opens the reply, a number that clearly counts
/// something in the words is none: "2, waited 3 hours".
pub(super) fn has_second(view: View<'_>, value: Value, opens: bool) -> bool {
    let outside = |at: &usize| !(value.place..value.after).contains(at);
    (0..view.reply.tokens.len()).filter(outside).any(|at| {
        is_number(view, value, at) && !(opens && at > value.rest && is_counted(view.reply, at))
    })
}

fn is_number(view: View<'_>, value: Value, at: usize) -> bool {
    let reply = view.reply;
    match reply.tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Number(_) | Kind::OtherNumber) => true,
        Some(Kind::Word(_)) => {
            let Some(senses) = reply.senses(at) else {
                return false;
            };
            let number = senses
                .of
                .iter()
                .any(|sense| sense.value > 0 || sense.classes & (class::NUMBER | class::ONE) > 0);
            if !number {
                return false;
            }
            let one = senses.of.iter().any(|sense| sense.classes & class::ONE > 0);
            let leads_on = reply.is_word(at + 1) && at + 1 != value.place;
            let article = one && is_article(reply, value, at);
            let alone = !leads_on && !follows_word(reply, value, at) && !article;
            // "5, the one I spoke to": a pronoun. "5 one": two values. "5, sei gentile": six only where it stands apart.
            if one {
                return alone && !is_unit_before(view, at);
            }
            let own = view.value(at).is_some() || view.is(at, class::NUMBER);
            senses.value_anywhere || senses.anywhere & class::NUMBER > 0 || own || alone
        }
        Some(Kind::Star | Kind::EmptyStar | Kind::Mark(_)) | None => false,
    }
}

/// Whether a word stands right before this one, other than the value, that does not put it beside the value: "or", "but".
fn follows_word(reply: &Reply<'_>, value: Value, at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| {
        let links = reply.in_any(before, class::DOUBT | class::FOLLOWS)
            || reply.word(before).is_some_and(|word| JOINS.contains(&word));
        let outside = !(value.place..value.rest).contains(&before);
        outside && reply.is_word(before) && !links
    })
}

/// `un 4`: the word is the article of the value, if no new line is between.
fn is_article(reply: &Reply<'_>, value: Value, at: usize) -> bool {
    at + 1 == value.place && !reply.begins_line(value.place)
}

fn is_unit_before(view: View<'_>, at: usize) -> bool {
    at.checked_sub(1).is_some_and(|at| view.is(at, class::UNIT))
}

/// Whether the number counts what follows it, or is too long to be a score, inside a sentence of words.
fn is_counted(reply: &Reply<'_>, at: usize) -> bool {
    let Some(before) = at.checked_sub(1).and_then(|at| reply.word(at)) else {
        return false;
    };
    let long = match reply.tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Number(digits)) => digits.len() > 2,
        Some(Kind::Word(_) | Kind::Star | Kind::EmptyStar | Kind::OtherNumber | Kind::Mark(_))
        | None => false,
    };
    let counts = reply.anywhere(at + 1, class::COUNTED);
    let doubted = reply.anywhere(at - 1, class::DOUBT);
    !JOINS.contains(&before) && !doubted && !reply.is_glued(at) && (counts || long)
}

/// Stars beside a value: one means "stars", several must be as many as the value. The same for asterisks behind it.
pub(super) fn stars_agree(reply: &Reply<'_>, score: Score) -> bool {
    let stars = reply
        .tokens
        .iter()
        .filter(|token| token.kind == Kind::Star)
        .count();
    let asterisks = reply
        .tokens
        .iter()
        .filter(|token| token.kind == Kind::Mark('*'))
        .count();
    // Around the value they are the bold type of chats.
    let bold = reply.mark(0) == Some('*');
    [stars, if bold { 0 } else { asterisks }]
        .into_iter()
        .all(|count| count <= 1 || count == usize::from(score.get()))
}

/// No letter or mark is beside the value in a way that makes it something else: `4th`, `x4`, `4%`, `$4`, `-4`, `4.5`, `4+`.
pub(super) fn stands_alone(reply: &Reply<'_>, value: Value) -> bool {
    let before = value
        .place
        .checked_sub(1)
        .and_then(|at| reply.tokens.get(at));
    let glued_before = reply.is_glued(value.place)
        && before.is_some_and(|token| {
            !matches!(
                token.kind,
                Kind::Mark('"' | '\'' | '(' | '*' | '[' | '=' | '!') | Kind::Star
            ) && !is_emoji(&token.kind)
                && !is_mark_behind_word(reply, value.place)
        });
    let changed_before = before.is_some_and(
        |token| matches!(token.kind, Kind::Mark(mark) if mark != '*' && mark != '=' && (mark == '-' || CHANGING.contains(mark))),
    );
    let after = value.after;
    let glued_word = reply.is_glued(after) && reply.is_word(after);
    let apostrophe = reply.mark(after) == Some('\'')
        && reply.is_glued(after)
        && reply.mark_before(value.place) != Some('\'');
    !glued_before
        && !changed_before
        && !glued_word
        && !apostrophe
        && !is_changed_after(reply, after)
}

/// `rating:3` and `ok,4`, but not the face `:3` and the decimal `,4`.
fn is_mark_behind_word(reply: &Reply<'_>, place: usize) -> bool {
    matches!(reply.mark_before(place), Some(':' | ','))
        && place.checked_sub(2).is_some_and(|at| reply.is_word(at))
}

fn is_emoji(kind: &Kind) -> bool {
    matches!(kind, Kind::Mark(mark) if u32::from(*mark) > 0x2190)
}

/// `4 %`, `4 ?`, `4!?`, `5,-`, `2-hour`: the marks after the value change it.
fn is_changed_after(reply: &Reply<'_>, after: usize) -> bool {
    let closes = |mark: char| mark == '*';
    let marks = (after..).map_while(|at| reply.mark(at).map(|mark| (at, mark)));
    let mut last = None;
    let mut count = 0;
    for (at, mark) in marks {
        if count == 0 && CHANGING.contains(mark) && !closes(mark) {
            return true;
        }
        // A price without its decimals: "5,-" and "5.-".
        if count == 1 && mark == '-' && matches!(last, Some(',' | '.')) && reply.is_glued(at) {
            return true;
        }
        count += 1;
        last = Some(mark);
    }
    let next = after + count;
    // A question asks what the number is for; but "2 - why so slow?" has its mark behind words.
    if (after..next).any(|at| matches!(reply.mark(at), Some('?' | '¿'))) {
        return true;
    }
    let joined = count == 1 && last == Some('-') && reply.is_glued(after) && reply.is_glued(next);
    joined && reply.is_word(next)
}

/// Whether the first word after the value is something that numbers count, in any language.
pub(super) fn counts(reply: &Reply<'_>, value: Value) -> bool {
    let next = (value.rest..reply.tokens.len()).find(|at| reply.mark(*at).is_none());
    // What a new line begins with is not what the number before it counts.
    next.is_some_and(|at| reply.anywhere(at, class::COUNTED) && !reply.begins_line(at))
}

/// How much a reply blames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Blame {
    #[default]
    None,
    /// No more than a four may have.
    Mild,
    Full,
}

/// What the words of a reply say, apart from its value.
#[derive(Debug, Clone, Copy, Default)]
struct Mood {
    good: bool,
    blame: Blame,
    /// Sets one thing against another.
    but: bool,
}

impl Mood {
    fn of(view: View<'_>, value: &Range<usize>) -> Self {
        let mut mood = Self::default();
        for at in (0..view.reply.tokens.len()).filter(|at| !value.contains(at)) {
            mood.but |= view.feels(at, class::BUT);
            let good = view.feels(at, class::GOOD | class::PRAISE);
            let bad = view.feels(at, class::BAD | class::BLAME);
            // "Super slow" is slow.
            let only_strong = view.feels(at, class::STRONGER)
                && view.feels(at + 1, class::GOOD | class::BAD | class::BLAME);
            if good == bad || only_strong {
                continue;
            }
            let turned = is_negated(view, at);
            mood.good |= good != turned;
            let blame = if bad == turned {
                Blame::None
            } else if turned || view.feels(at, class::MILD) {
                Blame::Mild
            } else {
                Blame::Full
            };
            mood.blame = mood.blame.max(blame);
        }
        mood
    }
}

/// Whether one of the three words before this one, in the same clause, turns it around: "not very good".
fn is_negated(view: View<'_>, at: usize) -> bool {
    let before = (0..at).rev().take(4);
    let joined = before.take_while(|at| {
        view.reply.is_word(*at) || matches!(view.reply.mark(*at), Some('\'' | '-'))
    });
    joined
        .take_while(|at| !view.feels(*at, class::BUT))
        .any(|at| view.is(at, class::NOT) || view.reply.anywhere(at, class::NOT))
}

/// `1 - excellent`, `Horrible! 5`, `5 👎`: whoever turned the scale around has to be asked again. Nor is "5, not" a five.
pub(super) fn is_turned(view: View<'_>, score: Score, value: &Range<usize>) -> bool {
    let reply = view.reply;
    let mut words = (value.end..reply.tokens.len()).filter(|at| reply.is_word(*at));
    let only_doubt = words
        .next()
        .is_some_and(|at| reply.in_any(at, class::DOUBT))
        && words.all(|at| reply.in_any(at, class::DOUBT));
    let face = |faces: &str| {
        let is_one = |token: &Token| matches!(token.kind, Kind::Mark(mark) if faces.contains(mark));
        reply.tokens.iter().any(is_one)
    };
    let mood = Mood::of(view, value);
    let praised = mood.good && mood.blame == Blame::None && !mood.but;
    let blamed = |least: Blame| mood.blame >= least && !mood.good && !mood.but;
    let turned = match score.get() {
        1 | 2 => praised || face(GLAD),
        3 => false,
        4 => blamed(Blame::Full) || face(SAD),
        _ => blamed(Blame::Mild) || face(SAD),
    };
    turned || only_doubt
}

/// Whether the words praise or blame, and all of it fits the score.
pub(super) fn is_explained(view: View<'_>, value: Value) -> bool {
    let mood = Mood::of(view, &(value.place..value.rest));
    match value.score.get() {
        1 | 2 => mood.blame > Blame::None && !mood.good,
        3 => false,
        _ => mood.good && mood.blame == Blame::None,
    }
}

/// `5 - if only it were true`, `5, never again`: the words right behind a good value take it back.
pub(super) fn is_imagined(reply: &Reply<'_>, value: Value) -> bool {
    if value.score.get() < 3 {
        return false;
    }
    let marks = (value.rest..).take_while(|at| reply.mark(*at).is_some());
    let start = value.rest + marks.count();
    let words: Vec<&str> = (start..).map_while(|at| reply.word(at)).take(8).collect();
    lang::is_unreal(&words)
}
