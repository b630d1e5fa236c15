//! Mail through an SMTP server: the desk's own relay or a mail service. It carries `email` and nothing else, and takes no
//! hooks: the answers come through the rating page. The journey's deliverer first calls [`Provider::open`], then the line.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Answer, Built, Hook, HookError, HookReply, Inbound, Line, Parcel, Provider, SettingsError,
};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::delivery::Outcome;

mod line;
mod message;
mod settings;

#[cfg(test)]
mod tests;

/// Reads `[providers.smtp]`.
pub fn build(built: Built) -> Result<Arc<dyn Provider>, SettingsError> {
    let settings: settings::Settings = built.settings()?;
    settings.check()?;
    if built.public_url.is_empty() {
        return Err(SettingsError::new(
            "public_url",
            "the setting `server.public_url` is needed, because mails hold links",
        ));
    }
    let tls = settings.tls_parameters()?;
    Ok(Arc::new(Smtp(Arc::new(line::Route::new(
        settings,
        tls,
        built.clock,
    )))))
}

struct Smtp(Arc<line::Route>);

#[async_trait]
impl Provider for Smtp {
    fn name(&self) -> &'static str {
        "smtp"
    }

    fn carries(&self, channel: &str) -> bool {
        channel == "email"
    }

    fn sender(&self, channel: &str) -> &str {
        if self.carries(channel) {
            &self.0.settings.from
        } else {
            ""
        }
    }

    fn reaches(&self, channel: &str, address: &Address) -> Result<(), &'static str> {
        if !self.carries(channel) {
            Err("is not carried by mail")
        } else if address.kind() != AddressKind::Mail
            || address.expose().parse::<lettre::Address>().is_err()
        {
            Err("needs a mail address")
        } else {
            Ok(())
        }
    }

    fn in_flight(&self) -> usize {
        self.0.settings.in_flight
    }

    async fn open(&self, parcel: &Parcel) -> Result<Box<dyn Line>, Outcome> {
        // First the mail: one that cannot be built needs no connection.
        let mail = message::build(&self.0.settings, parcel, self.0.clock.now())?;
        let connection = self.0.connect().await?;
        Ok(Box::new(line::Open {
            route: Arc::clone(&self.0),
            connection,
            mail,
        }))
    }

    fn inbound(&self, _hook: &Hook<'_>) -> Result<Inbound, HookError> {
        Err(HookError::Unknown)
    }

    fn answer(&self, _inbound: &Inbound, _answer: &Answer) -> HookReply {
        HookReply {
            content_type: "text/plain",
            body: String::new(),
        }
    }
}
