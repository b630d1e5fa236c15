//! STOP, START and HELP. Networks and laws know the single words; people also write sentences, and a clear wish to be left
//! alone counts in any words (47 CFR 64.1200(a)(10): consent may be revoked in any reasonable manner).

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::domain::reply::Understood;

use super::lang::{self, Language};
use super::phrase::Phrases;
use super::token::{Kind, Token, folded};

/// How many words before a phrase say whether it is a wish.
const BEFORE: usize = 4;
/// The longest word of command with a few courtesies; no reply of thousands of words is joined for this.
const LONGEST: usize = 8;

/// The commands of all languages: nobody who writes STOP says in which.
#[derive(Default)]
struct Commands {
    /// Opt out when nothing else is said, or in a sentence or a line of their own.
    stop: HashSet<String>,
    /// Opt out even with a number in the same sentence.
    firm: HashSet<String>,
    /// Opt out at the start of a reply, whatever follows, unless it is about something else.
    first: Phrases,
    /// Those of `stop` that close a good answer too: "5, basta".
    closers: HashSet<String>,
    /// What people stop and cancel that is not ours.
    theirs: HashSet<String>,
    start: HashSet<String>,
    help: HashSet<String>,
    polite: HashSet<String>,
    wishes: Vec<Wishes>,
    /// The phrases of all languages, to pass over the words that begin none.
    any_wish: Phrases,
}

/// How one language says the wish to be left alone in a sentence. No language is judged by the words of another.
struct Wishes {
    within: Phrases,
    /// Right before such a phrase: it is the opposite.
    unless: HashSet<String>,
    /// Shortly before it: it is told, not wished.
    tells: Phrases,
    /// Shortly before it: it is wished after all.
    asks: Phrases,
}

static COMMANDS: LazyLock<Commands> = LazyLock::new(|| {
    let mut all = Commands::default();
    for language in lang::ALL {
        all.polite.extend(words(language.polite));
    }
    for language in lang::ALL {
        // Without courtesies, as what is compared with them.
        let bare = |list: &'static [&'static str]| {
            let all: Vec<String> = phrases(list)
                .map(|text| all.said(&text.split(' ').collect::<Vec<_>>()))
                .filter(|text| !text.is_empty())
                .collect();
            all
        };
        let (stop, firm, closers) = (
            bare(language.stop),
            bare(language.stop_firmly),
            bare(language.closers),
        );
        all.stop.extend(stop);
        all.firm.extend(firm);
        all.closers.extend(closers);
        all.theirs.extend(words(language.theirs));
        all.start.extend(phrases(language.start));
        all.help.extend(phrases(language.help));
        for phrase in language.stop_first {
            all.first.add(phrase);
        }
        all.wishes.push(Wishes::of(language, &all.polite));
        for phrase in language.stop_within {
            all.any_wish.add(phrase);
        }
    }
    all
});

fn words(list: &'static str) -> impl Iterator<Item = String> {
    list.split_whitespace().map(folded)
}

fn phrases(list: &'static [&'static str]) -> impl Iterator<Item = String> {
    list.iter().map(|text| folded(text))
}

/// The command in a reply, if it is one.
pub(super) fn read(tokens: &[Token]) -> Option<Understood> {
    let commands = &*COMMANDS;
    let words: Vec<&str> = tokens.iter().filter_map(Token::word).collect();
    let first = *words.first()?;
    let sentences = sentences(tokens);
    let wished = sentences.iter().any(|words| commands.is_wish(words));
    let opened = || sentences.first().is_some_and(|words| commands.opens(words));
    if wished || opened() || commands.is_alone(tokens) {
        return Some(Understood::Stop);
    }
    // What follows needs nothing but the command; with a number beside it, it is about something else.
    if number(tokens).is_some() {
        return None;
    }
    let said = commands.said(&words);
    let spelled = || {
        // Courtesies of one letter ("s'il vous plaît") are letters here.
        let polite = |word: &&&str| word.len() > 1 && commands.polite.contains(**word);
        let kept: Vec<&str> = words.iter().filter(|word| !polite(word)).copied().collect();
        let letters = kept.len() > 2 && kept.iter().all(|word| word.len() == 1);
        letters && commands.firm.contains(&kept.concat())
    };
    let repeated = || words.iter().all(|word| *word == first) && commands.stop.contains(first);
    if commands.stop.contains(&said) || repeated() || spelled() {
        Some(Understood::Stop)
    } else if commands.start.contains(&said) {
        Some(Understood::Start)
    } else if commands.help.contains(&said) {
        Some(Understood::Help)
    } else {
        None
    }
}

/// The first number, if there is one; 0 for one that is no score.
fn number(tokens: &[Token]) -> Option<u8> {
    tokens.iter().find_map(|token| match &token.kind {
        Kind::Number(digits) => Some(digits.parse().unwrap_or_default()),
        Kind::Word(_) | Kind::Star | Kind::EmptyStar | Kind::OtherNumber | Kind::Mark(_) => None,
    })
}

/// A word of a sentence, and whether a mark stands between it and the one before.
struct Word<'a> {
    text: &'a str,
    apart: bool,
}

/// The sentences of a reply. A new line is none: mails break lines anywhere.
fn sentences(tokens: &[Token]) -> Vec<Vec<Word<'_>>> {
    let mut all = vec![Vec::new()];
    let mut apart = false;
    for token in tokens {
        match &token.kind {
            Kind::Word(word) => {
                let word = Word { text: word, apart };
                if let Some(last) = all.last_mut() {
                    last.push(word);
                }
                apart = false;
            }
            Kind::Mark('.' | '!' | '?' | ';') => all.push(Vec::new()),
            Kind::Mark('\'' | '-') if !token.spaced => {}
            Kind::Number(_) | Kind::Star | Kind::EmptyStar | Kind::OtherNumber | Kind::Mark(_) => {
                apart = true;
            }
        }
    }
    all.retain(|words| !words.is_empty());
    all
}

impl Commands {
    /// The words without courtesies.
    fn said(&self, words: &[&str]) -> String {
        let kept: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| !self.polite.contains(*word))
            .collect();
        kept.join(" ")
    }

    /// Whether a sentence, a line or a part between marks is nothing but a word of command: "STOP 4", "1 - quit", "2\nend".
    fn is_alone(&self, tokens: &[Token]) -> bool {
        let ends = |token: &Token| match token.kind {
            Kind::Mark('.' | '!' | '?' | ',' | ';' | '|') => true,
            // Glued, they join words and the parts of links.
            Kind::Mark('-' | '/') => token.spaced,
            Kind::Word(_)
            | Kind::Number(_)
            | Kind::Star
            | Kind::EmptyStar
            | Kind::OtherNumber
            | Kind::Mark(_) => false,
        };
        let given = number(tokens);
        let mut words: Vec<&str> = Vec::new();
        let (mut counted, mut parts) = (false, 0);
        let mut is_command = |words: &mut Vec<&str>, counted: &mut bool| {
            let first = parts == 0;
            parts += usize::from(!words.is_empty());
            let found = !words.is_empty()
                && words.len() <= LONGEST
                && self.is_part(&self.said(words), *counted, given, first);
            words.clear();
            *counted = false;
            found
        };
        for token in tokens {
            if (token.line || ends(token)) && is_command(&mut words, &mut counted) {
                return true;
            }
            words.extend(token.word());
            counted |= matches!(token.kind, Kind::Number(_));
        }
        is_command(&mut words, &mut counted)
    }

    /// Whether a part is a command: `counted` with a number in it, `given` beside this number, `first` if no words are before.
    fn is_part(&self, said: &str, counted: bool, given: Option<u8>, first: bool) -> bool {
        if self.firm.contains(said) || self.firm.contains(&unstretched(said)) {
            return true;
        }
        if counted || !self.stop.contains(said) {
            return false;
        }
        // "1, basta" has had enough; "5, basta" has no more to say. "1, nie wieder" means the service.
        match given {
            Some(number) => {
                let vows = lang::is_unreal(&said.split(' ').collect::<Vec<_>>());
                let closes = number > 2 && self.closers.contains(said);
                !vows && !closes
            }
            None => first || !self.closers.contains(said),
        }
    }

    /// Whether the reply opens with an unmistakable word: "STOP I am driving", but not "stop wasting my time".
    fn opens(&self, words: &[Word<'_>]) -> bool {
        let words = words.iter().map(|word| word.text);
        let words: Vec<&str> = words
            .skip_while(|word| self.polite.contains(*word))
            .collect();
        self.first.start(&words) && !words.iter().any(|word| self.theirs.contains(*word))
    }

    fn is_wish(&self, words: &[Word<'_>]) -> bool {
        let texts: Vec<&str> = words.iter().map(|word| word.text).collect();
        (0..texts.len())
            .filter(|at| {
                texts
                    .get(*at)
                    .is_some_and(|word| self.any_wish.may_start(word))
            })
            .any(|at| {
                let mut languages = self.wishes.iter();
                languages.any(|wishes| wishes.is_said(words, &texts, at, &self.theirs))
            })
    }
}

impl Wishes {
    fn of(language: &'static Language, polite: &HashSet<String>) -> Self {
        let unless: HashSet<String> = words(language.unless).collect();
        Self {
            within: Phrases::new(language.stop_within, unless.clone(), polite.clone()),
            unless,
            tells: Phrases::new(language.tells, HashSet::new(), HashSet::new()),
            asks: Phrases::new(language.asks, HashSet::new(), HashSet::new()),
        }
    }

    /// Whether a phrase starts at this word and is meant.
    fn is_said(
        &self,
        words: &[Word<'_>],
        texts: &[&str],
        at: usize,
        theirs: &HashSet<String>,
    ) -> bool {
        let Some(rest) = texts.get(at..).filter(|rest| self.within.start(rest)) else {
            return false;
        };
        let clause = words.iter().skip(at).enumerate();
        let ours = clause
            .take_while(|(place, word)| *place == 0 || !word.apart)
            .all(|(_, word)| !theirs.contains(word.text));
        (ours || self.within.start_with(rest, false)) && !self.is_told(words, texts, at)
    }

    /// Whether the words before a phrase make it something else: "they never stop texting", "ich kann keine Mails mehr senden".
    fn is_told(&self, words: &[Word<'_>], texts: &[&str], at: usize) -> bool {
        let joined = words
            .get(..=at)
            .unwrap_or_default()
            .iter()
            .rev()
            .take_while(|word| !word.apart)
            .count()
            .min(BEFORE);
        let before = texts.get(at.saturating_sub(joined)..at).unwrap_or_default();
        let opposite = before
            .last()
            .is_some_and(|word| self.unless.contains(*word));
        opposite || self.tells.within(before) && !self.asks.within(before)
    }
}

/// "stoooop" as "stop".
fn unstretched(word: &str) -> String {
    let mut kept = String::with_capacity(word.len());
    for c in word.chars() {
        if !kept.ends_with(c) {
            kept.push(c);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::token;
    use super::*;

    fn is_stop(raw: &str) -> bool {
        read(&token::tokens(raw)) == Some(Understood::Stop)
    }

    #[test]
    fn one_language_is_not_judged_by_the_words_of_another() {
        // "que" tells in one language, "no" says the opposite in another.
        for raw in [
            "quiero que me den de baja",
            "no stop texting me",
            "Quero que vocês parem de enviar mensagens",
            "Können Sie mich bitte abmelden?",
        ] {
            assert!(is_stop(raw), "{raw}");
        }
        for raw in [
            "you never stop texting me",
            "no dejen de escribirme",
            "Sie können mich nicht abmelden",
        ] {
            assert!(!is_stop(raw), "{raw}");
        }
    }

    #[test]
    fn what_is_not_ours_may_stop() {
        assert!(is_stop("stop sending me these"));
        assert!(is_stop("Stop texting me about the printer"));
        for raw in [
            "stop wasting my time",
            "It made it stop showing error messages",
            "no more error messages",
        ] {
            assert!(!is_stop(raw), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn a_word_of_command_of_its_own_is_heard_beside_a_score(
            word in prop::sample::select(vec![
                "stop", "quit", "END", "revoke", "opt out", "cancel", "unsubscribe", "remove me", "annuler", "quiero salir",
                "kündigen", "parar", "opzeggen", "annulla",
            ]),
            between in prop::sample::select(vec![", ", "\n", " - ", ". ", "! ", "; ", " / "]),
            score in 1_u8..=5,
            first: bool,
        ) {
            let raw = if first { format!("{word}{between}{score}") } else { format!("{score}{between}{word}") };
            prop_assert!(is_stop(&raw), "{:?}", raw);
        }

        #[test]
        fn the_seven_words_of_the_law_are_heard_with_a_score_in_their_sentence(
            word in prop::sample::select(vec!["stop", "quit", "END", "revoke", "opt out", "cancel", "unsubscribe"]),
            score in 1_u8..=5,
        ) {
            let behind = format!("{word} {score}");
            prop_assert!(is_stop(&behind));
            let before = format!("{score} {word}");
            prop_assert!(is_stop(&before));
        }
    }
}
