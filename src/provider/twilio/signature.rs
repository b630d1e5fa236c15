//! Proves that Twilio sent a call of ours, before anything in it is believed.
//!
//! The signed text is the configured public address with the target as received, never the Host header or what a proxy
//! adds; then the form's names and values. The rule is Twilio's (twilio.com/docs/usage/security, and for shared keys
//! twilio.com/docs/usage/webhooks). What [`Verifier::verify`] gives back is exactly what the signature covers.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::provider::{Hook, HookError};

const SIGNATURE: &str = "x-twilio-signature";
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";

/// The form of a genuine call: each name with its distinct values.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Form(BTreeMap<String, BTreeSet<String>>);

impl Form {
    /// A form body as sent: blank values kept, `+` and `%XX` decoded, bytes that are not UTF-8 replaced.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut form = Self::default();
        let pairs = serde_urlencoded::from_bytes::<Vec<(String, String)>>(body).unwrap_or_default();
        for (name, value) in pairs {
            form.0.entry(name).or_default().insert(value);
        }
        form
    }

    /// The value of `name`, if it has one. Two different values are refused: the signature does not cover their order.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<&str>, HookError> {
        let Some(values) = self.0.get(name) else {
            return Ok(None);
        };
        match values.len() {
            0 | 1 => Ok(values.first().map(String::as_str)),
            _ => Err(HookError::Malformed {
                field: name,
                message: "is given more than once",
            }),
        }
    }

    /// The value of `name`, which must be there; it may be blank.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, HookError> {
        self.get(name)?.ok_or(HookError::Malformed {
            field: name,
            message: "is missing",
        })
    }

    /// Appends names and values in the order of their bytes, nothing in between; equal values count once.
    fn append_to(&self, text: &mut String) {
        for (name, values) in &self.0 {
            for value in values {
                text.push_str(name);
                text.push_str(value);
            }
        }
    }
}

/// Checks signatures.
pub(super) struct Verifier {
    /// The public address with and without its port: Twilio signs either.
    bases: Vec<String>,
    auth_tokens: Vec<SecretString>,
    shared_keys: BTreeMap<String, SecretString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha1,
    Sha256,
}

impl Verifier {
    /// For the public base address (no slash at its end), the account's tokens and its shared keys. Empty ones are dropped:
    /// anybody can sign with nothing.
    pub(super) fn new(
        public_url: &str,
        tokens: Vec<SecretString>,
        keys: BTreeMap<String, SecretString>,
    ) -> Self {
        let filled = |secret: &SecretString| !secret.expose_secret().is_empty();
        Self {
            bases: bases(public_url),
            auth_tokens: tokens.into_iter().filter(filled).collect(),
            shared_keys: keys.into_iter().filter(|(_, key)| filled(key)).collect(),
        }
    }

    /// The form of a genuine call. A JSON body is proved too, by its digest in the address, but has no form.
    pub(super) fn verify(&self, hook: &Hook<'_>) -> Result<Form, HookError> {
        let signature = single(hook.headers, SIGNATURE)?.ok_or(HookError::Forged)?;
        let signature = STANDARD.decode(signature).map_err(|_| HookError::Forged)?;
        let form = match body_digest(hook.query)? {
            Some(digest) => {
                let ours = hex::encode(Sha256::digest(hook.body));
                if !bool::from(ours.as_bytes().ct_eq(digest.as_bytes())) {
                    return Err(HookError::Forged);
                }
                Form::default()
            }
            None => Form::parse(hook.body),
        };
        let (algorithm, keys) = match single(hook.headers, SETTINGS)? {
            None => (Algorithm::Sha1, self.auth_tokens.iter().collect::<Vec<_>>()),
            Some(settings) => {
                let (name, algorithm) = parse_settings(settings).ok_or(HookError::Forged)?;
                // A key that we do not know is refused; the auth token is no stand-in for it.
                (
                    algorithm,
                    vec![self.shared_keys.get(name).ok_or(HookError::Forged)?],
                )
            }
        };
        let genuine = self.bases.iter().any(|base| {
            let mut text = format!("{base}{}", hook.target);
            form.append_to(&mut text);
            keys.iter().any(|key| {
                is_signed(
                    algorithm,
                    key.expose_secret().as_bytes(),
                    text.as_bytes(),
                    &signature,
                )
            })
        });
        if genuine {
            Ok(form)
        } else {
            Err(HookError::Forged)
        }
    }
}

fn is_signed(algorithm: Algorithm, key: &[u8], text: &[u8], signature: &[u8]) -> bool {
    match algorithm {
        Algorithm::Sha1 => Hmac::<Sha1>::new_from_slice(key)
            .is_ok_and(|mac| mac.chain_update(text).verify_slice(signature).is_ok()),
        Algorithm::Sha256 => Hmac::<Sha256>::new_from_slice(key)
            .is_ok_and(|mac| mac.chain_update(text).verify_slice(signature).is_ok()),
    }
}

/// The header's value; `None` if it is absent. Two of them prove nothing.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, HookError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| HookError::Forged),
        (Some(_), Some(_)) => Err(HookError::Forged),
    }
}

/// `key=NAME,algorithm=HMAC_SHA256` or `HMAC_SHA1`, both once, in any order.
fn parse_settings(text: &str) -> Option<(&str, Algorithm)> {
    let (mut key, mut algorithm) = (None, None);
    for part in text.split(',') {
        let earlier = match part.trim().split_once('=')? {
            ("key", name) => key.replace(name).is_some(),
            ("algorithm", "HMAC_SHA256") => algorithm.replace(Algorithm::Sha256).is_some(),
            ("algorithm", "HMAC_SHA1") => algorithm.replace(Algorithm::Sha1).is_some(),
            _ => return None,
        };
        if earlier {
            return None;
        }
    }
    Some((key?, algorithm?))
}

/// The digest of a JSON body, which Twilio puts into the query.
fn body_digest(query: &str) -> Result<Option<String>, HookError> {
    let pairs = serde_urlencoded::from_str::<Vec<(String, String)>>(query).unwrap_or_default();
    let mut digests = pairs
        .into_iter()
        .filter(|(name, _)| name == "bodySHA256")
        .map(|(_, value)| value);
    match (digests.next(), digests.next()) {
        (digest, None) => Ok(digest),
        (_, Some(_)) => Err(HookError::Forged),
    }
}

/// The address as configured, and its other spelling: without its port, or with the scheme's standard one.
fn bases(public_url: &str) -> Vec<String> {
    let mut all = vec![public_url.to_owned()];
    let Some((scheme, rest)) = public_url.split_once("://") else {
        return all;
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // A colon inside of an IPv6 address is no port's.
    let port = host
        .rfind(':')
        .filter(|colon| host.rfind(']').is_none_or(|bracket| *colon > bracket));
    all.push(match (port, scheme) {
        (Some(colon), _) => format!("{scheme}://{}{path}", &host[..colon]),
        (None, "https") => format!("{scheme}://{host}:443{path}"),
        (None, _) => format!("{scheme}://{host}:80{path}"),
    });
    all
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
