//! Writes TwiML, the XML that tells Twilio what to say. Only the few verbs that we use; every text is escaped, and what
//! XML 1.0 cannot hold is left out, because Twilio drops a document that does not parse (error 12100).

use crate::provider::Answer;

/// Seconds of silence after the prompt before the turn counts as "no key".
const KEY_SECONDS: &str = "6";

/// The document for this answer. `voice` is the voice for a language tag and may be empty.
pub(super) fn of<'a>(answer: &Answer, public_url: &str, voice: impl Fn(&str) -> &'a str) -> String {
    let verbs = match answer {
        Answer::Silence => String::new(),
        Answer::Text(text) => element("Message", &[], &escape(text)),
        Answer::Prompt {
            token,
            say: words,
            language,
            turn,
        } => {
            let action = format!("{public_url}/hooks/twilio/voice/{token}?turn={turn}");
            let attributes = [
                ("input", "dtmf"),
                ("method", "POST"),
                ("action", &action),
                ("timeout", KEY_SECONDS),
                ("numDigits", "1"),
                // Without it Twilio would hang up in silence when no key comes, and we would never know.
                ("actionOnEmptyResult", "true"),
            ];
            element(
                "Gather",
                &attributes,
                &say(words, language, voice(language)),
            )
        }
        Answer::Goodbye {
            say: words,
            language,
        } => say(words, language, voice(language)) + &element("Hangup", &[], ""),
        Answer::HangUp => element("Hangup", &[], ""),
    };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>{}"#,
        element("Response", &[], &verbs)
    )
}

fn say(words: &str, language: &str, voice: &str) -> String {
    let all = [("voice", voice), ("language", language)];
    let attributes: Vec<_> = all
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    element("Say", &attributes, &escape(words))
}

/// An element around XML that is already escaped.
fn element(name: &str, attributes: &[(&str, &str)], inner: &str) -> String {
    let mut tag = name.to_owned();
    for (key, value) in attributes {
        tag.extend([" ", key, "=\"", &escape(value), "\""]);
    }
    if inner.is_empty() {
        format!("<{tag}/>")
    } else {
        format!("<{tag}>{inner}</{name}>")
    }
}

/// For texts and attributes alike. Line breaks are written as references, or an attribute would turn them into blanks and
/// a parser would drop the carriage return.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' => escaped.push_str("&#9;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            // Forbidden by XML 1.0, section 2.2; surrogates cannot occur in a Rust text.
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twilio_rs::twiml::{Action, Gather, Message, Method, Prompt, Say, Twiml, Voice};

    use super::*;

    fn prompt(words: &str, voice: &'static str) -> String {
        let answer = Answer::Prompt {
            token: "T".to_owned(),
            say: words.to_owned(),
            language: "en-US".to_owned(),
            turn: 1,
        };
        of(&answer, "https://a.example", |_| voice)
    }

    /// The document without its declaration.
    fn document(xml: &str) -> &str {
        xml.split_once("?>").unwrap().1
    }

    #[test]
    fn each_answer_has_its_document() {
        let goodbye = Answer::Goodbye {
            say: "Bye".to_owned(),
            language: "en-US".to_owned(),
        };
        for (answer, expected) in [
            (Answer::Silence, "<Response/>"),
            (
                Answer::Text("Q&A <5>".to_owned()),
                "<Response><Message>Q&amp;A &lt;5&gt;</Message></Response>",
            ),
            (
                goodbye,
                r#"<Response><Say language="en-US">Bye</Say><Hangup/></Response>"#,
            ),
            (Answer::HangUp, "<Response><Hangup/></Response>"),
        ] {
            assert_eq!(
                document(&of(&answer, "https://a.example", |_| "")),
                expected
            );
        }
        assert_eq!(
            document(&prompt("Press 1", "Polly.Joanna")),
            "<Response><Gather input=\"dtmf\" method=\"POST\" action=\"https://a.example/hooks/twilio/voice/T?turn=1\" \
             timeout=\"6\" numDigits=\"1\" actionOnEmptyResult=\"true\">\
             <Say voice=\"Polly.Joanna\" language=\"en-US\">Press 1</Say></Gather></Response>"
        );
    }

    #[test]
    fn a_language_is_spoken_by_its_voice() {
        let answer = Answer::Goodbye {
            say: "Gracias".to_owned(),
            language: "es-ES".to_owned(),
        };
        let voice = |language: &str| {
            if language == "es-ES" {
                "Polly.Lucia"
            } else {
                "Polly.Joanna"
            }
        };
        assert_eq!(
            document(&of(&answer, "https://a.example", voice)),
            "<Response><Say voice=\"Polly.Lucia\" language=\"es-ES\">Gracias</Say><Hangup/></Response>"
        );
    }

    #[test]
    fn forbidden_characters_are_left_out_and_markup_is_escaped() {
        assert_eq!(escape("a\u{0}b\u{b}c\u{ffff}d\r\n\t"), "abcd&#13;&#10;&#9;");
        assert_eq!(
            escape("</Say>\"'&amp;"),
            "&lt;/Say&gt;&quot;&apos;&amp;amp;"
        );
    }

    /// The attributes of the first element of that name.
    fn attributes<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
        let start = xml.find(&format!("<{name} ")).unwrap();
        let inside = &xml[start..start + xml[start..].find('>').unwrap()];
        inside.split(' ').skip(1).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn plain_texts_come_out_as_an_independent_writer_has_them(text in "[A-Za-z0-9 .,!?äñ€]{1,60}") {
            let message = Twiml::new().add(&Message { txt: text.clone() }).as_twiml();
            let ours = of(&Answer::Text(text.clone()), "https://a.example", |_| "");
            prop_assert_eq!(document(&message), document(&ours));

            let words = Say { txt: text.clone(), voice: Voice::Alice, language: "en-US".to_owned() };
            let ours = prompt(&text, "alice");
            prop_assert!(ours.contains(&words.as_twiml()), "{}", ours);

            let theirs = Gather {
                action: Some("https://a.example/hooks/twilio/voice/T?turn=1".to_owned()),
                method: Method::Post,
                timeout_seconds: 6,
                finish_on_key: '#',
                num_digits: Some(1),
                prompt: Prompt::Say(words),
            }
            .as_twiml();
            // Theirs always writes finishOnKey, ours leaves it at its default, which is the same key.
            let mut expected = attributes(&theirs, "Gather");
            expected.retain(|attribute| *attribute != "finishOnKey=\"#\"");
            let ours = attributes(&ours, "Gather");
            prop_assert!(expected.iter().all(|attribute| ours.contains(attribute)), "{:?} {:?}", expected, ours);
        }

        #[test]
        fn no_text_can_break_out_of_its_place(text in "\\PC{0,60}|[<>&\"'\\x00-\\x1f/a-z]{0,60}") {
            let xml = of(&Answer::Text(text), "https://a.example", |_| "");
            let inner = document(&xml).replace("<Response>", "").replace("</Response>", "");
            let inner = inner.replace("<Message>", "").replace("</Message>", "").replace("<Message/>", "");
            prop_assert!(!inner.contains(['<', '>', '"', '\'']), "{}", xml);
            prop_assert!(inner.chars().all(|c| c >= ' '), "{}", xml);
        }
    }
}
