//! STOP, START and HELP. Networks and laws know the single words; people also write sentences, and a clear wish to be left
//! alone counts in any words.

use crate::domain::reply::Understood;

use super::token::{Kind, Token};

/// Words that opt out when they stand alone (the networks' lists, with and without blanks and accents).
const STOP: &[&str] = &[
    "stop",
    "stopall",
    "stop all",
    "unsubscribe",
    "cancel",
    "end",
    "quit",
    "revoke",
    "optout",
    "opt out",
    "arret",
    "arrêt",
    "stop it",
    "stop this",
    "opt me out",
    "unsubscribe me",
    "remove me",
    "leave me alone",
    "no more",
];
/// Words that opt in when they stand alone. Not YES: it is an answer to anything.
const START: &[&str] = &["start", "unstop", "optin", "opt in"];
/// Words that ask who we are when they stand alone.
const HELP: &[&str] = &["help", "info"];
/// Sentences that opt out wherever they stand, as words with blanks around them.
const STOP_ANYWHERE: &[&str] = &[
    " stop texting ",
    " stop messaging me ",
    " stop contacting me ",
    " stop sending me text ",
    " stop sending me texts ",
    " stop sending me messages ",
    " stop sending me sms ",
    " stop sending texts ",
    " stop sending messages ",
    " stop sending these ",
    " stop asking me ",
    " unsubscribe me ",
    " take me off your list ",
    " take me off this list ",
    " remove me from your list ",
    " remove me from this list ",
    " remove my number ",
    " opt me out ",
    " leave me alone ",
    " do not text me ",
    " don t text me ",
    " dont text me ",
    " do not contact me ",
    " don t contact me ",
    " dont contact me ",
    " do not message me ",
    " don t message me ",
    " dont message me ",
    " no more texts ",
    " no more messages ",
    " i want to opt out ",
    " i want to unsubscribe ",
];
/// Courtesies that change nothing.
const POLITE: &[&str] = &[
    "please", "pls", "plz", "kindly", "thanks", "thank", "you", "now", "just", "ok", "okay", "hi",
    "hello",
];

/// The command in a reply, if it is one.
pub(super) fn read(raw: &str, tokens: &[Token]) -> Option<Understood> {
    if raw.trim() == "🛑" {
        return Some(Understood::Stop);
    }
    let words: Vec<&str> = tokens.iter().filter_map(Token::word).collect();
    let digits = tokens
        .iter()
        .any(|token| matches!(token.kind, Kind::Number(_)));
    let joined = format!(" {} ", words.join(" "));
    let kept: Vec<&str> = words
        .into_iter()
        .filter(|word| !POLITE.contains(word))
        .collect();
    let (said, first) = (kept.join(" "), kept.first().copied().unwrap_or_default());

    let repeated =
        !kept.is_empty() && kept.iter().all(|word| *word == first) && STOP.contains(&first);
    // "STOP 4" is STOP: with a number beside it the word cannot be about anything else.
    let stops = if digits {
        matches!(said.as_str(), "stop" | "stopall" | "unsubscribe")
    } else {
        STOP.contains(&said.as_str())
    };
    if repeated && !digits
        || stops
        || STOP_ANYWHERE
            .iter()
            .any(|sentence| joined.contains(sentence))
    {
        Some(Understood::Stop)
    } else if !digits && START.contains(&said.as_str()) {
        Some(Understood::Start)
    } else if !digits && HELP.contains(&said.as_str()) {
        Some(Understood::Help)
    } else {
        None
    }
}
