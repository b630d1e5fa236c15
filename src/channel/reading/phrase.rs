//! Phrases of words: `a|b` is either, `a*` begins so, `..` is up to three words between.

use std::collections::HashMap;

use super::token::folded;

/// The most words that `..` stands for.
const GAP: usize = 3;

/// One place of a phrase.
#[derive(Debug)]
enum Item {
    Word(Vec<Form>),
    Gap,
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

/// Phrases, found by their first word.
#[derive(Debug, Default)]
pub(super) struct Phrases {
    all: Vec<Vec<Item>>,
    by_word: HashMap<String, Vec<usize>>,
    /// Those whose first word is only the beginning of one.
    by_prefix: Vec<(String, usize)>,
}

impl Phrases {
    /// Adds a phrase. Accents do not matter.
    pub(super) fn add(&mut self, phrase: &str) {
        let items: Vec<Item> = phrase.split_whitespace().map(item).collect();
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
        self.all.push(items);
    }

    /// Whether one of the phrases starts with the first of these words.
    pub(super) fn start(&self, words: &[&str]) -> bool {
        let Some(first) = words.first() else {
            return false;
        };
        let exact = self.by_word.get(*first).into_iter().flatten().copied();
        let open = self.by_prefix.iter();
        let open = open.filter(|(text, _)| first.starts_with(text.as_str()));
        exact
            .chain(open.map(|(_, place)| *place))
            .any(|place| self.all.get(place).is_some_and(|items| fits(items, words)))
    }
}

fn item(text: &str) -> Item {
    if text == ".." {
        return Item::Gap;
    }
    let forms = text.split('|').map(|form| Form {
        text: folded(form.trim_end_matches('*')),
        prefix: form.ends_with('*'),
    });
    Item::Word(forms.collect())
}

fn fits(items: &[Item], words: &[&str]) -> bool {
    match items.split_first() {
        None => true,
        Some((Item::Gap, rest)) => {
            (0..=GAP).any(|skipped| words.get(skipped..).is_some_and(|words| fits(rest, words)))
        }
        Some((Item::Word(forms), rest)) => words.split_first().is_some_and(|(word, words)| {
            forms.iter().any(|form| form.fits(word)) && fits(rest, words)
        }),
    }
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
}
