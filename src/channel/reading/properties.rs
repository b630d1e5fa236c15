//! What holds for any reply: texts made up by chance. A text that breaks a rule here becomes a story in `tests.rs`.

use proptest::prelude::*;

use super::{digit, key, text};
use crate::domain::rating::Score;
use crate::domain::reply::Understood;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_text_has_a_meaning(raw in any::<String>()) {
        text(&raw);
        key(&raw);
    }

    #[test]
    fn any_mixture_of_pieces_has_a_meaning(pieces in prop::collection::vec("[0-9]|[a-z]{1,4}|[ /.,+?'-]|five|of|out|give|stop|★|\u{200d}|\u{fe0f}", 0..12)) {
        text(&pieces.concat());
    }

    #[test]
    fn without_a_number_there_is_no_rating(raw in "[a-zA-Z ,.!?'éßжあ👍-]{0,60}") {
        let folded = raw.to_lowercase();
        prop_assume!(!["one", "two", "three", "four", "five"].iter().any(|word| folded.contains(word)));
        let is_rating = matches!(text(&raw), Understood::Rating(..));
        prop_assert!(!is_rating);
    }

    #[test]
    fn two_different_numbers_are_no_rating(a in 0_u32..200, b in 0_u32..200, between in " |-| or | and |, |/|\\.|:") {
        prop_assume!(a != b && !(between == "/" && b == 5));
        let is_rating = matches!(text(&format!("{a}{between}{b}")), Understood::Rating(..));
        prop_assert!(!is_rating);
    }

    #[test]
    fn a_digit_alone_is_its_score(score in 1_i64..=5, before in "[ \n]{0,3}", after in "[ .!\n]{0,3}") {
        let read = text(&format!("{before}{score}{after}"));
        prop_assert_eq!(read, Understood::Rating(Score::try_from(score).unwrap(), String::new()));
    }

    #[test]
    fn stop_stays_stop_whatever_is_around_it(
        word in prop::sample::select(vec![
            "stop", "STOP", "Stop", "ＳＴＯＰ", "🛑", "stoooop", "s.t.o.p", "unsubscribe", "opt-out", "Arrêt", "afmelden", "BASTA", "baja", "sair",
        ]),
        before in "[ \"(!*\n]{0,3}",
        after in "[ .!)\"*\n\u{200d}\u{fe0f}]{0,4}",
        polite in prop::sample::select(vec!["", " please", " bitte", " svp", " por favor", " grazie", " aub", " 🙏"]),
    ) {
        let raw = format!("{before}{word}{after}{polite}");
        prop_assert_eq!(text(&raw), Understood::Stop, "{:?}", raw);
    }

    #[test]
    fn a_digit_of_any_script_is_its_score(
        c in "\\p{Nd}",
        before in prop::sample::select(vec!["", " ", "(", "\"", "*", "\u{202b}"]),
        after in prop::sample::select(vec!["", ".", "!", "!!", ")", " 😐", "\u{fe0f}\u{20e3}", " ;-)", "/5", " ★"]),
    ) {
        let digit = digit::value(c.chars().next().unwrap()).unwrap();
        let read = text(&format!("{before}{c}{after}"));
        let score = Score::try_from(i64::from(digit)).ok();
        match (read, score) {
            (Understood::Rating(read, _), Some(score)) => prop_assert_eq!(read, score),
            (read, score) => prop_assert!(score.is_none() && !matches!(read, Understood::Rating(..))),
        }
    }

    #[test]
    fn a_second_value_leaves_no_rating(
        first in 0_usize..35,
        second in 0_usize..35,
        between in prop::sample::select(vec![" ", ", ", " or ", " - ", "\n", ". ", " oder ", " ou ", " o ", " but ", "! "]),
    ) {
        const VALUES: [&str; 35] = [
            "1", "2", "3", "4", "5", "one", "two", "three", "four", "five", "uno", "dos", "tres", "cuatro", "cinco", "un", "deux",
            "trois", "quatre", "cinq", "eins", "zwei", "drei", "vier", "fünf", "een", "twee", "drie", "due", "quattro", "cinque",
            "tre", "dois", "três", "vijf",
        ];
        // "un 4" and "uno 4" are "a 4".
        prop_assume!(between != " " || !["un", "uno", "een"].contains(&VALUES[first]));
        let read = text(&format!("{}{between}{}", VALUES[first], VALUES[second]));
        let is_rating = matches!(read, Understood::Rating(..));
        prop_assert!(!is_rating, "{} {} {}", VALUES[first], between, VALUES[second]);
    }
}
