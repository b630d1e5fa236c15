//! Decimal digits of every script. The standard library only says *that* a character is numeric, not which digit it is, and
//! the crates that do bring all of Unicode's properties; the digits are a list of 77 numbers.

/// The zero of each script: in the Unicode Character Database 17.0 the characters of general category Nd stand in runs of
/// ten, from 0 to 9 (chapter 4.6 of the standard promises it). Sorted.
const ZEROS: [u32; 77] = [
    0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6,
    0x0d66, 0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80,
    0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0,
    0xff10, 0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450,
    0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50,
    0x11d50, 0x11da0, 0x11de0, 0x11f50, 0x16130, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0,
    0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f1, 0x1e950,
    0x1fbf0,
];
/// Digits 1 to 9 in circles that have no plain form in Unicode's decompositions.
const CIRCLED: [u32; 4] = [0x2776, 0x2780, 0x278a, 0x24f5];

/// The value of a decimal digit of any script, or of a circled digit.
pub(super) fn value(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.to_digit(10).and_then(|digit| u8::try_from(digit).ok());
    }
    let code = u32::from(c);
    let run = ZEROS.partition_point(|zero| *zero <= code);
    let digit = run
        .checked_sub(1)
        .and_then(|run| ZEROS.get(run))
        .map(|zero| code - zero)
        .filter(|digit| *digit < 10);
    let circled = || {
        let one = CIRCLED
            .iter()
            .find(|one| (**one..**one + 9).contains(&code));
        one.map(|one| code - one + 1)
    };
    digit
        .or_else(circled)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_run_is_ten_numbers_after_something_else() {
        assert!(ZEROS.is_sorted());
        for zero in ZEROS {
            for n in 0..10 {
                let c = char::from_u32(zero + u32::from(n)).unwrap();
                assert!(c.is_numeric(), "{c:?}");
                assert_eq!(value(c), Some(n), "{c:?}");
            }
        }
        assert_eq!(['❶', '➀', '➊', '⓵'].map(value), [Some(1); 4]);
        for other in ['a', '½', '⑩', '四', '\u{66a}', '⁄'] {
            assert_eq!(value(other), None, "{other:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// The strategy takes its characters from another table of Unicode than ours.
        #[test]
        fn every_decimal_digit_of_unicode_is_known(c in "\\p{Nd}") {
            prop_assert!(value(c.chars().next().unwrap()).is_some(), "{:?}", c);
        }
    }
}
