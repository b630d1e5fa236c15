//! What Twilio's error codes mean, as far as it changes what we do. Source: Twilio's error dictionary
//! (twilio.com/docs/api/errors). Codes that are not listed are final and say nothing about the contact's wishes.

use crate::provider::{Class, Explanation};

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    /// In a few words, for logs.
    pub(super) text: &'static str,
    /// Who has to act.
    pub(super) whose: Whose,
}

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The contact does not want to be written to.
    OptedOut,
    /// The address cannot be reached: another one is needed.
    Address,
    /// Our account, sender or text: an operator has to look.
    Account,
    /// Nobody; it may work another time.
    Passing,
}

/// The table.
const MEANINGS: &[(&str, Whose, &str)] = &[
    ("20003", Whose::Account, "the credentials are refused"),
    ("20404", Whose::Address, "there is no such call or message"),
    ("20429", Whose::Passing, "too many requests at once"),
    ("21211", Whose::Address, "the number is not valid"),
    (
        "21220",
        Whose::Address,
        "the call is not in progress any more",
    ),
    (
        "21408",
        Whose::Account,
        "the account may not send to this country",
    ),
    ("21602", Whose::Account, "the text is missing"),
    ("21603", Whose::Account, "the sender is missing"),
    ("21604", Whose::Account, "the number is missing"),
    (
        "21606",
        Whose::Account,
        "the sender cannot send texts to this number",
    ),
    (
        "21610",
        Whose::OptedOut,
        "the contact has opted out of this sender",
    ),
    ("21614", Whose::Address, "the number is not a mobile number"),
    ("21617", Whose::Account, "the text is too long"),
    ("30003", Whose::Passing, "the handset cannot be reached"),
    // Blocked may mean the carrier as well as the person, so it is no opt-out.
    (
        "30004",
        Whose::Address,
        "blocked by the contact or the carrier",
    ),
    ("30005", Whose::Address, "the number is unknown or inactive"),
    (
        "30006",
        Whose::Address,
        "a landline, or a carrier that cannot be reached",
    ),
    (
        "30007",
        Whose::Account,
        "filtered as unwanted by Twilio or the carrier",
    ),
    ("30008", Whose::Passing, "no reason known"),
    (
        "30034",
        Whose::Account,
        "the sender is not registered for US long codes",
    ),
    (
        "63016",
        Whose::Account,
        "outside of the 24 hours in which free text is allowed",
    ),
];

/// What this code means, if it is one that we know.
pub(super) fn meaning(code: &str) -> Option<Meaning> {
    let row = MEANINGS.iter().find(|(known, ..)| *known == code);
    row.map(|&(_, whose, text)| Meaning { text, whose })
}

/// The code in the words that all providers share.
pub(super) fn explain(code: &str) -> Option<Explanation> {
    let meaning = meaning(code)?;
    let class = match (meaning.whose, code) {
        (_, "20429") => Class::RateLimited,
        (_, "30004" | "30007" | "30034") => Class::Filtered,
        (Whose::OptedOut, _) => Class::Unsubscribed,
        (Whose::Address, _) => Class::InvalidAddress,
        (Whose::Account, _) => Class::Account,
        (Whose::Passing, _) => Class::Unreachable,
    };
    Some(Explanation {
        class,
        text: meaning.text,
    })
}

/// Whether the code says that the contact does not want to be written to.
pub(super) fn opted_out(code: &str) -> bool {
    meaning(code).is_some_and(|meaning| meaning.whose == Whose::OptedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_21610_is_an_opt_out() {
        let opted: Vec<_> = MEANINGS
            .iter()
            .map(|row| row.0)
            .filter(|code| opted_out(code))
            .collect();
        assert_eq!(opted, ["21610"]);
        assert!(!opted_out("") && !opted_out("99999"));
    }

    #[test]
    fn each_code_has_its_class() {
        let class = |code| explain(code).map(|meaning| meaning.class);
        for (code, expected) in [
            ("21610", Class::Unsubscribed),
            ("21211", Class::InvalidAddress),
            ("30007", Class::Filtered),
            ("20429", Class::RateLimited),
            ("30003", Class::Unreachable),
            ("20003", Class::Account),
        ] {
            assert_eq!(class(code), Some(expected), "{code}");
        }
        assert_eq!(class("99999"), None);
    }

    #[test]
    fn codes_are_numbers_in_order_and_explained() {
        assert!(MEANINGS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(MEANINGS.iter().all(|(code, _, text)| code.len() == 5
            && code.parse::<u32>().is_ok()
            && !text.is_empty()));
    }
}
