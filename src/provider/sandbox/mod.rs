//! A pretend phone and mailbox: the development default, the demo's provider and a test double, always compiled.
//!
//! It keeps what it is given and shows it on the page `/sandbox`; the page answers through our hooks, as a real provider
//! does, and proves itself with a key that only the page is told. Reached only when a channel is configured to use it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::{
    Answer, Built, Hook, HookError, HookReply, Inbound, Line, Parcel, Provider, SettingsError,
};
use crate::channel::Message;
use crate::clock::{Entropy, random};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::delivery::Outcome;
use crate::domain::request::Channel;

mod hooks;

/// Messages kept of each kind; older ones are forgotten.
const KEPT: usize = 200;

/// `[providers.sandbox]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The pretend customer's number.
    pub phone: String,
    /// The pretend number that asks.
    pub sender: String,
    /// The pretend customer's mailbox.
    pub mail: String,
    /// The short name of the desk that the page speaks for.
    pub desk: String,
    /// An API key that the page may use; without one the page asks for it.
    pub api_key: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            phone: "+14155550100".to_owned(),
            sender: "+14155550199".to_owned(),
            mail: "ana@example.com".to_owned(),
            desk: "demo".to_owned(),
            api_key: None,
        }
    }
}

/// Makes the provider.
pub fn build(built: Built) -> Result<Arc<dyn Provider>, SettingsError> {
    let settings: Settings = built.settings()?;
    for (key, value) in [("phone", &settings.phone), ("sender", &settings.sender)] {
        Address::phone(value).map_err(|error| SettingsError::new(key, error.to_string()))?;
    }
    Address::mail(&settings.mail).map_err(|error| SettingsError::new("mail", error.to_string()))?;
    let hook_key = hex::encode(random::<16>(built.entropy.as_ref()));
    let shelf = Arc::new(Shelf {
        kept: Mutex::new(Kept::default()),
        entropy: built.entropy,
    });
    Ok(Arc::new(Sandbox {
        settings,
        hook_key,
        shelf,
    }))
}

/// The provider and what it keeps.
pub struct Sandbox {
    settings: Settings,
    hook_key: String,
    shelf: Arc<Shelf>,
}

/// Where everything is kept; shared with the lines that are open.
struct Shelf {
    kept: Mutex<Kept>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sandbox")
    }
}

/// What the pretend devices hold.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Kept {
    /// Text messages, oldest first.
    pub texts: VecDeque<Text>,
    /// Calls that wait for their prompt, oldest first.
    pub calls: VecDeque<Call>,
    /// Mails, oldest first.
    pub mails: VecDeque<Mail>,
}

/// A text message.
#[derive(Debug, Clone, Serialize)]
pub struct Text {
    /// Its id.
    pub id: String,
    /// The attempt's token, for reporting that it arrived; empty for a message of the customer.
    pub token: String,
    /// Who sent it.
    pub from: String,
    /// Who gets it.
    pub to: String,
    /// The words.
    pub body: String,
    /// `out` for ours, `in` for the customer's.
    pub direction: &'static str,
}

/// A call.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// The call's id.
    pub call: String,
    /// The attempt's token, for fetching the prompt.
    pub token: String,
}

/// A mail.
#[derive(Debug, Clone, Serialize)]
pub struct Mail {
    /// Its id.
    pub id: String,
    /// Who sent it.
    pub from: String,
    /// Who gets it.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The HTML.
    pub html: String,
}

/// What the page has to know.
#[derive(Debug, Clone, Serialize)]
pub struct PageConfig<'a> {
    hook_key: &'a str,
    api_key: Option<&'a str>,
    desk: &'a str,
    phone: &'a str,
    sender: &'a str,
    mail: &'a str,
}

impl Sandbox {
    /// What the pretend devices hold now.
    pub fn kept(&self) -> Kept {
        self.shelf.lock().clone()
    }

    /// What the page has to know.
    pub fn page_config(&self) -> PageConfig<'_> {
        PageConfig {
            hook_key: &self.hook_key,
            api_key: self.settings.api_key.as_deref(),
            desk: &self.settings.desk,
            phone: &self.settings.phone,
            sender: &self.settings.sender,
            mail: &self.settings.mail,
        }
    }
}

impl Shelf {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        // What is kept is only shown: a panic elsewhere does not make it unusable.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, prefix: &str) -> String {
        format!(
            "{prefix}{}",
            hex::encode(random::<16>(self.entropy.as_ref()))
        )
    }

    fn keep(&self, parcel: &Parcel) -> String {
        let (from, to) = (parcel.from.clone(), parcel.to.expose().to_owned());
        let token = parcel.attempt_token.clone();
        match &parcel.message {
            Message::Text(body) => {
                let id = self.id("SM");
                let text = Text {
                    id: id.clone(),
                    token,
                    from,
                    to,
                    body: body.clone(),
                    direction: "out",
                };
                push(&mut self.lock().texts, text);
                id
            }
            Message::Mail(mail) => {
                let id = self.id("ML");
                let (subject, text, html) =
                    (mail.subject.clone(), mail.text.clone(), mail.html.clone());
                let from = format!("{} <feedback@example.com>", parcel.desk);
                push(
                    &mut self.lock().mails,
                    Mail {
                        id: id.clone(),
                        from,
                        to,
                        subject,
                        text,
                        html,
                    },
                );
                id
            }
            Message::Call | Message::Buttons(_) => {
                push(
                    &mut self.lock().calls,
                    Call {
                        call: to.clone(),
                        token,
                    },
                );
                to
            }
        }
    }
}

fn push<T>(kept: &mut VecDeque<T>, new: T) {
    kept.push_back(new);
    while kept.len() > KEPT {
        kept.pop_front();
    }
}

struct SandboxLine(Arc<Shelf>);

#[async_trait]
impl Line for SandboxLine {
    async fn send(self: Box<Self>, parcel: &Parcel) -> Outcome {
        Outcome::Accepted {
            provider_id: self.0.keep(parcel),
        }
    }
}

#[async_trait]
impl Provider for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn carries(&self, channel: &str) -> bool {
        matches!(channel, "sms" | "voice" | "email")
    }

    fn sender(&self, channel: &str) -> &str {
        if channel == "sms" {
            &self.settings.sender
        } else {
            ""
        }
    }

    fn reaches(&self, _channel: &str, address: &Address) -> Result<(), &'static str> {
        if address.kind() == AddressKind::Handle {
            Err("cannot be carried by the sandbox")
        } else {
            Ok(())
        }
    }

    fn in_flight(&self) -> usize {
        4
    }

    async fn open(&self, _parcel: &Parcel) -> Result<Box<dyn Line>, Outcome> {
        Ok(Box::new(SandboxLine(Arc::clone(&self.shelf))))
    }

    fn inbound(&self, hook: &Hook<'_>) -> Result<Inbound, HookError> {
        let form = hooks::form(hook)?;
        let given = form.get("key").map_or("", String::as_str);
        let genuine: bool = given.as_bytes().ct_eq(self.hook_key.as_bytes()).into();
        if !genuine {
            return Err(HookError::Forged);
        }
        let inbound = hooks::inbound(hook, &form)?;
        if let Inbound::Text {
            from,
            to,
            body,
            message_id,
            ..
        } = &inbound
        {
            let text = Text {
                id: message_id.clone(),
                token: String::new(),
                from: from.expose().to_owned(),
                to: to.concat(),
                body: body.clone(),
                direction: "in",
            };
            push(&mut self.shelf.lock().texts, text);
        }
        Ok(inbound)
    }

    fn answer(&self, inbound: &Inbound, answer: &Answer) -> HookReply {
        if let (Inbound::Text { from, to, .. }, Answer::Text(body)) = (inbound, answer) {
            let text = Text {
                id: self.shelf.id("SM"),
                token: String::new(),
                from: to.concat(),
                to: from.expose().to_owned(),
                body: body.clone(),
                direction: "out",
            };
            push(&mut self.shelf.lock().texts, text);
        }
        // A call that is over must not ring again when the page is loaded anew.
        if let (Inbound::Call { call, .. }, Answer::Goodbye { .. } | Answer::HangUp) =
            (inbound, answer)
        {
            let over = call.expose();
            self.shelf.lock().calls.retain(|kept| kept.call != over);
        }
        HookReply {
            content_type: "application/json",
            body: hooks::answer(answer).to_string(),
        }
    }

    fn sandbox(&self) -> Option<&Sandbox> {
        Some(self)
    }
}

/// The channel of text messages.
const SMS: Channel = Channel::named("sms");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, SystemEntropy};

    fn sandbox() -> Arc<dyn Provider> {
        build(Built {
            settings: toml::Table::new(),
            public_url: String::new(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        })
        .unwrap()
    }

    fn hook<'a>(path: &'a str, body: &'a str, headers: &'a http::HeaderMap) -> Hook<'a> {
        Hook {
            method: "POST",
            path,
            target: "",
            query: "turn=1",
            headers,
            body: body.as_bytes(),
        }
    }

    #[test]
    fn a_hook_without_the_pages_key_is_forged() {
        let (provider, headers) = (sandbox(), http::HeaderMap::new());
        for body in [
            "",
            "key=",
            "key=wrong&from=%2B14155550100&to=%2B1&body=5&id=1",
        ] {
            assert_eq!(
                provider.inbound(&hook("sms", body, &headers)),
                Err(HookError::Forged),
                "{body}"
            );
        }
        assert!(provider.sandbox().unwrap().kept().texts.is_empty());
    }

    #[test]
    fn a_key_press_is_reported_with_its_turn() {
        let (provider, headers) = (sandbox(), http::HeaderMap::new());
        let key = provider
            .sandbox()
            .unwrap()
            .page_config()
            .hook_key
            .to_owned();
        let call = format!("CA{}", "0".repeat(32));
        let body = format!("key={key}&call={call}&digits=4");
        let inbound = provider
            .inbound(&hook("voice/token", &body, &headers))
            .unwrap();
        let expected = Inbound::Call {
            token: Some("token".to_owned()),
            call: Address::call(&call).unwrap(),
            person: None,
            turn: 1,
            key: Some("4".to_owned()),
            fields: std::collections::BTreeMap::new(),
        };
        assert_eq!(inbound, expected);
    }

    #[test]
    fn a_call_that_is_over_rings_no_more() {
        let provider = sandbox();
        let shelf = &provider.sandbox().unwrap().shelf;
        let call = format!("CA{}", "0".repeat(32));
        let token = "token".to_owned();
        shelf.lock().calls.push_back(Call {
            call: call.clone(),
            token: token.clone(),
        });
        let inbound = Inbound::Call {
            token: Some(token.clone()),
            call: Address::call(&call).unwrap(),
            person: None,
            turn: 0,
            key: None,
            fields: std::collections::BTreeMap::new(),
        };
        let (say, language) = ("5?".to_owned(), "en-US".to_owned());
        let prompt = Answer::Prompt {
            token,
            say,
            language,
            turn: 0,
        };
        provider.answer(&inbound, &prompt);
        assert_eq!(shelf.lock().calls.len(), 1, "it goes on");
        provider.answer(&inbound, &Answer::HangUp);
        assert!(shelf.lock().calls.is_empty());
    }
}
