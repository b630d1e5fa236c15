//! Erasing one person at one desk. Scores and totals stay and say nothing of anybody; an opt-out stays as a keyed hash.

use super::Erased;
use crate::domain::contact::Address;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::request::State;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::dialect::{Sql, Value};
use crate::store::sql::Inner;
use crate::store::tx::Tx;

/// What of a request names a person or leads to one: also the hashes, because with the key they tell that two requests were made to
/// the same person, and its link.
macro_rules! anonymous {
    ($none:literal) => {
        concat!(
            "update requests set contact = ",
            $none,
            ", mail = '', metadata = 'null', timezone = '', address_hash = ",
            $none,
            ", contact_hash = ",
            $none,
            ", pair_key = ",
            $none,
            ", idempotency_key = ",
            $none,
            ", fingerprint = ",
            $none,
            ", link_hash = ",
            $none,
            ", listening = 0 where desk_id = $1 "
        )
    };
}

pub(super) use anonymous;

const OF_ADDRESS: Sql = Sql::both(
    "select id from requests where desk_id = $1 and address_hash = $2 order by due_at limit $3",
);
const ERASE: Sql = Sql::each(
    concat!(anonymous!("x''"), "and id = $2"),
    concat!(anonymous!("'\\x'"), "and id = $2"),
);
const REPLIES: Sql =
    Sql::both("select id, provider_id from replies where desk_id = $1 and request_id = $2");
/// The provider's id of a reply leads to the provider's record of it.
const ERASE_REPLY: Sql = Sql::each(
    "update replies set raw = x'', client = x'', provider_id = $4 where desk_id = $1 and request_id = $2 and provider_id = $3",
    "update replies set raw = '\\x', client = '\\x', provider_id = $4 where desk_id = $1 and request_id = $2 and provider_id = $3",
);
const ERASE_COMMENT: Sql = Sql::both(
    "update ratings set comment = '' where desk_id = $1 and request_id = $2 and comment <> ''",
);
/// What else tells of the person beside the score: their client of the page, and a manager's reason, which may name anybody.
const ERASE_RATING: Sql = Sql::each(
    "update ratings set client = x'', excluded_reason = '' where desk_id = $1 and request_id = $2",
    "update ratings set client = '\\x', excluded_reason = '' where desk_id = $1 and request_id = $2",
);
/// The acts stay, and who did them.
const ERASE_REASONS: Sql = Sql::both(
    "update rating_log set reason = '' where desk_id = $1 \
     and rating_id in (select id from ratings where desk_id = $1 and request_id = $2)",
);
/// SQLite would rather read all follow-ups of the desk.
const ERASE_NOTES: Sql = Sql::each(
    "update follow_ups indexed by follow_ups_request set told_note = '', close_note = '' where desk_id = $1 and request_id = $2",
    "update follow_ups set told_note = '', close_note = '' where desk_id = $1 and request_id = $2",
);
/// The condition is that of the index.
const ERASE_WORDS: Sql = Sql::each(
    "update events indexed by events_said set detail = x'' where desk_id = $1 and request_id = $2 and detail <> x''",
    "update events set detail = '\\x' where desk_id = $1 and request_id = $2 and detail <> '\\x'",
);
const ERASE_VIEWS: Sql = Sql::both("delete from views where desk_id = $1 and request_id = $2");
/// A second message that waits at the provider is still taken back by its id. Nothing else is looked for any more: there is nobody
/// to look for.
const ERASE_ATTEMPTS: Sql = Sql::each(
    "update attempts set provider_id = '', body_hash = x'', check_at = 0 where desk_id = $1 and request_id = $2 \
     and state not in ('dispatching', 'scheduled', 'revoking')",
    "update attempts set provider_id = '', body_hash = '\\x', check_at = 0 where desk_id = $1 and request_id = $2 \
     and state not in ('dispatching', 'scheduled', 'revoking')",
);
const ERASE_OPT_OUTS: Sql = Sql::each(
    "update opt_outs set contact = x'' where desk_id = $1 and address_hash = $2 and contact <> x''",
    "update opt_outs set contact = '\\x' where desk_id = $1 and address_hash = $2 and contact <> '\\x'",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("erase.of_address", OF_ADDRESS),
    ("erase.request", ERASE),
    ("erase.replies", REPLIES),
    ("erase.reply", ERASE_REPLY),
    ("erase.comment", ERASE_COMMENT),
    ("erase.rating", ERASE_RATING),
    ("erase.reasons", ERASE_REASONS),
    ("erase.notes", ERASE_NOTES),
    ("erase.words", ERASE_WORDS),
    ("erase.views", ERASE_VIEWS),
    ("erase.attempts", ERASE_ATTEMPTS),
    ("erase.opt_outs", ERASE_OPT_OUTS),
];

impl Inner {
    pub(super) async fn erase(
        &self,
        desk: DeskId,
        address: &Address,
        now: Timestamp,
        limit: i64,
    ) -> Result<Erased, StoreError> {
        let hash = self.address_hash(address);
        let mut tx = self.database.begin().await?;
        let mut erased = Erased::default();
        let values = [
            Value::Id(desk.uuid()),
            Value::Bytes(&hash),
            Value::Int(limit),
        ];
        for row in tx.rows(OF_ADDRESS, &values).await? {
            let id = RequestId::from_uuid(row.id("id")?);
            self.erase_request(&mut tx, desk, id, now, &mut erased)
                .await?;
        }
        let values = [Value::Id(desk.uuid()), Value::Bytes(&hash)];
        erased.opt_outs = tx.execute(ERASE_OPT_OUTS, &values).await?;
        tx.commit().await?;
        Ok(erased)
    }

    async fn erase_request(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        id: RequestId,
        now: Timestamp,
        erased: &mut Erased,
    ) -> Result<(), StoreError> {
        let Some(mut held) = self.lock_id(tx, desk, id).await? else {
            return Ok(());
        };
        if held.request.state.admits(State::Cancelled) {
            self.end(tx, &mut held, State::Cancelled, now).await?;
            erased.cancelled += 1;
        }
        let keys = [Value::Id(desk.uuid()), Value::Id(id.uuid())];
        for row in tx.rows(REPLIES, &keys).await? {
            let (provider_id, reply) =
                (row.text("provider_id")?, row.id("id")?.simple().to_string());
            let values = [
                keys[0],
                keys[1],
                Value::Text(&provider_id),
                Value::Text(&reply),
            ];
            erased.replies += tx.execute(ERASE_REPLY, &values).await?;
        }
        erased.comments += tx.execute(ERASE_COMMENT, &keys).await?;
        for sql in [
            ERASE_RATING,
            ERASE_REASONS,
            ERASE_NOTES,
            ERASE_WORDS,
            ERASE_VIEWS,
            ERASE_ATTEMPTS,
        ] {
            tx.execute(sql, &keys).await?;
        }
        self.keep_link(tx, &keys).await?;
        erased.requests += tx.execute(ERASE, &keys).await?;
        Ok(())
    }
}
