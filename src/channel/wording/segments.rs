//! What a text message costs: how many messages the networks make of it.

/// The encoding of a text message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The GSM 7-bit default alphabet with its extension table (3GPP TS 23.038 section 6.2.1): 160 septets in one message. In
    /// each part of several the header of 6 octets takes 7 septets (3GPP TS 23.040 section 9.2.3.24.1), which leaves 153.
    Gsm7,
    /// UTF-16 code units: 70 in one message, 67 in each part of several.
    Ucs2,
}

impl Encoding {
    /// The units in one message, and in each part of several.
    pub const fn room(self) -> (usize, usize) {
        match self {
            Self::Gsm7 => (160, 153),
            Self::Ucs2 => (70, 67),
        }
    }
}

/// What a text costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// The encoding that the text needs.
    pub encoding: Encoding,
    /// Its length in units of that encoding: septets or UTF-16 code units.
    pub units: usize,
    /// The number of messages.
    pub count: usize,
}

/// Counts what a text costs. A character of two units is never split between parts.
pub fn segments(text: &str) -> Segments {
    let encoding = if text.chars().all(|c| gsm7(c).is_some()) {
        Encoding::Gsm7
    } else {
        Encoding::Ucs2
    };
    let size = |c: char| match encoding {
        Encoding::Gsm7 => gsm7(c).unwrap_or(1),
        Encoding::Ucs2 => c.len_utf16(),
    };
    let (one, part) = encoding.room();
    let units = text.chars().map(size).sum();
    let mut count = 1;
    if units > one {
        let mut filled = 0;
        for c in text.chars() {
            if filled + size(c) > part {
                count += 1;
                filled = 0;
            }
            filled += size(c);
        }
    }
    Segments {
        encoding,
        units,
        count,
    }
}

/// How many septets a character takes; `None` if it is not in the alphabet.
pub fn gsm7(c: char) -> Option<usize> {
    const PLAIN: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ\
        ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
    const EXTENSION: &str = "^{}\\[~]|€\u{c}";
    if c.is_ascii_alphanumeric() || PLAIN.contains(c) {
        Some(1)
    } else if EXTENSION.contains(c) {
        Some(2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_as_the_networks_count_it() {
        use Encoding::{Gsm7, Ucs2};
        for (text, encoding, units, count) in [
            ("", Gsm7, 0, 1),
            ("Grüße für Ñandú", Ucs2, 15, 1),
            ("Grüße für Ñandu", Gsm7, 15, 1),
            ("{€}", Gsm7, 6, 1),
            ("\u{1F600}", Ucs2, 2, 1),
            (&"a".repeat(160), Gsm7, 160, 1),
            (&"a".repeat(161), Gsm7, 161, 2),
            (&"a".repeat(306), Gsm7, 306, 2),
            (&"a".repeat(307), Gsm7, 307, 3),
            (&"€".repeat(80), Gsm7, 160, 1),
            (&"€".repeat(81), Gsm7, 162, 2),
            // 76 of two septets fit 153: one septet of each part stays empty.
            (&"€".repeat(153), Gsm7, 306, 3),
            (&"\u{1F600}".repeat(35), Ucs2, 70, 1),
            (&"\u{1F600}".repeat(36), Ucs2, 72, 2),
            (&"\u{1F600}".repeat(67), Ucs2, 134, 3),
            (&"ж".repeat(134), Ucs2, 134, 2),
            (&"ж".repeat(135), Ucs2, 135, 3),
        ] {
            let expected = Segments {
                encoding,
                units,
                count,
            };
            assert_eq!(segments(text), expected, "{text:?}");
        }
    }
}
