//! Secrets at rest: what names a person is sealed, what must be found again is a keyed hash.
//!
//! A telephone number has so few possible values that a bare hash is no protection; only a key that is not in the database
//! is. The key file holds one key a line, `name base64`; the first seals, all open. Look-up hashes and link tokens come from
//! the last line, so that adding a key on top changes neither.

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
            sealing.push((name.to_owned(), derive(&key, b"seal")));
            oldest = Some(key);
        }
        let oldest = oldest.ok_or(KeyRingError::Empty)?;
        Ok(Self {
            sealing,
            lookup: derive(&oldest, b"lookup"),
            tokens: derive(&oldest, b"tokens"),
        })
    }

    /// The text of a new key file with one key.
    pub fn generate(entropy: &dyn Entropy) -> String {
        format!("k1 {}\n", STANDARD.encode(random::<32>(entropy)))
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
                StoreError::Corrupt(
                    "a value is sealed with a key that is not in the key file".to_owned(),
                )
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
    fn a_bad_key_file_says_where() {
        assert_eq!(KeyRing::parse("# none\n").unwrap_err(), KeyRingError::Empty);
        assert_eq!(
            KeyRing::parse("\nk1 AAAA").unwrap_err(),
            KeyRingError::Line(2)
        );
    }
}
