//! Names that are written from right to left inside a text that is not: without a fence they would reorder the words around.

use std::borrow::Cow;

use unicode_bidi::{BidiClass, bidi_class};

/// First strong isolate and pop directional isolate (Unicode Standard Annex 9, section 2.4): what is between them keeps its
/// own direction and moves nothing outside.
const FENCE: (char, char) = ('\u{2068}', '\u{2069}');

/// The value as it may stand inside a text: without direction marks of its own that would reach beyond it, and fenced if it
/// has letters that run from right to left.
pub(super) fn fenced(value: &str) -> Cow<'_, str> {
    if value.is_ascii() {
        return Cow::Borrowed(value);
    }
    let kept: Cow<'_, str> = if value.contains(is_control) {
        Cow::Owned(value.chars().filter(|c| !is_control(*c)).collect())
    } else {
        Cow::Borrowed(value)
    };
    if kept.chars().any(runs_left) {
        Cow::Owned(format!("{}{kept}{}", FENCE.0, FENCE.1))
    } else {
        kept
    }
}

/// A text without fences, for what is spoken.
pub(super) fn unfenced(text: &str) -> String {
    text.chars().filter(|c| !is_control(*c)).collect()
}

/// Explicit embeddings, overrides and isolates.
fn is_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn runs_left(c: char) -> bool {
    matches!(bidi_class(c), BidiClass::R | BidiClass::AL | BidiClass::AN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_from_right_to_left_is_fenced() {
        for plain in ["", "Sam", "Zoë Müller", "Łukasz 4", "佐藤"] {
            assert_eq!(fenced(plain), plain);
        }
        assert_eq!(fenced("שלום 4"), "\u{2068}שלום 4\u{2069}");
        assert_eq!(fenced("سامي"), "\u{2068}سامي\u{2069}");
        // A name cannot open a direction that nobody closes, nor leave its fence.
        assert_eq!(fenced("a\u{202e}b"), "ab");
        assert_eq!(fenced("ש\u{2069}a"), "\u{2068}שa\u{2069}");
        assert_eq!(unfenced("\u{2068}שלום\u{2069}!"), "שלום!");
    }
}
