//! What is kept of a reply as it came, and whether it can be an answer to its request at all.

use super::StoreError;
use super::bulk::owned;
use super::dialect::{Sql, Value};
use super::lock::Held;
use super::row::place;
use super::sql::Inner;
use super::tapped::{Weighed, score_of};
use super::tx::Tx;
use crate::domain::id::ReplyId;
use crate::domain::reply::Effect;
use crate::domain::request::Request;
use crate::domain::time::Timestamp;

/// When the first attempt began that may have reached the contact.
const ASKED_AT: Sql = Sql::both(
    "select cast(coalesce(min(started_at), 0) as bigint) as at from attempts where desk_id = $1 and request_id = $2 \
     and state <> 'not_processed'",
);
/// Providers stamp whole seconds, and clocks are compared by whole seconds.
const STAMP_MS: i64 = 2_000;

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("kept.asked_at", ASKED_AT)];

impl Inner {
    /// Whether the request may have been with the contact at that time.
    pub(super) async fn asked_by(
        &self,
        tx: &mut Tx,
        held: &Held,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let keys = [
            Value::Id(held.request.desk.uuid()),
            Value::Id(held.request.id.uuid()),
        ];
        let first = tx.row(ASKED_AT, &keys).await?;
        let first = first.map_or(Ok(0), |row| row.int("at"))?;
        Ok(first > 0 && first <= at.as_millis() + STAMP_MS)
    }

    pub(super) fn keep_reply(
        &self,
        tx: &mut Tx,
        request: &Request,
        weighed: &Weighed<'_>,
        effect: &Effect,
    ) {
        let new = &weighed.new;
        let id = ReplyId::new(new.reply.at, self.random());
        let raw = self.keys.seal(
            self.entropy.as_ref(),
            &place("replies.raw", request.desk, id.uuid()),
            new.reply.raw.as_bytes(),
        );
        let values = [
            Value::Id(request.desk.uuid()),
            Value::Id(request.id.uuid()),
            Value::Text(&new.reply.provider_id),
            Value::Id(id.uuid()),
            Value::Text(new.reply.kind.as_str()),
            Value::Text(new.reply.grade.as_str()),
            Value::Bytes(&raw),
            Value::Text(effect.as_str()),
            Value::Int(new.reply.at.as_millis()),
            Value::Int(score_of(&new.understood)),
            Value::Bytes(weighed.client.as_ref().map_or(&[], |client| &client[..])),
            Value::Text(&weighed.signs),
        ];
        tx.pending.replies.push(owned(&values));
        tx.pending.answered.push(request.id.uuid());
    }
}
