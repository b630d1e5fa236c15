//! One mail over one SMTP connection, command by command, so that each step's failure is sorted exactly.
//!
//! Until the final dot is written the server has no mail, whatever fails. From then on only a clear answer counts: a connection
//! lost between the final dot and the answer may hide a mail that was taken (RFC 1047).

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Severity;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::codes::enhanced;
use super::message::Ready;
use super::settings::{Settings, Tls};
use crate::clock::Clock;
use crate::domain::delivery::Outcome;
use crate::domain::time::Timestamp;
use crate::provider::{Line, Parcel};

/// The way to one server, and the connections kept for the next mail.
pub(super) struct Route {
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    tls: Option<TlsParameters>,
    hello: ClientId,
    idle: Mutex<Vec<(AsyncSmtpConnection, Timestamp)>>,
}

impl Route {
    pub(super) fn new(
        settings: Settings,
        tls: Option<TlsParameters>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            hello: settings.hello(),
            settings,
            clock,
            tls,
            idle: Mutex::default(),
        }
    }

    /// A connection that has just answered: a kept one, or a new one that is signed in.
    pub(super) async fn connect(&self) -> Result<AsyncSmtpConnection, Outcome> {
        while let Some(mut kept) = self.take() {
            // The server may have closed it meanwhile: only a NOOP can tell, and here it costs nothing yet.
            if timeout(self.settings.timeout(), kept.test_connected())
                .await
                .unwrap_or(false)
            {
                return Ok(kept);
            }
        }
        let fresh = timeout(self.settings.timeout(), self.fresh()).await;
        fresh.unwrap_or(Err("timeout")).map_err(not_processed)
    }

    async fn fresh(&self) -> Result<AsyncSmtpConnection, &'static str> {
        let settings = &self.settings;
        let server = (settings.host.as_str(), settings.port());
        let from_the_start = self.tls.clone().filter(|_| settings.tls == Tls::Implicit);
        let connecting = AsyncSmtpConnection::connect_tokio1(
            server,
            Some(settings.timeout()),
            &self.hello,
            from_the_start,
            None,
        );
        let mut connection = connecting
            .await
            .map_err(|error| if is_tls(&error) { "tls" } else { "connect" })?;
        if let Some(tls) = self.tls.clone().filter(|_| settings.tls == Tls::Starttls) {
            connection
                .starttls(tls, &self.hello)
                .await
                .map_err(|_| "tls")?;
        }
        if let (Some(username), Some(password)) = (&settings.username, &settings.password) {
            let credentials =
                Credentials::new(username.clone(), password.expose_secret().to_owned());
            connection
                .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await
                .map_err(|_| "auth")?;
        }
        Ok(connection)
    }

    /// The connection used last, if it is young enough. Older ones are closed.
    fn take(&self) -> Option<AsyncSmtpConnection> {
        let now = self.clock.now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| {
            now.millis_since(*since) < i64::from(self.settings.idle_seconds) * 1000
        });
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.settings.idle_connections && !connection.has_broken() {
            idle.push((connection, self.clock.now()));
        }
    }
}

/// A connection with the mail that goes over it.
pub(super) struct Open {
    pub(super) route: Arc<Route>,
    pub(super) connection: AsyncSmtpConnection,
    pub(super) mail: Ready,
}

#[async_trait]
impl Line for Open {
    async fn send(mut self: Box<Self>, _parcel: &Parcel) -> Outcome {
        let limit = self.route.settings.timeout();
        match timeout(limit, announce(&mut self.connection, &self.mail)).await {
            Ok(Ok(())) => {}
            Ok(Err(outcome)) => return outcome,
            Err(_) => return not_processed("timeout"),
        }
        // The mail library asks for the next piece of the message when the last one is written, and writes the final dot when
        // there is none. So until this says that the end was asked for, the server has no complete mail, whatever failed.
        let ended = AtomicBool::new(false);
        let end = std::iter::from_fn(|| {
            ended.store(true, Ordering::SeqCst);
            None
        });
        let pieces = std::iter::once(self.mail.bytes.as_slice()).chain(end);
        let answer = timeout(limit, self.connection.message_iter(pieces)).await;
        let doubt = |code: &str| {
            if ended.load(Ordering::SeqCst) {
                unknown(code)
            } else {
                not_processed(code)
            }
        };
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return clear_no(&error).unwrap_or_else(|| doubt("connection")),
            Err(_) => return doubt("timeout"),
        };
        if answer.code().severity != Severity::PositiveCompletion {
            return unknown(&format!("smtp_{}", answer.code()));
        }
        self.route.keep(self.connection);
        Outcome::Accepted {
            provider_id: self.mail.id,
        }
    }
}

/// Tells the server who sends and who receives, until it asks for the message. Nothing is sent if any of it fails.
async fn announce(connection: &mut AsyncSmtpConnection, mail: &Ready) -> Result<(), Outcome> {
    let mut parameters = Vec::new();
    let mut addresses = mail.envelope.to().iter().chain(mail.envelope.from());
    if !mail.bytes.is_ascii() || addresses.any(|address| !AsRef::<str>::as_ref(address).is_ascii())
    {
        let server = connection.server_info();
        if !server.supports_feature(Extension::SmtpUtfEight)
            || !server.supports_feature(Extension::EightBitMime)
        {
            return Err(Outcome::Rejected {
                code: "smtputf8".to_owned(),
                opted_out: false,
            });
        }
        parameters = vec![
            MailParameter::SmtpUtfEight,
            MailParameter::Body(MailBodyParameter::EightBitMime),
        ];
    }
    let failed = |error: Error| clear_no(&error).unwrap_or_else(|| not_processed("connection"));
    connection
        .command(Mail::new(mail.envelope.from().cloned(), parameters))
        .await
        .map_err(failed)?;
    for to in mail.envelope.to() {
        connection
            .command(Rcpt::new(to.clone(), Vec::new()))
            .await
            .map_err(failed)?;
    }
    let answer = connection.command(Data).await.map_err(failed)?;
    if answer.code().severity == Severity::PositiveIntermediate {
        Ok(())
    } else {
        Err(not_processed("protocol"))
    }
}

/// The outcome if the server said no: 5xx for good, 4xx for now. In both cases it does not have the mail (RFC 5321, 4.2.1).
fn clear_no(error: &Error) -> Option<Outcome> {
    let plain = error.status()?;
    // "550 5.1.1 No such user": the second code says more, unless the two contradict each other.
    let text = error.source().map(ToString::to_string);
    let class = if error.is_permanent() { '5' } else { '4' };
    let exact = text
        .as_deref()
        .and_then(enhanced)
        .filter(|code| code.starts_with(class));
    let code = exact.map_or_else(|| format!("smtp_{plain}"), str::to_owned);
    if error.is_permanent() {
        Some(Outcome::Rejected {
            code,
            opted_out: false,
        })
    } else {
        error.is_transient().then_some(Outcome::NotProcessed {
            code,
            retry_after_ms: None,
        })
    }
}

fn not_processed(code: &str) -> Outcome {
    Outcome::NotProcessed {
        code: code.to_owned(),
        retry_after_ms: None,
    }
}

fn unknown(code: &str) -> Outcome {
    Outcome::Unknown {
        code: code.to_owned(),
    }
}

/// Whether TLS is what failed: the mail library hands it on as an I/O error of the connection.
fn is_tls(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(current) = cause {
        let io = current
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if error.is_tls()
            || current.is::<rustls::Error>()
            || matches!(io, Some(inner) if inner.is::<rustls::Error>())
        {
            return true;
        }
        cause = current.source();
    }
    error.is_tls()
}
