//! The person asked, and the address at which. Addresses mask themselves when printed, so that no log shows one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What sort of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressKind {
    /// A telephone number in E.164.
    Phone,
    /// A mail address.
    Mail,
    /// A call that is going on now, by the provider's id.
    Call,
    /// The desk's own name for a chat visitor.
    Handle,
    /// Nothing was given.
    None,
}

/// Where a contact is asked. Holds only values that passed the check of its kind.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    kind: AddressKind,
    value: String,
}

/// Why a text is not an address of the kind a channel needs; ends the sentence "`to` must be …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct AddressError(&'static str);

impl Address {
    /// A telephone number: `+`, a first digit that is not 0, 7 to 15 digits in all (ITU-T E.164).
    pub fn phone(raw: &str) -> Result<Self, AddressError> {
        let digits = raw.strip_prefix('+').unwrap_or_default();
        let good = (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        Self::checked(
            AddressKind::Phone,
            raw,
            good,
            "a telephone number in E.164, such as +14155550123",
        )
    }

    /// A mail address: one `@`, no blanks or control characters, a domain with letters, at most 254 bytes (RFC 5321).
    /// The part before the `@` is kept as it is, the domain is lower-cased.
    pub fn mail(raw: &str) -> Result<Self, AddressError> {
        let expected = AddressError("a mail address, such as ana@example.com");
        let (local, domain) = raw.rsplit_once('@').ok_or(expected)?;
        let plain =
            |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[],;:\\\"@".contains(c);
        let good = !local.is_empty()
            && local.len() <= 64
            && local.chars().all(plain)
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && raw.len() <= 254
            && domain.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            });
        if !good {
            return Err(expected);
        }
        Ok(Self {
            kind: AddressKind::Mail,
            value: format!("{local}@{}", domain.to_lowercase()),
        })
    }

    /// A live call: `CA` and 32 hexadecimal digits (Twilio's call SID).
    pub fn call(raw: &str) -> Result<Self, AddressError> {
        let good = raw.len() == 34
            && raw.starts_with("CA")
            && raw
                .bytes()
                .skip(2)
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        Self::checked(
            AddressKind::Call,
            raw,
            good,
            "a call id, CA and 32 lower-case hexadecimal digits",
        )
    }

    /// A chat visitor's handle: 1 to 200 characters, no control characters, no blank at either end.
    pub fn handle(raw: &str) -> Result<Self, AddressError> {
        let good = (1..=200).contains(&raw.chars().count())
            && raw.trim() == raw
            && !raw.chars().any(char::is_control);
        Self::checked(
            AddressKind::Handle,
            raw,
            good,
            "the visitor's handle, 1 to 200 characters",
        )
    }

    /// The desk knows no address.
    pub fn none() -> Self {
        Self {
            kind: AddressKind::None,
            value: String::new(),
        }
    }

    fn checked(
        kind: AddressKind,
        raw: &str,
        good: bool,
        expected: &'static str,
    ) -> Result<Self, AddressError> {
        if good {
            Ok(Self {
                kind,
                value: raw.to_owned(),
            })
        } else {
            Err(AddressError(expected))
        }
    }

    /// What sort of address it is.
    pub fn kind(&self) -> AddressKind {
        self.kind
    }

    /// The address in clear. For the wire and for the sealed column; never for a log.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// The form used to recognise the same person again: case does not make another mail address.
    pub fn lookup_form(&self) -> String {
        match self.kind {
            AddressKind::Mail => self.value.to_lowercase(),
            AddressKind::Phone | AddressKind::Call | AddressKind::Handle | AddressKind::None => {
                self.value.clone()
            }
        }
    }
}

impl fmt::Display for Address {
    /// Masked: enough to recognise an address one already knows, too little to learn it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            AddressKind::Phone => {
                let shown = self.value.len().saturating_sub(2);
                write!(f, "+…{}", self.value.get(shown..).unwrap_or_default())
            }
            AddressKind::Mail => {
                let domain = self.value.rsplit_once('@').map_or("", |(_, domain)| domain);
                write!(f, "…@{domain}")
            }
            AddressKind::Call => f.write_str("CA…"),
            AddressKind::Handle => f.write_str("handle …"),
            AddressKind::None => f.write_str("no address"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Who is asked and where: everything that names the person. It is sealed as one piece in the store, so that erasing a
/// person is erasing one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Where the person is asked.
    pub address: Address,
    /// The desk's id for the person; empty if it gave none.
    #[serde(default)]
    pub id: String,
    /// What to call the person; empty if unknown.
    #[serde(default)]
    pub name: String,
    /// The person's own number, where they are asked in a call that is going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Address>,
}

impl Contact {
    /// The address by which the person is known again: for opt-outs, caps and all that is kept about them. A call's id is another one
    /// each time, so it is the person's number there, if that is known.
    pub fn known_at(&self) -> &Address {
        self.phone.as_ref().unwrap_or(&self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_e164_numbers_are_phones() {
        assert!(Address::phone("+14155550123").is_ok());
        for bad in [
            "",
            "14155550123",
            "+04155550123",
            "+1415",
            "+1 415 555 0123",
            "+1415555012345678",
            "+१४१५५५५०१२३",
        ] {
            assert!(Address::phone(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mail_addresses_are_checked_and_their_domain_folded() {
        assert_eq!(
            Address::mail("Ana.B@Example.COM").unwrap().expose(),
            "Ana.B@example.com"
        );
        for bad in [
            "",
            "ana",
            "ana@",
            "@example.com",
            "a b@example.com",
            "a@b@c.de",
            "ana@exa mple.com",
            "ana@-x.de",
            "x\r\nBcc: y@example.com",
            ".ana@example.com",
            "a..b@example.com",
            "<ana@example.com>",
        ] {
            assert!(Address::mail(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_printed_address_does_not_show_the_person() {
        let shown = format!("{0} {0:?}", Address::phone("+14155550123").unwrap());
        assert!(!shown.contains("555"));
        let shown = format!("{0} {0:?}", Address::mail("ana@example.com").unwrap());
        assert!(!shown.contains("ana"));
    }
}
