//! A reply as one language sees it: the pieces, and what each word is.

use crate::domain::rating::Score;

use super::lang::{self, Senses, class};
use super::token::{Kind, Token};

/// The pieces of a reply with the senses of their words.
pub(super) struct Reply<'a> {
    /// As it was written.
    pub(super) raw: &'a str,
    /// Its pieces.
    pub(super) tokens: &'a [Token],
    senses: Vec<Option<&'static Senses>>,
}

impl<'a> Reply<'a> {
    pub(super) fn new(raw: &'a str, tokens: &'a [Token]) -> Self {
        let senses = tokens
            .iter()
            .map(|token| token.word().and_then(lang::senses));
        Self {
            raw,
            tokens,
            senses: senses.collect(),
        }
    }

    pub(super) fn senses(&self, at: usize) -> Option<&'static Senses> {
        self.senses.get(at).copied().flatten()
    }

    /// Whether a word is of one of these classes in some language, and no everyday word in another.
    pub(super) fn anywhere(&self, at: usize, classes: u32) -> bool {
        self.senses(at)
            .is_some_and(|senses| senses.anywhere & classes > 0)
    }

    /// Whether a word is of one of these classes in some language.
    pub(super) fn in_any(&self, at: usize, classes: u32) -> bool {
        self.senses(at)
            .is_some_and(|senses| senses.of.iter().any(|sense| sense.classes & classes > 0))
    }

    pub(super) fn word(&self, at: usize) -> Option<&'a str> {
        self.tokens.get(at).and_then(Token::word)
    }

    pub(super) fn is_word(&self, at: usize) -> bool {
        self.word(at).is_some()
    }

    pub(super) fn mark(&self, at: usize) -> Option<char> {
        match self.tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Mark(mark)) => Some(*mark),
            Some(
                Kind::Word(_) | Kind::Number(_) | Kind::Star | Kind::EmptyStar | Kind::OtherNumber,
            )
            | None => None,
        }
    }

    /// The mark before this place.
    pub(super) fn mark_before(&self, at: usize) -> Option<char> {
        at.checked_sub(1).and_then(|at| self.mark(at))
    }

    pub(super) fn is_digits(&self, at: usize) -> bool {
        matches!(
            self.tokens.get(at).map(|token| &token.kind),
            Some(Kind::Number(_))
        )
    }

    /// Whether this is a value in some language.
    pub(super) fn is_value(&self, at: usize) -> bool {
        let is_one = |sense: &lang::Sense| sense.value > 0 || sense.classes & class::ONE > 0;
        self.is_digits(at)
            || self
                .senses(at)
                .is_some_and(|senses| senses.of.iter().any(is_one))
    }

    /// The score that digits name.
    pub(super) fn digits(&self, at: usize) -> Option<Score> {
        match &self.tokens.get(at)?.kind {
            Kind::Number(digits) => digits.parse().ok(),
            Kind::Word(_) | Kind::Star | Kind::EmptyStar | Kind::OtherNumber | Kind::Mark(_) => {
                None
            }
        }
    }

    /// Whether there is something at this place, without a blank before it.
    pub(super) fn is_glued(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| !token.spaced)
    }

    /// Whether this place begins a line that is not the first.
    pub(super) fn begins_line(&self, at: usize) -> bool {
        at > 0 && self.tokens.get(at).is_some_and(|token| token.line)
    }
}

/// A reply as one language sees it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// The reply.
    pub(super) reply: &'a Reply<'a>,
    /// The place of the language in [`lang::ALL`].
    pub(super) language: usize,
}

impl View<'_> {
    fn sense(&self, at: usize) -> lang::Sense {
        let senses = self.reply.senses(at);
        senses
            .and_then(|senses| senses.of.get(self.language).copied())
            .unwrap_or_default()
    }

    /// Whether the word is of one of these classes here.
    pub(super) fn is(&self, at: usize, classes: u32) -> bool {
        self.sense(at).classes & classes > 0
    }

    /// Whether a link such as "but" is one: a word that is a noun in another language has to lead to a word of this one.
    pub(super) fn links(&self, at: usize) -> bool {
        let word = self.reply.word(at).unwrap_or_default();
        let Some((_, other)) = lang::FALSE_LINKS.iter().find(|(link, _)| *link == word) else {
            return true;
        };
        let other = Self {
            reply: self.reply,
            language: *other,
        };
        self.knows(at + 1) && !other.knows(at + 1) || self.language == other.language
    }

    /// What is only counted in a language does not show that the reply is written in it.
    fn knows(&self, at: usize) -> bool {
        let sense = self.sense(at);
        sense.classes & !class::COUNTED > 0 || sense.value > 0
    }

    /// The classes of a word in this language, or in any other if this one does not know it.
    pub(super) fn feels(&self, at: usize, classes: u32) -> bool {
        let sense = self.sense(at);
        // That a number after it names something does not show what a word means.
        if sense.classes & !(class::NAMES | class::PEOPLE) == 0 && sense.value == 0 {
            self.reply.in_any(at, classes)
        } else {
            self.is(at, classes)
        }
    }

    /// The score at this place: one digit, or a number word of this language.
    pub(super) fn value(&self, at: usize) -> Option<Score> {
        self.reply.digits(at).or_else(|| {
            let sense = self.sense(at);
            let value = if sense.classes & class::ONE > 0 {
                1
            } else {
                sense.value
            };
            Score::try_from(i64::from(value)).ok()
        })
    }

    /// Whether the value here is a word that is an article or a pronoun far more often.
    pub(super) fn is_article_one(&self, at: usize) -> bool {
        self.is(at, class::ONE)
    }

    /// Whether a doubt takes values back: in this language, or clearly in another one.
    pub(super) fn doubts(&self, at: usize) -> bool {
        self.is(at, class::DOUBT) || self.reply.anywhere(at, class::DOUBT)
    }

    /// Whether the value may be a whole reply: "one" may, "eine" may not.
    pub(super) fn is_whole(&self, at: usize) -> bool {
        self.reply.is_digits(at) || self.sense(at).value > 0
    }

    /// Whether praise or blame fits the score.
    pub(super) fn agrees(&self, at: usize, score: Score) -> bool {
        let classes = match score.get() {
            1 | 2 => class::BAD,
            3 => class::MIDDLING,
            4 => class::GOOD | class::MIDDLING,
            _ => class::GOOD,
        };
        self.is(at, classes)
    }

    /// The first place of the run of words of these classes that ends before `at`.
    pub(super) fn skip_back(&self, mut at: usize, classes: u32) -> usize {
        while let Some(before) = at.checked_sub(1).filter(|before| self.is(*before, classes)) {
            at = before;
        }
        at
    }
}
