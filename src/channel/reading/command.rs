//! STOP, START and HELP. Networks and laws know the single words; people also write sentences, and a clear wish to be left
//! alone counts in any words (47 CFR 64.1200(a)(10): consent may be revoked in any reasonable manner).

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::domain::reply::Understood;

use super::lang;
use super::phrase::Phrases;
use super::token::{Kind, Token, folded};

/// The commands of all languages: nobody who writes STOP says in which.
#[derive(Default)]
struct Commands {
    /// Opt out when nothing else is said.
    stop: HashSet<String>,
    /// Opt out even beside a number or another sentence.
    firm: HashSet<String>,
    /// Opt out wherever they stand.
    within: Phrases,
    /// Not if one of these stands before it.
    unless: HashSet<String>,
    start: HashSet<String>,
    help: HashSet<String>,
    polite: HashSet<String>,
}

static COMMANDS: LazyLock<Commands> = LazyLock::new(|| {
    let words = |list: &'static str| list.split_whitespace().map(folded);
    let mut all = Commands::default();
    for language in lang::ALL {
        all.stop
            .extend(language.stop.iter().map(|text| folded(text)));
        all.firm.extend(words(language.stop_firmly));
        all.unless.extend(words(language.unless));
        all.start
            .extend(language.start.iter().map(|text| folded(text)));
        all.help
            .extend(language.help.iter().map(|text| folded(text)));
        all.polite.extend(words(language.polite));
        for phrase in language.stop_within {
            all.within.add(phrase);
        }
    }
    all
});

/// The command in a reply, if it is one.
pub(super) fn read(tokens: &[Token]) -> Option<Understood> {
    let commands = &*COMMANDS;
    let words: Vec<&str> = tokens.iter().filter_map(Token::word).collect();
    let first = *words.first()?;
    if commands.is_stop_within(&words) || tokens_stop(tokens) {
        return Some(Understood::Stop);
    }
    // What follows needs nothing but the command; with a number beside it, it is about something else.
    if tokens
        .iter()
        .any(|token| matches!(token.kind, Kind::Number(_)))
    {
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

/// Whether a sentence of its own is a firm word: "STOP 4", "Stop. You have the wrong number."
fn tokens_stop(tokens: &[Token]) -> bool {
    let ends = |token: &Token| matches!(token.kind, Kind::Mark('.' | '!' | '?' | ',' | ';'));
    let mut sentence: Vec<&str> = Vec::new();
    for token in tokens {
        if (token.line || ends(token)) && COMMANDS.is_firm(&sentence) {
            return true;
        }
        if token.line || ends(token) {
            sentence.clear();
        }
        sentence.extend(token.word());
    }
    COMMANDS.is_firm(&sentence)
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

    fn is_firm(&self, words: &[&str]) -> bool {
        // The longest firm word and a few courtesies; no reply of thousands of words is joined for this.
        if words.is_empty() || words.len() > 8 {
            return false;
        }
        let said = self.said(words);
        self.firm.contains(&said) || self.firm.contains(&unstretched(&said))
    }

    fn is_stop_within(&self, words: &[&str]) -> bool {
        (0..words.len()).any(|at| {
            let before = at.checked_sub(1).and_then(|at| words.get(at));
            !before.is_some_and(|word| self.unless.contains(*word))
                && words.get(at..).is_some_and(|rest| self.within.start(rest))
        })
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
