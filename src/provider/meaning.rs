//! What the codes of deliveries mean, in words that all providers share. A provider explains its own codes; those that we give
//! ourselves are explained here.

/// What a provider's code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// The kind of trouble.
    pub class: Class,
    /// In a few words, for people.
    pub text: &'static str,
}

/// Kinds of trouble with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The contact does not want to be written to.
    Unsubscribed,
    /// There is no such address, or it is of another kind.
    InvalidAddress,
    /// The address exists and cannot be reached now.
    Unreachable,
    /// The carrier or the receiving side holds it for unwanted.
    Filtered,
    /// Too much at once.
    RateLimited,
    /// Our account, sender or text: an operator has to look.
    Account,
    /// No clear answer came.
    NoAnswer,
    /// We refuse to send more.
    Ceiling,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::Unsubscribed,
        Self::InvalidAddress,
        Self::Unreachable,
        Self::Filtered,
        Self::RateLimited,
        Self::Account,
        Self::NoAnswer,
        Self::Ceiling,
    ];

    /// The word used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsubscribed => "unsubscribed",
            Self::InvalidAddress => "invalid_address",
            Self::Unreachable => "unreachable",
            Self::Filtered => "filtered",
            Self::RateLimited => "rate_limited",
            Self::Account => "account",
            Self::NoAnswer => "no_answer",
            Self::Ceiling => "ceiling",
        }
    }
}

/// The codes that we give ourselves.
const OWN: &[(&str, Class, &str)] = &[
    (
        "timeout",
        Class::NoAnswer,
        "the provider did not answer in time",
    ),
    (
        "reset",
        Class::NoAnswer,
        "the connection to the provider was lost",
    ),
    (
        "closed",
        Class::NoAnswer,
        "the provider closed the connection",
    ),
    (
        "connect",
        Class::NoAnswer,
        "the provider could not be reached",
    ),
    (
        "connect_timeout",
        Class::NoAnswer,
        "the provider could not be reached in time",
    ),
    (
        "no_report",
        Class::NoAnswer,
        "the process that sent it ended before it could say what happened",
    ),
    (
        "not_found",
        Class::NoAnswer,
        "the provider does not list it; a second message is on its way",
    ),
    (
        "not_confirmed",
        Class::NoAnswer,
        "nobody could tell whether it was sent",
    ),
    (
        "no_permission",
        Class::NoAnswer,
        "the database did not confirm that it may be sent",
    ),
    (
        "paused",
        Class::NoAnswer,
        "the process stood still before it could be sent",
    ),
    (
        "withheld",
        Class::NoAnswer,
        "the provider stopped answering before it could be sent",
    ),
    (
        "429",
        Class::RateLimited,
        "the provider takes no more at once",
    ),
    (
        "ceiling_address",
        Class::Ceiling,
        "the address has been written to as often as one day allows",
    ),
    (
        "ceiling_desk",
        Class::Ceiling,
        "the desk has sent as much as one day allows",
    ),
];

/// What a code of our own means.
pub fn own_meaning(code: &str) -> Option<Explanation> {
    if code.starts_with("http_") {
        return Some(Explanation {
            class: Class::NoAnswer,
            text: "the provider's answer did not say what happened",
        });
    }
    let row = OWN.iter().find(|(own, ..)| *own == code);
    row.map(|&(_, class, text)| Explanation { class, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_codes_are_explained_once_and_others_are_not() {
        let mut codes: Vec<&str> = OWN.iter().map(|row| row.0).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), OWN.len());
        assert_eq!(own_meaning("http_502").unwrap().class, Class::NoAnswer);
        assert_eq!(own_meaning("21610"), None);
        assert_eq!(own_meaning(""), None);
    }
}
