//! Every text that a contact reads or hears, by language.
//!
//! One TOML file a language, embedded in the program and read once. All files have the same texts: a missing or a superfluous
//! one fails the tests. The channels, the answers to replies and the pages take their words from here and own none.
//! To add a language: one file and one row in `SOURCES`.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

mod direction;
mod own;
pub mod segments;

pub use own::{for_request, own, sms_has_link, warnings};

/// The language tag and the file of each language; the first one is the default.
const SOURCES: &[(&str, &str)] = &[
    ("en", include_str!("en.toml")),
    ("es", include_str!("es.toml")),
    ("de", include_str!("de.toml")),
    ("fr", include_str!("fr.toml")),
    ("pt", include_str!("pt.toml")),
    ("nl", include_str!("nl.toml")),
    ("it", include_str!("it.toml")),
];

/// The texts of one language. Names in braces are filled in by [`fill`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wording {
    /// The language tag, for `lang` attributes.
    pub tag: String,
    /// The language's own name.
    pub name: String,
    /// The words of the five scores, worst first.
    pub scale: [String; 5],
    /// Text messages.
    pub sms: Sms,
    /// Calls.
    pub voice: Voice,
    /// Mail.
    pub email: Email,
    /// The rating page and the opt-out page.
    pub page: Page,
    /// Chats.
    pub chat: Chat,
    /// The keys of the texts that are the desk's own, and what these words are called; the most specific ones last.
    #[serde(skip)]
    own: Vec<(String, String)>,
}

/// A question, once with the name of who served and once without.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    agent: String,
    desk: String,
}

impl Question {
    /// The question about this agent (may be empty) of this desk.
    pub fn about(&self, agent: &str, desk: &str) -> String {
        let template = if agent.trim().is_empty() {
            &self.desk
        } else {
            &self.agent
        };
        fill(template, &[("agent", agent.trim()), ("desk", desk)])
    }
}

/// The texts of text messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sms {
    /// The ask with `{desk}` and `{agent}`.
    pub ask_agent: String,
    /// The ask with `{desk}` and `{agent}`, as short as it can be.
    pub ask_agent_short: String,
    /// The ask with `{desk}`.
    pub ask_desk: String,
    /// The ask with `{desk}`, as short as it can be.
    pub ask_short: String,
    /// Thanks for `{score}` (`{word}`), and an invitation to add words.
    pub thanks_invite: String,
    /// Thanks for a comment that followed a rating.
    pub thanks_comment: String,
    /// Thanks for a rating that came with a comment.
    pub thanks_full: String,
    /// The rating is now `{score}` (`{word}`).
    pub thanks_correction: String,
    /// The reply had no score.
    pub clarify: String,
    /// Confirms STOP, in the name of `{desk}`.
    pub stopped: String,
    /// Confirms START, in the name of `{desk}`.
    pub started: String,
    /// Who asks (`{desk}`), how to answer and how to stop.
    pub help: String,
}

/// The texts of calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voice {
    /// The tag of the voice that speaks them, such as `en-US`.
    pub language: String,
    /// The ask.
    pub question: Question,
    /// A key that is not on the scale was pressed.
    pub wrong_key: String,
    /// No key was pressed in time.
    pub no_key: String,
    /// Thanks, and the end of the call.
    pub thanks: String,
    /// The end of a call without a rating.
    pub goodbye: String,
}

/// The texts of mails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The subject with `{desk}`, where no thread gives one.
    pub subject: String,
    /// The first line.
    pub greeting: String,
    /// The first line with the name of the `{contact}`.
    pub greeting_name: String,
    /// The ask.
    pub question: Question,
    /// What to do.
    pub instruction: String,
    /// The label of a link with `{score}` and `{word}`.
    pub link: String,
    /// Why `{desk}` writes.
    pub footer: String,
    /// The label of the link that opts out.
    pub opt_out: String,
}

/// The texts of the pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The title of the rating page.
    pub title: String,
    /// The ask.
    pub question: Question,
    /// The label of the button that sends the score.
    pub button: String,
    /// The label of the field for words.
    pub comment_label: String,
    /// Thanks for `{score}` (`{word}`).
    pub thanks: String,
    /// Thanks for words.
    pub thanks_comment: String,
    /// The rating may be changed for `{minutes}` more minutes.
    pub change: String,
    /// It is too late to answer.
    pub closed: String,
    /// Before the score and its word.
    pub your_answer: String,
    /// An answer is on its way.
    pub sending: String,
    /// An answer could not be saved.
    pub error: String,
    /// The device has no connection.
    pub offline: String,
    /// The label of the button that tries again.
    pub retry: String,
    /// The page was opened too long ago.
    pub stale: String,
    /// There is no such link.
    pub not_found: String,
    /// The title of the opt-out page.
    pub opt_out_title: String,
    /// Asks whether `{desk}` shall stop asking.
    pub opt_out_question: String,
    /// The label of the button that opts out.
    pub opt_out_button: String,
    /// `{desk}` will not ask any more.
    pub opt_out_done: String,
}

/// The texts of chats.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// The ask.
    pub question: Question,
    /// The label of the field for words.
    pub comment_label: String,
    /// The label of the button that sends the words.
    pub send: String,
    /// Thanks for the rating.
    pub thanks: String,
}

impl Wording {
    /// Whether the text with this key is the desk's own.
    pub fn is_own(&self, key: &str) -> bool {
        self.own.iter().any(|(own, _)| own == key)
    }

    /// What the words of this channel are called where results are grouped by them: `de` are ours, `de/own` the desk's own in place of
    /// them, and `de/own/vpn` those that it has for the touchpoint `vpn`. The texts of the channel and the words of the scores
    /// count; where the desk has several for one contact, the most specific ones are named.
    pub fn called(&self, channel: &str) -> &str {
        let counts = |key: &str| {
            let part = key.split_once('.').map(|(part, _)| part);
            part == Some(channel) || part == Some("scale")
        };
        let mut own = self.own.iter().rev();
        own.find(|(key, _)| counts(key))
            .map_or(&self.tag, |(_, name)| name)
    }

    /// The word of a score from 1 to 5; empty for anything else.
    pub fn word(&self, score: u8) -> &str {
        usize::from(score)
            .checked_sub(1)
            .and_then(|place| self.scale.get(place))
            .map_or("", String::as_str)
    }

    /// A text with its `{score}` and `{word}` filled in.
    pub fn with_score(&self, template: &str, score: u8) -> String {
        fill(
            template,
            &[("score", &score.to_string()), ("word", self.word(score))],
        )
    }
}

/// Every language, the default first.
pub fn all() -> &'static [Wording] {
    static ALL: OnceLock<Vec<Wording>> = OnceLock::new();
    // The files are part of the program and a test reads them all, so the default is never used in earnest.
    ALL.get_or_init(|| {
        SOURCES
            .iter()
            .map(|(_, source)| toml::from_str(source).unwrap_or_default())
            .collect()
    })
}

/// The texts for a language tag. `de-AT` falls back to `de`, anything unknown to English. Case does not matter.
pub fn of(language: &str) -> &'static Wording {
    let mut wanted = language.trim();
    loop {
        if let Some(found) = all()
            .iter()
            .find(|wording| wording.tag.eq_ignore_ascii_case(wanted))
        {
            return found;
        }
        match wanted.rsplit_once(['-', '_']) {
            Some((wider, _)) => wanted = wider,
            None => return default(),
        }
    }
}

fn default() -> &'static Wording {
    static EMPTY: OnceLock<Wording> = OnceLock::new();
    all()
        .first()
        .unwrap_or_else(|| EMPTY.get_or_init(Wording::default))
}

/// A text for a voice: without the marks of direction that only a reader needs.
pub fn spoken(text: &str) -> String {
    direction::unfenced(text)
}

/// Fills the names in braces in one pass: a value that has braces itself is not read again. An unknown name stays as it is. A
/// value that runs from right to left is fenced, so that it does not reorder the words around it.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let known = after.split_once('}').and_then(|(name, after)| {
            values
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value, after))
        });
        if let Some((value, after)) = known {
            filled.push_str(&direction::fenced(value));
            rest = after;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::wording::{NETWORK_WORDS, TEXTS};

    /// Every text of a file with its key.
    fn texts(table: &toml::Table, above: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (key, value) in table {
            let key = if above.is_empty() {
                key.clone()
            } else {
                format!("{above}.{key}")
            };
            if let toml::Value::Table(inner) = value {
                found.extend(texts(inner, &key));
            } else if let toml::Value::Array(all) = value {
                let words = all.iter().map(|text| text.as_str().unwrap().to_owned());
                found.extend(words.map(|text| (key.clone(), text)));
            } else {
                found.push((key, value.as_str().unwrap().to_owned()));
            }
        }
        found
    }

    /// The names that a text of ours must have, and may have no more than. `{link}` is for own texts.
    fn names(key: &str) -> Vec<&'static str> {
        let key = if key == "scale" { "scale.1" } else { key };
        let known = TEXTS.iter().find(|(known, _)| *known == key);
        let (_, names) = known.unwrap_or_else(|| panic!("{key} is not in the table of texts"));
        names
            .iter()
            .copied()
            .filter(|name| *name != "link")
            .collect()
    }

    #[test]
    fn every_language_has_every_text_with_the_names_it_needs() {
        for (tag, source) in SOURCES {
            let wording: Wording =
                toml::from_str(source).unwrap_or_else(|error| panic!("{tag}: {error}"));
            assert_eq!(&wording.tag, tag);
            let all = texts(&source.parse().unwrap(), "");
            // The tag and the name are no texts.
            assert_eq!(all.len(), TEXTS.len() + 2, "{tag}");
            for (key, text) in all {
                assert!(!text.trim().is_empty(), "{tag}: {key} is empty");
                if ["tag", "name"].contains(&key.as_str()) {
                    continue;
                }
                let mut used: Vec<&str> = text
                    .split('{')
                    .skip(1)
                    .map(|part| part.split_once('}').unwrap().0)
                    .collect();
                used.sort_unstable();
                assert_eq!(used, names(&key), "{tag}: {key}");
            }
        }
    }

    #[test]
    fn no_text_invites_a_word_that_the_networks_act_on() {
        for (tag, source) in SOURCES {
            for (key, text) in texts(&source.parse().unwrap(), "") {
                for word in NETWORK_WORDS {
                    assert!(
                        !text.split(|c: char| !c.is_alphabetic()).any(|w| w == word),
                        "{tag}: {key} says {word}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_nearest_language_is_found_whatever_the_tag() {
        for (asked, tag) in [
            ("de", "de"),
            ("de-AT", "de"),
            ("DE-at-1996", "de"),
            ("es_MX", "es"),
            ("", "en"),
            ("tlh", "en"),
            ("-", "en"),
            ("--x", "en"),
            ("de-", "de"),
            ("\u{1F600}", "en"),
            ("english", "en"),
        ] {
            assert_eq!(of(asked).tag, tag, "{asked:?}");
        }
    }

    #[test]
    fn values_are_inserted_as_they_are_and_only_once() {
        let values = [("agent", "{desk}\n{x"), ("desk", "A}{agent}")];
        assert_eq!(fill("{agent}, {desk}!", &values), "{desk}\n{x, A}{agent}!");
        assert_eq!(
            fill("{ {{agent}} {other} {", &[("agent", "Sam")]),
            "{ {Sam} {other} {"
        );
    }

    #[test]
    fn a_name_from_right_to_left_moves_no_other_word() {
        let question = &of("en").chat.question;
        assert_eq!(
            question.about("שרה (IT)", "Acme"),
            "How was your service with \u{2068}שרה (IT)\u{2069}?"
        );
        assert_eq!(
            spoken(&question.about("שרה", "Acme")),
            "How was your service with שרה?"
        );
    }

    #[test]
    fn a_question_names_the_agent_only_if_there_is_one() {
        let question = &of("en").chat.question;
        assert_eq!(
            question.about("Sam", "Acme"),
            "How was your service with Sam?"
        );
        assert_eq!(question.about(" ", "Acme"), "How was our service?");
    }

    #[test]
    fn a_score_has_its_word() {
        assert_eq!(of("de").with_score("{score} = {word}", 5), "5 = sehr gut");
        assert_eq!(all().len(), 7);
        assert_eq!((of("en").word(0), of("en").word(6)), ("", ""));
    }
}
