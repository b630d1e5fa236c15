//! The section `[providers.twilio]`: read, checked, with the key named that cannot be used.

use std::collections::BTreeMap;

use http::Uri;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::voices::Voices;
use crate::domain::contact::Address;
use crate::provider::SettingsError;

/// The section as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// The account, `AC` and 32 hexadecimal digits.
    account_sid: String,
    /// The API key that signs in, `SK` and 32 hexadecimal digits; without it the account signs in.
    #[serde(default)]
    api_key_sid: String,
    /// The API key's secret, or the account's auth token where there is no API key.
    secret: SecretString,
    /// The account's auth tokens, which sign Twilio's calls to us, the newest first.
    #[serde(default)]
    auth_tokens: Vec<SecretString>,
    /// Shared keys by name, for calls that are signed with one instead of the auth token.
    #[serde(default)]
    shared_keys: BTreeMap<String, SecretString>,
    /// The number that texts, and calls unless `voice_from` is set, come from.
    #[serde(default)]
    from: String,
    /// The Messaging Service that texts come from, `MG` and 32 hexadecimal digits; goes before `from`.
    #[serde(default)]
    messaging_service_sid: String,
    /// The number that calls come from.
    #[serde(default)]
    voice_from: String,
    /// Whether a number may be called back when there is no live call.
    #[serde(default)]
    call_back: bool,
    /// Where the API is.
    #[serde(default = "base_url")]
    base_url: String,
    /// How many sends at once.
    #[serde(default = "in_flight")]
    in_flight: usize,
    /// How long Twilio may try to carry a text.
    #[serde(default = "validity_seconds")]
    validity_seconds: u32,
    /// The voice that speaks; empty for Twilio's default.
    #[serde(default)]
    voice: String,
    /// The voices of languages by their tag, such as `es = "Polly.Mia"`; a language without one has `voice`.
    #[serde(default)]
    voices: BTreeMap<String, String>,
}

fn base_url() -> String {
    "https://api.twilio.com".to_owned()
}

fn in_flight() -> usize {
    16
}

fn validity_seconds() -> u32 {
    3600
}

/// The settings as the rest of this folder uses them.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The account.
    pub(super) account_sid: String,
    /// The user of Basic auth: the API key or the account.
    pub(super) user: String,
    /// Its password.
    pub(super) secret: SecretString,
    /// What signs Twilio's calls to us; never empty, none of them empty.
    pub(super) auth_tokens: Vec<SecretString>,
    /// Shared keys by name, none of them empty.
    pub(super) shared_keys: BTreeMap<String, SecretString>,
    /// The sender of texts: a number or a Messaging Service.
    pub(super) text_from: String,
    /// The sender of calls; may be empty if none are made.
    pub(super) voice_from: String,
    /// Whether a number may be called back.
    pub(super) call_back: bool,
    /// Where the API is.
    pub(super) base: Uri,
    /// The path of `base` without a slash at its end; usually empty.
    pub(super) base_path: String,
    /// Our public base address.
    pub(super) public_url: String,
    /// 1 to 1024.
    pub(super) in_flight: usize,
    /// 5 to 36000.
    pub(super) validity_seconds: u32,
    /// Who speaks which language.
    pub(super) voices: Voices,
}

impl Settings {
    /// So many more may be ahead of their turn: what a commit takes is rarely more than a quarter of what Twilio does.
    pub(super) fn ahead(&self) -> usize {
        self.in_flight / 4
    }
}

/// The shortest and longest `ValidityPeriod`, in seconds: Twilio takes 1 to 36000 and recommends more than 5.
pub(super) const VALIDITY: std::ops::RangeInclusive<u32> = 5..=36_000;

/// Whether it is a SID of one of these kinds: two letters and 32 hexadecimal digits.
pub(super) fn is_sid(text: &str, kinds: &[&str]) -> bool {
    text.len() == 34
        && kinds.iter().any(|kind| text.starts_with(kind))
        && text.bytes().skip(2).all(|b| b.is_ascii_hexdigit())
}

impl Raw {
    /// The settings, or the first key that cannot be used.
    pub(super) fn check(self, public_url: String) -> Result<Settings, SettingsError> {
        let sid = |key: &str, value: &str, kind: &str| {
            let good = is_sid(value, &[kind]);
            ensure(
                good,
                key,
                &format!("must be {kind} and 32 hexadecimal digits"),
            )
        };
        let optional = |value: &str, check: Result<(), SettingsError>| {
            if value.is_empty() { Ok(()) } else { check }
        };
        let phone = |key: &str, value: &str| {
            Address::phone(value)
                .map(drop)
                .map_err(|e| SettingsError::new(key, e.to_string()))
        };
        sid("account_sid", &self.account_sid, "AC")?;
        optional(
            &self.api_key_sid,
            sid("api_key_sid", &self.api_key_sid, "SK"),
        )?;
        filled("secret", &self.secret)?;
        self.auth_tokens
            .iter()
            .try_for_each(|token| filled("auth_tokens", token))?;
        for (name, key) in &self.shared_keys {
            filled(&format!("shared_keys.{name}"), key)?;
        }
        optional(&self.from, phone("from", &self.from))?;
        optional(&self.voice_from, phone("voice_from", &self.voice_from))?;
        let service = &self.messaging_service_sid;
        optional(service, sid("messaging_service_sid", service, "MG"))?;
        ensure(
            !self.from.is_empty() || !service.is_empty(),
            "from",
            "is missing: set `from` or `messaging_service_sid`, where text messages come from",
        )?;
        let voice_from = if self.voice_from.is_empty() {
            self.from.clone()
        } else {
            self.voice_from
        };
        ensure(
            !self.call_back || !voice_from.is_empty(),
            "voice_from",
            "is missing: `call_back` needs a number to call from",
        )?;
        ensure(
            (1..=1024).contains(&self.in_flight),
            "in_flight",
            "must be from 1 to 1024",
        )?;
        ensure(
            VALIDITY.contains(&self.validity_seconds),
            "validity_seconds",
            "must be from 5 to 36000",
        )?;
        let voices = Voices::check(self.voice, self.voices)?;
        let auth_tokens = match (self.auth_tokens.is_empty(), self.api_key_sid.is_empty()) {
            (false, _) => self.auth_tokens,
            (true, true) => vec![self.secret.clone()],
            (true, false) => {
                return Err(SettingsError::new(
                    "auth_tokens",
                    "is missing: with `api_key_sid`, `secret` belongs to the API key, but Twilio signs its calls with the account's auth token",
                ));
            }
        };
        let (base, base_path) = base(&self.base_url)?;
        check_public(&public_url)?;
        let user = if self.api_key_sid.is_empty() {
            &self.account_sid
        } else {
            &self.api_key_sid
        };
        Ok(Settings {
            user: user.clone(),
            account_sid: self.account_sid,
            secret: self.secret,
            auth_tokens,
            shared_keys: self.shared_keys,
            text_from: if service.is_empty() {
                self.from
            } else {
                self.messaging_service_sid
            },
            voice_from,
            call_back: self.call_back,
            base,
            base_path,
            public_url,
            in_flight: self.in_flight,
            validity_seconds: self.validity_seconds,
            voices,
        })
    }
}

pub(super) fn ensure(good: bool, key: &str, message: &str) -> Result<(), SettingsError> {
    if good {
        Ok(())
    } else {
        Err(SettingsError::new(key, message))
    }
}

/// An empty key verifies whatever anybody signs with nothing.
fn filled(key: &str, secret: &SecretString) -> Result<(), SettingsError> {
    ensure(
        !secret.expose_secret().trim().is_empty(),
        key,
        "must not be empty",
    )
}

fn base(text: &str) -> Result<(Uri, String), SettingsError> {
    let wrong = || {
        SettingsError::new(
            "base_url",
            "must be an address such as https://api.twilio.com",
        )
    };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    if !is_address(&uri) {
        return Err(wrong());
    }
    let path = uri.path().trim_end_matches('/').to_owned();
    Ok((uri, path))
}

fn check_public(text: &str) -> Result<(), SettingsError> {
    let key = "public_url";
    ensure(
        !text.is_empty(),
        key,
        "the setting `server.public_url` is needed, because Twilio calls us back",
    )?;
    let good = text.parse().is_ok_and(|uri| is_address(&uri)) && !text.ends_with('/');
    ensure(
        good,
        key,
        "the setting `server.public_url` must be an http or https address without a slash at its end",
    )
}

fn is_address(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|h| !h.is_empty())
        && uri.query().is_none()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The smallest section that works, changed by `more` (TOML lines; an equal key there wins).
    pub(in super::super) fn section(more: &str) -> toml::Table {
        let mut table: toml::Table = toml::from_str(
            r#"
            account_sid = "AC00000000000000000000000000000001"
            secret = "12345"
            from = "+14155550100"
            "#,
        )
        .unwrap();
        table.extend(toml::from_str::<toml::Table>(more).unwrap());
        table
    }

    /// Those settings.
    pub(in super::super) fn settings(more: &str) -> Result<Settings, SettingsError> {
        let raw: Raw = section(more)
            .try_into()
            .map_err(|e| SettingsError::new("?", format!("{e}")))?;
        raw.check("https://rate.example.com".to_owned())
    }

    #[test]
    fn three_keys_are_enough() {
        let settings = settings("").unwrap();
        assert_eq!(settings.user, settings.account_sid);
        assert_eq!(settings.auth_tokens[0].expose_secret(), "12345");
        assert_eq!(
            (settings.text_from.as_str(), settings.voice_from.as_str()),
            ("+14155550100", "+14155550100")
        );
        assert_eq!(
            (
                settings.in_flight,
                settings.validity_seconds,
                settings.call_back
            ),
            (16, 3600, false)
        );
    }

    #[test]
    fn an_api_key_signs_in_and_the_auth_tokens_verify() {
        let key = "api_key_sid = 'SK00000000000000000000000000000002'\n";
        assert_eq!(settings(key).unwrap_err().key, "auth_tokens");
        let settings = settings(&format!("{key}auth_tokens = ['new', 'old']")).unwrap();
        assert!(settings.user.starts_with("SK"));
        assert_eq!(settings.auth_tokens.len(), 2);
    }

    #[test]
    fn each_bad_key_is_named() {
        for (more, key) in [
            ("account_sid = 'AC1'", "account_sid"),
            ("api_key_sid = 'AC1'", "api_key_sid"),
            ("secret = ''", "secret"),
            ("auth_tokens = ['a', ' ']", "auth_tokens"),
            ("shared_keys.k = ''", "shared_keys.k"),
            ("from = '4155550100'", "from"),
            ("from = ''", "from"),
            ("messaging_service_sid = 'x'", "messaging_service_sid"),
            ("in_flight = 0", "in_flight"),
            ("voices = { es = '' }", "voices.es"),
            ("voices = { es_MX = 'Polly.Mia' }", "voices.es_MX"),
            ("validity_seconds = 4", "validity_seconds"),
            ("base_url = 'api.twilio.com'", "base_url"),
            (
                "messaging_service_sid = 'MG00000000000000000000000000000003'\nfrom = ''\ncall_back = true",
                "voice_from",
            ),
        ] {
            assert_eq!(settings(more).unwrap_err().key, key, "{more}");
        }
        assert!(settings("colour = 'red'").is_err());
        let raw: Raw = section("").try_into().unwrap();
        assert_eq!(raw.check(String::new()).unwrap_err().key, "public_url");
    }

    #[test]
    fn printed_settings_show_no_secret() {
        let shown = format!(
            "{:?}",
            settings("shared_keys.k = 'hidden'\nauth_tokens = ['hidden']\nsecret = 'hidden'")
                .unwrap()
        );
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
