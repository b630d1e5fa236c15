//! The section `[providers.smtp]`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::provider::SettingsError;

/// What `[providers.smtp]` may say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The server's name or address.
    pub(super) host: String,
    /// Its port; by default the usual one of the `tls` mode.
    port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub(super) tls: Tls,
    /// Permits `tls = "none"` to a host that is not this machine.
    #[serde(default)]
    allow_plaintext: bool,
    /// Signs in with this name; no sign-in without it.
    pub(super) username: Option<String>,
    /// The password of `username`.
    pub(super) password: Option<SecretString>,
    /// The mail address that mails come from, unless a desk has its own.
    pub(super) from: String,
    /// The name that mails come from; `{desk}` is the desk's name.
    #[serde(default = "desk_name")]
    pub(super) from_name: String,
    /// Where answers to a mail go; to `from` without it.
    pub(super) reply_to: Option<String>,
    /// What proves that mail which is brought to us is brought by our mail server; without it none is taken.
    pub(super) inbound_key: Option<SecretString>,
    /// Whether a mail of which nobody knows if it was taken is sent once more, with the same Message-ID.
    #[serde(default = "yes")]
    pub(super) resend: bool,
    /// How we introduce ourselves (EHLO); this machine's name without it.
    hello_name: Option<String>,
    /// Mails on their way at the same time, 1 to 64.
    #[serde(default = "four")]
    pub(super) in_flight: usize,
    /// Connections kept open for the next mail, 0 to 64.
    #[serde(default = "two")]
    pub(super) idle_connections: usize,
    /// How long a connection is kept, 1 to 300 seconds.
    #[serde(default = "thirty")]
    pub(super) idle_seconds: u32,
    /// The longest wait for connecting and for each of the two halves of a mail, 1 to 300 seconds.
    #[serde(default = "twenty")]
    timeout_seconds: u32,
    /// Certificate authorities that are trusted besides the public ones and the machine's, as PEM text.
    ca: Option<String>,
    /// The same as a file.
    ca_file: Option<PathBuf>,
}

/// The shortest key that mail may be brought with.
const INBOUND_KEY_MIN: usize = 16;

/// How the connection is protected. Never "if the server offers it": an attacker could take the offer away (RFC 8314).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    /// TLS from the first byte.
    #[default]
    Implicit,
    /// A plain greeting, then TLS or nothing.
    Starttls,
    /// No protection.
    None,
}

fn desk_name() -> String {
    "{desk}".to_owned()
}

fn yes() -> bool {
    true
}

fn two() -> usize {
    2
}

fn four() -> usize {
    4
}

fn twenty() -> u32 {
    20
}

fn thirty() -> u32 {
    30
}

impl Settings {
    /// Checks what the types cannot.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.host.is_empty()
            || self
                .host
                .contains(|c: char| c.is_whitespace() || c.is_control() || c == '/' || c == '@')
        {
            return Err(SettingsError::new(
                "host",
                "must be a host name or an IP address",
            ));
        }
        if self.tls == Tls::None && !self.allow_plaintext && !is_loopback(&self.host) {
            let message = "\"none\" sends mails and passwords in the clear; use \"implicit\" or \"starttls\", or set allow_plaintext = true";
            return Err(SettingsError::new("tls", message));
        }
        if self.username.is_some() != self.password.is_some() {
            let missing = if self.username.is_some() {
                "password"
            } else {
                "username"
            };
            return Err(SettingsError::new(
                missing,
                "is needed to sign in: set both username and password, or neither",
            ));
        }
        for (key, address) in [
            ("from", Some(&self.from)),
            ("reply_to", self.reply_to.as_ref()),
        ] {
            if address.is_some_and(|address| address.parse::<lettre::Address>().is_err()) {
                return Err(SettingsError::new(
                    key,
                    "must be a mail address, such as service@example.com",
                ));
            }
        }
        if self
            .hello_name
            .as_ref()
            .is_some_and(|name| !is_host_name(name))
        {
            return Err(SettingsError::new(
                "hello_name",
                "must be a host name, such as mail.example.com",
            ));
        }
        let key = self.inbound_key.as_ref().map(SecretString::expose_secret);
        if key.is_some_and(|key| key.chars().count() < INBOUND_KEY_MIN || key.trim() != key) {
            return Err(SettingsError::new(
                "inbound_key",
                format!(
                    "must have at least {INBOUND_KEY_MIN} characters and no blank at either end"
                ),
            ));
        }
        within("in_flight", self.in_flight, 1, 64)?;
        within("idle_connections", self.idle_connections, 0, 64)?;
        within("idle_seconds", self.idle_seconds, 1, 300)?;
        within("timeout_seconds", self.timeout_seconds, 1, 300)
    }

    /// The port: 465 for TLS from the first byte (RFC 8314), 587 for STARTTLS (RFC 6409), 25 without TLS.
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Implicit => 465,
            Tls::Starttls => 587,
            Tls::None => 25,
        })
    }

    /// The longest wait for one step.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// The name to introduce ourselves with.
    pub(super) fn hello(&self) -> ClientId {
        self.hello_name
            .clone()
            .map_or_else(ClientId::default, ClientId::Domain)
    }

    /// Where answers go.
    pub(super) fn reply_to(&self) -> Option<Mailbox> {
        self.reply_to
            .as_ref()
            .and_then(|address| address.parse().ok())
            .map(|address| Mailbox::new(None, address))
    }

    /// The TLS configuration; none without TLS.
    pub(super) fn tls_parameters(&self) -> Result<Option<TlsParameters>, SettingsError> {
        if self.tls == Tls::None {
            return Ok(None);
        }
        let mut builder = TlsParameters::builder(self.host.clone());
        for (key, pem) in [
            ("ca", self.ca.clone().map(String::into_bytes)),
            ("ca_file", self.ca_file()?),
        ] {
            let Some(pem) = pem else { continue };
            let certificate = Certificate::from_pem(&pem)
                .map_err(|_| SettingsError::new(key, "must hold certificates in PEM form"))?;
            builder = builder.add_root_certificate(certificate);
        }
        builder
            .build_rustls()
            .map(Some)
            .map_err(|error| SettingsError::new("tls", format!("cannot be used: {error}")))
    }

    fn ca_file(&self) -> Result<Option<Vec<u8>>, SettingsError> {
        let Some(path) = &self.ca_file else {
            return Ok(None);
        };
        let unreadable = |error: std::io::Error| {
            SettingsError::new("ca_file", format!("cannot be read: {error}"))
        };
        std::fs::read(path).map(Some).map_err(unreadable)
    }
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    low: T,
    high: T,
) -> Result<(), SettingsError> {
    if value >= low && value <= high {
        Ok(())
    } else {
        Err(SettingsError::new(
            key,
            format!("must be from {low} to {high}"),
        ))
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let settings: Settings =
            toml::from_str(text).map_err(|error| error.message().to_owned())?;
        settings.check().map_err(|error| error.to_string())?;
        Ok(settings)
    }

    #[test]
    fn host_and_from_are_enough() {
        let settings = read("host = \"mail.example.com\"\nfrom = \"service@example.com\"").unwrap();
        assert_eq!(
            (settings.port(), settings.tls, settings.in_flight),
            (465, Tls::Implicit, 4)
        );
        assert!(settings.tls_parameters().unwrap().is_some());
        assert!(settings.resend && settings.inbound_key.is_none());
    }

    #[test]
    fn the_port_follows_the_protection() {
        let base = "host = \"localhost\"\nfrom = \"a@example.com\"\n";
        for (more, port) in [
            ("tls = \"starttls\"", 587),
            ("tls = \"none\"", 25),
            ("tls = \"none\"\nport = 2525", 2525),
        ] {
            assert_eq!(read(&format!("{base}{more}")).unwrap().port(), port);
        }
    }

    #[test]
    fn each_bad_setting_is_named() {
        for (more, key) in [
            ("tls = \"none\"", "tls"),
            ("tls = \"opportunistic\"", "opportunistic"),
            ("username = \"u\"", "password"),
            ("password = \"p\"", "username"),
            ("reply_to = \"x\\r\\nBcc: y\"", "reply_to"),
            ("hello_name = \"a b\"", "hello_name"),
            ("inbound_key = \"short\"", "inbound_key"),
            ("inbound_key = \" 0123456789abcdef\"", "inbound_key"),
            ("resend = \"often\"", "boolean"),
            ("in_flight = 0", "in_flight"),
            ("timeout_seconds = 301", "timeout_seconds"),
            ("colour = 1", "colour"),
        ] {
            let error = read(&format!(
                "host = \"mail.example.com\"\nfrom = \"a@example.com\"\n{more}"
            ))
            .unwrap_err();
            assert!(error.contains(key), "{error} should name {key}");
        }
        assert!(
            read("host = \"a b\"\nfrom = \"a@example.com\"")
                .unwrap_err()
                .contains("host")
        );
        assert!(
            read("host = \"a\"\nfrom = \"nobody\"")
                .unwrap_err()
                .contains("from")
        );
        assert!(
            read("host = \"a\"\nfrom = \"a@example.com\"\ntls = \"none\"\nallow_plaintext = true")
                .is_ok()
        );
    }

    #[test]
    fn certificates_that_cannot_be_read_are_named() {
        let base = "host = \"localhost\"\nfrom = \"a@example.com\"\n";
        let settings = read(&format!("{base}ca_file = \"/nowhere/ca.pem\"")).unwrap();
        assert_eq!(settings.tls_parameters().err().unwrap().key, "ca_file");
    }

    #[test]
    fn a_printed_section_does_not_show_the_password() {
        let settings = read("host = \"localhost\"\nfrom = \"a@example.com\"\nusername = \"u\"\npassword = \"hunter2\"\ninbound_key = \"hunter2hunter2hunter2\"").unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
