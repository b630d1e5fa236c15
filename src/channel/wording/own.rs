//! A desk's own words over ours: the lookup that every text goes through, and what own text messages cost.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde_json::Value;

use super::segments::{Encoding, gsm7, segments};
use super::{Wording, all, fill, of};
use crate::domain::desk::DeskSettings;
use crate::domain::request::Request;
use crate::domain::wording::{WordingOverride, WordingOverrides};

/// The longest usual values of what is filled in, for telling beforehand what a text message will cost.
const USUAL_DESK: usize = 20;
/// See [`USUAL_DESK`].
const USUAL_AGENT: usize = 20;
/// The address of a rating page: `https://`, a host of 24 characters, `/r/` and a token of 12.
const USUAL_LINK: usize = 47;

/// The requests by text message.
const SMS_ASKS: [&str; 4] = [
    "sms.ask_agent",
    "sms.ask_agent_short",
    "sms.ask_desk",
    "sms.ask_short",
];

/// The texts for a language and a touchpoint of a desk. The most specific own text is used: of the touchpoint and the
/// language, of the language, of a wider language in the same order, ours.
pub fn own(
    overrides: &WordingOverrides,
    language: &str,
    touchpoint: &str,
) -> Cow<'static, Wording> {
    let ours = of(language);
    let mut tags = wider(language);
    if !tags.iter().any(|tag| tag.eq_ignore_ascii_case(&ours.tag)) {
        tags.push(&ours.tag);
    }
    let mut chosen = Vec::new();
    // The most specific last, so that it stays.
    for tag in tags.into_iter().rev() {
        for wanted in ["", touchpoint] {
            let fits = overrides.0.iter().filter(|own| {
                own.language.eq_ignore_ascii_case(tag)
                    && own.touchpoint == wanted
                    && (wanted.is_empty() == own.touchpoint.is_empty())
            });
            chosen.extend(fits);
            if touchpoint.is_empty() {
                break;
            }
        }
    }
    if chosen.is_empty() {
        return Cow::Borrowed(ours);
    }
    let mut value = values()
        .get(
            all()
                .iter()
                .position(|wording| wording.tag == ours.tag)
                .unwrap_or_default(),
        )
        .cloned()
        .unwrap_or_default();
    let mut keys = Vec::new();
    for own in chosen {
        for (key, text) in &own.texts {
            if let Some(place) = value.pointer_mut(&pointer(key)) {
                *place = Value::String(text.clone());
                keys.push((key.clone(), name(own)));
            }
        }
    }
    // What was set are strings in the place of strings, so reading it back has no way to fail.
    serde_json::from_value(value).map_or(Cow::Borrowed(ours), |wording: Wording| {
        Cow::Owned(Wording {
            own: keys,
            ..wording
        })
    })
}

/// What results call these words: see [`Wording::called`].
fn name(own: &WordingOverride) -> String {
    let (language, touchpoint) = (&own.language, &own.touchpoint);
    if touchpoint.is_empty() {
        format!("{language}/own")
    } else {
        format!("{language}/own/{touchpoint}")
    }
}

/// The texts for a request: the contact's language, or else the desk's.
pub fn for_request(request: &Request, settings: &DeskSettings) -> Cow<'static, Wording> {
    let attribution = &request.attribution;
    let language = settings.spoken(&attribution.language);
    own(&settings.wording, language, &attribution.touchpoint)
}

/// What to know about own text messages: which take more than one message at the longest usual values, and which requests
/// do not say how to stop.
pub fn warnings(overrides: &WordingOverrides) -> Vec<String> {
    let mut found = Vec::new();
    for (place, own) in overrides.0.iter().enumerate() {
        let scale = self::own(overrides, &own.language, &own.touchpoint);
        for (key, text) in own.texts.iter().filter(|(key, _)| key.starts_with("sms.")) {
            let at = format!("wording[{place}].texts.{key}");
            let cost = segments(&usual(text, &scale));
            if cost.count > 1 {
                let why = match cost.encoding {
                    Encoding::Gsm7 => String::new(),
                    Encoding::Ucs2 => {
                        let odd = text.chars().find(|c| gsm7(*c).is_none()).unwrap_or(' ');
                        format!(", because '{odd}' is not in the GSM-7 alphabet")
                    }
                };
                found.push(format!(
                    "{at} takes {} text messages at its longest usual values ({} of {} characters{why})",
                    cost.count,
                    cost.units,
                    cost.encoding.room().0,
                ));
            }
            if SMS_ASKS.contains(&key.as_str()) && !text.contains("STOP") {
                found.push(format!("{at} does not say how to stop: STOP"));
            }
        }
    }
    found
}

/// A text with everything in it as long as it usually gets.
pub(super) fn usual(text: &str, wording: &Wording) -> String {
    let word = wording.scale.iter().max_by_key(|word| word.chars().count());
    let values = [
        ("desk", "D".repeat(USUAL_DESK)),
        ("agent", "A".repeat(USUAL_AGENT)),
        ("link", "l".repeat(USUAL_LINK)),
        ("score", "5".to_owned()),
        ("word", word.cloned().unwrap_or_default()),
    ];
    let values: Vec<_> = values
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    fill(text, &values)
}

/// Whether one of the requests by text message shows the address of the rating page, which then needs its token.
pub fn sms_has_link(wording: &Wording) -> bool {
    let sms = &wording.sms;
    let asks = [
        &sms.ask_agent,
        &sms.ask_agent_short,
        &sms.ask_desk,
        &sms.ask_short,
    ];
    asks.into_iter().any(|text| text.contains("{link}"))
}

/// The tag and what is left of it without its last parts: `de-AT-1996`, `de-AT`, `de`.
fn wider(language: &str) -> Vec<&str> {
    let language = language.trim();
    let ends = language.match_indices(['-', '_']).map(|(at, _)| at);
    let mut tags: Vec<&str> = ends.filter_map(|at| language.get(..at)).collect();
    tags.push(language);
    tags.retain(|tag| !tag.is_empty());
    tags.reverse();
    tags
}

/// Our texts as JSON, in the order of the languages: a text is found there by its key.
fn values() -> &'static [Value] {
    static VALUES: OnceLock<Vec<Value>> = OnceLock::new();
    VALUES.get_or_init(|| {
        let json = |wording| serde_json::to_value(wording).unwrap_or_default();
        all().iter().map(json).collect()
    })
}

/// `sms.help` is at `/sms/help`, `scale.1` at `/scale/0`.
fn pointer(key: &str) -> String {
    match key
        .strip_prefix("scale.")
        .and_then(|score| score.parse::<usize>().ok())
    {
        Some(score) => format!("/scale/{}", score.saturating_sub(1)),
        None => format!("/{}", key.replace('.', "/")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::wording::TEXTS;

    fn overrides(rows: &[(&str, &str, &str, &str)]) -> WordingOverrides {
        let row = |(language, touchpoint, key, text): &(&str, &str, &str, &str)| WordingOverride {
            language: (*language).to_owned(),
            touchpoint: (*touchpoint).to_owned(),
            texts: BTreeMap::from([((*key).to_owned(), (*text).to_owned())]),
        };
        WordingOverrides(rows.iter().map(row).collect())
    }

    #[test]
    fn the_most_specific_own_text_is_used() {
        let key = "sms.clarify";
        let all = [
            ("en", "", key, "English"),
            ("de", "", key, "wide"),
            ("de", "vpn", key, "wide vpn"),
            ("de-AT", "", key, "Austria"),
            ("de-AT", "vpn", key, "Austria vpn"),
        ];
        for (language, touchpoint, expected) in [
            ("de-AT", "vpn", "Austria vpn"),
            ("de-AT", "mail", "Austria"),
            ("de-at", "", "Austria"),
            ("de-CH", "vpn", "wide vpn"),
            ("de", "mail", "wide"),
            ("tlh", "", "English"),
            ("", "vpn", "English"),
        ] {
            let text = own(&overrides(&all), language, touchpoint)
                .sms
                .clarify
                .clone();
            assert_eq!(text, expected, "{language} {touchpoint}");
        }
        let few = overrides(&all[1..2]);
        assert_eq!(own(&few, "de-AT", "vpn").sms.clarify, "wide");
        assert_eq!(own(&few, "es", "vpn").sms, of("es").sms);
        assert_eq!(own(&few, "de", "").sms.help, of("de").sms.help);
    }

    #[test]
    fn words_are_called_by_their_language_and_whose_they_are() {
        let all = overrides(&[
            ("de", "", "sms.ask_desk", "wide"),
            ("de", "vpn", "sms.ask_desk", "wide vpn"),
            ("de", "mail", "email.subject", "mail"),
            ("de-AT", "", "scale.1", "Austria"),
        ]);
        for (language, touchpoint, sms, email) in [
            ("de", "mail", "de/own", "de/own/mail"),
            ("de-CH", "vpn", "de/own/vpn", "de"),
            ("de-AT", "vpn", "de-AT/own", "de-AT/own"),
            ("es-MX", "vpn", "es", "es"),
            ("", "", "en", "en"),
        ] {
            let words = own(&all, language, touchpoint);
            let names = (words.called("sms"), words.called("email"));
            assert_eq!(names, (sms, email), "{language} {touchpoint}");
        }
    }

    #[test]
    fn every_text_can_be_set_by_its_key() {
        for (key, _) in TEXTS {
            let wording = own(&overrides(&[("en", "", key, "xx-own")]), "en", "");
            let value = serde_json::to_value(&*wording).unwrap();
            assert_eq!(value.pointer(&pointer(key)).unwrap(), "xx-own", "{key}");
        }
    }

    #[test]
    fn a_long_own_text_message_says_what_it_costs() {
        let long = format!("{{desk}}: {} STOP", "a".repeat(140));
        let all = overrides(&[
            ("en", "", "sms.ask_desk", &long),
            (
                "es",
                "",
                "sms.ask_short",
                "{desk}: ¿qué opina de nuestra atención por teléfono del día de hoy? STOP",
            ),
            ("de", "", "sms.ask_agent", "{desk}: {agent}? {link}"),
            ("fr", "", "page.title", &long),
        ]);
        let found = warnings(&all);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].starts_with("wording[0].texts.sms.ask_desk takes 2 text messages"),
            "{found:?}"
        );
        assert!(
            found[1].contains("because 'ó' is not in the GSM-7 alphabet"),
            "{found:?}"
        );
        assert!(
            found[2].ends_with("does not say how to stop: STOP"),
            "{found:?}"
        );
    }

    #[test]
    fn a_link_in_a_request_is_seen() {
        let all = overrides(&[("de", "vpn", "sms.ask_short", "{desk}: {link} STOP")]);
        assert!(sms_has_link(&own(&all, "de", "vpn")));
        assert!(!sms_has_link(&own(&all, "de", "mail")));
    }

    #[test]
    fn every_text_message_of_ours_fits_one_message_at_its_longest_usual_values() {
        for wording in all() {
            let value = serde_json::to_value(wording).unwrap();
            for (key, text) in value["sms"].as_object().unwrap() {
                let text = usual(text.as_str().unwrap(), wording);
                let cost = segments(&text);
                assert_eq!(cost.count, 1, "{} sms.{key}: {cost:?} {text}", wording.tag);
                assert_eq!(
                    cost.encoding,
                    Encoding::Gsm7,
                    "{} sms.{key}: {text}",
                    wording.tag
                );
            }
        }
    }
}
