//! Calls. The provider speaks the prompt and listens for one key, in a call of ours or in a call that is still going on.

use super::wording;
use super::{Address, AddressError, Ask, Carriage, Channel, Message, Tells};

/// The channel `voice`.
#[derive(Debug, Clone, Copy)]
pub struct Voice;

impl Channel for Voice {
    fn name(&self) -> &'static str {
        "voice"
    }

    fn description(&self) -> &'static str {
        "a spoken question that is answered with one key"
    }

    /// One: the key. Taking the call belongs to any call and is not counted.
    fn taps(&self) -> u8 {
        1
    }

    /// A live call's id, or a number to call back.
    fn address(&self, raw: &str) -> Result<Address, AddressError> {
        if raw.starts_with("CA") {
            Address::call(raw)
        } else {
            Address::phone(raw)
        }
    }

    fn carriage(&self) -> Carriage {
        Carriage::Provider
    }

    /// The prompt begins when somebody took the call.
    fn tells(&self) -> Tells {
        Tells {
            delivered: true,
            reached: true,
        }
    }

    fn reply_names_request(&self) -> bool {
        true
    }

    fn render(&self, _ask: &Ask<'_>) -> Message {
        Message::Call
    }
}

/// The words of the prompt, and the tag of the voice that speaks them.
pub(super) fn prompt(ask: &Ask<'_>) -> (String, String) {
    let wording = ask.wording();
    (
        wording::spoken(&wording.voice.question.about(ask.agent, ask.desk)),
        wording.voice.language.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::ask;
    use super::*;
    use crate::domain::contact::AddressKind;

    #[test]
    fn a_live_call_and_a_number_are_addresses() {
        let live = format!("CA{}", "0a".repeat(16));
        assert_eq!(Voice.address(&live).unwrap().kind(), AddressKind::Call);
        assert_eq!(
            Voice.address("+14155550123").unwrap().kind(),
            AddressKind::Phone
        );
        assert!(
            Voice
                .address("CA12")
                .unwrap_err()
                .to_string()
                .contains("call id")
        );
        assert!(Voice.address("ana@example.com").is_err());
    }

    #[test]
    fn the_prompt_says_the_scale_in_the_contacts_language() {
        for (language, tag) in [
            ("", "en-US"),
            ("es-MX", "es-ES"),
            ("de", "de-DE"),
            ("fr-CA", "fr-FR"),
            ("pt", "pt-BR"),
            ("nl-BE", "nl-NL"),
            ("it", "it-IT"),
        ] {
            let contact = super::super::tests::contact();
            let (words, spoken) = prompt(&Ask {
                language,
                ..ask(&contact)
            });
            assert_eq!(spoken, tag);
            let scale = &wording::of(language).scale;
            for part in ["Acme IT", "Sam", "1", "5", &scale[0], &scale[4]] {
                assert!(words.contains(part), "{part} is missing in: {words}");
            }
        }
    }
}
