//! What the doors about people share: which address is meant, and how an opt-out looks.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::channel;
use crate::domain::contact::Address;
use crate::domain::opt_out::{EVERY_CHANNEL, OptOut, REASON_MAX};
use crate::domain::request::Channel;
use crate::domain::time::Timestamp;
use crate::http::error::Problem;

pub(super) mod table;

/// Whose address it is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Named {
    /// The channel, where the address does not tell by itself: a chat's handle needs `chat`. A number begins with `+`, a mail
    /// address has an `@`.
    channel: Option<String>,
}

impl Named {
    /// The channel of the query, if it names one of ours.
    pub(super) fn channel(
        named: Result<Query<Self>, QueryRejection>,
    ) -> Result<Option<String>, Problem> {
        let Query(named) =
            named.map_err(|error| Problem::new("invalid_parameter", error.body_text()))?;
        if let Some(name) = &named.channel {
            channel(name).map_err(|error| Problem::parameter("channel", error))?;
        }
        Ok(named.channel)
    }
}

/// One opt-out.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OptOutView {
    /// The address; absent once the person was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "+14155550123")]
    pub(super) address: Option<String>,
    /// The channel, or `*` for all. What the contact said holds on every channel, whichever it was said on.
    pub(super) channel: String,
    /// How it is known: `reply`, `page`, `one_click`, `provider`, `api` or `import`.
    pub(super) origin: &'static str,
    /// Your reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub(super) at: Timestamp,
    /// Whether it holds for every desk.
    pub(super) every_desk: bool,
}

impl OptOutView {
    pub(super) fn new(entry: &OptOut) -> Self {
        Self {
            address: entry
                .address
                .as_ref()
                .map(|address| address.expose().to_owned()),
            channel: entry.channel.to_string(),
            origin: entry.origin.as_str(),
            reason: entry.reason.clone(),
            at: entry.at,
            every_desk: entry.every_desk,
        }
    }
}

/// The address that a text means: by its channel if one is named, otherwise by its shape.
pub(super) fn recognise(text: &str, named: Option<&str>) -> Result<Address, Problem> {
    address(text, named).map_err(|error| Problem::field("address", error))
}

/// The same; the error is a fragment that follows the field's name.
pub(super) fn address(text: &str, named: Option<&str>) -> Result<Address, String> {
    let named = named.filter(|name| *name != EVERY_CHANNEL.as_str());
    let read = match named.and_then(channel::find) {
        Some(channel) => channel.address(text),
        None if text.starts_with('+') => Address::phone(text),
        None if text.contains('@') => Address::mail(text),
        None if Address::call(text).is_ok() => Address::call(text),
        None => {
            let forms = "must be a telephone number in E.164, such as +14155550123, a mail address, or with the channel chat a handle";
            return Err(forms.to_owned());
        }
    };
    read.map_err(|error| error.to_string())
}

/// A channel of ours, or all of them.
pub(super) fn channel(name: &str) -> Result<Channel, String> {
    if name == EVERY_CHANNEL.as_str() || channel::find(name).is_some() {
        return Ok(Channel::from_text(name.to_owned()));
    }
    let names: Vec<&str> = channel::ALL.iter().map(|channel| channel.name()).collect();
    Err(format!("must be one of {}, or *", names.join(", ")))
}

/// A desk's reason.
pub(super) fn reason(text: &str) -> Result<(), String> {
    if text.chars().count() > REASON_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "must be at most {REASON_MAX} characters on one line"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::contact::AddressKind;

    #[test]
    fn an_address_is_recognised_by_its_shape_or_by_its_channel() {
        let kind = |text: &str, named| address(text, named).map(|address| address.kind()).ok();
        assert_eq!(kind("+14155550123", None), Some(AddressKind::Phone));
        assert_eq!(kind("+14155550123", Some("*")), Some(AddressKind::Phone));
        assert_eq!(
            kind("+14155550123", Some("voice")),
            Some(AddressKind::Phone)
        );
        assert_eq!(kind("ana@example.com", None), Some(AddressKind::Mail));
        assert_eq!(kind("visitor-9", None), None);
        assert_eq!(kind("visitor-9", Some("chat")), Some(AddressKind::Handle));
        assert_eq!(kind("+14155550123", Some("email")), None);
        let call = format!("CA{}", "0".repeat(32));
        assert_eq!(kind(&call, None), Some(AddressKind::Call));
        assert!(channel("fax").is_err() && channel("*").is_ok() && reason("a\nb").is_err());
    }
}
