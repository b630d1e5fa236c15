//! Text messages: STOP first, then a score, then words.

use crate::channel::{reading, wording};
use crate::domain::contact::Address;
use crate::domain::rating::Grade;
use crate::domain::reply::{Effect, Reply, ReplyKind, Understood};
use crate::domain::request::{Channel, State};
use crate::domain::time::Timestamp;
use crate::journey::Journey;
use crate::provider::{Answer, Provider};
use crate::store::{Find, NewReply, Pair, Replied, StoreError};

/// A text message that came in.
pub(in crate::journey) struct Text<'a> {
    /// Between whom, under each of our names.
    pub(in crate::journey) pairs: Vec<Pair>,
    /// The words.
    pub(in crate::journey) body: &'a str,
    /// The provider's id.
    pub(in crate::journey) message_id: &'a str,
    /// When it was sent, if that is known.
    pub(in crate::journey) at: Option<Timestamp>,
}

/// Our names and theirs.
pub(in crate::journey) fn pairs(channel: &Channel, theirs: &Address, ours: &[String]) -> Vec<Pair> {
    let pair = |ours: &String| Pair {
        channel: channel.clone(),
        ours: ours.clone(),
        theirs: theirs.clone(),
    };
    ours.iter().map(pair).collect()
}

impl Journey {
    /// Takes a text and says what to answer.
    pub(super) async fn text(
        &self,
        provider: &dyn Provider,
        text: &Text<'_>,
    ) -> Result<Answer, StoreError> {
        let Some(replied) = self.take_text(provider, text).await? else {
            return Ok(Answer::Silence);
        };
        let back = text_back(provider, text.body, &replied);
        Ok(back.map_or(Answer::Silence, Answer::Text))
    }

    /// Records a text with the first of its pairs that a request holds.
    pub(in crate::journey) async fn take_text(
        &self,
        provider: &dyn Provider,
        text: &Text<'_>,
    ) -> Result<Option<Replied>, StoreError> {
        let understood = reading::text(text.body);
        let reply = Reply {
            kind: ReplyKind::Text,
            provider_id: text.message_id.to_owned(),
            raw: text.body.to_owned(),
            grade: Grade::Channel,
            at: self.clock.now(),
        };
        let (name, id) = (provider.name(), text.message_id);
        // Read again in a list, a text must not undo what the contact has said since.
        if text.at.is_some() && self.store.is_stray(name, id).await? {
            return Ok(None);
        }
        let mut replied = None;
        for pair in &text.pairs {
            let new = NewReply {
                find: Find::Pair(pair.clone()),
                reply: reply.clone(),
                understood: understood.clone(),
                window_ms: self.rules.correction_ms,
                sent_at: text.at,
            };
            replied = self.store.record_reply(new).await?;
            if replied.is_some() {
                break;
            }
        }
        let wish = matches!(understood, Understood::Stop | Understood::Start);
        let waited_for = replied.is_some();
        if !waited_for {
            replied = self.unheard(name, text, reply, understood).await?;
        }
        if replied.is_none() {
            self.metrics
                .hooks
                .with_label_values(&[name, "unmatched"])
                .inc();
        }
        // A wish is remembered even if it ended a request: afterwards that request hears nothing any more.
        if !waited_for || wish {
            self.store.add_stray(name, id, self.clock.now()).await?;
        }
        Ok(replied)
    }
}

/// The text message back, if any. One confirmation of STOP in all: where the provider confirms, we say nothing.
fn text_back(provider: &dyn Provider, body: &str, replied: &Replied) -> Option<String> {
    if replied.repeated {
        return None;
    }
    let words = wording::for_request(&replied.request, &replied.desk.settings);
    let named = |text: &str| wording::fill(text, &[("desk", &replied.desk.name)]);
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
