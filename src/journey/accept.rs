//! trigger -> request: checks, decision, one store call. A 2xx to the desk means that it is committed.

use std::borrow::Cow;
use std::sync::Arc;

use super::Journey;
use crate::channel::wording::{self, Wording};
use crate::channel::{self, Ask, Buttons, Channel, Message};
use crate::clock::random;
use crate::domain::contact::{Address, AddressKind, Contact};
use crate::domain::desk::Desk;
use crate::domain::id::RequestId;
use crate::domain::policy::{Case, Decision, Plan};
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;
use crate::domain::trigger::{ContactInfo, EXPIRES_IN_DEFAULT, FieldError, Trigger};
use crate::store::{Accepted, Carriage, NewRequest, StoreError};

/// Seconds that a live call waits for its key if the trigger does not say: no call is asked about tomorrow.
const CALL_EXPIRES_IN: u32 = 900;

/// Why a trigger was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AcceptError {
    /// A field cannot be used.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The idempotency key belongs to another body.
    #[error("the idempotency key was used with another body")]
    KeyReused,
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a trigger.
#[derive(Debug, Clone)]
pub enum Asked {
    /// It is stored.
    Stored {
        /// The request with its decision.
        request: Box<Request>,
        /// The same trigger had come before.
        replayed: bool,
        /// The ask itself, where the answer carries it: its token and its buttons.
        ask: Option<(String, Buttons)>,
    },
    /// A dry run: what would be decided.
    Considered {
        /// The decision.
        decision: Decision,
        /// When the ask would be due.
        due_at: Timestamp,
    },
}

impl Journey {
    /// Takes a trigger of a desk.
    pub async fn accept(
        &self,
        desk: &Desk,
        trigger: &Trigger,
        idempotency_key: &str,
    ) -> Result<Asked, AcceptError> {
        let (new, channel) = self.prepare(desk, trigger, idempotency_key)?;
        let due_at = new.due_at;
        let (request, replayed) = match self.store.accept(new).await? {
            Accepted::New(request) => (request, false),
            Accepted::Replayed(request) => (request, true),
            Accepted::KeyReused => return Err(AcceptError::KeyReused),
            Accepted::Considered(decision) => {
                return Ok(Asked::Considered { decision, due_at });
            }
        };
        if !replayed && request.due_at <= self.clock.now() {
            self.bell.notify_one();
        }
        let ask = self.handed_out(desk, &request, channel);
        Ok(Asked::Stored {
            request,
            replayed,
            ask,
        })
    }

    /// A request for a call that a flow redirected to us: it is being asked already. The token of its attempt names it.
    pub(super) async fn accept_call(
        &self,
        desk: &Desk,
        trigger: &Trigger,
        provider: &'static str,
    ) -> Result<(Request, String), AcceptError> {
        let (mut new, _) = self.prepare(desk, trigger, "")?;
        let token = self.mint.attempt(new.id, 1);
        new.carriage = Carriage::Call {
            attempt: TokenHash::of(&token),
            provider,
        };
        match self.store.accept(new).await? {
            Accepted::New(request) => Ok((*request, token)),
            // The provider fetched twice: the first fetch made the request, and its attempt has the token.
            Accepted::Replayed(request) => {
                let token = self.mint.attempt(request.id, 1);
                Ok((*request, token))
            }
            Accepted::KeyReused | Accepted::Considered(_) => Err(AcceptError::KeyReused),
        }
    }

    fn prepare(
        &self,
        desk: &Desk,
        trigger: &Trigger,
        idempotency_key: &str,
    ) -> Result<(NewRequest, &'static dyn Channel), AcceptError> {
        trigger.check()?;
        let channel = channel::find(&trigger.channel).ok_or_else(|| {
            let names: Vec<&str> = channel::ALL.iter().map(|channel| channel.name()).collect();
            FieldError::new("channel", format!("must be one of {}", names.join(", ")))
        })?;
        let address = if trigger.to.is_empty() {
            Address::none()
        } else {
            channel
                .address(&trigger.to)
                .map_err(|error| FieldError::new("to", error.to_string()))?
        };
        let live = address.kind() == AddressKind::Call;
        let handed_out = channel.carriage() == channel::Carriage::Answer;
        if (live || handed_out) && trigger.delay_seconds > 0 {
            let message = "must be 0 for a live call and for a chat: they are asked at once";
            return Err(FieldError::new("delay_seconds", message).into());
        }
        if trigger.mail.is_some()
            && address.kind() != AddressKind::Mail
            && address.kind() != AddressKind::None
        {
            return Err(FieldError::new("mail", "is only for the channel email").into());
        }

        let provider = self.routes.get(channel.name());
        let senders = &desk.settings.senders;
        let own_sender = senders.get(channel.name()).map(String::as_str);
        let sender = own_sender
            .unwrap_or_else(|| provider.map_or("", |provider| provider.sender(channel.name())));
        let reaches = match provider {
            Some(provider) => provider.reaches(channel.name(), &address).is_ok(),
            None => handed_out,
        };
        let now = self.clock.now();
        let contact = contact(&trigger.contact, address)?;
        let planned_at = now.plus_millis(i64::from(trigger.delay_seconds) * 1000);
        let case = Case {
            desk: desk.id,
            channel: channel.name(),
            live: live || handed_out,
            reachable: reaches,
            sender,
            address: contact.known_at(),
            contact: &trigger.contact.id,
            agent: &trigger.agent.address,
            timezone: &trigger.contact.timezone,
            conversation: &trigger.conversation,
            resolution: &trigger.resolution,
            context: &trigger.context,
            came_at: now,
            due_at: planned_at,
        };
        let Plan { given, due_at, day } = case.plan(&desk.settings);
        let wait = trigger.expires_in.unwrap_or(if live {
            CALL_EXPIRES_IN
        } else {
            EXPIRES_IN_DEFAULT
        });
        let words = Self::words(desk, trigger);
        let id = RequestId::new(now, random(self.entropy.as_ref()));
        let new = NewRequest {
            desk: desk.id,
            id,
            channel: channel::name_of(channel),
            sender: sender.to_owned(),
            contact,
            reply_names_request: channel.reply_names_request(),
            conversation: trigger.conversation.clone(),
            resolution: trigger.resolution.clone(),
            attribution: trigger.attribution(),
            wording: words.called(channel.name()).to_owned(),
            mail: trigger.mail.clone(),
            metadata: trigger.metadata.clone(),
            idempotency_key: idempotency_key.to_owned(),
            fingerprint: self.fingerprint(trigger),
            rules: Arc::clone(&desk.settings.rules),
            given,
            context: trigger.context,
            carriage: if handed_out {
                Carriage::Answer
            } else {
                Carriage::Queue
            },
            link: channel
                .shows_link(&words)
                .then(|| TokenHash::of(&self.link(&channel::name_of(channel), id))),
            now,
            due_at,
            planned_at: given.wait_until.map(|_| planned_at),
            day,
            expires_at: due_at.plus_millis(i64::from(wait) * 1000),
            dry_run: trigger.dry_run,
        };
        Ok((new, channel))
    }

    /// The words in which a trigger's contact will be asked.
    fn words(desk: &Desk, trigger: &Trigger) -> Cow<'static, Wording> {
        let language = desk.settings.spoken(&trigger.contact.language);
        wording::own(&desk.settings.wording, language, &trigger.touchpoint)
    }

    /// The keyed hash of what a trigger says. Taken from the parsed trigger, so that white space and the order of fields do not make
    /// it another one; a dry run is the same trigger.
    fn fingerprint(&self, trigger: &Trigger) -> [u8; 32] {
        let text = if trigger.dry_run {
            let said = Trigger {
                dry_run: false,
                ..trigger.clone()
            };
            serde_json::to_vec(&said)
        } else {
            serde_json::to_vec(trigger)
        };
        let text = text.unwrap_or_default();
        self.mint.fingerprint(&text)
    }

    /// The ask of a request whose channel is handed out in the answer. The token goes nowhere else: who has it may rate.
    fn handed_out(
        &self,
        desk: &Desk,
        request: &Request,
        channel: &dyn Channel,
    ) -> Option<(String, Buttons)> {
        if channel.carriage() != channel::Carriage::Answer || !request.state.is_open() {
            return None;
        }
        let urls = self.urls(request);
        match channel.render(&Ask::of(request, desk, &urls)) {
            Message::Buttons(buttons) => Some((self.link(&request.channel, request.id), buttons)),
            Message::Text(_) | Message::Mail(_) | Message::Call => None,
        }
    }
}

/// The person, at this address. In a call that is going on, the person's own number says who it is; elsewhere the address does.
fn contact(info: &ContactInfo, address: Address) -> Result<Contact, FieldError> {
    let field = |message: String| FieldError::new("contact.phone", message);
    let phone = if info.phone.is_empty() {
        None
    } else if address.kind() == AddressKind::Call {
        Some(Address::phone(&info.phone).map_err(|error| field(error.to_string()))?)
    } else {
        let message = "is only for a live call: elsewhere `to` says where the contact is";
        return Err(field(message.to_owned()));
    };
    Ok(Contact {
        address,
        id: info.id.clone(),
        name: info.name.clone(),
        phone,
    })
}
