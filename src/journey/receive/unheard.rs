//! Texts that no request waits for: a wish is heard all the same and answered once, and what comes while an answer may still be
//! corrected belongs to that answer, although a newer ask waits for its time.

use super::text::Text;
use crate::domain::reply::{Reply, Understood};
use crate::domain::request::State;
use crate::journey::Journey;
use crate::store::{Find, NewReply, Replied, StoreError, Wish};

impl Journey {
    /// Takes a text of this provider that no request waits for. `None` if it belongs to nobody.
    pub(super) async fn unheard(
        &self,
        provider: &str,
        text: &Text<'_>,
        reply: Reply,
        understood: Understood,
    ) -> Result<Option<Replied>, StoreError> {
        let said_at = text.at.unwrap_or(reply.at);
        match understood {
            Understood::Stop | Understood::Start | Understood::Help => {
                // A provider that did not get our answer tells it again. It is one wish.
                if self.store.is_stray(provider, text.message_id).await? {
                    return Ok(None);
                }
                let wish = Wish {
                    pairs: text.pairs.clone(),
                    understood,
                    said_at,
                    now: reply.at,
                };
                self.store.hear(&wish).await
            }
            Understood::Reaction => Ok(None),
            Understood::Rating(..) | Understood::Words(_) => {
                let Some(request) = self.store.last_asked(&text.pairs).await? else {
                    return Ok(None);
                };
                let desk = self.desk_of(&request).await?;
                let window = desk.settings.answers.window_ms(self.rules.correction_ms);
                let answered = request.history.answered_at;
                let answered = answered.filter(|_| request.state == State::Answered);
                if answered.is_none_or(|at| said_at > at.plus_millis(window)) {
                    return Ok(None);
                }
                let new = NewReply {
                    find: Find::Request(request.desk, request.id),
                    reply,
                    understood,
                    window_ms: self.rules.correction_ms,
                    sent_at: text.at,
                };
                self.store.record_reply(new).await
            }
        }
    }
}
