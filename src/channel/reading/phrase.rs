//! Phrases of words: `a|b` is either, `a*` begins so, `..` is up to three words between, `$` is the end of the sentence, and `~` in
//! front makes the phrase weak: it says nothing beside a word that shows that it is about something else.

use std::collections::{HashMap, HashSet};

use super::token::folded;

/// The most words that `..` stands for.
const GAP: usize = 3;

/// One place of a phrase.
#[derive(Debug)]
enum Item {
    Word(Vec<Form>),
    Gap,
    End,
}

/// One way to fill a place.
#[derive(Debug)]
struct Form {
    text: String,
    prefix: bool,
}

impl Form {
    fn fits(&self, word: &str) -> bool {
        if self.prefix {
            word.starts_with(&self.text)
        } else {
            word == self.text
        }
    }
}

#[derive(Debug)]
struct Phrase {
    items: Vec<Item>,
    weak: bool,
}

/// Phrases, found by their first word.
#[derive(Debug, Default)]
pub(super) struct Phrases {
    all: Vec<Phrase>,
    by_word: HashMap<String, Vec<usize>>,
    /// Those whose first word is only the beginning of one.
    by_prefix: Vec<(String, usize)>,
    /// Words that a gap does not skip, because they turn the phrase around.
    never_skipped: HashSet<String>,
    /// Courtesies that may stand behind the end.
    polite: HashSet<String>,
}

impl Phrases {
    /// Phrases whose gaps do not skip some words, and whose end may have courtesies behind it.
    pub(super) fn new(
        phrases: &[&str],
        never_skipped: HashSet<String>,
        polite: HashSet<String>,
    ) -> Self {
        let mut new = Self {
            never_skipped,
            polite,
            ..Self::default()
        };
        for phrase in phrases {
            new.add(phrase);
        }
        new
    }

    /// Adds a phrase. Accents do not matter.
    pub(super) fn add(&mut self, phrase: &str) {
        let weak = phrase.starts_with("~ ");
        let items: Vec<Item> = phrase
            .trim_start_matches("~ ")
            .split_whitespace()
            .map(item)
            .collect();
        let place = self.all.len();
        if let Some(Item::Word(forms)) = items.first() {
            for form in forms {
                if form.prefix {
                    self.by_prefix.push((form.text.clone(), place));
                } else {
                    self.by_word
                        .entry(form.text.clone())
                        .or_default()
                        .push(place);
                }
            }
        }
        self.all.push(Phrase { items, weak });
    }

    /// Whether one of the phrases may start with this word.
    pub(super) fn may_start(&self, word: &str) -> bool {
        let open = |(text, _): &(String, usize)| word.starts_with(text.as_str());
        self.by_word.contains_key(word) || self.by_prefix.iter().any(open)
    }

    /// Whether one of the phrases starts with the first of these words.
    pub(super) fn start(&self, words: &[&str]) -> bool {
        self.start_with(words, true)
    }

    /// The same, the weak ones only if asked for.
    pub(super) fn start_with(&self, words: &[&str], weak: bool) -> bool {
        let Some(first) = words.first() else {
            return false;
        };
        let exact = self.by_word.get(*first).into_iter().flatten().copied();
        let open = self.by_prefix.iter();
        let open = open.filter(|(text, _)| first.starts_with(text.as_str()));
        exact
            .chain(open.map(|(_, place)| *place))
            .filter_map(|place| self.all.get(place))
            .any(|phrase| (weak || !phrase.weak) && self.fits(&phrase.items, words))
    }

    /// Whether one of the phrases is anywhere in these words.
    pub(super) fn within(&self, words: &[&str]) -> bool {
        (0..words.len()).any(|at| words.get(at..).is_some_and(|rest| self.start(rest)))
    }

    fn fits(&self, items: &[Item], words: &[&str]) -> bool {
        match items.split_first() {
            None => true,
            Some((Item::End, _)) => words.iter().all(|word| self.polite.contains(*word)),
            Some((Item::Gap, rest)) => {
                let skips = |word: &&&str| !self.never_skipped.contains(**word);
                let most = words.iter().take(GAP).take_while(skips).count();
                (0..=most).any(|skipped| {
                    words
                        .get(skipped..)
                        .is_some_and(|words| self.fits(rest, words))
                })
            }
            Some((Item::Word(forms), rest)) => words.split_first().is_some_and(|(word, words)| {
                forms.iter().any(|form| form.fits(word)) && self.fits(rest, words)
            }),
        }
    }
}

fn item(text: &str) -> Item {
    match text {
        ".." => return Item::Gap,
        "$" => return Item::End,
        _ => {}
    }
    let forms = text.split('|').map(|form| Form {
        text: folded(form.trim_end_matches('*')),
        prefix: form.ends_with('*'),
    });
    Item::Word(forms.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_has_choices_gaps_and_beginnings() {
        let mut phrases = Phrases::default();
        phrases.add("stop .. text*|calls");
        phrases.add("désabonn* moi");
        let start = |text: &str| phrases.start(&text.split(' ').collect::<Vec<_>>());
        for text in [
            "stop texting",
            "stop all of your calls now",
            "desabonnez moi",
        ] {
            assert!(start(text), "{text}");
        }
        for text in ["", "stop", "stop a b c d calls", "calls", "moi desabonnez"] {
            assert!(!start(text), "{text}");
        }
    }

    #[test]
    fn an_end_has_courtesies_behind_it_and_a_gap_skips_no_negation() {
        let set = |word: &str| HashSet::from([word.to_owned()]);
        let phrases = Phrases::new(
            &["take me off $", "remove .. number", "~ no messages"],
            set("not"),
            set("please"),
        );
        let start = |text: &str| phrases.start(&text.split(' ').collect::<Vec<_>>());
        for text in [
            "take me off",
            "take me off please",
            "remove my number",
            "no messages",
        ] {
            assert!(start(text), "{text}");
        }
        for text in ["take me off hold", "remove not my number"] {
            assert!(!start(text), "{text}");
        }
        assert!(!phrases.start_with(&["no", "messages"], false));
        assert!(phrases.within(&["please", "no", "messages"]));
    }
}
