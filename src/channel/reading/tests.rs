//! Labelled replies: the shapes that people answer in, and the traps that look like them.

use super::*;

/// `Some((score, comment))` for a rating, `None` for words.
const REPLIES: &[(&str, Option<(i64, &str)>)] = &[
    // A value at the end, after words that it cannot count.
    ("Thank you! 5", Some((5, "Thank you! 5"))),
    ("Hi, 4", Some((4, "Hi, 4"))),
    ("👍 5", Some((5, "👍 5"))),
    ("very good 5", Some((5, "very good 5"))),
    ("Excellent service. 5!", Some((5, "Excellent service. 5!"))),
    ("A five", Some((5, "A five"))),
    ("definitely a 5", Some((5, "definitely a 5"))),
    ("Awful. 1", Some((1, "Awful. 1"))),
    ("Great, 1", None),
    ("Awful 5", None),
    ("service 5?", None),
    ("Sam 5", None),
    ("help one", None),
    // The words of the scale.
    ("1 very poor", Some((1, "very poor"))),
    ("2 poor", Some((2, "poor"))),
    ("3 okay", Some((3, "okay"))),
    ("4 good", Some((4, "good"))),
    ("5 (excellent)", Some((5, "(excellent)"))),
    ("1 - excellent", None),
    ("5, very bad", None),
    ("5 :(", Some((5, ""))),
    ("\"5\" thanks", Some((5, "thanks"))),
    ("five stars for Sam", Some((5, "for Sam"))),
    ("5 for 3 days", None),
    // A digit.
    ("4", Some((4, ""))),
    (" 4 \n", Some((4, ""))),
    ("4.", Some((4, ""))),
    ("4!", Some((4, ""))),
    ("5!!!", Some((5, ""))),
    ("(4)", Some((4, ""))),
    ("\"4\"", Some((4, ""))),
    ("'4'", Some((4, ""))),
    ("*4*", Some((4, ""))),
    ("4 :)", Some((4, ""))),
    ("4\u{fe0f}\u{20e3}", Some((4, ""))),
    ("４", Some((4, ""))),
    ("٤", Some((4, ""))),
    ("४", Some((4, ""))),
    ("④", Some((4, ""))),
    ("\u{200e}4\u{200e}", Some((4, ""))),
    // A scale or a unit after it.
    ("4/5", Some((4, ""))),
    ("4 / 5", Some((4, ""))),
    ("5/5", Some((5, ""))),
    // "4 or 5" in Dutch.
    ("4 of 5", None),
    ("4 out of 5", Some((4, ""))),
    ("four out of five", Some((4, ""))),
    ("4/5 great", Some((4, "great"))),
    ("5 stars", Some((5, ""))),
    ("1 star", Some((1, ""))),
    ("4 out of 5 stars", Some((4, ""))),
    ("5⭐", Some((5, ""))),
    ("5 stars, thank you", Some((5, "thank you"))),
    ("3 ⭐⭐⭐", Some((3, ""))),
    // A digit and words.
    ("4 but slow", Some((4, "but slow"))),
    ("4 - nobody listened", Some((4, "nobody listened"))),
    ("4, but slow.", Some((4, "but slow."))),
    ("5: Sam was kind", Some((5, "Sam was kind"))),
    ("2\nNobody called back", Some((2, "Nobody called back"))),
    (
        "1 because nobody called",
        Some((1, "because nobody called")),
    ),
    ("5 thanks", Some((5, "thanks"))),
    ("5 Thank you Sam!", Some((5, "Thank you Sam!"))),
    ("5 great service", Some((5, "great service"))),
    ("5 very good", Some((5, "very good"))),
    ("1 terrible", Some((1, "terrible"))),
    ("1 very bad", Some((1, "very bad"))),
    ("5 😊", Some((5, "😊"))),
    (
        "5, the one I spoke to was kind",
        Some((5, "the one I spoke to was kind")),
    ),
    ("5. Don't change!", Some((5, "Don't change!"))),
    ("2 - why so slow?", Some((2, "why so slow?"))),
    // Words.
    ("five", Some((5, ""))),
    ("Four!", Some((4, ""))),
    ("FIVE.", Some((5, ""))),
    ("one", Some((1, ""))),
    ("three stars", Some((3, ""))),
    ("four but slow", Some((4, "but slow"))),
    ("Five, thanks Sam", Some((5, "thanks Sam"))),
    ("five from me", Some((5, "from me"))),
    // Stars.
    ("★★★★", Some((4, ""))),
    ("⭐⭐⭐⭐⭐", Some((5, ""))),
    ("⭐ ⭐", Some((2, ""))),
    ("★★★☆☆", Some((3, ""))),
    // Inside a sentence: the whole text is the comment.
    ("a solid four from me", Some((4, "a solid four from me"))),
    ("I'd give it a 4", Some((4, "I'd give it a 4"))),
    ("I rate it 5", Some((5, "I rate it 5"))),
    ("my rating is 4.", Some((4, "my rating is 4."))),
    ("Rating: 3", Some((3, "Rating: 3"))),
    (
        "I give you a strong 5!",
        Some((5, "I give you a strong 5!")),
    ),
    ("we gave it a one", Some((1, "we gave it a one"))),
    ("It was a 4/5", Some((4, "It was a 4/5"))),
    (
        "Easily a 5 out of 5 for me",
        Some((5, "Easily a 5 out of 5 for me")),
    ),
    // No score, or no number at all.
    ("", None),
    ("   ", None),
    ("thanks", None),
    ("great!", None),
    ("👍", None),
    ("?", None),
    ("???", None),
    ("YES", None),
    // Outside the scale.
    ("0", None),
    ("6", None),
    ("10", None),
    ("10/10", None),
    ("45", None),
    ("4\u{20e3}5\u{20e3}", None),
    ("100%", None),
    ("⑩", None),
    ("★★★★★★", None),
    ("☆☆☆☆☆", None),
    ("☆★", None),
    ("3 ⭐⭐⭐⭐", None),
    ("★★☆", None),
    // More than one value.
    ("4 or 5", None),
    ("4-5", None),
    ("1-5", None),
    ("1 - 5", None),
    ("4.5", None),
    ("4,5", None),
    ("4 5", None),
    ("5 5", None),
    ("4/10", None),
    ("5/4", None),
    ("four or five", None),
    ("4 and a half", None),
    ("3½", None),
    ("4 not 5", None),
    (
        "4 but it took 20 minutes",
        Some((4, "but it took 20 minutes")),
    ),
    ("4 then two", None),
    ("1 to 5", None),
    ("one two", None),
    ("4:30", None),
    ("12:45", None),
    ("555 0123", None),
    ("+1 415 555 0123", None),
    ("2026-11-21", None),
    ("1/2", None),
    // A number that is something else.
    ("-4", None),
    ("+4", None),
    ("#4", Some((4, ""))),
    ("#4 was rude", None),
    ("ticket #4", None),
    ("$4", None),
    ("4%", None),
    ("4€", None),
    ("4th", None),
    ("x4", None),
    ("4x", None),
    ("4pm", None),
    ("4+", None),
    ("4?", None),
    ("4=good", None),
    ("INC4", None),
    ("INC-4", None),
    ("v.4", None),
    ("third ticket", None),
    ("<3", None),
    (":3", None),
    ("4 minutes", None),
    ("2 people told me different things", None),
    ("3 agents and no answer", None),
    ("1 issue remains", None),
    ("1 good agent", None),
    ("2 bad apples", None),
    ("5 slow answers", None),
    ("2 out of 5 agents were rude", None),
    ("4 of us waited", None),
    ("one of your agents was rude", None),
    ("One more thing", None),
    ("One very rude agent", None),
    ("two thumbs up", None),
    ("4 more", None),
    ("4 am", None),
    ("2-hour wait", None),
    ("3–week delay", None),
    ("1st", None),
    ("1 from the list", None),
    // A value that is not given.
    ("not 5", None),
    ("not a 5", None),
    ("I would not give it a 5", None),
    ("I can't give a 5", None),
    ("less than 3", None),
    ("I wanted to give a 5", None),
    ("I'd give a 5 but nobody called", None),
    ("I'd give it 5 if you called", None),
    ("is a 5 good?", None),
    ("do I rate it 5?", None),
    ("the one I spoke to was great", None),
    ("no one helped", None),
    ("give me one reason", None),
    ("I called 3 times", None),
    ("I gave 4 examples", None),
    ("after 4", None),
    ("call me at 4", None),
    ("ticket 4", None),
    ("maybe a 4/5", None),
    ("it has been 2 days", None),
    ("I scored 2 goals", None),
    ("windows 5", None),
];

#[test]
fn labelled_replies_are_read_as_labelled() {
    let mut wrong = Vec::new();
    for (raw, expected) in REPLIES {
        let read = match text(raw) {
            Understood::Rating(score, comment) => Some((i64::from(score), comment)),
            Understood::Words(words) => {
                assert_eq!(words, raw.trim());
                None
            }
            other @ (Understood::Stop
            | Understood::Start
            | Understood::Help
            | Understood::Reaction) => {
                panic!("{raw:?} is {other:?}")
            }
        };
        if read != expected.map(|(score, comment)| (score, comment.to_owned())) {
            wrong.push(format!("{raw:?} is {read:?} and should be {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wish_to_be_left_alone_is_heard_before_a_score() {
    for raw in [
        "STOP",
        "stop",
        " Stop. ",
        "\"STOP\"",
        "ＳＴＯＰ",
        "St\u{200b}op",
        "STOP!!!",
        "STOP STOP",
        "stop please",
        "Please stop",
        "STOPALL",
        "stop all",
        "UNSUBSCRIBE",
        "cancel",
        "END",
        "quit",
        "Revoke",
        "OPTOUT",
        "opt out",
        "opt-out",
        "ARRET",
        "Arrêt",
        "STOP 4",
        "🛑",
        "Stop texting me",
        "stop texting me 5",
        "5 but stop texting me",
        "please unsubscribe me",
        "Remove me",
        "leave me alone",
        "Don't text me again",
        "don’t contact me",
        "take me off your list",
        "no more messages please",
    ] {
        assert_eq!(text(raw), Understood::Stop, "{raw:?}");
    }
}

#[test]
fn a_word_of_command_inside_a_sentence_is_a_word() {
    for raw in [
        "cancel my order",
        "the end",
        "don't stop",
        "Sam would not stop helping",
        "I want to quit my contract",
        "please call me",
        "stop wasting my time",
        "in the end it worked",
        "you could not help",
        "info was wrong",
        "when do you start",
        "yes",
    ] {
        assert_eq!(text(raw), Understood::Words(raw.to_owned()), "{raw:?}");
    }
    assert_eq!(
        text("5 don't stop"),
        Understood::Words("5 don't stop".into())
    );
}

#[test]
fn start_and_help_stand_alone() {
    for raw in ["START", "start!", "Unstop", "opt in please"] {
        assert_eq!(text(raw), Understood::Start, "{raw:?}");
    }
    for raw in ["HELP", "help?", "Info", "help please"] {
        assert_eq!(text(raw), Understood::Help, "{raw:?}");
    }
}

#[test]
fn only_the_five_keys_are_scores() {
    for (raw, score) in [
        ("1", Some(1)),
        ("5", Some(5)),
        (" 3 ", Some(3)),
        ("0", None),
        ("6", None),
        ("", None),
        ("#", None),
        ("12", None),
    ] {
        assert_eq!(key(raw).map(i64::from), score, "{raw:?}");
    }
}

#[test]
fn two_values_that_once_made_a_rating_make_none() {
    for raw in ["one\n1", "un\ndos", "tres 1"] {
        let read = text(raw);
        assert!(!matches!(read, Understood::Rating(..)), "{raw:?}: {read:?}");
    }
    assert_eq!(text("s.t.o.p please"), Understood::Stop);
}
