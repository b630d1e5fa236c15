//! What the status codes of mail servers mean, as far as it helps who reads them: the enhanced codes of RFC 3463 and its registry,
//! the plain replies of RFC 5321 as `smtp_550`, and our own words for what never got that far.

use crate::provider::{self, Explanation};

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    /// In a few words, for people.
    pub(super) text: &'static str,
    /// What sort of trouble it is.
    pub(super) class: Class,
}

/// What sort of trouble it is, and so who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// There is no such mailbox: another address is needed.
    InvalidAddress,
    /// The mailbox is there and takes no more.
    MailboxFull,
    /// The other side does not want the mail.
    Refused,
    /// Our settings, our name or our mail: an operator has to look.
    Account,
    /// Nobody; it may work another time.
    Passing,
}

impl Meaning {
    /// The same in the words that all providers share.
    pub(super) const fn explained(self) -> Explanation {
        let class = match self.class {
            Class::InvalidAddress => provider::Class::InvalidAddress,
            Class::MailboxFull | Class::Passing => provider::Class::Unreachable,
            Class::Refused => provider::Class::Filtered,
            Class::Account => provider::Class::Account,
        };
        Explanation {
            class,
            text: self.text,
        }
    }
}

/// Enhanced codes without their first digit, the more exact before the more general.
const ENHANCED: &[(&str, Class, &str)] = &[
    ("1.0", Class::InvalidAddress, "the address is refused"),
    ("1.1", Class::InvalidAddress, "there is no such mailbox"),
    ("1.2", Class::InvalidAddress, "there is no such mail domain"),
    (
        "1.3",
        Class::InvalidAddress,
        "the address is not well formed",
    ),
    (
        "1.4",
        Class::InvalidAddress,
        "the address fits several mailboxes",
    ),
    (
        "1.6",
        Class::InvalidAddress,
        "the mailbox has moved and left no new address",
    ),
    (
        "1.7",
        Class::Account,
        "our sender address is not well formed",
    ),
    (
        "1.8",
        Class::Account,
        "our sender address has no mail domain",
    ),
    ("1.10", Class::InvalidAddress, "the domain takes no mail"),
    ("2.1", Class::InvalidAddress, "the mailbox is switched off"),
    ("2.2", Class::MailboxFull, "the mailbox is full"),
    (
        "2.3",
        Class::Account,
        "the mail is too long for the mailbox",
    ),
    ("2", Class::MailboxFull, "the mailbox takes no mail"),
    ("3.4", Class::Account, "the mail is too big for the server"),
    (
        "3",
        Class::Passing,
        "the mail server is not working as it should",
    ),
    ("4.1", Class::Passing, "the mail server does not answer"),
    (
        "4.4",
        Class::InvalidAddress,
        "no way to the mail domain is known",
    ),
    (
        "4.7",
        Class::Passing,
        "the mail waited too long and was given up",
    ),
    (
        "4",
        Class::Passing,
        "the network or a server on the way failed",
    ),
    (
        "5",
        Class::Account,
        "the servers did not understand each other",
    ),
    ("6", Class::Account, "the form of the mail is not supported"),
    ("7.8", Class::Account, "the sign-in is refused"),
    (
        "7.20",
        Class::Account,
        "the mail carries no DKIM signature that passes",
    ),
    (
        "7.23",
        Class::Account,
        "SPF does not allow our server for the sender's domain",
    ),
    ("7.25", Class::Account, "our server's address has no name"),
    (
        "7.26",
        Class::Account,
        "neither SPF nor DKIM prove the sender",
    ),
    ("7", Class::Refused, "refused by a rule of the other side"),
];

/// Plain replies, and words of our own.
const PLAIN: &[(&str, Class, &str)] = &[
    (
        "auth",
        Class::Account,
        "the mail server refuses the sign-in",
    ),
    (
        "connect",
        Class::Passing,
        "the mail server cannot be reached",
    ),
    ("connection", Class::Passing, "the connection was lost"),
    (
        "protocol",
        Class::Account,
        "the mail server said what nobody understands",
    ),
    ("smtp_421", Class::Passing, "the mail server is closing"),
    (
        "smtp_450",
        Class::Passing,
        "the mailbox is busy, or the server wants a second try",
    ),
    ("smtp_451", Class::Passing, "the server could not do it now"),
    ("smtp_452", Class::Passing, "the server has no room now"),
    ("smtp_530", Class::Account, "the server wants a sign-in"),
    ("smtp_535", Class::Account, "the sign-in is refused"),
    (
        "smtp_550",
        Class::Refused,
        "the server refuses the mail or the address",
    ),
    (
        "smtp_551",
        Class::InvalidAddress,
        "the mailbox is not there",
    ),
    (
        "smtp_552",
        Class::MailboxFull,
        "the mailbox has no room for the mail",
    ),
    (
        "smtp_553",
        Class::InvalidAddress,
        "the address is not allowed",
    ),
    ("smtp_554", Class::Refused, "the server refuses the mail"),
    (
        "smtputf8",
        Class::Account,
        "the server cannot carry letters beyond ASCII in addresses",
    ),
    ("timeout", Class::Passing, "the mail server was too slow"),
    (
        "tls",
        Class::Account,
        "no protected connection could be made",
    ),
];

/// What this code means, if it is one that we know.
pub(super) fn meaning(code: &str) -> Option<Meaning> {
    let found = |row: &(&str, Class, &'static str)| Meaning {
        text: row.2,
        class: row.1,
    };
    if let Some(row) = PLAIN.iter().find(|(known, ..)| *known == code) {
        return Some(found(row));
    }
    let (first, rest) = code.split_once('.')?;
    let (subject, _) = rest.split_once('.')?;
    if !matches!(first, "4" | "5") {
        return None;
    }
    let exact = ENHANCED.iter().find(|(known, ..)| *known == rest);
    let row = exact.or_else(|| ENHANCED.iter().find(|(known, ..)| *known == subject))?;
    Some(found(row))
}

/// The first enhanced code in a text: three numbers of 1, up to 3 and up to 3 digits, the first of them 2, 4 or 5, that are no part
/// of something longer such as an IP address.
pub(super) fn enhanced(text: &str) -> Option<&str> {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | ':');
    text.split(|c: char| !part(c)).find_map(|word| {
        // "550-5.1.1" is a reply of several lines.
        let word = word.rsplit('-').next()?.trim_end_matches(['.', ':']);
        let mut numbers = word.split('.');
        let (first, subject, detail) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let number =
            |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let whole = matches!(first, "2" | "4" | "5")
            && number(subject)
            && number(detail)
            && numbers.next().is_none();
        whole.then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_class_that_says_who_must_act() {
        for (code, class) in [
            ("5.1.1", Class::InvalidAddress),
            ("5.1.10", Class::InvalidAddress),
            ("5.2.2", Class::MailboxFull),
            ("5.7.1", Class::Refused),
            ("5.7.26", Class::Account),
            ("5.7.999", Class::Refused),
            ("4.4.7", Class::Passing),
            ("5.4.4", Class::InvalidAddress),
            ("smtp_550", Class::Refused),
            ("timeout", Class::Passing),
        ] {
            assert_eq!(
                meaning(code).map(|meaning| meaning.class),
                Some(class),
                "{code}"
            );
        }
        for code in [
            "", "5", "5.1", "2.1.1", "5.0.0", "5.9.1", "30003", "smtp_999",
        ] {
            assert_eq!(meaning(code), None, "{code}");
        }
    }

    #[test]
    fn each_code_stands_once_and_is_explained() {
        for table in [ENHANCED, PLAIN] {
            for (at, (code, _, text)) in table.iter().enumerate() {
                assert!(!text.is_empty());
                assert!(!table[at + 1..].iter().any(|row| row.0 == *code), "{code}");
            }
        }
    }

    #[test]
    fn an_enhanced_code_is_found_and_an_address_is_none() {
        for (text, code) in [
            ("5.1.1 (bad destination mailbox address)", "5.1.1"),
            ("smtp; 550-5.1.1 The email account does not exist", "5.1.1"),
            ("550 #5.7.606 Access denied", "5.7.606"),
            ("<ana@example.org>: said: 552 5.2.2: over quota.", "5.2.2"),
            ("host mx.example.org[192.0.2.1] 450 4.7.1.", "4.7.1"),
        ] {
            assert_eq!(enhanced(text), Some(code), "{text}");
        }
        for text in [
            "",
            "5.1",
            "192.0.2.1",
            "5.1.1.1",
            "version 3.1.1",
            "5.1000.1",
            "x5.1.1",
            "5.1.1@example.org",
        ] {
            assert_eq!(enhanced(text), None, "{text}");
        }
    }
}
