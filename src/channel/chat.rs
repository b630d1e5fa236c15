//! Chats. The ask is plain data in the answer to the trigger: the desk's own chat shows it, or our widget does.

use super::{Address, AddressError, Ask, Button, Buttons, Carriage, Channel, Message, Tells};

/// The channel `chat`.
#[derive(Debug, Clone, Copy)]
pub struct Chat;

impl Channel for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn description(&self) -> &'static str {
        "five buttons below the conversation"
    }

    /// One: the button.
    fn taps(&self) -> u8 {
        1
    }

    fn address(&self, raw: &str) -> Result<Address, AddressError> {
        Address::handle(raw)
    }

    fn carriage(&self) -> Carriage {
        Carriage::Answer
    }

    /// The chat tells when it shows the ask.
    fn tells(&self) -> Tells {
        Tells {
            delivered: true,
            reached: true,
        }
    }

    fn reply_names_request(&self) -> bool {
        true
    }

    fn render(&self, ask: &Ask<'_>) -> Message {
        let wording = ask.wording();
        Message::Buttons(Buttons {
            text: wording.chat.question.about(ask.agent, ask.desk),
            buttons: (1..)
                .zip(&wording.scale)
                .map(|(score, word)| Button {
                    score,
                    label: word.clone(),
                })
                .collect(),
            url: ask.post_url.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ask, contact};
    use super::*;

    #[test]
    fn the_ask_is_five_labelled_buttons_and_where_to_post() {
        let contact = contact();
        let Message::Buttons(buttons) = Chat.render(&ask(&contact)) else {
            panic!("a chat shows buttons")
        };
        assert_eq!(buttons.text, "How was your service with Sam?");
        assert_eq!(buttons.url, "https://r.example.com/w/TOKEN");
        let labels: Vec<_> = buttons
            .buttons
            .iter()
            .map(|button| (button.score, button.label.as_str()))
            .collect();
        assert_eq!(
            labels,
            [
                (1, "very poor"),
                (2, "poor"),
                (3, "okay"),
                (4, "good"),
                (5, "excellent")
            ]
        );
    }
}
