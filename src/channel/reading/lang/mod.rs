//! The words that the reader knows, one file a language. Another language is another list, not another rule: a file and a
//! row in [`ALL`]. Words are separated by blanks and may be written with accents; they are compared without.
//!
//! A reply is read in every language at once, because nobody knows in which one a contact answers. What is a number in one
//! language may be an everyday word in another; such words are in [`HOMOGRAPHS`].

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::phrase::Phrases;
use super::token::folded;

mod de;
mod en;
mod es;
mod fr;
mod it;
mod nl;
mod pt;

/// Every language.
pub(super) const ALL: [&Language; COUNT] = [
    &en::LANGUAGE,
    &es::LANGUAGE,
    &fr::LANGUAGE,
    &de::LANGUAGE,
    &pt::LANGUAGE,
    &nl::LANGUAGE,
    &it::LANGUAGE,
];
/// How many there are.
pub(super) const COUNT: usize = 7;

/// The words of one language.
#[derive(Debug)]
pub(super) struct Language {
    /// The scores as words, worst first. The words for one are those that may be a whole reply.
    pub(super) values: [&'static str; 5],
    /// Words that mean one and are an article or a pronoun far more often.
    pub(super) one: &'static str,
    /// Other words that are a number. One of them beside a value leaves more than one way to read the reply.
    pub(super) numbers: &'static str,
    /// Words that take a value inside a sentence back.
    pub(super) doubt: &'static str,
    /// Words that may follow a value at the start without a mark between them, because they cannot be what is counted.
    pub(super) follows: &'static str,
    /// The same, as long as the value agrees with them: praise.
    pub(super) good: &'static str,
    /// The same for blame.
    pub(super) bad: &'static str,
    /// The same for scores in the middle.
    pub(super) middling: &'static str,
    /// Words that may stand before a value that ends the reply.
    pub(super) greeting: &'static str,
    /// The same, where an article or a mark stands between them and the value.
    pub(super) frame: &'static str,
    /// Words that only make the next one stronger.
    pub(super) stronger: &'static str,
    /// Words that praise, but say nothing about what a number right before them counts.
    pub(super) praise: &'static str,
    /// The same for blame.
    pub(super) blame: &'static str,
    /// Blame that a four may have.
    pub(super) mild: &'static str,
    /// Words that turn praise into blame, and blame into praise.
    pub(super) not: &'static str,
    /// Words that set the rest of a reply against its beginning.
    pub(super) but: &'static str,
    /// Words after which a number on a line of its own names something: "my code is", "please press".
    pub(super) names: &'static str,
    /// People: behind them a number counts them, or is another word that sounds like it: "thank you 2".
    pub(super) people: &'static str,
    /// Phrases right behind a good value that take it back: "5 - if only it were true", "5, never again".
    pub(super) unreal: &'static [&'static str],
    /// What scores are counted in.
    pub(super) unit: &'static str,
    /// Words between an article and a value: "a solid four".
    pub(super) adjectives: &'static str,
    /// Articles before a value: "a 4".
    pub(super) articles: &'static str,
    /// Words that say that a value is given.
    pub(super) cues: &'static str,
    /// Words between such a word and the value: "I give it a 4".
    pub(super) objects: &'static str,
    /// What praise is about, and what goes on after it: "5 great service and fast".
    pub(super) work: &'static str,
    /// Words between a value and its scale: "4 out of 5".
    pub(super) of: &'static str,
    /// "from" in "from me".
    pub(super) from: &'static str,
    /// "me" in "from me".
    pub(super) me: &'static str,
    /// "for" in "five stars for Sam".
    pub(super) for_: &'static str,
    /// What numbers beside a score count: time, money, people, places in a list. Months and streets too.
    pub(super) counted: &'static str,
    /// Words and phrases that opt out when nothing else is said.
    pub(super) stop: &'static [&'static str],
    /// Those of them that opt out even with a number in the same sentence.
    pub(super) stop_firmly: &'static [&'static str],
    /// Unmistakable words that opt out at the start of a reply, unless one of `theirs` follows.
    pub(super) stop_first: &'static [&'static str],
    /// Those of `stop` that also say that there is nothing more to say: "5, basta".
    pub(super) closers: &'static [&'static str],
    /// What people stop, cancel or miss that is not ours: "stop wasting my time", "no more error messages".
    pub(super) theirs: &'static str,
    /// Phrases that opt out wherever they stand, see [`super::phrase`].
    pub(super) stop_within: &'static [&'static str],
    /// Words right before such a phrase that make it the opposite: "the printer won't stop". No `..` skips them either.
    pub(super) unless: &'static str,
    /// Phrases shortly before it, in the same clause, that tell of something: "you stop texting".
    pub(super) tells: &'static [&'static str],
    /// Phrases there that make it a wish after all: "can you stop texting".
    pub(super) asks: &'static [&'static str],
    /// Words in which phones say that somebody liked a message, beside that message in quotation marks.
    pub(super) reactions: &'static str,
    /// Words that opt in when nothing else is said. Not YES: it is an answer to anything.
    pub(super) start: &'static [&'static str],
    /// Words that ask who we are when nothing else is said.
    pub(super) help: &'static [&'static str],
    /// Courtesies that change nothing.
    pub(super) polite: &'static str,
}

/// Words that are a number, a doubt or a link in one language and an everyday word in another. They have that meaning in
/// their own language only, and elsewhere only where they stand apart like a second value.
const HOMOGRAPHS: &str = "once sei due tres onze dos tre six dix cent mille mil nul null otto acht ten elf sette \
    o of as om se or ou e si non no ma pas plus tot meno mi da la les des del uno une un una uma um \
    ein eine een one half dan als only solo";

/// Links ("but", "because") that are a noun or "more" in another language, and the place of that language in [`ALL`]: "4 car
/// accidents", "4 más". They link only to a word that their own language knows and the other one does not.
pub(super) const FALSE_LINKS: &[(&str, usize)] =
    &[("car", 0), ("want", 0), ("mas", 1), ("mais", 4)];

/// What kind of word it is.
pub(super) mod class {
    macro_rules! classes {
        ($($name:ident)*) => { classes!(@ 0, $($name)*); };
        (@ $bit:expr, $first:ident $($rest:ident)*) => {
            pub(in super::super) const $first: u32 = 1 << $bit;
            classes!(@ $bit + 1, $($rest)*);
        };
        (@ $bit:expr,) => {};
    }
    classes! {
        ONE NUMBER DOUBT FOLLOWS GOOD BAD MIDDLING GREETING FRAME STRONGER UNIT ADJECTIVE ARTICLE CUE OBJECT WORK OF FROM ME
        FOR COUNTED PRAISE BLAME MILD NOT BUT NAMES PEOPLE
    }
}

/// What a word is in one language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sense {
    /// Bits of [`class`].
    pub(super) classes: u32,
    /// The score that it names; 0 for none.
    pub(super) value: u8,
}

/// What a word is in each language.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Senses {
    /// In the order of [`ALL`].
    pub(super) of: [Sense; COUNT],
    /// The bits of all languages in which it is no homograph.
    pub(super) anywhere: u32,
    /// Whether it is a value somewhere and no homograph.
    pub(super) value_anywhere: bool,
    /// Whether it is an everyday word in another language.
    pub(super) homograph: bool,
}

/// Whether these words begin with a phrase of some language that takes the value before it back.
pub(super) fn is_unreal(words: &[&str]) -> bool {
    static UNREAL: LazyLock<Phrases> = LazyLock::new(|| {
        let mut all = Phrases::default();
        for phrase in ALL.iter().flat_map(|language| language.unreal) {
            all.add(phrase);
        }
        all
    });
    UNREAL.start(words)
}

/// Whether phones say with this word that somebody liked a message.
pub(super) fn is_reaction(word: &str) -> bool {
    static REACTIONS: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let all = ALL.iter().flat_map(|one| one.reactions.split_whitespace());
        all.map(folded).collect()
    });
    REACTIONS.contains(word)
}

/// What this word is, if any language knows it.
pub(super) fn senses(word: &str) -> Option<&'static Senses> {
    static INDEX: LazyLock<HashMap<String, Senses>> = LazyLock::new(index);
    INDEX.get(word)
}

fn index() -> HashMap<String, Senses> {
    let mut index: HashMap<String, Senses> = HashMap::new();
    for (place, language) in ALL.into_iter().enumerate() {
        let mut add = |words: &str, sense: Sense| {
            for word in words.split_whitespace() {
                let known = &mut index.entry(folded(word)).or_default().of[place];
                known.classes |= sense.classes;
                known.value = known.value.max(sense.value);
            }
        };
        for (value, words) in (1..).zip(language.values) {
            add(words, Sense { classes: 0, value });
        }
        for (words, classes) in language.classes() {
            add(words, Sense { classes, value: 0 });
        }
    }
    for word in HOMOGRAPHS.split_whitespace() {
        index.entry(word.to_owned()).or_default().homograph = true;
    }
    for senses in index.values_mut().filter(|senses| !senses.homograph) {
        senses.anywhere = senses.of.iter().fold(0, |all, sense| all | sense.classes);
        senses.value_anywhere = senses.of.iter().any(|sense| sense.value > 0);
    }
    index
}

impl Language {
    fn classes(&self) -> [(&'static str, u32); 28] {
        use class::{
            ADJECTIVE, ARTICLE, BAD, BLAME, BUT, COUNTED, CUE, DOUBT, FOLLOWS, FOR, FRAME, FROM,
            GOOD, GREETING, ME, MIDDLING, MILD, NAMES, NOT, NUMBER, OBJECT, OF, ONE, PEOPLE,
            PRAISE, STRONGER, UNIT, WORK,
        };
        [
            (self.one, ONE),
            (self.numbers, NUMBER),
            (self.doubt, DOUBT),
            (self.follows, FOLLOWS),
            (self.good, GOOD),
            (self.bad, BAD),
            (self.middling, MIDDLING),
            (self.greeting, GREETING),
            (self.frame, FRAME),
            (self.stronger, STRONGER),
            (self.unit, UNIT),
            (self.adjectives, ADJECTIVE),
            (self.articles, ARTICLE),
            (self.cues, CUE),
            (self.objects, OBJECT),
            (self.work, WORK),
            (self.of, OF),
            (self.from, FROM),
            (self.me, ME),
            (self.for_, FOR),
            (self.counted, COUNTED),
            (self.praise, PRAISE),
            (self.blame, BLAME),
            (self.mild, MILD),
            (self.not, NOT),
            (self.but, BUT),
            (self.names, NAMES),
            (self.people, PEOPLE),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "4 car accidents" must not be read because "car" is "because" in French.
    #[test]
    fn no_word_that_lets_a_score_pass_counts_something_in_any_language() {
        for (word, senses) in index() {
            let all = senses.of.iter().fold(0, |all, sense| all | sense.classes);
            let passes = class::FOLLOWS | class::UNIT;
            assert!(
                all & class::COUNTED == 0 || all & passes == 0,
                "{word} follows a score in one language and is counted in another"
            );
        }
    }

    #[test]
    fn a_word_has_one_value_or_is_a_homograph() {
        for (word, senses) in index() {
            let mut values: Vec<u8> = senses
                .of
                .iter()
                .map(|s| s.value)
                .filter(|v| *v > 0)
                .collect();
            values.dedup();
            assert!(values.len() < 2, "{word} is {values:?}");
            let number = senses.of.iter().any(|s| s.classes & class::NUMBER > 0);
            assert!(!number || values.is_empty(), "{word} is two numbers");
        }
    }

    #[test]
    fn every_list_of_every_language_has_words() {
        for (place, language) in ALL.into_iter().enumerate() {
            for (words, class) in language.classes() {
                assert!(!words.trim().is_empty(), "language {place}, class {class}");
            }
            let phrases = [language.stop, language.stop_within, language.unreal];
            let more = [language.tells, language.asks, language.start, language.help];
            for list in phrases.into_iter().chain(more) {
                assert!(!list.is_empty(), "language {place}");
            }
            assert!(!language.reactions.is_empty() && !language.theirs.is_empty());
        }
    }
}
