//! Turns a parcel into the bytes of a mail. Whatever a name holds, it cannot add a header or a recipient.

use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use super::settings::Settings;
use crate::channel::Message as Rendered;
use crate::domain::delivery::Outcome;
use crate::domain::time::Timestamp;
use crate::provider::Parcel;

/// A mail ready for the wire.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    /// Who sends and who receives, as the server is told.
    pub(super) envelope: Envelope,
    /// Headers and body.
    pub(super) bytes: Vec<u8>,
    /// Its Message-ID with the angle brackets; the same for each attempt, so that a mail program can recognise a second copy.
    pub(super) id: String,
}

/// Builds the mail, or says why there can be none.
pub(super) fn build(
    settings: &Settings,
    parcel: &Parcel,
    now: Timestamp,
) -> Result<Ready, Outcome> {
    let Rendered::Mail(mail) = &parcel.message else {
        return Err(rejected("not_a_mail"));
    };
    let from = if parcel.from.is_empty() {
        &settings.from
    } else {
        &parcel.from
    };
    let from: Address = from.parse().map_err(|_| rejected("from"))?;
    let to: Address = parcel.to.expose().parse().map_err(|_| rejected("to"))?;
    // In small letters all over, because some systems make them so before they name it to us.
    let id = format!("<{}@{}>", token(&parcel.request), from.domain()).to_lowercase();
    let from_name = settings.from_name.replace("{desk}", &parcel.desk);
    let envelope =
        Envelope::new(Some(from.clone()), vec![to.clone()]).map_err(|_| rejected("envelope"))?;

    let mut builder = Message::builder()
        .envelope(envelope.clone())
        .from(Mailbox::new(name(&from_name), from))
        .to(Mailbox::new(name(&parcel.to_name), to))
        .subject(one_line(&mail.subject))
        .date(date(now))
        .message_id(Some(id.clone()));
    if let Some(reply_to) = settings.reply_to() {
        builder = builder.reply_to(reply_to);
    }
    if let Some(thread) = mail.in_reply_to.as_deref().map(one_line) {
        builder = builder.in_reply_to(thread.clone()).references(thread);
    }
    // RFC 3834 and its Microsoft relative: no out-of-office notes and no loops, please.
    builder = builder
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Auto-Response-Suppress", "All"));
    if !mail.opt_out_url.is_empty() {
        builder = builder
            .raw_header(header(
                "List-Unsubscribe",
                &format!("<{}>", one_line(&mail.opt_out_url)),
            ))
            .raw_header(header(
                "List-Unsubscribe-Post",
                "List-Unsubscribe=One-Click",
            ));
    }
    let parts = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
    let message = builder.multipart(parts).map_err(|_| rejected("message"))?;
    Ok(Ready {
        envelope,
        bytes: message.formatted(),
        id,
    })
}

fn rejected(code: &str) -> Outcome {
    Outcome::Rejected {
        code: code.to_owned(),
        opted_out: false,
    }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// The text without anything that could end a header line.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

fn name(text: &str) -> Option<String> {
    Some(one_line(text)).filter(|name| !name.is_empty())
}

/// The left part of a Message-ID: what RFC 5322 allows there without quoting.
fn token(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// The instant as the mail library wants it. It knows no time before 1970 or after 9999.
fn date(now: Timestamp) -> SystemTime {
    let millis = u64::try_from(now.as_millis())
        .unwrap_or(0)
        .min(253_370_764_800_000);
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::super::tests::{parcel, settings};
    use super::*;

    fn built(parcel: &Parcel) -> (Ready, mail_parser::Message<'static>) {
        let ready = build(
            &settings(25),
            parcel,
            Timestamp::from_millis(1_700_000_000_000),
        )
        .unwrap();
        let parsed = MessageParser::default()
            .parse(&ready.bytes)
            .unwrap()
            .into_owned();
        (ready, parsed)
    }

    #[test]
    fn the_mail_has_the_headers_it_needs() {
        let (ready, mail) = built(&parcel());
        let raw = |name: &str| mail.header_raw(name).unwrap_or_default().trim().to_owned();
        assert_eq!(raw("From"), "\"Acme IT\" <service@example.com>");
        assert_eq!(raw("To"), "Ana <ana@example.org>");
        assert_eq!(mail.subject(), Some("Re: VPN ausgefallen für alle"));
        assert_eq!(raw("Date"), "Tue, 14 Nov 2023 22:13:20 +0000");
        assert_eq!(ready.id, "<req_1@example.com>");
        assert_eq!(raw("Message-ID"), ready.id);
        assert_eq!(raw("In-Reply-To"), "<t1@example.com>");
        assert_eq!(raw("References"), "<t1@example.com>");
        assert_eq!(raw("Auto-Submitted"), "auto-generated");
        assert_eq!(
            raw("List-Unsubscribe"),
            "<https://r.example.com/some/longer/path/below/the/public/base/address/u/0123456789ABCDEFGHIJKL>"
        );
        assert_eq!(raw("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
        assert_eq!(mail.body_text(0).unwrap().trim(), "Grüße");
        assert_eq!(mail.body_html(0).unwrap().trim(), "<p>Grüße</p>");
        assert!(ready.bytes.is_ascii());
    }

    #[test]
    fn a_name_cannot_add_a_header_or_a_recipient() {
        let evil = "x\r\nBcc: evil@example.net\r\n\r\n<b>, evil@example.net";
        let mut parcel = parcel();
        (parcel.desk, parcel.to_name, parcel.request) = (evil.into(), evil.into(), evil.into());
        if let Rendered::Mail(mail) = &mut parcel.message {
            mail.subject = evil.into();
            mail.in_reply_to = Some(evil.into());
            mail.opt_out_url = evil.into();
        }
        let (ready, mail) = built(&parcel);
        assert_eq!(
            ready
                .envelope
                .to()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            ["ana@example.org"]
        );
        assert!(mail.bcc().is_none());
        assert_eq!(mail.to().unwrap().iter().count(), 1);
        let text = String::from_utf8(ready.bytes).unwrap();
        assert!(
            !text
                .lines()
                .any(|line| line.to_lowercase().starts_with("bcc")),
            "{text}"
        );
    }

    #[test]
    fn a_second_attempt_has_the_same_message_id() {
        let (first, _) = built(&parcel());
        let mut again = parcel();
        again.attempt_token = "other".into();
        assert_eq!(built(&again).0.id, first.id);
    }

    #[test]
    fn a_desks_own_sender_goes_first_and_a_bad_one_is_refused() {
        let mut parcel = parcel();
        parcel.from = "desk@acme.example".into();
        assert_eq!(built(&parcel).0.id, "<req_1@acme.example>");
        parcel.from = "x\r\nRCPT TO:<y@example.net>".into();
        let refused = build(&settings(25), &parcel, Timestamp::default()).unwrap_err();
        assert_eq!(refused, rejected("from"));
    }
}
