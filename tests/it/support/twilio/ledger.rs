//! What the double has taken and heard, with what Twilio would say about it.

use std::collections::{BTreeMap, VecDeque};

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;
use onefive::domain::time::Timestamp;
use serde_json::{Value, json};

use super::{ACCOUNT, Behaviour, Listing, MESSAGING_SERVICE};

/// The number that a Messaging Service sends from.
pub(crate) const POOL_NUMBER: &str = "+14155550190";

/// A text message that the fake took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentMessage {
    /// `SM` and 32 hexadecimal digits, different for each.
    pub(crate) sid: String,
    /// The contact's number.
    pub(crate) to: String,
    /// Our number or Messaging Service.
    pub(crate) from: String,
    /// The words.
    pub(crate) body: String,
    /// Where its news go; empty if it named no address.
    pub(crate) status_callback: String,
    /// The form as sent.
    pub(crate) params: Vec<(String, String)>,
    /// When it was taken, by Twilio's clock.
    pub(crate) created: Timestamp,
    /// When it goes out, if it is scheduled.
    pub(crate) send_at: Option<Timestamp>,
    /// Twilio's word for how far it has come.
    pub(crate) status: String,
    /// When it went out, by Twilio's clock.
    pub(crate) sent: Option<Timestamp>,
}

impl SentMessage {
    /// Whether the contact has it or will have it with nobody able to stop it.
    pub(crate) fn reached(&self) -> bool {
        !matches!(
            self.status.as_str(),
            "scheduled" | "canceled" | "failed" | "undelivered"
        )
    }

    fn service(&self) -> Option<&str> {
        self.from.starts_with("MG").then_some(self.from.as_str())
    }

    /// The number that it comes from.
    fn number(&self) -> &str {
        self.service().map_or(&self.from, |_| POOL_NUMBER)
    }

    /// What Twilio's API says of it.
    pub(super) fn shown(&self) -> Value {
        json!({
            "sid": self.sid, "account_sid": ACCOUNT, "api_version": "2010-04-01", "direction": "outbound-api",
            "to": self.to, "from": self.sent.map(|_| self.number()).or(self.service().is_none().then_some(&self.from)),
            "messaging_service_sid": self.service(), "body": self.body, "status": self.status, "num_segments": "1",
            "num_media": "0", "price": null, "price_unit": "USD", "error_code": null, "error_message": null,
            "date_created": rfc2822(self.created), "date_updated": rfc2822(self.sent.unwrap_or(self.created)),
            "date_sent": self.sent.map(rfc2822), "uri": format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{}.json", self.sid),
            "subresource_uris": {},
        })
    }
}

/// A text that a contact sent to one of our numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) sid: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) body: String,
    pub(super) created: Timestamp,
}

impl Heard {
    fn shown(&self) -> Value {
        json!({
            "sid": self.sid, "account_sid": ACCOUNT, "api_version": "2010-04-01", "direction": "inbound",
            "to": self.to, "from": self.from, "messaging_service_sid": (self.to == POOL_NUMBER).then_some(MESSAGING_SERVICE), "body": self.body, "status": "received",
            "num_segments": "1", "num_media": "0", "price": null, "price_unit": "USD", "error_code": null, "error_message": null,
            "date_created": rfc2822(self.created), "date_updated": rfc2822(self.created), "date_sent": rfc2822(self.created),
            "uri": format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{}.json", self.sid), "subresource_uris": {},
        })
    }
}

/// A call that the fake was told to make or to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallUpdate {
    /// The call.
    pub(crate) sid: String,
    /// Whether it is a new call, not a live one.
    pub(crate) created: bool,
    /// Where the call fetches its words.
    pub(crate) url: String,
    /// The form as sent.
    pub(crate) params: Vec<(String, String)>,
}

/// What the double knows.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) messages: Vec<SentMessage>,
    pub(super) heard: Vec<Heard>,
    pub(super) calls: Vec<CallUpdate>,
    pub(super) plan: VecDeque<Behaviour>,
    pub(super) listings: VecDeque<Listing>,
    /// How lists are answered once nothing is planned.
    pub(super) listing: Listing,
    /// Seconds until a message is seen in lists.
    pub(super) hidden_seconds: i64,
    /// Whether lists hide the words, as an account does that keeps none.
    pub(super) redacted: bool,
    pub(super) failures: Vec<String>,
    pub(super) requests: usize,
    pub(super) looks: usize,
    pub(super) held: usize,
    pub(super) serial: u64,
}

impl Ledger {
    pub(super) fn new_sid(&mut self, kind: &str) -> String {
        self.serial += 1;
        format!("{kind}{:032x}", self.serial)
    }

    /// What is scheduled for now goes out.
    pub(super) fn turn(&mut self, now: Timestamp) {
        for message in &mut self.messages {
            if message.status == "scheduled" && message.send_at.is_some_and(|at| at <= now) {
                "sent".clone_into(&mut message.status);
                message.sent = message.send_at;
            }
        }
    }

    /// A message comes as far as `status`; what comes late does not take it back.
    pub(super) fn advance(&mut self, sid: &str, status: &str, now: Timestamp) {
        const ORDER: [&str; 4] = ["queued", "sending", "sent", "delivered"];
        let rank = |word: &str| ORDER.iter().position(|known| *known == word);
        // The newest are the likeliest.
        let mut newest = self.messages.iter_mut().rev();
        if let Some(message) = newest.find(|message| message.sid == sid)
            && (rank(status) > rank(&message.status) || rank(status).is_none())
            && rank(&message.status).is_some()
        {
            status.clone_into(&mut message.status);
            if rank(status) >= rank("sent") {
                message.sent.get_or_insert(now);
            }
        }
    }

    /// The messages that a list shows, the newest first, as Twilio's API says them.
    pub(super) fn listed(&self, filter: &Filter, now: Timestamp) -> Vec<Value> {
        let seen = |created: Timestamp| now.millis_since(created) >= self.hidden_seconds * 1000;
        let outbound = self.messages.iter().filter(|message| {
            seen(message.created) && filter.takes(&message.to, message.number(), message.sent)
        });
        let inbound = self.heard.iter().filter(|heard| {
            seen(heard.created) && filter.takes(&heard.to, &heard.from, Some(heard.created))
        });
        // Identifiers grow, so they put messages of one moment into order.
        let mut all: BTreeMap<(i64, String), Value> = outbound
            .map(|one| ((one.created.as_millis(), one.sid.clone()), one.shown()))
            .collect();
        all.extend(inbound.map(|one| ((one.created.as_millis(), one.sid.clone()), one.shown())));
        let mut listed: Vec<Value> = all.into_values().rev().collect();
        if self.redacted {
            for message in &mut listed {
                message["body"] = json!("");
            }
        }
        listed
    }
}

/// Which messages a list is asked for. An absent field asks for all.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) to: Option<String>,
    pub(super) from: Option<String>,
    /// Sent at this time or later; what is not out yet has no such time and is not shown.
    pub(super) sent_since: Option<Timestamp>,
    /// Sent at this time or earlier.
    pub(super) sent_until: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, to: &str, from: &str, sent: Option<Timestamp>) -> bool {
        self.to.as_deref().is_none_or(|wanted| wanted == to)
            && self.from.as_deref().is_none_or(|wanted| wanted == from)
            && self
                .sent_since
                .is_none_or(|since| sent.is_some_and(|sent| sent >= since))
            && self
                .sent_until
                .is_none_or(|until| sent.is_some_and(|sent| sent <= until))
    }
}

fn zoned(at: Timestamp) -> jiff::Zoned {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap();
    at.to_zoned(TimeZone::UTC)
}

/// `Thu, 30 Jul 2015 20:12:31 +0000`: to the second, as Twilio writes its dates.
fn rfc2822(at: Timestamp) -> String {
    DateTimePrinter::new().zoned_to_string(&zoned(at)).unwrap()
}

/// `Thu, 30 Jul 2015 20:12:31 GMT`, as in headers.
pub(super) fn http_date(at: Timestamp) -> String {
    let at = zoned(at).timestamp();
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&at)
        .unwrap()
}

/// Reads the times that forms and queries have: `2015-07-30T20:12:31Z`, or a day.
pub(super) fn iso(text: &str) -> Option<Timestamp> {
    let whole = if text.contains('T') {
        text.to_owned()
    } else {
        format!("{text}T00:00:00Z")
    };
    let at: jiff::Timestamp = whole.parse().ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}
