//! Text messages and calls through Twilio.
//!
//! `client` sends over one [line](super::line) and sorts every answer into an outcome; `hooks` reads what Twilio
//! tells us, after `signature` has proved that Twilio said it; `twiml` writes what we say back; `codes` knows what
//! Twilio's error codes mean. Twilio has no idempotency key for creating a message or a call, so nothing here ever sends
//! the same parcel twice.

use std::sync::Arc;

use async_trait::async_trait;

use super::ledger::Ledger;
use super::line::{Limits, Lines};
use super::{
    Answer, Built, Explanation, Hook, HookError, HookReply, Inbound, Line, Parcel, Provider,
    SettingsError,
};
use crate::clock::Clock;
use crate::domain::contact::{Address, AddressKind};
use crate::domain::delivery::Outcome;
use crate::domain::settling::Recovery;
use client::Client;
use settings::Settings;
use signature::Verifier;

mod client;
mod codes;
mod hooks;
mod ledger;
mod settings;
mod signature;
mod twiml;
mod voices;

/// Reads the section `[providers.twilio]`.
pub fn build(built: Built) -> Result<Arc<dyn Provider>, SettingsError> {
    let settings = built
        .settings::<settings::Raw>()?
        .check(built.public_url.clone())?;
    let lines = Lines::new(
        settings.base.clone(),
        Limits {
            idle: settings.in_flight + settings.ahead(),
            // A page of the message list.
            body: 4 * 1024 * 1024,
            ..Limits::default()
        },
    )
    .map_err(|error| SettingsError::new("base_url", error.to_string()))?;
    let verifier = Verifier::new(
        &settings.public_url,
        settings.auth_tokens.clone(),
        settings.shared_keys.clone(),
    );
    let settings = Arc::new(settings);
    let client = Arc::new(Client::new(Arc::clone(&settings), lines));
    Ok(Arc::new(Twilio {
        settings,
        client,
        verifier,
        clock: built.clock,
    }))
}

struct Twilio {
    settings: Arc<Settings>,
    client: Arc<Client>,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Provider for Twilio {
    fn name(&self) -> &'static str {
        "twilio"
    }

    fn carries(&self, channel: &str) -> bool {
        matches!(channel, "sms" | "voice")
    }

    fn sender(&self, channel: &str) -> &str {
        match channel {
            "sms" => &self.settings.text_from,
            "voice" => &self.settings.voice_from,
            _ => "",
        }
    }

    fn reaches(&self, channel: &str, address: &Address) -> Result<(), &'static str> {
        match (channel, address.kind()) {
            ("sms", AddressKind::Phone) | ("voice", AddressKind::Call) => Ok(()),
            ("sms", _) => Err("needs a telephone number"),
            ("voice", AddressKind::Phone) if self.settings.call_back => Ok(()),
            ("voice", AddressKind::Phone) => {
                Err("needs the id of a live call, because `providers.twilio.call_back` is off")
            }
            ("voice", _) => Err("needs the id of a live call or a telephone number"),
            _ => Err("is not carried by Twilio"),
        }
    }

    fn in_flight(&self) -> usize {
        self.settings.in_flight
    }

    fn ahead(&self) -> usize {
        self.settings.ahead()
    }

    async fn open(&self, parcel: &Parcel) -> Result<Box<dyn Line>, Outcome> {
        Ok(Box::new(Client::open(&self.client, parcel).await?))
    }

    fn inbound(&self, hook: &Hook<'_>) -> Result<Inbound, HookError> {
        let form = self.verifier.verify(hook)?;
        hooks::read(&self.settings, hook, &form)
    }

    fn answer(&self, _inbound: &Inbound, answer: &Answer) -> HookReply {
        let body = twiml::of(answer, &self.settings.public_url, |language| {
            self.settings.voices.of(language)
        });
        HookReply {
            content_type: "text/xml; charset=utf-8",
            body,
        }
    }

    /// Only a Messaging Service holds messages back. A call has no list here: its callbacks and its own question for our words
    /// tell.
    fn recovery(&self, channel: &str, sender: &str) -> Recovery {
        if channel == "sms" {
            Recovery::Listing {
                revocable: sender.starts_with("MG"),
            }
        } else {
            Recovery::Wait
        }
    }

    fn ledger(&self) -> Option<&dyn Ledger> {
        Some(self)
    }

    fn explain(&self, code: &str) -> Option<Explanation> {
        codes::explain(code)
    }

    /// Twilio answers a message that is nothing but one of its words, and blocks or unblocks the number; a sentence such as
    /// "stop texting me" reaches us as any text and is ours to confirm (Twilio's support for opt-out keywords).
    fn answers_itself(&self, text: &str) -> bool {
        const WORDS: [&str; 13] = [
            "STOP",
            "STOPALL",
            "UNSUBSCRIBE",
            "CANCEL",
            "END",
            "QUIT",
            "REVOKE",
            "OPTOUT",
            "START",
            "YES",
            "UNSTOP",
            "HELP",
            "INFO",
        ];
        WORDS
            .iter()
            .any(|word| text.trim().eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::channel::Message;
    use crate::clock::{ManualClock, SystemEntropy};
    use crate::domain::request::Channel;
    use crate::domain::time::Timestamp;

    fn provider(more: &str, public_url: &str) -> Result<Arc<dyn Provider>, SettingsError> {
        build(Built {
            settings: settings::tests::section(more),
            public_url: public_url.to_owned(),
            clock: Arc::new(ManualClock::at(Timestamp::default())),
            entropy: Arc::new(SystemEntropy),
        })
    }

    #[test]
    fn it_needs_a_public_address() {
        assert_eq!(provider("", "").err().unwrap().key, "public_url");
        assert!(provider("", "https://rate.example.com").is_ok());
        assert!(provider("colour = 'red'", "https://rate.example.com").is_err());
    }

    #[test]
    fn numbers_are_called_only_if_that_is_on() {
        let (phone, call) = (
            Address::phone("+14155550123").unwrap(),
            Address::call("CA0000000000000000000000000000000a").unwrap(),
        );
        for (more, back) in [("", false), ("call_back = true", true)] {
            let twilio = provider(more, "https://rate.example.com").unwrap();
            assert!(twilio.reaches("voice", &call).is_ok());
            assert_eq!(twilio.reaches("voice", &phone).is_ok(), back);
            assert!(twilio.reaches("sms", &phone).is_ok());
            assert!(twilio.reaches("sms", &call).is_err());
        }
    }

    #[test]
    fn the_signature_is_looked_at_before_anything_else() {
        let twilio = provider("", "https://rate.example.com").unwrap();
        let headers = HeaderMap::new();
        for (method, path) in [("POST", "sms"), ("POST", "nowhere"), ("GET", "voice")] {
            let hook = Hook {
                method,
                path,
                target: "/x",
                query: "",
                headers: &headers,
                body: b"",
            };
            assert_eq!(twilio.inbound(&hook), Err(HookError::Forged));
        }
    }

    #[tokio::test]
    async fn a_closed_door_is_proof_that_nothing_was_sent() {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let twilio = provider(
            &format!("base_url = 'http://{address}'"),
            "https://rate.example.com",
        )
        .unwrap();
        let parcel = Parcel {
            channel: Channel::named("sms"),
            from: twilio.sender("sms").to_owned(),
            to: Address::phone("+14155550123").unwrap(),
            to_name: String::new(),
            desk: String::new(),
            message: Message::Text("1-5?".to_owned()),
            attempt_token: "Tok1".to_owned(),
            request: String::new(),
            valid_seconds: 60,
            send_at: None,
        };
        let outcome = twilio.open(&parcel).await.err().unwrap();
        assert_eq!(
            outcome,
            Outcome::NotProcessed {
                code: "connect".to_owned(),
                retry_after_ms: None
            }
        );
    }
}
