//! reply -> rating: what a provider, our page or a chat brings in, read, recorded in one store call, and answered.

mod call;
mod held;
mod leave;
mod mail;
mod page;
mod text;
mod unheard;

pub(super) use text::{Text, pairs};

pub use page::{Opened, Posted, PressError, Pressed, Shown};

use super::Journey;
use crate::provider::{Answer, Inbound, Provider};
use crate::store::StoreError;

impl Journey {
    /// Takes what a provider brings, and says what to answer.
    pub async fn receive(
        &self,
        provider: &dyn Provider,
        inbound: &Inbound,
    ) -> Result<Answer, StoreError> {
        match inbound {
            Inbound::Text {
                channel,
                from,
                to,
                body,
                message_id,
                at,
            } => {
                let text = Text {
                    pairs: pairs(channel, from, to),
                    body,
                    message_id,
                    at: *at,
                };
                self.text(provider, &text).await
            }
            Inbound::Call {
                token: None,
                call,
                person,
                fields,
                ..
            } => {
                let call = (call, person.as_ref());
                self.redirected(provider, call, fields).await
            }
            Inbound::Call {
                token: Some(token),
                key: None,
                ..
            } => self.prompt(token, 0, None).await,
            Inbound::Call {
                token: Some(token),
                call,
                turn,
                key: Some(key),
                ..
            } => self.key(token, call, *turn, key).await,
            Inbound::Status {
                token,
                provider_id,
                status,
            } => {
                if !self.settle(token, provider_id, status.clone()).await? {
                    tracing::info!(
                        provider = provider.name(),
                        "a callback names no attempt of ours"
                    );
                }
                Ok(Answer::Silence)
            }
            Inbound::Mail {
                refers_to,
                id,
                returned,
            } => self.mail(provider, refers_to, id, returned).await,
        }
    }
}
