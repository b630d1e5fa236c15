//! Turns what Twilio tells us into our words. Only called with a form whose signature is proved; the path and the query
//! are covered by the same signature. Twilio adds fields without notice, so unknown ones are passed over.

use std::collections::BTreeMap;

use super::codes;
use super::settings::{Settings, is_sid};
use super::signature::Form;
use crate::domain::contact::Address;
use crate::domain::delivery::Status;
use crate::domain::request::Channel;
use crate::provider::{Hook, HookError, Inbound};

/// What a call flow that is redirected to us may say in its address.
const FIELDS: &[&str] = &[
    "desk",
    "contact",
    "conversation",
    "resolution",
    "agent",
    "team",
    "queue",
    "touchpoint",
    "topic",
    "language",
];

/// Reads a genuine call.
pub(super) fn read(
    settings: &Settings,
    hook: &Hook<'_>,
    form: &Form,
) -> Result<Inbound, HookError> {
    // We always tell Twilio to use POST.
    if hook.method != "POST" {
        return Err(HookError::Unknown);
    }
    let route = route(hook.path).ok_or(HookError::Unknown)?;
    // Genuine, but about somebody else's account (a project that shares a key, say): none of our business.
    if form.get("AccountSid")? != Some(settings.account_sid.as_str()) {
        return Err(HookError::Forged);
    }
    match route {
        Route::Text => text(form),
        Route::Call(token) => call(token, hook, form),
        Route::Status(token) => status(token, form),
    }
}

enum Route<'a> {
    Text,
    Call(Option<&'a str>),
    Status(&'a str),
}

fn route(path: &str) -> Option<Route<'_>> {
    let token = |text: &str| {
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    match path.split_once('/') {
        None if path == "sms" => Some(Route::Text),
        None if path == "voice" => Some(Route::Call(None)),
        Some(("voice", text)) if token(text) => Some(Route::Call(Some(text))),
        Some(("status", text)) if token(text) => Some(Route::Status(text)),
        None | Some(_) => None,
    }
}

fn sid(form: &Form, name: &'static str, kinds: &[&str]) -> Result<String, HookError> {
    let value = form.required(name)?;
    if is_sid(value, kinds) {
        return Ok(value.to_owned());
    }
    Err(HookError::Malformed {
        field: name,
        message: "is not an id of its kind",
    })
}

fn text(form: &Form) -> Result<Inbound, HookError> {
    let from = Address::phone(form.required("From")?).map_err(|_| HookError::Malformed {
        field: "From",
        message: "is not a telephone number",
    })?;
    let to = form.required("To")?;
    if to.is_empty() {
        return Err(HookError::Malformed {
            field: "To",
            message: "must not be empty",
        });
    }
    // A request is found by the pair of addresses it was sent with, and ours may have been the number or its Messaging Service.
    let service = form.get("MessagingServiceSid")?.unwrap_or_default();
    let names = [service, to].into_iter().filter(|name| !name.is_empty());
    Ok(Inbound::Text {
        channel: Channel::named("sms"),
        from,
        to: names.map(str::to_owned).collect(),
        body: form.required("Body")?.to_owned(),
        message_id: sid(form, "MessageSid", &["SM", "MM"])?,
        at: None,
    })
}

fn call(token: Option<&str>, hook: &Hook<'_>, form: &Form) -> Result<Inbound, HookError> {
    let call = Address::call(form.required("CallSid")?).map_err(|_| HookError::Malformed {
        field: "CallSid",
        message: "is not an id of a call",
    })?;
    let query =
        serde_urlencoded::from_str::<BTreeMap<String, String>>(hook.query).unwrap_or_default();
    let turn = query.get("turn").map_or(Ok(0), |turn| turn.parse());
    let turn = turn.map_err(|_| HookError::Malformed {
        field: "turn",
        message: "must be a number from 0 to 255",
    })?;
    let fields: BTreeMap<_, _> = query
        .into_iter()
        .filter(|(name, _)| FIELDS.contains(&name.as_str()))
        .collect();
    let key = form.get("Digits")?.map(str::to_owned);
    Ok(Inbound::Call {
        token: token.map(str::to_owned),
        call,
        person: caller(form)?,
        turn,
        key,
        fields,
    })
}

/// What Twilio says instead of a number that is withheld: these words, or their letters as keys of a telephone.
const WITHHELD: &[&str] = &[
    "+266696687",   // anonymous
    "+7378742833",  // restricted
    "+2562533",     // blocked
    "+8656696",     // unknown
    "+86282452253", // unavailable
    "+7748283",     // private
];

/// The number of the person in the call: who called us, or whom the flow called. None if it is withheld or is no number.
fn caller(form: &Form) -> Result<Option<Address>, HookError> {
    let outbound = form
        .get("Direction")?
        .is_some_and(|direction| direction.starts_with("outbound"));
    let number = form.get(if outbound { "To" } else { "From" })?;
    Ok(number
        .filter(|number| !WITHHELD.contains(number))
        .and_then(|number| Address::phone(number).ok()))
}

fn status(token: &str, form: &Form) -> Result<Inbound, HookError> {
    let (provider_id, status) = if form.get("CallSid")?.is_some() {
        (
            sid(form, "CallSid", &["CA"])?,
            call_status(form.required("CallStatus")?),
        )
    } else {
        let code = form.get("ErrorCode")?.unwrap_or_default();
        (
            sid(form, "MessageSid", &["SM", "MM"])?,
            message_status(form.required("MessageStatus")?, code),
        )
    };
    Ok(Inbound::Status {
        token: token.to_owned(),
        provider_id,
        status,
    })
}

/// Words that we do not know still prove that the message exists.
pub(super) fn message_status(word: &str, code: &str) -> Status {
    match word {
        "delivered" | "read" => Status::Delivered,
        "failed" | "undelivered" | "canceled" => Status::Failed {
            code: code.to_owned(),
            opted_out: codes::opted_out(code),
        },
        _ => Status::Taken,
    }
}

/// A call that was made: nobody at the other end is a failure, and the word is all that Twilio says about it.
fn call_status(word: &str) -> Status {
    match word {
        "busy" | "no-answer" | "failed" | "canceled" => Status::Failed {
            code: word.to_owned(),
            opted_out: false,
        },
        _ => Status::Taken,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::settings::tests::settings;
    use super::*;

    const ACCOUNT: &str = "AccountSid=AC00000000000000000000000000000001";
    const CALL: &str = "CallSid=CA0000000000000000000000000000000a";
    const MESSAGE: &str = "MessageSid=SM0000000000000000000000000000000b";

    fn read_with(more: &str, path: &str, query: &str, form: &str) -> Result<Inbound, HookError> {
        let headers = HeaderMap::new();
        let hook = Hook {
            method: "POST",
            path,
            target: "",
            query,
            headers: &headers,
            body: b"",
        };
        read(
            &settings(more).unwrap(),
            &hook,
            &Form::parse(format!("{ACCOUNT}&{form}").as_bytes()),
        )
    }

    fn read_it(path: &str, query: &str, form: &str) -> Result<Inbound, HookError> {
        read_with("", path, query, form)
    }

    #[test]
    fn a_text_is_read() {
        let form =
            format!("{MESSAGE}&From=%2B14155550123&To=%2B14155550100&Body=5+please&FromCity=");
        let expected = Inbound::Text {
            channel: Channel::named("sms"),
            from: Address::phone("+14155550123").unwrap(),
            to: vec!["+14155550100".to_owned()],
            body: "5 please".to_owned(),
            message_id: "SM0000000000000000000000000000000b".to_owned(),
            at: None,
        };
        assert_eq!(read_it("sms", "", &form), Ok(expected));
    }

    #[test]
    fn the_service_is_our_address_where_we_sent_from_it() {
        let service = "MG00000000000000000000000000000003";
        let form = format!(
            "{MESSAGE}&From=%2B14155550123&To=%2B14155550100&Body=5&MessagingServiceSid={service}"
        );
        let Ok(Inbound::Text { to, .. }) = read_it("sms", "", &form) else {
            panic!("a text is expected")
        };
        assert_eq!(
            to,
            [service, "+14155550100"],
            "a desk may have asked from either"
        );
    }

    #[test]
    fn what_a_text_must_have_is_named() {
        let fields = [
            MESSAGE,
            "From=%2B14155550123",
            "To=%2B14155550100",
            "Body=5",
        ];
        for missing in fields {
            let form = fields
                .iter()
                .filter(|field| **field != missing)
                .copied()
                .collect::<Vec<_>>()
                .join("&");
            let name = missing.split('=').next().unwrap();
            let Err(HookError::Malformed { field, .. }) = read_it("sms", "", &form) else {
                panic!("{missing}")
            };
            assert_eq!(field, name);
        }
    }

    #[test]
    fn another_account_is_refused() {
        let headers = HeaderMap::new();
        let hook = Hook {
            method: "POST",
            path: "voice",
            target: "",
            query: "",
            headers: &headers,
            body: b"",
        };
        for account in [
            "",
            "AccountSid=&",
            "AccountSid=AC00000000000000000000000000000009&",
        ] {
            let form = Form::parse(format!("{account}{CALL}").as_bytes());
            assert_eq!(
                read(&settings("").unwrap(), &hook, &form),
                Err(HookError::Forged)
            );
        }
    }

    #[test]
    fn a_key_is_told_from_no_key_and_from_the_first_fetch() {
        for (digits, expected) in [("", None), ("&Digits=", Some("")), ("&Digits=5", Some("5"))] {
            let Ok(Inbound::Call {
                token, turn, key, ..
            }) = read_it("voice/Tok1", "turn=2", &format!("{CALL}{digits}"))
            else {
                panic!("a call is expected")
            };
            assert_eq!(
                (token.as_deref(), turn, key.as_deref()),
                (Some("Tok1"), 2, expected)
            );
        }
        assert!(matches!(
            read_it("voice/Tok1", "turn=x", CALL),
            Err(HookError::Malformed { field: "turn", .. })
        ));
        assert!(matches!(
            read_it("voice/Tok1", "", "CallSid=1"),
            Err(HookError::Malformed {
                field: "CallSid",
                ..
            })
        ));
    }

    #[test]
    fn a_redirected_flow_brings_its_fields() {
        let query = "desk=acme&conversation=INC%201&colour=red&turn=1";
        let read = read_it("voice", query, &format!("{CALL}&From=%2B14155550123"));
        let Ok(Inbound::Call {
            token: None,
            turn: 1,
            fields,
            ..
        }) = read
        else {
            panic!("a call is expected")
        };
        let expected = [("conversation", "INC 1"), ("desk", "acme")];
        assert_eq!(
            fields,
            expected
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        );
    }

    #[test]
    fn every_status_word_has_its_meaning() {
        let failed = |code: &str, opted_out| Status::Failed {
            code: code.to_owned(),
            opted_out,
        };
        for (form, expected) in [
            (format!("{MESSAGE}&MessageStatus=queued"), Status::Taken),
            (format!("{MESSAGE}&MessageStatus=sent"), Status::Taken),
            (format!("{MESSAGE}&MessageStatus=new-word"), Status::Taken),
            (
                format!("{MESSAGE}&MessageStatus=delivered"),
                Status::Delivered,
            ),
            (format!("{MESSAGE}&MessageStatus=read"), Status::Delivered),
            (
                format!("{MESSAGE}&MessageStatus=undelivered&ErrorCode=30005"),
                failed("30005", false),
            ),
            (
                format!("{MESSAGE}&MessageStatus=failed&ErrorCode=21610"),
                failed("21610", true),
            ),
            (
                format!("{MESSAGE}&MessageStatus=canceled"),
                failed("", false),
            ),
            (format!("{CALL}&CallStatus=completed"), Status::Taken),
            (
                format!("{CALL}&CallStatus=no-answer"),
                failed("no-answer", false),
            ),
            (format!("{CALL}&CallStatus=busy"), failed("busy", false)),
        ] {
            let Ok(Inbound::Status { token, status, .. }) = read_it("status/Tok1", "", &form)
            else {
                panic!("{form}")
            };
            assert_eq!((token.as_str(), status), ("Tok1", expected), "{form}");
        }
        assert!(read_it("status/Tok1", "", MESSAGE).is_err());
        assert!(read_it("status/Tok1", "", "MessageStatus=sent").is_err());
    }

    #[test]
    fn unknown_doors_are_unknown() {
        for path in [
            "",
            "smsx",
            "sms/x",
            "status",
            "status/",
            "voice/",
            "voice/a/b",
            "voice/..",
            "status/t\u{e9}",
        ] {
            assert_eq!(read_it(path, "", CALL), Err(HookError::Unknown), "{path}");
        }
        let headers = HeaderMap::new();
        let get = Hook {
            method: "GET",
            path: "voice",
            target: "",
            query: "",
            headers: &headers,
            body: b"",
        };
        assert_eq!(
            read(
                &settings("").unwrap(),
                &get,
                &Form::parse(ACCOUNT.as_bytes())
            ),
            Err(HookError::Unknown)
        );
    }
}
