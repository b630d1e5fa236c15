//! Text messages. The ask always fits one GSM-7 message (or one UCS-2 message where a name needs it), because a second part
//! costs as much as the first and some networks deliver parts apart. It names who asks, who served, both ends of the scale
//! and how to stop; the longest wording that fits is taken.

use super::wording::segments::segments;
use super::wording::{Wording, fill, sms_has_link};
use super::{Address, AddressError, Ask, Carriage, Channel, Message, Tells};
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

    /// The provider reports a delivery; nobody reports that it was read.
    fn tells(&self) -> Tells {
        Tells {
            delivered: true,
            reached: false,
        }
    }

    fn reply_names_request(&self) -> bool {
        false
    }

    fn link_length(&self) -> LinkLength {
        LinkLength::Short
    }

    fn shows_link(&self, wording: &Wording) -> bool {
        sms_has_link(wording)
    }

    fn render(&self, ask: &Ask<'_>) -> Message {
        Message::Text(text(&ask.wording(), ask.agent, ask.desk, ask.rating_url))
    }
}

/// The longest ask that fits one message. A desk's own ask is sent whatever it takes: the desk was told what it costs.
fn text(wording: &Wording, agent: &str, desk: &str, link: &str) -> String {
    let (agent, desk) = (plain(agent), plain(desk));
    let sms = &wording.sms;
    let with_agent = [
        ("sms.ask_agent", &sms.ask_agent),
        ("sms.ask_agent_short", &sms.ask_agent_short),
    ];
    let templates = with_agent.into_iter().filter(|_| !agent.is_empty());
    for (key, template) in templates.chain([
        ("sms.ask_desk", &sms.ask_desk),
        ("sms.ask_short", &sms.ask_short),
    ]) {
        let text = fill(
            template,
            &[("agent", &agent), ("desk", &desk), ("link", link)],
        );
        if segments(&text).count == 1 || wording.is_own(key) {
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

    use super::super::tests::{ask, contact};
    use super::super::wording;
    use super::super::wording::segments::Encoding;
    use super::*;
    use crate::domain::wording::{WordingOverride, WordingOverrides};

    const LINK: &str = "https://r.example.com/r/TOKEN";

    #[test]
    fn the_ask_names_everything_if_it_fits() {
        let english = wording::of("en");
        assert_eq!(
            text(english, "Sam", "Acme IT", LINK),
            "Acme IT: how was your service with Sam? Reply with one digit, 1 (very poor) to 5 (excellent). Reply STOP to opt out."
        );
        assert!(text(english, "", "Acme IT", LINK).starts_with("Acme IT: how was our service?"));
        assert_eq!(
            text(english, "Łukasz", "Acme", LINK),
            "Acme: rate Łukasz, 1 very poor to 5 excellent. STOP: no more"
        );
        assert!(
            text(english, "Ana O’Brien", "Acme", LINK)
                .starts_with("Acme: how was your service with Ana O'Brien?")
        );
        let long = text(english, &"Ж".repeat(80), "Acme IT", LINK);
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
    fn a_desks_own_ask_is_sent_as_it_is_with_its_link() {
        let own = |text: String| {
            WordingOverrides(vec![WordingOverride {
                language: "en".to_owned(),
                touchpoint: "vpn".to_owned(),
                texts: [("sms.ask_agent".to_owned(), text)].into(),
            }])
        };
        let contact = contact();
        let short = own("{desk}: {agent}, 1 to 5? {link} STOP: no more".to_owned());
        let asked = |touchpoint: &str, overrides: &WordingOverrides| {
            let Message::Text(text) = Sms.render(&Ask {
                touchpoint,
                overrides,
                ..ask(&contact)
            }) else {
                panic!("a text is rendered")
            };
            text
        };
        assert_eq!(
            asked("vpn", &short),
            format!("Acme IT: Sam, 1 to 5? {LINK} STOP: no more")
        );
        assert!(asked("mail", &short).starts_with("Acme IT: how was your service with Sam?"));
        let long = asked("vpn", &own(format!("{{desk}}: {} STOP", "a".repeat(200))));
        assert_eq!(segments(&long).count, 2);
    }

    #[test]
    fn names_are_inserted_literally() {
        let text = text(wording::of("en"), "{desk}", "A\r\nB", LINK);
        assert!(
            text.starts_with("A B: how was your service with {desk}?"),
            "{text}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_names_fit_one_message(agent in "\\PC{0,80}", desk in "\\PC{1,60}", wide in any::<bool>()) {
            let desk = if wide { format!("\u{1F468}\u{200D}\u{1F4BB}{desk}") } else { desk };
            for wording in wording::all() {
                prop_assert_eq!(segments(&text(wording, &agent, &desk, LINK)).count, 1);
            }
        }

        #[test]
        fn costly_names_fit_one_message(agent in "[a-zé€{}^]{0,80}", desk in "[a-z€{}^]{1,60}") {
            for wording in wording::all() {
                prop_assert_eq!(segments(&text(wording, &agent, &desk, LINK)).count, 1);
            }
        }
    }
}
