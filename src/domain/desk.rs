//! One tenant, its keys and its own settings.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::follow_up::LowScores;
use super::grade::AnswerSettings;
use super::id::{DeskId, KeyId};
use super::policy::Rules;
use super::retention::Retention;
use super::time::Timestamp;
use super::token::base62;
use super::trigger::{FieldError, language, text, timezone};
use super::watch::WatchSettings;
use super::wording::WordingOverrides;

/// A service desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desk {
    /// Its identifier.
    pub id: DeskId,
    /// Its short name: a metric label.
    pub slug: String,
    /// The name that contacts see.
    pub name: String,
    /// Its own settings.
    pub settings: DeskSettings,
    /// When it was added.
    pub created_at: Timestamp,
    /// Its sending is paused.
    pub paused: Option<Paused>,
    /// When somebody last let it send again.
    pub resumed_at: Option<Timestamp>,
}

/// Sending is paused until somebody resumes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Paused {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Why, in one sentence.
    pub reason: String,
}

/// What a desk may set for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DeskSettings {
    /// The desk's own sender by channel, where it does not use the provider's, such as `{"sms": "+14155550100"}`.
    pub senders: BTreeMap<String, String>,
    /// The language of contacts whose language is not known, such as `de`.
    pub language: String,
    /// The desk's IANA time zone, such as `Europe/Berlin`: whose day is the desk's day, and that of contacts of whom nothing
    /// better is known. UTC if it is empty.
    pub timezone: String,
    /// When it asks and when it does not.
    #[schema(value_type = Rules)]
    pub rules: Arc<Rules>,
    /// What is set about answers.
    pub answers: AnswerSettings,
    /// When a score is low.
    pub low_scores: LowScores,
    /// For how long it keeps what names a person.
    pub retention: Retention,
    /// When its sending is paused by itself.
    pub watch: WatchSettings,
    /// The desk's own words.
    pub wording: WordingOverrides,
}

impl DeskSettings {
    /// The defaults with rules that hold back nothing (see [`Rules::permissive`]) and no watch.
    pub fn permissive() -> Self {
        Self {
            rules: Arc::new(Rules::permissive()),
            watch: WatchSettings {
                enabled: false,
                ..WatchSettings::default()
            },
            ..Self::default()
        }
    }

    /// The language in which a contact is spoken to: its own, or the desk's if it is not known.
    pub fn spoken<'a>(&'a self, own: &'a str) -> &'a str {
        if own.is_empty() { &self.language } else { own }
    }

    /// Checks every bound. The error names the field with dots, such as `rules.caps[0].days`. Whether a sender is an address of
    /// its channel, only the channel can judge.
    pub fn check(&self) -> Result<(), FieldError> {
        for (channel, sender) in &self.senders {
            text(&format!("senders.{channel}"), sender, 254)?;
        }
        language("language", &self.language)?;
        timezone("timezone", &self.timezone)?;
        self.rules.check("rules.")?;
        self.answers.check("answers.")?;
        self.low_scores.check("low_scores")?;
        self.retention.check("retention.")?;
        self.watch.check("watch.")?;
        self.wording.check("wording")
    }
}

/// Whether a text may be a desk's short name: 1 to 40 lower-case letters, digits and hyphens, a letter first.
pub fn is_slug(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Create and cancel requests.
    Send,
    /// Read requests and ratings.
    Read,
    /// Change settings.
    Admin,
    /// Read metrics.
    Metrics,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Send, Self::Read, Self::Admin, Self::Metrics];

    /// The word used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A key as the store keeps it: its hash, never itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its identifier.
    pub id: KeyId,
    /// Whose key it is.
    pub desk: DeskId,
    /// The part of the key that finds the row; not secret.
    pub handle: String,
    /// SHA-256 of the whole key. A fast hash is right here: the key is 190 random bits, not a password.
    pub hash: [u8; 32],
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A key in clear, shown once when it is made: `o5_`, a handle of 8, a secret of 32, a check of 6 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    /// A new key from 48 random bytes.
    pub fn new(random: [u8; 48]) -> Self {
        let part = |bytes: &[u8]| {
            let mut wide = [0; 16];
            wide.copy_from_slice(bytes);
            base62(u128::from_be_bytes(wide))
        };
        // The leading character of a base62 number is not evenly spread, so the trailing ones are taken.
        let handle = part(&random[..16])[14..].to_owned();
        let secret = format!(
            "{}{}",
            &part(&random[16..32])[6..],
            &part(&random[32..])[6..]
        );
        let body = format!("{handle}_{secret}");
        Self(format!("o5_{body}{}", check(&body)))
    }

    /// Reads a key that somebody presents. `None` if it cannot be one, which saves asking the store about typing errors.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text
            .strip_prefix("o5_")
            .filter(|_| text.len() == 50 && text.is_ascii())?;
        let (signed, given) = body.split_at(body.len() - 6);
        let shaped = signed.as_bytes()[8] == b'_' && check(signed) == given;
        shaped.then(|| Self(text.to_owned()))
    }

    /// The part that finds the row.
    pub fn handle(&self) -> &str {
        &self.0[3..11]
    }

    /// SHA-256 of the whole key.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The key in clear, for showing it once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText(o5_{}_…)", self.handle())
    }
}

fn check(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let mut wide = [0; 16];
    wide.copy_from_slice(&digest[..16]);
    base62(u128::from_be_bytes(wide))[16..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_a_typing_error_is_seen_without_the_store() {
        let key = KeyText::new(std::array::from_fn(|i| u8::try_from(i * 5).unwrap()));
        let read = KeyText::parse(key.expose()).unwrap();
        assert_eq!((read.handle(), read.hash()), (key.handle(), key.hash()));
        for at in 3..key.expose().len() {
            let mut typo = key.expose().to_owned();
            let other = if &typo[at..=at] == "x" { "y" } else { "x" };
            typo.replace_range(at..=at, other);
            assert_eq!(KeyText::parse(&typo), None, "{typo}");
        }
        assert_eq!(KeyText::parse("o5_ü"), None);
        assert!(!format!("{key:?}").contains(&key.expose()[12..]));
    }

    #[test]
    fn a_short_name_is_safe_as_a_label() {
        assert!(is_slug("acme-it2"));
        for bad in ["", "Acme", "2acme", "a_b", "a\"b", &"a".repeat(41)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }
}
