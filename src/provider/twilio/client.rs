//! Sends to Twilio's REST API, and sorts what comes back.
//!
//! [`request`] turns a parcel into one HTTP request, [`classify`] turns the answer into an outcome; both are pure. Twilio
//! documents only 429 as "not processed", so an unclear answer after the first byte stays unknown and is never repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request};
use http_body_util::Full;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::codes;
use super::ledger::{self, look_error as not_asked};
use super::settings::{Settings, VALIDITY, is_sid};
use crate::channel::Message;
use crate::domain::contact::AddressKind;
use crate::domain::delivery::Outcome;
use crate::provider::ledger::LookError;
use crate::provider::line::{HttpLine, Lines, Response};
use crate::provider::{Line, Parcel};

/// Seconds that a called telephone may ring.
const RING_SECONDS: &str = "30";
/// The media type of what we post.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// Wrong credentials are the operator's to mend: coming back sooner helps nobody.
const CREDENTIALS_PAUSE_MS: i64 = 60_000;

/// Twilio's REST API.
pub(super) struct Client {
    settings: Arc<Settings>,
    lines: Lines,
    /// The credentials were refused and nothing was accepted since: that is logged once, not per message.
    refused: AtomicBool,
}

impl Client {
    pub(super) fn new(settings: Arc<Settings>, lines: Lines) -> Self {
        Self {
            settings,
            lines,
            refused: AtomicBool::new(false),
        }
    }

    /// Checks the parcel and connects. Nothing of the message is written.
    pub(super) async fn open(client: &Arc<Self>, parcel: &Parcel) -> Result<TwilioLine, Outcome> {
        request(&client.settings, parcel).map_err(refused_here)?;
        let http = client.lines.open().await.map_err(|error| {
            tracing::warn!(code = error.code, reason = %error.reason, "twilio cannot be reached");
            Outcome::NotProcessed {
                code: error.code.to_owned(),
                retry_after_ms: None,
            }
        })?;
        Ok(TwilioLine {
            client: Arc::clone(client),
            http,
        })
    }

    /// A request with our name and password.
    pub(super) fn signed_in(
        settings: &Settings,
        request: http::request::Builder,
        body: Full<Bytes>,
    ) -> Result<Request<Full<Bytes>>, &'static str> {
        let login = STANDARD.encode(format!(
            "{}:{}",
            settings.user,
            settings.secret.expose_secret()
        ));
        let mut login =
            HeaderValue::from_str(&format!("Basic {login}")).map_err(|_| "not_encodable")?;
        login.set_sensitive(true);
        request
            .header(AUTHORIZATION, login)
            .header(ACCEPT, "application/json")
            .body(body)
            .map_err(|_| "not_encodable")
    }

    /// Asks something that may be asked again.
    pub(super) async fn ask(
        client: &Arc<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response, LookError> {
        let line = client
            .lines
            .open()
            .await
            .map_err(|error| not_asked(error.code))?;
        line.send(request)
            .await
            .map_err(|error| not_asked(&error.code))
    }

    fn note(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted { .. } => self.refused.store(false, Ordering::Relaxed),
            Outcome::NotProcessed {
                code,
                retry_after_ms: Some(CREDENTIALS_PAUSE_MS),
            } if code != "429" => {
                if !self.refused.swap(true, Ordering::Relaxed) {
                    tracing::error!(%code, "twilio refuses the credentials; nothing is sent until they are mended");
                }
            }
            Outcome::Rejected { code, .. } => {
                let meaning = codes::meaning(code);
                let (text, whose) = meaning.map_or(("not a code that we know", None), |m| {
                    (m.text, Some(m.whose))
                });
                if whose == Some(codes::Whose::Account) {
                    tracing::warn!(%code, meaning = text, "twilio refused a message and an operator should look");
                } else {
                    tracing::info!(%code, meaning = text, "twilio refused a message");
                }
            }
            Outcome::NotProcessed { code, .. } | Outcome::Unknown { code } => {
                tracing::warn!(%code, "twilio gave no clear answer");
            }
        }
    }
}

/// An open connection to Twilio.
pub(super) struct TwilioLine {
    client: Arc<Client>,
    http: HttpLine,
}

#[async_trait]
impl Line for TwilioLine {
    async fn send(self: Box<Self>, parcel: &Parcel) -> Outcome {
        let Self { client, http } = *self;
        let outcome = match request(&client.settings, parcel) {
            Err(code) => refused_here(code),
            Ok(request) => match http.send(request).await {
                Ok(response) => classify(&parcel.message, &response),
                Err(error) if error.wrote => Outcome::Unknown { code: error.code },
                Err(error) => Outcome::NotProcessed {
                    code: error.code,
                    retry_after_ms: None,
                },
            },
        };
        client.note(&outcome);
        outcome
    }
}

/// We refuse it ourselves: it would be refused for good.
fn refused_here(code: &'static str) -> Outcome {
    Outcome::Rejected {
        code: code.to_owned(),
        opted_out: false,
    }
}

/// The one HTTP request that carries the parcel; `Err` is a code for why there is none.
fn request(settings: &Settings, parcel: &Parcel) -> Result<Request<Full<Bytes>>, &'static str> {
    let (resource, form) = match &parcel.message {
        Message::Text(body) => (
            "Messages.json".to_owned(),
            text_form(settings, parcel, body)?,
        ),
        Message::Call => call_form(settings, parcel)?,
        Message::Mail(_) | Message::Buttons(_) => return Err("not_carried"),
    };
    let path = format!(
        "{}/2010-04-01/Accounts/{}/{resource}",
        settings.base_path, settings.account_sid
    );
    let body = serde_urlencoded::to_string(&form).map_err(|_| "not_encodable")?;
    let request = Request::post(path).header(CONTENT_TYPE, FORM);
    Client::signed_in(settings, request, Full::new(Bytes::from(body)))
}

type Form = Vec<(&'static str, String)>;

fn text_form(settings: &Settings, parcel: &Parcel, body: &str) -> Result<Form, &'static str> {
    if parcel.to.kind() != AddressKind::Phone {
        return Err("not_a_number");
    }
    if parcel.from.is_empty() {
        return Err("no_sender");
    }
    let sender = if parcel.from.starts_with("MG") {
        "MessagingServiceSid"
    } else {
        "From"
    };
    let send_at = match parcel.send_at {
        Some(_) if sender == "From" => return Err("not_schedulable"),
        send_at => send_at,
    };
    let valid = settings
        .validity_seconds
        .min(parcel.valid_seconds)
        .clamp(*VALIDITY.start(), *VALIDITY.end());
    let mut form = vec![
        ("To", parcel.to.expose().to_owned()),
        (sender, parcel.from.clone()),
        ("Body", body.to_owned()),
        ("StatusCallback", hook(settings, "status", parcel)),
        ("ValidityPeriod", valid.to_string()),
    ];
    if let Some(send_at) = send_at {
        let send_at = ledger::date_time(send_at).ok_or("not_encodable")?;
        form.extend([("ScheduleType", "fixed".to_owned()), ("SendAt", send_at)]);
    }
    Ok(form)
}

/// A live call is told to fetch our words; a number is called and then told the same. The words are fetched from us, not
/// sent along, so that we know when the contact hears them.
fn call_form(settings: &Settings, parcel: &Parcel) -> Result<(String, Form), &'static str> {
    let mut form = vec![
        ("Url", hook(settings, "voice", parcel)),
        ("Method", "POST".to_owned()),
    ];
    match parcel.to.kind() {
        AddressKind::Call => Ok((format!("Calls/{}.json", parcel.to.expose()), form)),
        AddressKind::Phone if !settings.call_back => Err("call_back_off"),
        AddressKind::Phone => {
            let from = if parcel.from.is_empty() {
                &settings.voice_from
            } else {
                &parcel.from
            };
            form.extend([
                ("To", parcel.to.expose().to_owned()),
                ("From", from.clone()),
                // Without StatusCallbackEvent only the end of the call is reported, which is all that we want.
                ("StatusCallback", hook(settings, "status", parcel)),
                ("Timeout", RING_SECONDS.to_owned()),
            ]);
            Ok(("Calls.json".to_owned(), form))
        }
        AddressKind::Mail | AddressKind::Handle | AddressKind::None => Err("not_a_call"),
    }
}

fn hook(settings: &Settings, name: &str, parcel: &Parcel) -> String {
    format!(
        "{}/hooks/twilio/{name}/{}",
        settings.public_url, parcel.attempt_token
    )
}

/// What Twilio says of a message or call. Every other field may be missing or change its shape.
#[derive(Deserialize)]
struct Created {
    sid: String,
}

/// Twilio's error body.
#[derive(Deserialize)]
struct Refusal {
    code: u32,
}

/// Sorts a complete answer.
fn classify(message: &Message, response: &Response) -> Outcome {
    let status = response.status.as_u16();
    let unknown = |code: String| Outcome::Unknown { code };
    let code = || {
        serde_json::from_slice::<Refusal>(&response.body)
            .ok()
            .map(|refusal| refusal.code)
    };
    match status {
        200..=299 => {
            let kinds: &[&str] = if matches!(message, Message::Call) {
                &["CA"]
            } else {
                &["SM", "MM"]
            };
            match serde_json::from_slice::<Created>(&response.body) {
                Ok(created) if is_sid(&created.sid, kinds) => Outcome::Accepted {
                    provider_id: created.sid,
                },
                Ok(_) | Err(_) => unknown(format!("http_{status}_malformed")),
            }
        }
        429 => Outcome::NotProcessed {
            code: "429".to_owned(),
            retry_after_ms: retry_after_ms(response),
        },
        400..=499 if status != 408 => match code() {
            // Not about this message: whoever mends the credentials wants it to go out then.
            Some(code) if status == 401 || code == 20003 => Outcome::NotProcessed {
                code: code.to_string(),
                retry_after_ms: Some(CREDENTIALS_PAUSE_MS),
            },
            Some(code) => {
                let code = code.to_string();
                Outcome::Rejected {
                    opted_out: codes::opted_out(&code),
                    code,
                }
            }
            // Without a code it may come from something between Twilio and us, which may have passed the request on.
            None => unknown(format!("http_{status}")),
        },
        _ => unknown(format!("http_{status}")),
    }
}

/// An answer that is no list.
pub(super) fn look_error(response: &Response) -> LookError {
    LookError {
        code: format!("http_{}", response.status.as_u16()),
        retry_after_ms: retry_after_ms(response),
    }
}

fn retry_after_ms(response: &Response) -> Option<i64> {
    let seconds: u32 = response
        .headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(i64::from(seconds) * 1000)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
