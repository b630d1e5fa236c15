//! Cuts a reply into words, numbers and marks, and folds the many ways to write the same character: case, accents,
//! full-width and mathematical letters, digits of any script.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::decompose_compatible;

use super::digit;

/// What a piece of a reply is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A run of letters, in lower case and without accents.
    Word(String),
    /// A run of decimal digits of any script, as ASCII.
    Number(String),
    /// A filled star.
    Star,
    /// An empty star.
    EmptyStar,
    /// A number that is not made of decimal digits, such as a Roman one.
    OtherNumber,
    /// Any other visible character.
    Mark(char),
}

/// A piece of a reply and where it stands in the raw text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The byte at which it starts.
    pub(super) start: usize,
    /// The byte after its end, with the invisible characters that belong to it.
    pub(super) end: usize,
    /// Whether blank space stands before it.
    pub(super) spaced: bool,
    /// Whether it is the first of its line.
    pub(super) line: bool,
}

impl Token {
    /// The word, if it is one.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            Kind::Number(_) | Kind::Star | Kind::EmptyStar | Kind::OtherNumber | Kind::Mark(_) => {
                None
            }
        }
    }
}

/// The pieces of a reply, in order.
pub(super) fn tokens(raw: &str) -> Vec<Token> {
    let mut cutter = Cutter {
        tokens: Vec::new(),
        spaced: true,
        line: true,
        open: false,
    };
    for (start, c) in raw.char_indices() {
        let place = (start, start + c.len_utf8());
        // Before the decomposition, which would make a blank and an accent of a typographic apostrophe.
        let c = fold(c);
        if c.is_ascii() {
            cutter.take(c, place);
        } else if c == '🛑' {
            cutter.stop_sign(place);
        } else {
            // One character may be several: "½" is 1, a slash and 2; "№" is "No".
            decompose_compatible(c, |folded| cutter.take(fold(folded), place));
        }
    }
    hearts(&mut cutter.tokens);
    cutter.tokens
}

/// A word as the tokens have it: lower case, no accents.
pub(super) fn folded(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for c in word.nfkd().filter(|c| !is_invisible(*c)) {
        push_lower(&mut folded, c);
    }
    folded
}

struct Cutter {
    tokens: Vec<Token>,
    spaced: bool,
    line: bool,
    /// Whether the last token may still grow: a blank or another kind of character ends it.
    open: bool,
}

impl Cutter {
    fn take(&mut self, c: char, (start, end): (usize, usize)) {
        if is_invisible(c) {
            if let Some(last) = self.tokens.last_mut().filter(|last| last.end == start) {
                last.end = end;
            }
            return;
        }
        if c.is_whitespace() || c.is_control() {
            self.line |= matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}');
            (self.spaced, self.open) = (true, false);
            return;
        }
        let last = self.tokens.last_mut().filter(|_| self.open);
        let grown = last.is_some_and(|token| {
            let grown = grow(&mut token.kind, c);
            if grown {
                token.end = end;
            }
            grown
        });
        if !grown {
            self.push(kind(c), (start, end));
        }
    }

    /// The emoji means the word, and stands alone whatever is glued to it.
    fn stop_sign(&mut self, place: (usize, usize)) {
        self.push(Kind::Word("stop".to_owned()), place);
        self.open = false;
    }

    fn push(&mut self, kind: Kind, (start, end): (usize, usize)) {
        let (spaced, line) = (self.spaced, self.line);
        self.tokens.push(Token {
            kind,
            start,
            end,
            spaced,
            line,
        });
        (self.spaced, self.open, self.line) = (false, true, false);
    }
}

/// Adds the character to a word or number that it continues.
fn grow(kind: &mut Kind, c: char) -> bool {
    match kind {
        Kind::Word(word) if digit::value(c).is_none() && c.is_alphabetic() => {
            push_lower(word, c);
            true
        }
        Kind::Number(number) => digit::value(c).is_some_and(|digit| {
            number.push(char::from(b'0' + digit));
            true
        }),
        Kind::Word(_) | Kind::Star | Kind::EmptyStar | Kind::OtherNumber | Kind::Mark(_) => false,
    }
}

fn kind(c: char) -> Kind {
    match c {
        '★' | '⭐' | '🌟' => Kind::Star,
        '☆' => Kind::EmptyStar,
        c => match digit::value(c) {
            Some(digit) => Kind::Number(digit.to_string()),
            None if c.is_alphabetic() => {
                let mut word = String::new();
                push_lower(&mut word, c);
                Kind::Word(word)
            }
            None if c.is_numeric() => Kind::OtherNumber,
            None => Kind::Mark(c),
        },
    }
}

/// Letters that Unicode does not take apart are written as people do who lack the key.
fn push_lower(word: &mut String, c: char) {
    for c in c.to_lowercase() {
        match c {
            'ß' => word.push_str("ss"),
            'œ' => word.push_str("oe"),
            'æ' => word.push_str("ae"),
            'ø' => word.push('o'),
            'ł' => word.push('l'),
            c => word.push(c),
        }
    }
}

/// Characters without a shape of their own: accents, joiners, direction marks, variation selectors, tags, tones of skin, and
/// the frame of a keycap emoji.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{20d0}'..='\u{20f0}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Typographic apostrophes and dashes as their plain forms.
fn fold(c: char) -> char {
    match c {
        '‘' | '’' | 'ʼ' | '`' | '´' => '\'',
        '‐' | '‑' | '‒' | '–' | '—' | '−' => '-',
        '“' | '”' | '„' | '«' | '»' => '"',
        // "About four" and "at least four"; taken apart, "≠" would become "=".
        '≈' | '≃' | '≅' | '∼' | '≠' | '≤' | '≥' | '≲' | '≳' | '⩽' | '⩾' => {
            '~'
        }
        c => c,
    }
}

/// `<3` is a heart, not a number below three.
fn hearts(tokens: &mut [Token]) {
    for at in 1..tokens.len() {
        let three = tokens[at].kind == Kind::Number("3".to_owned()) && !tokens[at].spaced;
        if three && tokens[at - 1].kind == Kind::Mark('<') {
            tokens[at - 1].kind = Kind::Mark('♥');
            tokens[at].kind = Kind::Mark('♥');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_many_scripts_are_digits() {
        for raw in [
            "4",
            "４",
            "٤",
            "۴",
            "४",
            "৪",
            "๔",
            "𝟒",
            "④",
            "❹",
            "➃",
            "4\u{fe0f}\u{20e3}",
        ] {
            let tokens = tokens(raw);
            assert_eq!(tokens.len(), 1, "{raw}");
            assert_eq!(tokens[0].kind, Kind::Number("4".into()), "{raw}");
            assert_eq!((tokens[0].start, tokens[0].end), (0, raw.len()), "{raw}");
        }
    }

    #[test]
    fn one_word_has_one_form() {
        for raw in ["fünf", "FÜNF", "fu\u{308}nf", "ｆüｎｆ", "f\u{200b}ünf"] {
            assert_eq!(tokens(raw)[0].word(), Some("funf"), "{raw}");
        }
        assert_eq!(folded("Große ŒUVRE"), "grosse oeuvre");
        assert_eq!(tokens("stop🛑now").len(), 3);
    }

    #[test]
    fn a_heart_is_no_number() {
        let kinds: Vec<_> = tokens("5 <3").into_iter().map(|token| token.kind).collect();
        let heart = Kind::Mark('♥');
        assert_eq!(kinds, [Kind::Number("5".to_owned()), heart.clone(), heart]);
    }

    #[test]
    fn pieces_keep_their_place_in_the_raw_text() {
        let raw = "Ｆｉｖｅ  É45";
        let cut: Vec<_> = tokens(raw)
            .into_iter()
            .map(|t| (raw[t.start..t.end].to_owned(), t.spaced))
            .collect();
        let expected = [("Ｆｉｖｅ", true), ("É", true), ("45", false)];
        assert_eq!(
            cut,
            expected.map(|(text, spaced)| (text.to_owned(), spaced))
        );
    }
}
