//! The pretend provider's wire format: forms in, JSON out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::SMS;
use crate::domain::contact::Address;
use crate::domain::delivery::Status;
use crate::provider::{Answer, Hook, HookError, Inbound};

/// The fields of the form. A body that is no form proves nothing.
pub(super) fn form(hook: &Hook<'_>) -> Result<BTreeMap<String, String>, HookError> {
    if hook.method != "POST" {
        return Err(HookError::Unknown);
    }
    serde_urlencoded::from_bytes(hook.body).map_err(|_| HookError::Forged)
}

/// The form in our words.
pub(super) fn inbound(
    hook: &Hook<'_>,
    form: &BTreeMap<String, String>,
) -> Result<Inbound, HookError> {
    let field = |name: &'static str| {
        form.get(name)
            .filter(|value| !value.is_empty())
            .cloned()
            .ok_or(malformed(name, "is missing"))
    };
    match hook.path.split_once('/') {
        None if hook.path == "sms" => Ok(Inbound::Text {
            channel: SMS,
            from: Address::phone(&field("from")?)
                .map_err(|_| malformed("from", "must be a telephone number"))?,
            to: vec![field("to")?],
            body: field("body")?,
            message_id: field("id")?,
            at: None,
        }),
        Some(("voice", token)) => Ok(Inbound::Call {
            token: Some(token.to_owned()),
            call: Address::call(&field("call")?)
                .map_err(|_| malformed("call", "must be a call id"))?,
            person: None,
            turn: turn(hook.query),
            key: form.get("digits").cloned(),
            fields: BTreeMap::new(),
        }),
        Some(("status", token)) => Ok(Inbound::Status {
            token: token.to_owned(),
            provider_id: field("id")?,
            status: match field("status")?.as_str() {
                "delivered" => Status::Delivered,
                "failed" => Status::Failed {
                    code: "sandbox".to_owned(),
                    opted_out: false,
                },
                _ => return Err(malformed("status", "must be delivered or failed")),
            },
        }),
        _ => Err(HookError::Unknown),
    }
}

/// What the page is told.
pub(super) fn answer(answer: &Answer) -> Value {
    match answer {
        Answer::Silence => json!({ "text": null }),
        Answer::Text(text) => json!({ "text": text }),
        Answer::Prompt {
            token,
            say,
            language,
            turn,
        } => json!({
            "say": say, "language": language, "gather": true, "next": format!("/hooks/sandbox/voice/{token}?turn={turn}"),
        }),
        Answer::Goodbye { say, language } => {
            json!({ "say": say, "language": language, "gather": false, "next": null })
        }
        Answer::HangUp => json!({ "say": null, "gather": false, "next": null }),
    }
}

fn turn(query: &str) -> u8 {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("turn="))
        .and_then(|turn| turn.parse().ok())
        .unwrap_or(0)
}

const fn malformed(field: &'static str, message: &'static str) -> HookError {
    HookError::Malformed { field, message }
}
