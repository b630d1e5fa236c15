//! Text messages: STOP first, then a score, then words.

use super::language;
use crate::channel::{reading, wording};
use crate::domain::desk::Desk;
use crate::domain::rating::Grade;
use crate::domain::reply::{Effect, Reply, ReplyKind, Understood};
use crate::domain::request::State;
use crate::journey::Journey;
use crate::provider::{Answer, Provider};
use crate::store::{Find, NewReply, Pair, Replied, StoreError};

impl Journey {
    /// A text that came for one of these pairs: the first that a request holds.
    pub(super) async fn text(
        &self,
        provider: &dyn Provider,
        pairs: &[Pair],
        body: &str,
        message_id: &str,
    ) -> Result<Answer, StoreError> {
        let understood = reading::text(body);
        let reply = Reply {
            kind: ReplyKind::Text,
            provider_id: message_id.to_owned(),
            raw: body.to_owned(),
            grade: Grade::Channel,
            at: self.clock.now(),
        };
        let mut replied = None;
        for pair in pairs {
            let new = NewReply {
                find: Find::Pair(pair.clone()),
                reply: reply.clone(),
                understood: understood.clone(),
                window_ms: self.rules.correction_ms,
            };
            replied = self.store.record_reply(new).await?;
            if replied.is_some() {
                break;
            }
        }
        let Some(replied) = replied else {
            if let Some(pair) = pairs.first() {
                self.wish(pair, &understood).await?;
            }
            self.metrics
                .hooks
                .with_label_values(&[provider.name(), "unmatched"])
                .inc();
            return Ok(Answer::Silence);
        };
        let desk = self.desk_of(&replied.request).await?;
        Ok(text_back(provider, body, &replied, &desk).map_or(Answer::Silence, Answer::Text))
    }

    /// Nobody waits for this text. A wish not to be written to is heard all the same.
    async fn wish(&self, pair: &Pair, understood: &Understood) -> Result<(), StoreError> {
        match understood {
            Understood::Stop => {
                let now = self.clock.now();
                self.store.opt_out(&pair.channel, &pair.theirs, now).await
            }
            Understood::Start => self
                .store
                .opt_in(&pair.channel, &pair.theirs)
                .await
                .map(|_| ()),
            Understood::Help | Understood::Rating(..) | Understood::Words(_) => Ok(()),
        }
    }
}

/// The text message back, if any. One confirmation of STOP in all: where the provider confirms, we say nothing.
fn text_back(
    provider: &dyn Provider,
    body: &str,
    replied: &Replied,
    desk: &Desk,
) -> Option<String> {
    if replied.repeated {
        return None;
    }
    let words = wording::of(language(&replied.request, desk));
    let named = |text: &str| wording::fill(text, &[("desk", &desk.name)]);
    let by_us = !provider.answers_itself(body);
    match &replied.effect {
        Effect::Rated(score, comment) if comment.is_empty() => {
            Some(words.with_score(&words.sms.thanks_invite, score.get()))
        }
        Effect::Rated(..) => Some(words.sms.thanks_full.clone()),
        Effect::Changed(score, _) => {
            Some(words.with_score(&words.sms.thanks_correction, score.get()))
        }
        Effect::Commented(_) => Some(words.sms.thanks_comment.clone()),
        Effect::OptedOut => by_us.then(|| named(&words.sms.stopped)),
        Effect::OptedIn => by_us.then(|| named(&words.sms.started)),
        Effect::Helped => by_us.then(|| named(&words.sms.help)),
        // One clarification at most, and only while an answer is awaited.
        Effect::Unrecognized(_) => {
            let awaited =
                replied.request.state != State::Answered && replied.request.state.is_open();
            (awaited && !replied.unclear_before).then(|| words.sms.clarify.clone())
        }
        Effect::Nothing => None,
    }
}
