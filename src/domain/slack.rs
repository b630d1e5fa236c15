//! An event as a text that a chat room shows: the body of Slack's incoming webhooks, which other chats take too.
//!
//! One line says what happened, to whom of the desk and where; a second one has the contact's words. The contact is not named. `&`, `<`
//! and `>` are written as Slack asks for (<https://docs.slack.dev/messaging/formatting-message-text/>), so that no words of a contact
//! become a link or call a whole channel.

use serde_json::json;

use super::notice::Notice;

/// The most of the contact's words that are shown, in characters.
const WORDS_MAX: usize = 500;

/// The body for this event: JSON with nothing but `text`.
pub fn body(notice: &Notice) -> Vec<u8> {
    json!({ "text": text(notice) }).to_string().into_bytes()
}

/// The text for this event, one line or two.
pub fn text(notice: &Notice) -> String {
    let data = &notice.data;
    let mut line = title(notice.kind);
    if let Some(rating) = &data.rating {
        line = format!("{line}: {} of 5", rating.score);
    }
    let mut said = Vec::new();
    if let Some(about) = data.request.as_ref().and_then(|asked| asked.about.as_ref()) {
        said.push(about.channel.clone());
        said.push(about.touchpoint.clone());
        said.push(named("agent", &about.agent.name));
    }
    if let Some(follow_up) = &data.follow_up {
        said.push(named("taken by", &follow_up.owner));
    }
    said.push(named("reason", data.reason.unwrap_or_default()));
    said.push(named("desk", &notice.desk));
    for part in said.iter().filter(|part| !part.is_empty()) {
        line.push_str(" | ");
        line.push_str(&escaped(&one_line(part)));
    }
    let comment = data.rating.as_ref().map_or("", |rating| &rating.comment);
    let words = if comment.is_empty() {
        &data.text
    } else {
        comment
    };
    let words = shortened(&one_line(words));
    if !words.is_empty() {
        line = format!("{line}\n\u{201c}{}\u{201d}", escaped(&words));
    }
    line
}

/// What happened: `rating.changed` is "Rating changed".
fn title(kind: &str) -> String {
    if kind == "rating.low" {
        return "Low score".to_owned();
    }
    let words = kind.replace(['.', '_'], " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn named(what: &str, name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!("{what} {name}")
    }
}

/// Breaks and other control characters become spaces.
fn one_line(text: &str) -> String {
    let plain = text.replace(|c: char| c.is_control(), " ");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventKind;
    use crate::domain::id::EventId;
    use crate::domain::notice::{Data, Rated};
    use crate::domain::time::Timestamp;
    use proptest::prelude::*;

    fn notice(kind: &'static str, score: u8, comment: &str) -> Notice {
        let at = Timestamp::from_millis(1_700_000_000_000);
        Notice {
            kind,
            data: Data {
                rating: Some(Rated {
                    id: None,
                    score,
                    grade: None,
                    comment: comment.to_owned(),
                    elapsed_ms: None,
                }),
                ..Data::default()
            },
            ..Notice::test(EventId::new(at, [1; 10]), "acme", at)
        }
    }

    #[test]
    fn words_call_no_channel_and_make_no_link() {
        assert_eq!(
            text(&notice(
                "rating.low",
                1,
                "<!channel> A & B\n\tsee <http://example.com|this>"
            )),
            "Low score: 1 of 5 | desk acme\n\u{201c}&lt;!channel&gt; A &amp; B see &lt;http://example.com|this&gt;\u{201d}"
        );
    }

    #[test]
    fn every_kind_has_a_line_and_a_test_too() {
        for kind in EventKind::ALL {
            let line = text(&notice(kind.as_str(), 3, ""));
            assert!(line.ends_with(": 3 of 5 | desk acme"), "{line}");
            assert!(line.starts_with(char::is_uppercase), "{line}");
        }
        let at = Timestamp::from_millis(0);
        let test = Notice::test(EventId::new(at, [1; 10]), "acme", at);
        assert_eq!(body(&test), br#"{"text":"Webhook test | desk acme"}"#);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_text_has_two_lines_at_most_and_is_short(comment in "\\PC{0,2000}|[<>&\\r\\n\u{2028}a]{0,2000}") {
            let text = text(&notice("rating.low", 2, &comment));
            prop_assert!(text.lines().count() <= 2);
            prop_assert!(!text.contains(['<', '>']));
            prop_assert!(text.chars().count() <= 40 + 5 * (WORDS_MAX + 1));
        }
    }
}
