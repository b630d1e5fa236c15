//! Text messages. The ask always fits one GSM-7 message (or one UCS-2 message where a name needs it), because a second part
//! costs as much as the first and some networks deliver parts apart. It names who asks, who served, both ends of the scale
//! and how to stop; the longest wording that fits is taken.

use super::wording::{self, Wording, fill};
use super::{Address, AddressError, Ask, Carriage, Channel, Message};
use crate::domain::token::LinkLength;

/// The channel `sms`.
#[derive(Debug, Clone, Copy)]
pub struct Sms;

impl Channel for Sms {
    fn name(&self) -> &'static str {
        "sms"
    }

    fn description(&self) -> &'static str {
        "a text message that is answered with one digit"
    }

    /// One: typing the digit. Opening the message and pressing "send" belong to any text message and are not counted.
    fn taps(&self) -> u8 {
        1
    }

    fn address(&self, raw: &str) -> Result<Address, AddressError> {
        Address::phone(raw)
    }

    fn carriage(&self) -> Carriage {
        Carriage::Provider
    }

    fn reply_names_request(&self) -> bool {
        false
    }

    fn link_length(&self) -> LinkLength {
        LinkLength::Short
    }

    fn render(&self, ask: &Ask<'_>) -> Message {
        Message::Text(text(wording::of(ask.language), ask.agent, ask.desk))
    }
}

/// How the networks carry a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The GSM 7-bit default alphabet (3GPP TS 23.038): 160 units in one message, 153 in each part of several.
    Gsm7,
    /// UTF-16 code units: 70 in one message, 67 in each part of several.
    Ucs2,
}

/// What a text costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// The encoding that the text needs.
    pub encoding: Encoding,
    /// Its length in units of that encoding: septets or UTF-16 code units.
    pub units: usize,
    /// The number of messages.
    pub count: usize,
}

/// Counts what a text costs. A character of two units is never split between parts, which this count ignores: it is exact for
/// one message, and at most one too low for several.
pub fn segments(text: &str) -> Segments {
    let septets = text
        .chars()
        .try_fold(0, |sum, c| gsm7(c).map(|units| sum + units));
    let (encoding, units, one, part) = match septets {
        Some(units) => (Encoding::Gsm7, units, 160, 153),
        None => (Encoding::Ucs2, text.encode_utf16().count(), 70, 67),
    };
    let count = if units <= one {
        1
    } else {
        units.div_ceil(part)
    };
    Segments {
        encoding,
        units,
        count,
    }
}

/// How many septets a character takes; `None` if it is not in the alphabet.
fn gsm7(c: char) -> Option<usize> {
    const PLAIN: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ\
        ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
    const EXTENSION: &str = "^{}\\[~]|€\u{c}";
    if PLAIN.contains(c) {
        Some(1)
    } else if EXTENSION.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// The longest ask that fits one message.
fn text(wording: &Wording, agent: &str, desk: &str) -> String {
    let (agent, desk) = (plain(agent), plain(desk));
    let sms = &wording.sms;
    let with_agent = [&sms.ask_agent, &sms.ask_agent_short];
    let templates = with_agent
        .into_iter()
        .filter(|_| !agent.is_empty())
        .chain([&sms.ask_desk, &sms.ask_short]);
    for template in templates {
        let text = fill(template, &[("agent", &agent), ("desk", &desk)]);
        if segments(&text).count == 1 {
            return text;
        }
    }
    truncated(&sms.ask_short, &desk)
}

/// The text with as much of the desk's name as fits.
fn truncated(template: &str, desk: &str) -> String {
    let mut kept: Vec<char> = desk.chars().collect();
    loop {
        let name: String = kept.iter().collect();
        // A cut must not leave a joiner or a variation selector without what it belongs to.
        let name = name.trim_end_matches(|c: char| {
            c.is_whitespace() || "\u{200d}\u{fe0e}\u{fe0f}".contains(c)
        });
        let text = fill(template, &[("desk", name)]);
        if segments(&text).count == 1 || kept.pop().is_none() {
            return text;
        }
    }
}

/// A name without what costs room and says nothing: typographic marks become their plain forms, which keeps the whole message
/// in GSM-7; control characters and runs of blanks become one blank.
fn plain(name: &str) -> String {
    let mapped: String = name
        .chars()
        .map(|c| match c {
            '‘' | '’' | '‚' | '′' | '`' | '´' => '\'',
            '“' | '”' | '„' | '″' => '"',
            '‐' | '‑' | '–' | '—' | '−' => '-',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    mapped.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_counted_as_the_networks_count_it() {
        use Encoding::{Gsm7, Ucs2};
        for (text, encoding, units, count) in [
            ("", Gsm7, 0, 1),
            ("Grüße für Ñandú", Ucs2, 15, 1),
            ("Grüße für Ñandu", Gsm7, 15, 1),
            ("{€}", Gsm7, 6, 1),
            ("\u{1F600}", Ucs2, 2, 1),
            (&"a".repeat(160), Gsm7, 160, 1),
            (&"a".repeat(161), Gsm7, 161, 2),
            (&"€".repeat(80), Gsm7, 160, 1),
            (&"€".repeat(81), Gsm7, 162, 2),
            (&"\u{1F600}".repeat(35), Ucs2, 70, 1),
            (&"\u{1F600}".repeat(36), Ucs2, 72, 2),
            (&"ж".repeat(135), Ucs2, 135, 3),
        ] {
            assert_eq!(
                segments(text),
                Segments {
                    encoding,
                    units,
                    count
                },
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_ask_names_everything_if_it_fits() {
        let english = wording::of("en");
        assert_eq!(
            text(english, "Sam", "Acme IT"),
            "Acme IT: how was your service with Sam? Reply with one digit, 1 (very poor) to 5 (excellent). Reply STOP to opt out."
        );
        assert!(text(english, "", "Acme IT").starts_with("Acme IT: how was our service?"));
        assert_eq!(
            text(english, "Łukasz", "Acme"),
            "Acme: rate Łukasz, 1 very poor to 5 excellent. STOP: no more"
        );
        assert!(
            text(english, "Ana O’Brien", "Acme")
                .starts_with("Acme: how was your service with Ana O'Brien?")
        );
        let long = text(english, &"Ж".repeat(80), "Acme IT");
        assert!(long.starts_with("Acme IT: how was our service?"), "{long}");
    }

    #[test]
    fn every_language_says_the_scale_and_how_to_stop_without_leaving_gsm7() {
        for wording in wording::all() {
            let sms = &wording.sms;
            for template in [
                &sms.ask_agent,
                &sms.ask_agent_short,
                &sms.ask_desk,
                &sms.ask_short,
            ] {
                let text = fill(template, &[("agent", "Sam"), ("desk", "Acme")]);
                assert_eq!(segments(&text).encoding, Encoding::Gsm7, "{text}");
                for part in ["STOP", "1", "5", &wording.scale[0], &wording.scale[4]] {
                    assert!(text.contains(part), "{part} is missing in: {text}");
                }
            }
            // What is left for a name in the narrowest case: a message of 70 units.
            assert!(
                segments(&fill(&sms.ask_short, &[("desk", "")])).units <= 58,
                "{}",
                sms.ask_short
            );
            let usual = fill(
                &sms.ask_agent,
                &[("agent", "Samantha"), ("desk", "Acme Service")],
            );
            assert_eq!(segments(&usual).count, 1, "{usual}");
        }
    }

    #[test]
    fn names_are_inserted_literally() {
        let text = text(wording::of("en"), "{desk}", "A\r\nB");
        assert!(
            text.starts_with("A B: how was your service with {desk}?"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn any_names_fit_one_message(agent in "\\PC{0,80}", desk in "\\PC{1,60}", wide in any::<bool>()) {
            let desk = if wide { format!("\u{1F468}\u{200D}\u{1F4BB}{desk}") } else { desk };
            for wording in wording::all() {
                prop_assert_eq!(segments(&text(wording, &agent, &desk)).count, 1);
            }
        }

        #[test]
        fn costly_names_fit_one_message(agent in "[a-zé€{}^]{0,80}", desk in "[a-z€{}^]{1,60}") {
            for wording in wording::all() {
                prop_assert_eq!(segments(&text(wording, &agent, &desk)).count, 1);
            }
        }
    }
}
