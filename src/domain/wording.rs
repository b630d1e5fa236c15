//! A desk's own words in place of ours, by language and touchpoint: which texts there are, what may stand in them, and the
//! check of both. How texts are chosen and filled is `channel::wording`'s business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::trigger::FieldError;

/// The most characters of one text.
pub const TEXT_MAX: usize = 500;
/// The most overrides of one desk.
pub const OVERRIDES_MAX: usize = 100;
/// Words that the phone networks act on when a contact sends them alone. A message that shows them invites that.
pub const NETWORK_WORDS: [&str; 4] = ["YES", "END", "QUIT", "CANCEL"];

/// Every text by its key in the wording files, with the names in braces that may stand in it. `{link}`, the address of the
/// rating page, is not in our own texts.
pub const TEXTS: &[(&str, &[&str])] = &[
    ("scale.1", &[]),
    ("scale.2", &[]),
    ("scale.3", &[]),
    ("scale.4", &[]),
    ("scale.5", &[]),
    ("sms.ask_agent", &["agent", "desk", "link"]),
    ("sms.ask_agent_short", &["agent", "desk", "link"]),
    ("sms.ask_desk", &["desk", "link"]),
    ("sms.ask_short", &["desk", "link"]),
    ("sms.thanks_invite", &["score", "word"]),
    ("sms.thanks_comment", &[]),
    ("sms.thanks_full", &[]),
    ("sms.thanks_correction", &["score", "word"]),
    ("sms.clarify", &[]),
    ("sms.stopped", &["desk"]),
    ("sms.started", &["desk"]),
    ("sms.help", &["desk"]),
    ("voice.language", &[]),
    ("voice.question.agent", &["agent", "desk"]),
    ("voice.question.desk", &["desk"]),
    ("voice.wrong_key", &[]),
    ("voice.no_key", &[]),
    ("voice.thanks", &[]),
    ("voice.goodbye", &[]),
    ("email.subject", &["desk"]),
    ("email.greeting", &[]),
    ("email.greeting_name", &["contact"]),
    ("email.question.agent", &["agent", "desk"]),
    ("email.question.desk", &["desk"]),
    ("email.instruction", &[]),
    ("email.link", &["score", "word"]),
    ("email.footer", &["desk"]),
    ("email.opt_out", &[]),
    ("page.title", &[]),
    ("page.question.agent", &["agent", "desk"]),
    ("page.question.desk", &["desk"]),
    ("page.button", &[]),
    ("page.comment_label", &[]),
    ("page.thanks", &["score", "word"]),
    ("page.thanks_comment", &[]),
    ("page.change", &["minutes"]),
    ("page.closed", &[]),
    ("page.your_answer", &[]),
    ("page.sending", &[]),
    ("page.error", &[]),
    ("page.offline", &[]),
    ("page.retry", &[]),
    ("page.stale", &[]),
    ("page.not_found", &[]),
    ("page.opt_out_title", &[]),
    ("page.opt_out_question", &["desk"]),
    ("page.opt_out_button", &[]),
    ("page.opt_out_done", &["desk"]),
    ("chat.question.agent", &["agent"]),
    ("chat.question.desk", &[]),
    ("chat.comment_label", &[]),
    ("chat.send", &[]),
    ("chat.thanks", &[]),
];

/// A desk's own words. The most specific one is used: of the touchpoint and the language, then of the language, then of a
/// wider language (`de` for `de-AT`), then ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct WordingOverrides(pub Vec<WordingOverride>);

/// Own words for one language, and one touchpoint if it names one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "language": "en", "touchpoint": "incident.resolved", "texts": {"sms.ask_desk": "{desk}: how did we do? 1 (very poor) to 5 (excellent). STOP: no more"}
}))]
pub struct WordingOverride {
    /// The language tag, such as `es` or `es-MX`.
    pub language: String,
    /// The touchpoint; empty for every one.
    #[serde(default)]
    pub touchpoint: String,
    /// The texts by key, such as `sms.ask_agent`. Names in braces are filled in; each text may use only those that its own text
    /// of ours has, and a request by text message `{link}` too.
    pub texts: BTreeMap<String, String>,
}

impl WordingOverrides {
    /// No own words.
    pub const NONE: &'static Self = &Self(Vec::new());

    /// Checks every text. `prefix` is where the overrides are: the error names `<prefix>[0].texts.sms.help`.
    pub fn check(&self, prefix: &str) -> Result<(), FieldError> {
        if self.0.len() > OVERRIDES_MAX {
            let message = format!("must not have more than {OVERRIDES_MAX} entries");
            return Err(FieldError::new(prefix, message));
        }
        for (place, own) in self.0.iter().enumerate() {
            own.check(&format!("{prefix}[{place}]"))?;
            let again = |other: &&WordingOverride| {
                other.language.eq_ignore_ascii_case(&own.language)
                    && other.touchpoint == own.touchpoint
            };
            if self.0.iter().filter(again).count() > 1 {
                let field = format!("{prefix}[{place}].language");
                return Err(FieldError::new(
                    &field,
                    "must not be given twice for one touchpoint",
                ));
            }
        }
        Ok(())
    }
}

impl WordingOverride {
    fn check(&self, prefix: &str) -> Result<(), FieldError> {
        let fail = |field: &str, message: &str| {
            Err(FieldError::new(&format!("{prefix}.{field}"), message))
        };
        if !is_tag(&self.language) {
            return fail("language", "must be a language tag such as es or es-MX");
        }
        if self.touchpoint.chars().count() > 100 || self.touchpoint.chars().any(char::is_control) {
            return fail(
                "touchpoint",
                "must have at most 100 characters and no control characters",
            );
        }
        for (key, text) in &self.texts {
            if let Err(message) = check_text(key, text) {
                return Err(FieldError::new(&format!("{prefix}.texts.{key}"), message));
            }
        }
        Ok(())
    }
}

/// Two to 35 letters, digits and hyphens, a letter first (RFC 5646 section 4.4.1 asks for room for 35).
fn is_tag(text: &str) -> bool {
    (2..=35).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn check_text(key: &str, text: &str) -> Result<(), String> {
    let Some((_, names)) = TEXTS.iter().find(|(known, _)| *known == key) else {
        return Err("is no text of ours".to_owned());
    };
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.chars().count() > TEXT_MAX {
        return Err(format!("must not have more than {TEXT_MAX} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not have control characters or line breaks".to_owned());
    }
    if key == "voice.language" && !is_tag(text) {
        return Err("must be a language tag such as es-MX".to_owned());
    }
    for used in braces(text) {
        if !names.contains(&used) {
            let may = names
                .iter()
                .map(|name| format!("{{{name}}}"))
                .collect::<Vec<_>>();
            let may = if may.is_empty() {
                "none".to_owned()
            } else {
                may.join(", ")
            };
            return Err(format!(
                "has {{{used}}}; the names in braces that it may have: {may}"
            ));
        }
    }
    // Networks and laws want each of these to say who writes.
    if key.starts_with("sms.") && names.contains(&"desk") && !text.contains("{desk}") {
        return Err("must have {desk}: a text message says who sends it".to_owned());
    }
    if key.starts_with("sms.") {
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        if let Some(word) = words.find(|word| NETWORK_WORDS.contains(word)) {
            return Err(format!(
                "must not have the word {word}, which the networks act on"
            ));
        }
    }
    Ok(())
}

/// What stands in braces. A brace that is not closed is one too.
fn braces(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .map(|part| part.split_once('}').map_or("", |(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(language: &str, key: &str, text: &str) -> WordingOverride {
        WordingOverride {
            language: language.to_owned(),
            touchpoint: String::new(),
            texts: BTreeMap::from([(key.to_owned(), text.to_owned())]),
        }
    }

    fn error(own: WordingOverride) -> String {
        let error = WordingOverrides(vec![own]).check("wording").unwrap_err();
        format!("{}: {}", error.field, error.message)
    }

    #[test]
    fn good_words_pass() {
        for (key, text) in [
            (
                "sms.ask_agent",
                "{desk}: how was {agent}? 1 to 5, or {link}. STOP: no more",
            ),
            ("scale.5", "superb"),
            ("voice.language", "es-MX"),
            ("page.title", "In the end, how was it? Cancel any time"),
        ] {
            assert_eq!(
                WordingOverrides(vec![own("es-MX", key, text)]).check("wording"),
                Ok(()),
                "{key}"
            );
        }
        assert_eq!(WordingOverrides::NONE.check("wording"), Ok(()));
    }

    #[test]
    fn each_bad_text_is_named() {
        for (key, text, said) in [
            ("sms.nothing", "x", "is no text"),
            ("sms.clarify", " ", "must not be empty"),
            ("sms.clarify", "a\nb", "control characters"),
            ("sms.clarify", &"a".repeat(TEXT_MAX + 1), "500 characters"),
            (
                "sms.clarify",
                "{desk}",
                "{desk}; the names in braces that it may have: none",
            ),
            (
                "sms.ask_desk",
                "{desk} {agent}",
                "{agent}; the names in braces that it may have: {desk}, {link}",
            ),
            ("sms.help", "{desk", "{}; the names"),
            ("sms.help", "1 to 5", "must have {desk}"),
            ("sms.help", "{desk}: reply YES", "the word YES"),
            ("voice.language", "Mexican Spanish", "language tag"),
            ("page.thanks", "{link}", "{link}"),
        ] {
            let error = error(own("en", key, text));
            assert!(
                error.starts_with(&format!("wording[0].texts.{key}: ")),
                "{error}"
            );
            assert!(error.contains(said), "{error}");
        }
        assert!(error(own("english please", "scale.1", "x")).starts_with("wording[0].language"));
        let twice = WordingOverrides(vec![own("en", "scale.1", "x"), own("EN", "scale.2", "y")]);
        assert_eq!(
            twice.check("wording").unwrap_err().field,
            "wording[0].language"
        );
    }
}
