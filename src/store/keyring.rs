//! Secrets at rest: what names a person is sealed, what must be found again is a keyed hash.
//!
//! A telephone number has so few possible values that a bare hash is no protection; only a key that is not in the database
//! is. The key file holds one key a line, `name base64`; the first seals, all open. Look-up hashes and link tokens come from
//! the last line, so that adding a key on top changes neither; that line stays for as long as the database does, because a hash
//! cannot be made anew without the value. Keys between the first and the last can go once nothing is sealed with them any more.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::StoreError;
use crate::clock::{Entropy, random};

/// The keys.
#[derive(Clone)]
pub struct KeyRing {
    sealing: Vec<(String, [u8; 32])>,
    lookup: [u8; 32],
    tokens: [u8; 32],
    /// The name of the last line.
    last: String,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.sealing.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_tuple("KeyRing").field(&names).finish()
    }
}

/// A key file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// There is no key in it.
    #[error(
        "holds no key; a line is a name of at most 16 letters or digits, a blank, and 32 bytes in base64"
    )]
    Empty,
    /// A line cannot be read.
    #[error(
        "line {0} is not a name of at most 16 letters or digits, a blank, and 32 bytes in base64"
    )]
    Line(usize),
    /// Two keys have one name.
    #[error("line {0} gives another key the name of an earlier one")]
    Name(usize),
}

/// How texts begin that are sealed: a character that no text of ours and no JSON begins with.
const SEALED_TEXT: char = '\u{1}';

/// With which key a stored value is sealed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SealedWith {
    /// With none: it was stored before such values were sealed.
    Nothing,
    /// With the key of this name.
    Key(String),
}

impl KeyRing {
    /// Reads a key file.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut sealing = Vec::new();
        let mut oldest = None;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, key) = line
                .split_once(' ')
                .filter(|(name, _)| {
                    name.len() <= 16 && name.bytes().all(|b| b.is_ascii_alphanumeric())
                })
                .and_then(|(name, key)| Some((name, STANDARD.decode(key.trim()).ok()?)))
                .and_then(|(name, key)| Some((name, <[u8; 32]>::try_from(key).ok()?)))
                .ok_or(KeyRingError::Line(at + 1))?;
            let seal = derive(&key, b"seal");
            // The same key may stand twice: first to seal, and last to look up while a newer one is being handed out.
            match sealing.iter().find(|(known, _)| known == name) {
                Some((_, known)) if *known != seal => return Err(KeyRingError::Name(at + 1)),
                Some(_) => {}
                None => sealing.push((name.to_owned(), seal)),
            }
            oldest = Some((name.to_owned(), key));
        }
        let (last, oldest) = oldest.ok_or(KeyRingError::Empty)?;
        Ok(Self {
            sealing,
            lookup: derive(&oldest, b"lookup"),
            tokens: derive(&oldest, b"tokens"),
            last,
        })
    }

    /// The text of a new key file with one key.
    pub fn generate(entropy: &dyn Entropy) -> String {
        format!("k1 {}\n", STANDARD.encode(random::<32>(entropy)))
    }

    /// The text of a key file with a newer key on top of `text`; one that [`Self::prepared`] added is moved there.
    pub fn rotated(text: &str, entropy: &dyn Entropy) -> Result<String, KeyRingError> {
        let ring = Self::parse(text)?;
        let first = ring.newest().to_owned();
        let waiting = ring
            .names()
            .nth(1)
            .filter(|name| number(name) > number(&first));
        let Some(waiting) = waiting else {
            let key = STANDARD.encode(random::<32>(entropy));
            return Ok(format!("{} {key}\n{}", ring.next_name(), ended(text)));
        };
        let of = |name: &str| lines(text).find(|line| line.split(' ').next() == Some(name));
        let (old, new) = (
            of(&first).unwrap_or_default(),
            of(waiting).unwrap_or_default(),
        );
        let rest: Vec<&str> = lines(text)
            .filter(|line| *line != old && *line != new)
            .collect();
        let last = lines(text).last().unwrap_or_default();
        // The first key may also be the last one, which always stays the last.
        let rest = if last == old || rest.is_empty() {
            [&rest[..], &[old]].concat()
        } else {
            [&[old][..], &rest].concat()
        };
        Ok(format!("{new}\n{}\n", rest.join("\n")))
    }

    /// The text of a key file with a newer key below the first: it opens, and does not seal yet.
    pub fn prepared(text: &str, entropy: &dyn Entropy) -> Result<String, KeyRingError> {
        let ring = Self::parse(text)?;
        let key = STANDARD.encode(random::<32>(entropy));
        let new = format!("{} {key}", ring.next_name());
        let mut all: Vec<&str> = lines(text).collect();
        if let [only] = all[..] {
            all.push(only);
        }
        all.insert(1, &new);
        Ok(format!("{}\n", all.join("\n")))
    }

    /// A name that none of the keys has.
    fn next_name(&self) -> String {
        let highest = self.names().map(number).max().unwrap_or(0);
        format!("k{}", highest + 1)
    }

    /// The name of the key from which look-ups and links come.
    pub fn lookup_name(&self) -> &str {
        &self.last
    }

    /// The key for [`crate::domain::token::TokenMint`].
    pub fn token_key(&self) -> [u8; 32] {
        self.tokens
    }

    /// Seals `plain`. `place` names the row and column; a value moved elsewhere does not open.
    pub(super) fn seal(&self, entropy: &dyn Entropy, place: &[u8], plain: &[u8]) -> Vec<u8> {
        let Some((name, key)) = self.sealing.first() else {
            return Vec::new();
        };
        let nonce = random::<24>(entropy);
        let payload = Payload {
            msg: plain,
            aad: place,
        };
        let sealed = cipher(key)
            .encrypt(XNonce::from_slice(&nonce), payload)
            .unwrap_or_default();
        let mut out = Vec::with_capacity(1 + name.len() + nonce.len() + sealed.len());
        out.push(u8::try_from(name.len()).unwrap_or_default());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens what [`Self::seal`] made.
    pub(super) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let parts = sealed.split_first().and_then(|(len, rest)| {
            let (name, rest) = rest.split_at_checked(usize::from(*len))?;
            let (nonce, body) = rest.split_at_checked(24)?;
            Some((name, nonce, body))
        });
        let (name, nonce, body) =
            parts.ok_or_else(|| StoreError::Corrupt("a sealed value is cut off".to_owned()))?;
        let (_, key) = self
            .sealing
            .iter()
            .find(|(known, _)| known.as_bytes() == name)
            .ok_or_else(|| {
                let name = printable(name);
                StoreError::Corrupt(format!(
                    "a value is sealed with the key {name}, which is not in the key file"
                ))
            })?;
        cipher(key)
            .decrypt(
                XNonce::from_slice(nonce),
                Payload {
                    msg: body,
                    aad: place,
                },
            )
            .map_err(|_| StoreError::Corrupt("a sealed value does not open".to_owned()))
    }

    /// Seals a text for a text column. An empty one stays empty.
    pub(super) fn seal_text(&self, entropy: &dyn Entropy, place: &[u8], plain: &str) -> String {
        if plain.is_empty() {
            return String::new();
        }
        let sealed = self.seal(entropy, place, plain.as_bytes());
        format!("{SEALED_TEXT}{}", STANDARD.encode(sealed))
    }

    /// Opens what [`Self::seal_text`] made. A text from before such texts were sealed is given back as it is.
    pub(super) fn open_text(&self, place: &[u8], stored: String) -> Result<String, StoreError> {
        let Some(sealed) = sealed_text(&stored) else {
            return Ok(stored);
        };
        let text = String::from_utf8(self.open(place, &sealed)?);
        text.map_err(|_| StoreError::Corrupt("a sealed text is no text".to_owned()))
    }

    /// The name of the key that seals.
    pub fn newest(&self) -> &str {
        self.sealing.first().map_or("", |(name, _)| name.as_str())
    }

    /// The names of all keys, the newest first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sealing.iter().map(|(name, _)| name.as_str())
    }

    /// The keyed hash under which a value is found again. Parts are separated by their lengths.
    pub(super) fn lookup(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = mac(&self.lookup);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut short = [0; 16];
        short.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        short
    }
}

/// The lines of a key file that are keys.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A text that ends with its line.
fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

/// The number in a name such as `k7`; 0 for other names.
fn number(name: &str) -> u64 {
    let digits = name.strip_prefix('k').unwrap_or_default();
    digits.parse().unwrap_or(0)
}

/// With which key a value is sealed, by what stands before it; `None` if there is no value.
pub(super) fn sealed_with(sealed: &[u8]) -> Option<SealedWith> {
    let (len, rest) = sealed.split_first()?;
    Some(SealedWith::Key(printable(
        rest.get(..usize::from(*len)).unwrap_or_default(),
    )))
}

/// The same of a text.
pub(super) fn text_sealed_with(stored: &str) -> Option<SealedWith> {
    if stored.is_empty() {
        return None;
    }
    match sealed_text(stored) {
        Some(sealed) => sealed_with(&sealed),
        None => Some(SealedWith::Nothing),
    }
}

fn sealed_text(stored: &str) -> Option<Vec<u8>> {
    STANDARD.decode(stored.strip_prefix(SEALED_TEXT)?).ok()
}

/// A key's name as it stands before a value. Whatever is no name is not shown.
fn printable(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) if name.bytes().all(|b| b.is_ascii_alphanumeric()) => name.to_owned(),
        Ok(_) | Err(_) => "?".to_owned(),
    }
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(Key::from_slice(key))
}

fn derive(key: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let mut mac = mac(key);
    mac.update(purpose);
    mac.finalize().into_bytes().into()
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes a key of any length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    #[test]
    fn a_sealed_value_opens_only_in_its_place() {
        let ring = KeyRing::parse(&KeyRing::generate(&SystemEntropy)).unwrap();
        let sealed = ring.seal(&SystemEntropy, b"requests.contact 1", b"+14155550123");
        assert!(!sealed.windows(5).any(|w| w == b"55550"));
        assert_eq!(
            ring.open(b"requests.contact 1", &sealed).unwrap(),
            b"+14155550123"
        );
        assert!(ring.open(b"requests.contact 2", &sealed).is_err());
        for cut in 0..sealed.len() {
            assert!(ring.open(b"requests.contact 1", &sealed[..cut]).is_err());
        }
    }

    #[test]
    fn a_new_key_on_top_opens_the_old_and_moves_no_look_up() {
        let old = KeyRing::generate(&SystemEntropy);
        let new = format!(
            "# rotated\n{}{old}",
            KeyRing::generate(&SystemEntropy).replace("k1", "k2")
        );
        let (before, after) = (KeyRing::parse(&old).unwrap(), KeyRing::parse(&new).unwrap());
        let sealed = before.seal(&SystemEntropy, b"p", b"v");
        assert_eq!(after.open(b"p", &sealed).unwrap(), b"v");
        assert_eq!(before.lookup(&[b"a", b"b"]), after.lookup(&[b"a", b"b"]));
        assert_eq!(before.token_key(), after.token_key());
        assert_ne!(after.lookup(&[b"a", b"b"]), after.lookup(&[b"ab", b""]));
        assert!(
            before
                .open(b"p", &after.seal(&SystemEntropy, b"p", b"v"))
                .is_err()
        );
    }

    #[test]
    fn a_sealed_text_opens_and_an_older_one_is_read_as_it_is() {
        let ring = KeyRing::parse(&KeyRing::generate(&SystemEntropy)).unwrap();
        let sealed = ring.seal_text(&SystemEntropy, b"p", "{\"a\":1}");
        assert!(!sealed.contains("\"a\"") && sealed.starts_with(SEALED_TEXT));
        assert_eq!(ring.open_text(b"p", sealed.clone()).unwrap(), "{\"a\":1}");
        assert!(ring.open_text(b"q", sealed.clone()).is_err());
        for plain in ["", "plain", "{\"a\":1}"] {
            assert_eq!(ring.open_text(b"p", plain.to_owned()).unwrap(), plain);
        }
        assert_eq!(ring.seal_text(&SystemEntropy, b"p", ""), "");
        let with = |name: &str| Some(SealedWith::Key(name.to_owned()));
        assert_eq!(text_sealed_with(&sealed), with("k1"));
        assert_eq!(text_sealed_with("plain"), Some(SealedWith::Nothing));
        assert_eq!((text_sealed_with(""), sealed_with(b"")), (None, None));
    }

    #[test]
    fn a_key_is_added_on_top_or_first_handed_out_and_look_ups_stay() {
        let one = KeyRing::generate(&SystemEntropy);
        let ring = |text: &str| KeyRing::parse(text).unwrap();
        let names = |text: &str| -> Vec<String> {
            lines(text)
                .map(|line| line.split(' ').next().unwrap().to_owned())
                .collect()
        };
        let rotated = KeyRing::rotated(&one, &SystemEntropy).unwrap();
        assert_eq!(names(&rotated), ["k2", "k1"]);
        let again = KeyRing::rotated(&rotated, &SystemEntropy).unwrap();
        assert_eq!(names(&again), ["k3", "k2", "k1"]);
        // The careful way: every replica opens what the new key seals before one of them seals with it.
        let prepared = KeyRing::prepared(&one, &SystemEntropy).unwrap();
        assert_eq!(names(&prepared), ["k1", "k2", "k1"]);
        let sealed = ring(&one).seal(&SystemEntropy, b"p", b"v");
        let moved = KeyRing::rotated(&prepared, &SystemEntropy).unwrap();
        assert_eq!(names(&moved), ["k2", "k1"]);
        let prepared_again = KeyRing::prepared(&moved, &SystemEntropy).unwrap();
        assert_eq!(names(&prepared_again), ["k2", "k3", "k1"]);
        let moved_again = KeyRing::rotated(&prepared_again, &SystemEntropy).unwrap();
        assert_eq!(names(&moved_again), ["k3", "k2", "k1"]);
        let newest = ring(&moved_again).seal(&SystemEntropy, b"p", b"v");
        assert_eq!(ring(&prepared_again).open(b"p", &newest).unwrap(), b"v");
        for text in [&rotated, &again, &prepared, &moved, &moved_again] {
            let ring = ring(text);
            assert_eq!(ring.open(b"p", &sealed).unwrap(), b"v");
            assert_eq!(ring.token_key(), KeyRing::parse(&one).unwrap().token_key());
            assert_eq!(ring.lookup_name(), "k1");
        }
        assert!(KeyRing::rotated("", &SystemEntropy).is_err());
    }

    #[test]
    fn a_missing_key_is_named() {
        let with = KeyRing::generate(&SystemEntropy).replace("k1", "k7");
        let sealed = KeyRing::parse(&with)
            .unwrap()
            .seal(&SystemEntropy, b"p", b"v");
        let without = KeyRing::parse(&KeyRing::generate(&SystemEntropy)).unwrap();
        let error = without.open(b"p", &sealed).unwrap_err().to_string();
        assert!(
            error.contains("the key k7, which is not in the key file"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_key_file_says_where() {
        assert_eq!(KeyRing::parse("# none\n").unwrap_err(), KeyRingError::Empty);
        assert_eq!(
            KeyRing::parse("\nk1 AAAA").unwrap_err(),
            KeyRingError::Line(2)
        );
        let (one, other) = (
            KeyRing::generate(&SystemEntropy),
            KeyRing::generate(&SystemEntropy),
        );
        let twice = KeyRing::parse(&format!("{one}{other}")).unwrap_err();
        assert_eq!(twice, KeyRingError::Name(2));
        assert!(KeyRing::parse(&format!("{one}{one}")).is_ok());
    }
}
