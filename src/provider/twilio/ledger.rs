//! What Twilio remembers of us: its message list, and the messages it still holds back.
//!
//! Reading is harmless, so it may be repeated. The list is asked without `DateSent` for what we sent, because a message that
//! waits has none yet; texts to us are asked from a date on. Times are turned into our clock by the `Date` of the answer.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE};
use http::{Method, Request};
use http_body_util::Full;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::Deserialize;

use super::Twilio;
use super::client::{self, Client};
use super::hooks::message_status;
use crate::clock::Clock;
use crate::domain::contact::Address;
use crate::domain::time::Timestamp;
use crate::provider::ledger::{Ledger, LookError, Received, Revoked, Sent};
use crate::provider::line::Response;

/// Messages a page, and pages read at most, for one contact and for everything that came in.
const PAGE: u32 = 500;
const PAGES_SENT: usize = 10;
const PAGES_RECEIVED: usize = 100;
/// What a list is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// What one contact was sent: asked without a date, so it is read until a page is older. Half of it is no evidence.
    OfOne,
    /// Everything since a date: read to its end.
    OfAll,
}

/// What Twilio puts before every text of an account that is only being tried.
const TRIAL: &str = "Sent from your Twilio trial account - ";

/// One page of the list. Every other field may be missing or change its shape.
#[derive(Deserialize)]
struct Page {
    messages: Vec<Message>,
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    sid: String,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    messaging_service_sid: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    direction: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    error_code: Option<i64>,
    date_created: String,
}

#[derive(Deserialize)]
struct Changed {
    status: String,
}

#[async_trait]
impl Ledger for Twilio {
    async fn sent(&self, to: &Address, since: Timestamp) -> Result<Vec<Sent>, LookError> {
        let query = [
            ("To", to.expose().to_owned()),
            ("PageSize", PAGE.to_string()),
        ];
        let listed = self.list(&query, since, Reading::OfOne).await?;
        let ours = listed
            .into_iter()
            .filter(|(message, _)| message.direction == "outbound-api");
        let mut sent: Vec<Sent> = ours.map(|(message, at)| message.into_sent(at)).collect();
        sent.reverse();
        Ok(sent)
    }

    async fn received(
        &self,
        ours: &[String],
        since: Timestamp,
    ) -> Result<Vec<Received>, LookError> {
        let from = date_time(since).ok_or_else(|| look_error("malformed_date"))?;
        let mut query = vec![("DateSent>", from), ("PageSize", PAGE.to_string())];
        // Twilio filters by one number at most; with a Messaging Service there may be many.
        if let [number] = ours
            && number.starts_with('+')
        {
            query.push(("To", number.clone()));
        }
        let listed = self.list(&query, since, Reading::OfAll).await?;
        let mut received: Vec<Received> = listed
            .into_iter()
            .filter(|(message, _)| message.direction == "inbound")
            .filter_map(|(message, at)| message.into_received(at))
            .filter(|received| received.to.iter().any(|name| ours.contains(name)))
            .collect();
        received.reverse();
        Ok(received)
    }

    async fn revoke(&self, provider_id: &str) -> Result<Revoked, LookError> {
        let path = format!("{}/Messages/{provider_id}.json", self.account());
        let form = Bytes::from_static(b"Status=canceled");
        let response = self.ask(Method::POST, &path, form).await?;
        match response.status.as_u16() {
            200..=299 => match serde_json::from_slice::<Changed>(&response.body) {
                Ok(changed) if changed.status == "canceled" => Ok(Revoked::Done),
                Ok(_) | Err(_) => Err(look_error("not_canceled")),
            },
            // It is not there to be cancelled any more (Twilio says so with 400 or 409 and a code).
            400 | 409 => Ok(Revoked::TooLate),
            _ => Err(client::look_error(&response)),
        }
    }
}

impl Twilio {
    fn account(&self) -> String {
        let settings = &self.settings;
        format!(
            "{}/2010-04-01/Accounts/{}",
            settings.base_path, settings.account_sid
        )
    }

    /// Every message of the list down to `since`, newest first, with its time on our clock.
    async fn list(
        &self,
        query: &[(&str, String)],
        since: Timestamp,
        reading: Reading,
    ) -> Result<Vec<(Message, Timestamp)>, LookError> {
        let pages = match reading {
            Reading::OfOne => PAGES_SENT,
            Reading::OfAll => PAGES_RECEIVED,
        };
        let query = serde_urlencoded::to_string(query).map_err(|_| look_error("not_encodable"))?;
        let base = format!("{}/Messages.json?", self.account());
        let mut path = format!("{base}{query}");
        let mut listed = Vec::new();
        for _ in 0..pages {
            let response = self.ask(Method::GET, &path, Bytes::new()).await?;
            if response.status != 200 {
                return Err(client::look_error(&response));
            }
            let ahead = ahead_ms(&response, self.clock.as_ref());
            let page: Page =
                serde_json::from_slice(&response.body).map_err(|_| look_error("malformed"))?;
            let before = listed.len();
            for message in page.messages {
                let at = instant(&message.date_created).ok_or_else(|| look_error("malformed"))?;
                let at = at.plus_millis(-ahead);
                if at >= since {
                    listed.push((message, at));
                }
            }
            // The order is that of sending: one old message among new ones is one that waited.
            let older = reading == Reading::OfOne && listed.len() == before;
            let Some(next) = page.next_page_uri.filter(|_| !older) else {
                return Ok(listed);
            };
            let next = format!("{}{next}", self.settings.base_path);
            if !next.starts_with(&base) {
                return Err(look_error("malformed"));
            }
            path = next;
        }
        if reading == Reading::OfAll {
            // Better most of them than none, now and with every further round.
            tracing::error!(
                messages = listed.len(),
                "twilio's list of replies is longer than can be read; the oldest are missing"
            );
            return Ok(listed);
        }
        Err(look_error("too_long"))
    }

    async fn ask(&self, method: Method, path: &str, form: Bytes) -> Result<Response, LookError> {
        let mut request = Request::builder().method(&method).uri(path);
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, client::FORM);
        }
        let request =
            Client::signed_in(&self.settings, request, Full::new(form)).map_err(look_error)?;
        Client::ask(&self.client, request).await
    }
}

impl Message {
    fn into_sent(self, created_at: Timestamp) -> Sent {
        let code = self
            .error_code
            .map_or_else(String::new, |code| code.to_string());
        let body = self.body.filter(|body| !body.is_empty());
        Sent {
            status: message_status(&self.status, &code),
            from: [self.from, self.messaging_service_sid]
                .into_iter()
                .flatten()
                .collect(),
            body: body.map(|body| body.strip_prefix(TRIAL).map_or(body.clone(), str::to_owned)),
            provider_id: self.sid,
            created_at,
        }
    }

    fn into_received(self, at: Timestamp) -> Option<Received> {
        Some(Received {
            from: Address::phone(&self.from?).ok()?,
            to: [self.to, self.messaging_service_sid]
                .into_iter()
                .flatten()
                .collect(),
            body: self.body?,
            provider_id: self.sid,
            at,
        })
    }
}

pub(super) fn look_error(code: &str) -> LookError {
    LookError {
        code: code.to_owned(),
        retry_after_ms: None,
    }
}

/// Milliseconds by which Twilio's clock is ahead of ours.
fn ahead_ms(response: &Response, clock: &dyn Clock) -> i64 {
    let date = response
        .headers
        .get(DATE)
        .and_then(|date| date.to_str().ok());
    date.and_then(instant)
        .map_or(0, |theirs| theirs.as_millis() - clock.now().as_millis())
}

/// A date of RFC 2822, as Twilio writes them.
fn instant(text: &str) -> Option<Timestamp> {
    let parsed = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_millis(parsed.as_millisecond()))
}

/// A date as Twilio's filters take it: `2026-11-21T18:00:00Z`.
pub(super) fn date_time(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
    Some(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_written_as_twilio_does() {
        let at = instant("Thu, 30 Jul 2015 20:12:31 +0000").unwrap();
        assert_eq!(date_time(at).unwrap(), "2015-07-30T20:12:31Z");
        assert_eq!(instant("Thu, 30 Jul 2015 20:12:31 GMT"), Some(at));
        assert_eq!(instant("yesterday"), None);
    }

    #[test]
    fn a_trial_accounts_preface_is_not_part_of_the_text_and_a_redacted_text_is_none() {
        let message = |body: &str| Message {
            sid: "SM1".into(),
            from: Some("+1".into()),
            to: None,
            messaging_service_sid: None,
            body: Some(body.into()),
            direction: "outbound-api".into(),
            status: "sent".into(),
            error_code: None,
            date_created: String::new(),
        };
        let body = |body: &str| message(body).into_sent(Timestamp::default()).body;
        assert_eq!(body(&format!("{TRIAL}Hi")), Some("Hi".to_owned()));
        assert_eq!(body("Hi"), Some("Hi".to_owned()));
        assert_eq!(body(""), None);
    }
}
