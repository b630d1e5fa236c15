//! What the double tells the service: texts of contacts, news of messages, calls that want words. All of it signed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full};
use sha1::Sha1;

use super::ledger::{Heard, POOL_NUMBER, SentMessage};
use super::{ACCOUNT, FakeTwilio, MESSAGING_SERVICE, State, TOKEN};

/// The service under test, as Twilio sees it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// Where it really listens: `http://127.0.0.1:PORT`.
    pub(crate) listen: String,
    /// What it is configured to be called: the base of what is signed.
    pub(crate) public_url: String,
}

impl Service {
    /// The path and query of one of the service's public addresses.
    pub(crate) fn target_of(&self, url: &str) -> String {
        let target = url.strip_prefix(&self.public_url);
        target
            .unwrap_or_else(|| panic!("{url} is not below {}", self.public_url))
            .to_owned()
    }
}

/// How news of every message taken from now on reach the service without the test's help: `sent`, then `delivered`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Auto {
    /// Who is told. Where one does not answer, the next one is, and the first again after a pause: Twilio sees one address with
    /// a balancer behind it.
    pub(crate) services: Vec<Service>,
    /// How often everything is told once more.
    pub(crate) duplicates: usize,
    /// Whether the last news come first.
    pub(crate) reordered: bool,
    /// Whether it is told before the request that made the message is answered.
    pub(crate) early: bool,
    /// The wait before the first news.
    pub(crate) late: Duration,
}

/// The pause before news that nobody took are told again, and how often.
const AGAIN: Duration = Duration::from_millis(200);
const TELLS_MAX: usize = 150;

impl FakeTwilio {
    /// News of messages are told by themselves from now on, or not any more.
    pub(crate) fn auto_callbacks(&self, auto: Option<Auto>) {
        *self.state.auto.lock().unwrap() = auto;
    }

    /// Returns once everything that was to be told by itself is told or given up.
    pub(crate) async fn told(&self) {
        self.state.news.close();
        self.state.news.wait().await;
        self.state.news.reopen();
    }

    /// A contact sends a text. The answer is the service's status and body (TwiML).
    pub(crate) async fn text(
        &self,
        service: &Service,
        from: &str,
        to: &str,
        body: &str,
    ) -> (u16, String) {
        let sid = self.state.new_sid("SM");
        self.text_as(service, &sid, from, to, body).await
    }

    /// The same with a given message SID, to repeat a webhook.
    pub(crate) async fn text_as(
        &self,
        service: &Service,
        sid: &str,
        from: &str,
        to: &str,
        body: &str,
    ) -> (u16, String) {
        let answer = self.try_text_as(service, sid, from, to, body).await;
        answer.expect("an answer of the service")
    }

    /// The same where the service may be gone; `None` if there is no whole answer.
    pub(crate) async fn try_text_as(
        &self,
        service: &Service,
        sid: &str,
        from: &str,
        to: &str,
        body: &str,
    ) -> Option<(u16, String)> {
        self.hear(sid, from, to, body);
        let mut params = vec![
            ("ToCountry", "US"),
            ("FromCity", ""),
            ("MessageSid", sid),
            ("SmsMessageSid", sid),
            ("AccountSid", ACCOUNT),
            ("SmsStatus", "received"),
            ("NumMedia", "0"),
            ("From", from),
            ("To", to),
            ("Body", body),
            ("ApiVersion", "2010-04-01"),
        ];
        if to == POOL_NUMBER {
            params.push(("MessagingServiceSid", MESSAGING_SERVICE));
        }
        self.state.tell(service, "/hooks/twilio/sms", &params).await
    }

    /// A contact sends a text and the service is not told: it is in lists and nowhere else. The message's SID.
    pub(crate) fn unheard_text(&self, from: &str, to: &str, body: &str) -> String {
        let sid = self.state.new_sid("SM");
        self.hear(&sid, from, to, body);
        sid
    }

    fn hear(&self, sid: &str, from: &str, to: &str, body: &str) {
        let created = self.state.now();
        self.state.with(|ledger| {
            if ledger.heard.iter().all(|heard| heard.sid != sid) {
                ledger.heard.push(Heard {
                    sid: sid.to_owned(),
                    from: from.to_owned(),
                    to: to.to_owned(),
                    body: body.to_owned(),
                    created,
                });
            }
        });
    }

    /// News of a message goes to its status callback: `sent`, `delivered`, `undelivered` and so on.
    pub(crate) async fn status(
        &self,
        service: &Service,
        message: &SentMessage,
        status: &str,
    ) -> (u16, String) {
        let answer = self.state.tell_status(service, message, status).await;
        answer.expect("an answer of the service")
    }

    /// A call fetches words, or reports a key with `("Digits", "5")` in `extra`. `target` is a path with its query, such as
    /// what [`Service::target_of`] makes of a call's `url` or of the action in the TwiML.
    pub(crate) async fn call(
        &self,
        service: &Service,
        target: &str,
        call_sid: &str,
        extra: &[(&str, &str)],
    ) -> (u16, String) {
        let mut params = vec![
            ("AccountSid", ACCOUNT),
            ("CallSid", call_sid),
            ("CallStatus", "in-progress"),
        ];
        params.extend_from_slice(extra);
        self.post(service, target, &params).await
    }

    /// A signed form to the service.
    pub(crate) async fn post(
        &self,
        service: &Service,
        target: &str,
        params: &[(&str, &str)],
    ) -> (u16, String) {
        let answer = self.state.tell(service, target, params).await;
        answer.expect("an answer of the service")
    }

    /// A form to the service with whatever signature.
    pub(crate) async fn post_signed(
        &self,
        service: &Service,
        target: &str,
        params: &[(&str, &str)],
        signature: &str,
    ) -> (u16, String) {
        let answer = self.state.post_signed(service, target, params, signature);
        answer.await.expect("an answer of the service")
    }
}

impl State {
    /// Tells the news of a message by themselves, if that was asked for. Ends before the API's answer if they are to be early.
    pub(super) async fn announce(self: &Arc<Self>, message: &SentMessage) {
        let auto = self.auto.lock().unwrap().clone();
        let Some(auto) = auto.filter(|_| message.send_at.is_none()) else {
            return;
        };
        let (state, message, early) = (Arc::clone(self), message.clone(), auto.early);
        let told = self.news.spawn(async move {
            tokio::time::sleep(auto.late).await;
            let mut news = vec!["sent", "delivered"];
            if auto.reordered {
                news.reverse();
            }
            for _ in 0..=auto.duplicates {
                for status in &news {
                    state.tell_anybody(&auto.services, &message, status).await;
                }
            }
        });
        if early {
            drop(told.await);
        }
    }

    async fn tell_anybody(&self, services: &[Service], message: &SentMessage, status: &str) {
        for tell in 0..TELLS_MAX {
            if self.auto.lock().unwrap().is_none() {
                return;
            }
            let service = &services[tell % services.len()];
            let answer = self.tell_status(service, message, status).await;
            if matches!(answer, Some((200..300, _))) {
                return;
            }
            if (tell + 1) % services.len() == 0 {
                tokio::time::sleep(AGAIN).await;
            }
        }
        let reason = format!("nobody took the news of {}", message.sid);
        self.with(|ledger| ledger.failures.push(reason));
    }

    async fn tell_status(
        &self,
        service: &Service,
        message: &SentMessage,
        status: &str,
    ) -> Option<(u16, String)> {
        let now = self.now();
        self.with(|ledger| ledger.advance(&message.sid, status, now));
        let target = service.target_of(&message.status_callback);
        let failed = matches!(status, "failed" | "undelivered");
        let params = [
            ("AccountSid", ACCOUNT),
            ("MessageSid", &message.sid),
            ("MessageStatus", status),
            ("To", &message.to),
            ("From", &message.from),
            ("ErrorCode", if failed { "30005" } else { "" }),
        ];
        let count = if failed {
            params.len()
        } else {
            params.len() - 1
        };
        self.tell(service, &target, &params[..count]).await
    }

    async fn tell(
        &self,
        service: &Service,
        target: &str,
        params: &[(&str, &str)],
    ) -> Option<(u16, String)> {
        let signature = sign(&format!("{}{target}", service.public_url), params, TOKEN);
        self.post_signed(service, target, params, &signature).await
    }

    async fn post_signed(
        &self,
        service: &Service,
        target: &str,
        params: &[(&str, &str)],
        signature: &str,
    ) -> Option<(u16, String)> {
        let request = Request::post(format!("{}{target}", service.listen))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("x-twilio-signature", signature)
            .body(Full::new(Bytes::from(
                serde_urlencoded::to_string(params).unwrap(),
            )))
            .unwrap();
        // Twilio waits fifteen seconds for a webhook's answer.
        let answer = tokio::time::timeout(super::PATIENCE, async {
            let response = self.http.request(request).await.ok()?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            Some((status, String::from_utf8(body.to_vec()).unwrap()))
        });
        answer.await.ok()?
    }
}

/// The `X-Twilio-Signature` of a form post, by Twilio's rule: the whole address, then each name with each of its distinct
/// values, both in byte order, signed with HMAC-SHA1 and written in base64.
pub(crate) fn sign(url: &str, params: &[(&str, &str)], token: &str) -> String {
    let mut sorted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in params {
        sorted.entry(name).or_default().insert(value);
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(url.as_bytes());
    for (name, values) in sorted {
        for value in values {
            mac.update(name.as_bytes());
            mac.update(value.as_bytes());
        }
    }
    STANDARD.encode(mac.finalize().into_bytes())
}
