//! Mail through an SMTP server: the desk's own relay or a mail service. It carries `email` and nothing else. The journey's
//! deliverer first calls [`Provider::open`], then the line. Most answers come through the rating page; mail that comes back may
//! be brought to the hook `mail` as it is (`door` proves who brings it, `inbound` reads it).

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Answer, Built, Explanation, Hook, HookError, HookReply, Inbound, Intake, Line, Parcel,
    Provider, Returned, SettingsError,
};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::delivery::{Outcome, Status};
use crate::domain::settling::Recovery;

mod codes;
mod door;
mod inbound;
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

    /// A mail with the same Message-ID is the same mail to whoever has it already, and its links are the same.
    fn recovery(&self, _channel: &str, _sender: &str) -> Recovery {
        if self.0.settings.resend {
            Recovery::Repeat
        } else {
            Recovery::Wait
        }
    }

    fn explain(&self, code: &str) -> Option<Explanation> {
        codes::meaning(code).map(codes::Meaning::explained)
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

    fn admit(&self, hook: &Hook<'_>) -> Result<Intake, HookError> {
        door::check(hook, self.0.settings.inbound_key.as_ref())?;
        Ok(Intake::Start(inbound::BYTES_MAX))
    }

    fn inbound(&self, hook: &Hook<'_>) -> Result<Inbound, HookError> {
        door::check(hook, self.0.settings.inbound_key.as_ref())?;
        let read = inbound::read(hook.body).ok_or(HookError::Malformed {
            field: "body",
            message: "must be a mail with its headers",
        })?;
        if let Returned::News(Status::Failed { code, .. }) = &read.returned {
            let meaning = codes::meaning(code).map_or("not known", |meaning| meaning.text);
            tracing::info!(code, meaning, "a mail came back");
        }
        Ok(Inbound::Mail {
            refers_to: read.refers_to,
            id: read.id,
            returned: read.returned,
        })
    }

    fn answer(&self, _inbound: &Inbound, _answer: &Answer) -> HookReply {
        HookReply {
            content_type: "text/plain",
            body: String::new(),
        }
    }
}
