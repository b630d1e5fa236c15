//! Mail that came back: a mail server's news, a complaint, a machine's note, or the contact's own words. Whatever it is, no
//! mail is ever sent for it: two machines that answer each other would never end.

use crate::channel::reading;
use crate::domain::contact::Address;
use crate::domain::delivery::Status;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::rating::{Grade, clean_comment};
use crate::domain::reply::{Reply, ReplyKind, Understood};
use crate::domain::request::{Request, State};
use crate::journey::Journey;
use crate::provider::{Answer, Provider, Returned};
use crate::store::{Find, NewReply, StoreError};

impl Journey {
    /// A mail that came back. What it was is counted; one that is about nothing of ours is not kept.
    pub(super) async fn mail(
        &self,
        provider: &dyn Provider,
        refers_to: &[String],
        id: &str,
        returned: &Returned,
    ) -> Result<Answer, StoreError> {
        let result = match returned {
            Returned::Automatic => "automatic",
            Returned::News(_) | Returned::Complaint | Returned::Answer { .. } => {
                match self.named(refers_to).await? {
                    Some((mail, request)) => self.returned(&mail, &request, id, returned).await?,
                    None => "unmatched",
                }
            }
        };
        let hooks = &self.metrics.hooks;
        hooks.with_label_values(&[provider.name(), result]).inc();
        Ok(Answer::Silence)
    }

    /// The first request that one of these Message-IDs proves to name, and our Message-ID as we sent it.
    async fn named(&self, refers_to: &[String]) -> Result<Option<(String, Request)>, StoreError> {
        let ours = |mail: &String| -> Option<(DeskId, RequestId)> {
            let (name, _) = mail.split_once('@')?;
            self.mint.read_mail(name)
        };
        for mail in refers_to {
            let Some((desk, request)) = ours(mail) else {
                continue;
            };
            let find = Find::Request(desk, request);
            if let Some((request, _)) = self.store.find(&find).await? {
                return Ok(Some((format!("<{mail}>"), request)));
            }
        }
        Ok(None)
    }

    async fn returned(
        &self,
        mail: &str,
        request: &Request,
        id: &str,
        returned: &Returned,
    ) -> Result<&'static str, StoreError> {
        match returned {
            Returned::News(status) => self.news(mail, request, status).await,
            Returned::Complaint => {
                self.reply(request, id, "complaint", Understood::Stop)
                    .await?;
                Ok("complaint")
            }
            Returned::Automatic => Ok("automatic"),
            Returned::Answer { from, words } => self.answered(request, id, from, words).await,
        }
    }

    /// News is about the attempt that was made last: all attempts carry the same Message-ID.
    async fn news(
        &self,
        mail: &str,
        request: &Request,
        status: &Status,
    ) -> Result<&'static str, StoreError> {
        // Who has read the mail has it, whatever some server on the way says afterwards.
        let late = matches!(status, Status::Failed { .. })
            && matches!(
                request.state,
                State::Delivered | State::Reached | State::Answered
            );
        let token = self.mint.attempt(request.id, request.attempts);
        if late || !self.settle(&token, mail, status.clone()).await? {
            return Ok("too_late");
        }
        Ok(match status {
            Status::Taken => "on_its_way",
            Status::Delivered => "delivered",
            Status::Failed { .. } => "bounced",
        })
    }

    async fn answered(
        &self,
        request: &Request,
        id: &str,
        from: &Address,
        words: &str,
    ) -> Result<&'static str, StoreError> {
        // Whoever the mail was forwarded to may have an opinion too; the rating is the contact's.
        if from.lookup_form() != request.contact.address.lookup_form() {
            return Ok("not_the_contact");
        }
        if words.is_empty() {
            return Ok("empty");
        }
        let replied = self.reply(request, id, words, understand(words)).await?;
        Ok(if replied { "answer" } else { "repeated" })
    }

    /// Records it. Whether it is new.
    async fn reply(
        &self,
        request: &Request,
        id: &str,
        raw: &str,
        understood: Understood,
    ) -> Result<bool, StoreError> {
        let reply = Reply {
            kind: ReplyKind::Mail,
            provider_id: id.to_owned(),
            raw: raw.to_owned(),
            grade: Grade::Channel,
            at: self.clock.now(),
        };
        let new = NewReply {
            find: Find::Request(request.desk, request.id),
            reply,
            understood,
            window_ms: self.rules.correction_ms,
            sent_at: None,
        };
        let replied = self.store.record_reply(new).await?;
        Ok(replied.is_some_and(|replied| !replied.repeated))
    }
}

/// Reads a mail as a text message is read. People write mails with a greeting, with a score on a line of its own and with
/// further paragraphs, so where the whole says nothing clear, the first paragraph may.
fn understand(words: &str) -> Understood {
    let words = match words.trim().split_once('\n') {
        Some((line, after)) if greets(line) => after.trim(),
        _ => words.trim(),
    };
    let (first, after) = words.split_once("\n\n").unwrap_or((words, ""));
    let (score, comment) = match reading::text(words) {
        Understood::Rating(score, comment) => (score, comment),
        Understood::Words(_) => match reading::text(first) {
            Understood::Stop => return Understood::Stop,
            Understood::Rating(score, comment) => (score, format!("{comment}\n{}", after.trim())),
            // A mail that begins with "Help" or "Start" and goes on is about something else.
            Understood::Start | Understood::Help | Understood::Reaction | Understood::Words(_) => {
                return Understood::Words(clean_comment(words));
            }
        },
        // Mail programs put their reactions apart; in a mail, such words are words.
        Understood::Reaction => return Understood::Words(clean_comment(words)),
        command @ (Understood::Stop | Understood::Start | Understood::Help) => return command,
    };
    Understood::Rating(score, clean_comment(&comment))
}

/// `Hello Sam,`: a short line without a number that begins with a word of greeting.
fn greets(line: &str) -> bool {
    const WORDS: &[&str] = &[
        "hi", "hello", "hey", "dear", "hallo", "guten", "moin", "liebe", "lieber", "hola",
        "buenos", "buenas", "bonjour", "sehr",
    ];
    let words: Vec<String> = line.split_whitespace().map(str::to_lowercase).collect();
    let first = words
        .first()
        .map_or("", |word| word.trim_end_matches([',', '!', '.']));
    words.len() <= 6 && WORDS.contains(&first) && !line.chars().any(char::is_numeric)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rating::Score;

    fn rated(words: &str) -> Option<(u8, String)> {
        match understand(words) {
            Understood::Rating(score, comment) => Some((Score::get(score), comment)),
            Understood::Stop
            | Understood::Start
            | Understood::Help
            | Understood::Reaction
            | Understood::Words(_) => None,
        }
    }

    #[test]
    fn a_score_is_read_as_in_a_text_message_or_from_a_paragraph_of_its_own() {
        for (words, score, comment) in [
            ("5 great help", 5, "great help"),
            ("Hello,\n\n4", 4, ""),
            (
                "Hi Sam,\n2\n\nI had to call 3 times.",
                2,
                "I had to call 3 times.",
            ),
            (
                "5\n\nMy number is 0171 123456.",
                5,
                "My number is 0171 123456.",
            ),
        ] {
            assert_eq!(rated(words), Some((score, comment.to_owned())), "{words}");
        }
        for words in [
            "Hello,\n\nI waited 5 hours for 2 people.",
            "It is room 4.\n\n5 people are waiting.",
            "5 people are waiting.\n\nThanks",
            "",
        ] {
            assert_eq!(rated(words), None, "{words}");
        }
    }

    #[test]
    fn stop_is_heard_above_further_lines_and_help_only_alone() {
        assert_eq!(understand("STOP\n\nAna Example, floor 3"), Understood::Stop);
        assert_eq!(understand("help"), Understood::Help);
        let more = "Help\n\nThe printer on floor 3 burns.";
        assert_eq!(understand(more), Understood::Words(more.to_owned()));
    }

    #[test]
    fn long_words_are_cut_like_every_comment() {
        let words = "word ".repeat(900);
        let Understood::Words(kept) = understand(&words) else {
            panic!("words are words");
        };
        assert!(kept.chars().count() <= crate::domain::rating::COMMENT_MAX);
    }
}
