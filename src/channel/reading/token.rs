//! Cuts a reply into words, numbers and marks, and folds the many ways to write the same character.

/// What a piece of a reply is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A run of letters, in lower case.
    Word(String),
    /// A run of decimal digits of any script, as ASCII.
    Number(String),
    /// A filled star.
    Star,
    /// An empty star.
    EmptyStar,
    /// A number that is not made of decimal digits, such as ½.
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
    let mut tokens: Vec<Token> = Vec::new();
    let (mut spaced, mut line) = (true, true);
    // Whether the last token may still grow: a blank or another kind of character ends it.
    let mut open = false;
    for (start, c) in raw.char_indices() {
        let end = start + c.len_utf8();
        if is_invisible(c) {
            if let Some(last) = tokens.last_mut().filter(|last| last.end == start) {
                last.end = end;
            }
            continue;
        }
        let c = fold(c);
        if c.is_whitespace() || c.is_control() {
            (spaced, open, line) = (true, false, line || matches!(c, '\n' | '\r' | '\u{2028}'));
            continue;
        }
        match (kind(c), tokens.last_mut().filter(|_| open)) {
            (
                Kind::Word(more),
                Some(Token {
                    kind: Kind::Word(word),
                    end: last,
                    ..
                }),
            ) => {
                word.push_str(&more);
                *last = end;
            }
            (
                Kind::Number(more),
                Some(Token {
                    kind: Kind::Number(number),
                    end: last,
                    ..
                }),
            ) => {
                number.push_str(&more);
                *last = end;
            }
            (kind, _) => tokens.push(Token {
                kind,
                start,
                end,
                spaced,
                line,
            }),
        }
        (spaced, open, line) = (false, true, false);
    }
    tokens
}

fn kind(c: char) -> Kind {
    match c {
        '★' | '⭐' | '🌟' => Kind::Star,
        '☆' => Kind::EmptyStar,
        c => match digit(c) {
            Some(digit) => Kind::Number(digit.to_string()),
            None if c.is_alphabetic() => Kind::Word(c.to_lowercase().collect()),
            None if c.is_numeric() => Kind::OtherNumber,
            None => Kind::Mark(c),
        },
    }
}

/// Characters without a shape of their own: joiners, direction marks, variation selectors, and the frame of a keycap emoji.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{20e3}')
}

/// Full-width forms and typographic apostrophes and dashes as their plain forms.
fn fold(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '‘' | '’' | 'ʼ' | '`' | '´' => '\'',
        '‐' | '‑' | '‒' | '–' | '—' | '−' => '-',
        c => c,
    }
}

/// The value of a decimal digit: ASCII, the scripts that people write phone messages in, and circled digits.
fn digit(c: char) -> Option<u32> {
    /// The zero of each script (Unicode general category Nd: ten code points in a row each).
    const ZEROS: [u32; 24] = [
        0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66,
        0x0ce6, 0x0d66, 0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x17e0, 0x1810, 0x1d7ce, 0x1d7d8,
        0x1d7e2, 0x1d7ec,
    ];
    let code = u32::from(c);
    match code {
        0x2460..=0x2468 => Some(code - 0x245f),
        0x2776..=0x277e => Some(code - 0x2775),
        _ => ZEROS
            .iter()
            .find_map(|zero| code.checked_sub(*zero).filter(|value| *value < 10)),
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
            "4\u{fe0f}\u{20e3}",
        ] {
            let tokens = tokens(raw);
            assert_eq!(tokens.len(), 1, "{raw}");
            assert_eq!(tokens[0].kind, Kind::Number("4".into()), "{raw}");
            assert_eq!((tokens[0].start, tokens[0].end), (0, raw.len()), "{raw}");
        }
    }

    #[test]
    fn pieces_keep_their_place_in_the_raw_text() {
        let raw = "Ｆｉｖｅ  ½ É45";
        let cut: Vec<_> = tokens(raw)
            .into_iter()
            .map(|t| (raw[t.start..t.end].to_owned(), t.spaced))
            .collect();
        let expected = [("Ｆｉｖｅ", true), ("½", true), ("É", true), ("45", false)];
        assert_eq!(
            cut,
            expected.map(|(text, spaced)| (text.to_owned(), spaced))
        );
    }
}
