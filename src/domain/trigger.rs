//! The desk's call: "this conversation has ended, ask". Checked here, so that nothing malformed walks on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Timestamp;

/// A field of the trigger that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {message}")]
pub struct FieldError {
    /// The field, with dots for what is inside: `agent.kind`.
    pub field: String,
    /// What was expected; a fragment that follows the field's name.
    pub message: String,
}

impl FieldError {
    /// An error about `field`.
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
        }
    }
}

/// The body of `POST /v1/requests`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "channel": "sms", "to": "+14155550123", "conversation": "INC-4711", "resolution": "2026-11-21T18:00:00Z",
    "contact": {"id": "c-901", "name": "Ana", "language": "es", "timezone": "America/New_York"},
    "agent": {"id": "a-17", "name": "Sam", "kind": "human"}, "team": "network", "touchpoint": "incident.resolved"
}))]
pub struct Trigger {
    /// The channel that the conversation took place in: `sms`, `voice`, `chat` or `email`.
    pub channel: String,
    /// Where the contact is: an E.164 number, a live call's id, a mail address, or the chat visitor's handle. Send an empty
    /// text if you know none: the decision `no_address` is recorded.
    pub to: String,
    /// Your id of the conversation. At most 200 characters.
    pub conversation: String,
    /// Which closing of the conversation this is, such as its time. Without it the conversation counts as closed once, until
    /// the request is cancelled. At most 64 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resolution: String,
    /// The person.
    #[serde(default)]
    pub contact: ContactInfo,
    /// Who served the person.
    #[serde(default)]
    pub agent: Agent,
    /// The group that served. At most 100 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub team: String,
    /// The line that it came in on. At most 100 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub queue: String,
    /// The named place in the journey: lower-case letters, digits, `.`, `_`, `-`; at most 64. It is a metric label, so use few.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub touchpoint: String,
    /// When in the journey.
    #[serde(default)]
    pub phase: Phase,
    /// The issue that it was about. At most 100 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// How often the contact had to change the channel. 0 to 100.
    #[serde(default)]
    #[schema(maximum = 100)]
    pub switches: u32,
    /// Wait this long before asking. 0 to 30 days.
    #[serde(default)]
    #[schema(maximum = 2_592_000)]
    pub delay_seconds: u32,
    /// Stop waiting for an answer this many seconds after the ask is due: 60 s to 30 days; the default is 3 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 2_592_000)]
    pub expires_in: Option<u32>,
    /// Decide, answer, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Reasons for restraint.
    #[serde(default)]
    pub context: Context,
    /// The ticket's mail thread, so that a mail is shown in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailThread>,
    /// Your own JSON, given back unchanged. At most 4 KiB.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    #[schema(value_type = Object)]
    pub metadata: serde_json::Value,
}

/// The person, as far as you want to say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContactInfo {
    /// Your id of the person. At most 100 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What to call the person. At most 80 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The person's telephone number in E.164, where `to` is the id of a live call: opt-outs, caps and countries go by it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phone: String,
    /// A language tag such as `es` or `de-AT`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// An IANA time zone such as `America/New_York`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub timezone: String,
}

/// Who served.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Your id of the agent. At most 100 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The name shown to the contact. At most 80 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A person or a machine.
    #[serde(default)]
    pub kind: AgentKind,
    /// The agent's own telephone number or mail address, so that nobody is asked to rate themselves. It is compared and not kept.
    /// At most 254 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(write_only)]
    pub address: String,
}

/// A person or a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// A person.
    #[default]
    Human,
    /// A machine.
    Bot,
}

/// When in the journey the contact is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before the service.
    Before,
    /// While it goes on.
    During,
    /// After it.
    #[default]
    After,
}

/// Reasons for restraint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Context {
    /// Leave the contact alone now; recorded as `context_hold`.
    #[serde(default)]
    pub hold: bool,
    /// Whether anybody replied to the contact in the conversation. `false` is recorded as `no_agent_reply` unless the desk's rules
    /// say to ask all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_replied: Option<bool>,
    /// The conversation was closed by a machine; recorded as `auto_resolved` unless the desk's rules say to ask all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_resolved: bool,
    /// Until when the channel lets us write, such as a day after the contact's last message; an ask that would be due later is
    /// recorded as `window_closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub window_until: Option<Timestamp>,
}

/// The mail that ours continues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailThread {
    /// The `Message-ID` of the ticket's last mail, with its angle brackets. At most 250 characters.
    pub message_id: String,
    /// The ticket's subject; ours becomes `Re: ` and this. At most 150 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
}

/// Who served, where, when and about what: the snapshot that a request keeps for ever.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Who served.
    pub agent: Agent,
    /// The group.
    pub team: String,
    /// The line.
    pub queue: String,
    /// The place in the journey.
    pub touchpoint: String,
    /// When in the journey.
    pub phase: Phase,
    /// The issue.
    pub topic: String,
    /// The contact's language tag.
    pub language: String,
    /// The contact's time zone.
    pub timezone: String,
    /// Changes of channel before.
    pub switches: u32,
}

/// Seconds that a request waits for an answer if the trigger does not say.
pub const EXPIRES_IN_DEFAULT: u32 = 259_200;
const MONTH_SECONDS: u32 = 2_592_000;
const METADATA_MAX: usize = 4096;

impl Trigger {
    /// Checks every field but `channel` and `to`, which only the channel can judge.
    pub fn check(&self) -> Result<(), FieldError> {
        text("conversation", &self.conversation, 200)?;
        if self.conversation.is_empty() {
            return Err(FieldError::new("conversation", "must not be empty"));
        }
        text("resolution", &self.resolution, 64)?;
        text("contact.id", &self.contact.id, 100)?;
        text("contact.name", &self.contact.name, 80)?;
        text("agent.id", &self.agent.id, 100)?;
        text("agent.name", &self.agent.name, 80)?;
        text("agent.address", &self.agent.address, 254)?;
        text("team", &self.team, 100)?;
        text("queue", &self.queue, 100)?;
        text("topic", &self.topic, 100)?;
        slug("touchpoint", &self.touchpoint)?;
        language("contact.language", &self.contact.language)?;
        timezone("contact.timezone", &self.contact.timezone)?;
        within("switches", self.switches, 0, 100)?;
        within("delay_seconds", self.delay_seconds, 0, MONTH_SECONDS)?;
        if let Some(seconds) = self.expires_in {
            within("expires_in", seconds, 60, MONTH_SECONDS)?;
        }
        if let Some(mail) = &self.mail {
            text("mail.message_id", &mail.message_id, 250)?;
            text("mail.subject", &mail.subject, 150)?;
            let inner = mail
                .message_id
                .strip_prefix('<')
                .and_then(|id| id.strip_suffix('>'))
                .unwrap_or_default();
            if !inner.contains('@')
                || inner.contains(['<', '>'])
                || inner.chars().any(char::is_whitespace)
                || !inner.is_ascii()
            {
                return Err(FieldError::new(
                    "mail.message_id",
                    "must be a Message-ID with its angle brackets, such as <id@example.com>",
                ));
            }
        }
        if self.metadata.to_string().len() > METADATA_MAX {
            return Err(FieldError::new(
                "metadata",
                format!("must not be longer than {METADATA_MAX} bytes of JSON"),
            ));
        }
        Ok(())
    }

    /// The snapshot that the request keeps.
    pub fn attribution(&self) -> Attribution {
        Attribution {
            agent: Agent {
                address: String::new(),
                ..self.agent.clone()
            },
            team: self.team.clone(),
            queue: self.queue.clone(),
            touchpoint: self.touchpoint.clone(),
            phase: self.phase,
            topic: self.topic.clone(),
            language: self.contact.language.clone(),
            timezone: self.contact.timezone.clone(),
            switches: self.switches,
        }
    }
}

/// A text is at most `max` characters and holds no control character: it ends up in messages, headers and log lines.
pub(super) fn text(field: &str, value: &str, max: usize) -> Result<(), FieldError> {
    if value.chars().count() > max {
        return Err(FieldError::new(
            field,
            format!("must not be longer than {max} characters"),
        ));
    }
    if value.chars().any(char::is_control) {
        return Err(FieldError::new(
            field,
            "must not contain control characters",
        ));
    }
    Ok(())
}

fn within(field: &str, value: u32, low: u32, high: u32) -> Result<(), FieldError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(FieldError::new(
            field,
            format!("must be from {low} to {high}"),
        ))
    }
}

fn slug(field: &str, value: &str) -> Result<(), FieldError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if value.len() <= 64 && value.bytes().all(plain) {
        return Ok(());
    }
    Err(FieldError::new(
        field,
        "must be at most 64 lower-case letters, digits, dots, hyphens or underscores",
    ))
}

/// The shape of BCP 47, not its registry: an unknown language falls back, a malformed one is a mistake.
pub(super) fn language(field: &str, value: &str) -> Result<(), FieldError> {
    let mut parts = value.split('-');
    let primary = parts
        .next()
        .is_some_and(|p| (2..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphabetic()));
    let rest =
        parts.all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()));
    if value.is_empty() || (value.len() <= 35 && primary && rest) {
        return Ok(());
    }
    Err(FieldError::new(
        field,
        "must be a language tag, such as es or de-AT",
    ))
}

pub(super) fn timezone(field: &str, value: &str) -> Result<(), FieldError> {
    if value.is_empty() || (value.len() <= 64 && jiff::tz::TimeZone::get(value).is_ok()) {
        return Ok(());
    }
    Err(FieldError::new(
        field,
        "must be an IANA time zone, such as America/New_York",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(change: &serde_json::Value) -> Result<(), String> {
        let mut json =
            serde_json::json!({"channel": "sms", "to": "+14155550123", "conversation": "INC-1"});
        json.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        serde_json::from_value::<Trigger>(json)
            .map_err(|e| e.to_string())?
            .check()
            .map_err(|e| e.to_string())
    }

    #[test]
    fn three_fields_are_enough() {
        assert_eq!(trigger(&serde_json::json!({})), Ok(()));
    }

    #[test]
    fn each_bad_field_is_named() {
        for (change, field) in [
            (serde_json::json!({"conversation": ""}), "conversation"),
            (
                serde_json::json!({"conversation": "a\u{0}b"}),
                "conversation",
            ),
            (serde_json::json!({"team": "x".repeat(101)}), "team"),
            (serde_json::json!({"agent": {"kind": "cat"}}), "cat"),
            (serde_json::json!({"touchpoint": "Two Words"}), "touchpoint"),
            (serde_json::json!({"expires_in": 5}), "expires_in"),
            (
                serde_json::json!({"contact": {"language": "e"}}),
                "contact.language",
            ),
            (
                serde_json::json!({"contact": {"timezone": "Mars/Base"}}),
                "contact.timezone",
            ),
            (
                serde_json::json!({"mail": {"message_id": "<a@b>\r\nBcc: x"}}),
                "mail.message_id",
            ),
            (
                serde_json::json!({"metadata": "x".repeat(5000)}),
                "metadata",
            ),
        ] {
            let error = trigger(&change).unwrap_err();
            assert!(error.contains(field), "{error} should name {field}");
        }
    }
}
