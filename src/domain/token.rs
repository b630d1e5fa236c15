//! Secrets that prove something: link tokens, attempt tokens, the names of mails, page views. Made from one key, so that the same request has
//! the same link however often it is rendered, and kept in the store only as hashes.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::id::{DeskId, RequestId};

/// What is kept of a token: enough to recognise it, useless to whoever reads the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 16]);

impl TokenHash {
    /// The hash of a token as it came in from outside.
    pub fn of(token: &str) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(token.as_bytes())[..16]);
        Self(short)
    }
}

/// Makes tokens. Holds the signing key; printing it shows nothing.
#[derive(Clone)]
pub struct TokenMint {
    key: [u8; 32],
}

impl std::fmt::Debug for TokenMint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenMint(…)")
    }
}

/// How long the token in a link is. The short one is the end of the full one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkLength {
    /// 22 base62 characters, 128 bits: where nobody types or pays for it.
    Full,
    /// 12 base62 characters, 71 bits: for a text message. Guessing is limited where links are opened.
    Short,
}

const SHORT: usize = 12;

impl TokenMint {
    /// Makes tokens from this key.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The token in a request's link or chat ask.
    pub fn link(&self, request: RequestId, length: LinkLength) -> String {
        let whole = self.token("link", &[request.uuid().as_bytes()]);
        match length {
            LinkLength::Full => whole,
            // The leading character of a base62 number is not evenly spread, so the trailing ones are taken.
            LinkLength::Short => whole[whole.len() - SHORT..].to_owned(),
        }
    }

    /// What is kept of a trigger to recognise its repetition. Keyed, because a trigger has so few unknown parts that a bare hash
    /// of it would give the telephone number away.
    pub fn fingerprint(&self, trigger: &[u8]) -> [u8; 32] {
        let mut mac = keyed(&self.key);
        mac.update(b"trigger");
        mac.update(trigger);
        mac.finalize().into_bytes().into()
    }

    /// The token in an attempt's callback address.
    pub fn attempt(&self, request: RequestId, attempt: i64) -> String {
        self.token(
            "attempt",
            &[request.uuid().as_bytes(), &attempt.to_be_bytes()],
        )
    }

    /// The name of a request's mail, for its Message-ID: desk and request in clear, and a proof that the name was made here, so
    /// that only who has the mail can answer it or send it back. Small letters, digits and dashes: systems that lower-case a
    /// Message-ID do no harm.
    pub fn mail(&self, desk: DeskId, request: RequestId) -> String {
        let (desk, request) = (desk.uuid(), request.uuid());
        let proof = self.proof("mail", &[desk.as_bytes(), request.as_bytes()]);
        let (desk, request) = (desk.simple(), request.simple());
        format!("{desk}-{request}-{}", hex::encode(&proof[..10]))
    }

    /// Whose mail it is, if the name was made here.
    pub fn read_mail(&self, name: &str) -> Option<(DeskId, RequestId)> {
        let mut parts = name.splitn(3, '-');
        let mut id = || {
            let hex = parts.next().filter(|hex| hex.len() == 32)?;
            uuid::Uuid::try_parse(hex).ok()
        };
        let (desk, request) = (DeskId::from_uuid(id()?), RequestId::from_uuid(id()?));
        let expected = self.mail(desk, request);
        let genuine: bool =
            subtle::ConstantTimeEq::ct_eq(name.as_bytes(), expected.as_bytes()).into();
        genuine.then_some((desk, request))
    }

    pub(super) fn token(&self, purpose: &str, parts: &[&[u8]]) -> String {
        base62(u128::from_be_bytes(self.proof(purpose, parts)))
    }

    /// Parts are separated by their lengths, so that no two lists of parts give the same proof.
    pub(super) fn proof(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = keyed(&self.key);
        mac.update(purpose.as_bytes());
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut first = [0; 16];
        first.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        first
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes a key of any length"),
    }
}

/// 22 characters of `0-9A-Za-z`: letters and digits only, so that a link is never broken by a mail program or by GSM-7.
pub fn base62(mut number: u128) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 22];
    for place in text.iter_mut().rev() {
        *place = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    text.iter().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn tokens_are_stable_distinct_and_short() {
        let mint = TokenMint::new([1; 32]);
        let (a, b) = (
            RequestId::new(Timestamp::default(), [1; 10]),
            RequestId::new(Timestamp::default(), [2; 10]),
        );
        let full = |request| mint.link(request, LinkLength::Full);
        let short = |request| mint.link(request, LinkLength::Short);
        assert_eq!(full(a), full(a));
        assert_ne!(full(a), full(b));
        assert_ne!(short(a), short(b));
        assert_eq!(short(a).len(), 12);
        assert!(full(a).ends_with(&short(a)));
        assert_ne!(mint.attempt(a, 1), mint.attempt(a, 2));
        let other = TokenMint::new([2; 32]);
        assert_ne!(full(a), other.link(a, LinkLength::Full));
        assert_eq!(full(a).len(), 22);
        assert!(full(a).bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(mint.fingerprint(b"a"), mint.fingerprint(b"b"));
        assert_ne!(mint.fingerprint(b"a"), other.fingerprint(b"a"));
        assert_eq!(base62(u128::MAX).len(), 22);
    }

    #[test]
    fn a_mails_name_leads_back_to_its_request_and_to_no_other() {
        let mint = TokenMint::new([1; 32]);
        let now = Timestamp::from_millis(1_700_000_000_000);
        let (desk, request) = (DeskId::new(now, [1; 10]), RequestId::new(now, [2; 10]));
        let name = mint.mail(desk, request);
        assert_eq!(mint.read_mail(&name), Some((desk, request)));
        let small = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(name.bytes().all(small) && name.len() == 86, "{name}");
        let other = TokenMint::new([2; 32]).mail(desk, request);
        let swapped = mint.mail(desk, RequestId::new(now, [3; 10]));
        let (proof, swapped) = (&name[66..], &swapped[..66]);
        for forged in [
            "",
            "-",
            "--",
            &name[1..],
            &name[..85],
            &other,
            &format!("{swapped}{proof}"),
            &format!("{name}0"),
        ] {
            assert_eq!(mint.read_mail(forged), None, "{forged}");
        }
    }
}
