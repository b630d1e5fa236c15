//! Replies of a batch as a set: their requests are read and locked in one statement, and saved in one.
//!
//! Each reply is weighed by itself all the same, exactly as one that came alone. What is not plain goes one by one afterwards: a
//! second reply between the same addresses, a wish, what was fetched from a list, and whatever the one look did not find as it
//! should be.

use std::collections::{HashMap, HashSet};

use super::bulk::{Insert, four};
use super::dialect::{Sql, Value};
use super::lock::{Answered, answer_columns};
use super::row::request_columns;
use super::sql::Inner;
use super::tx::Tx;
use super::write::{Write, Written};
use super::{Find, NewReply, StoreError};
use crate::domain::reply::Understood;
use crate::domain::request::State;

/// The requests between pairs of addresses, each for the reply with the identifier at the same place. Locked in one order by
/// whoever locks many, so that two cannot wait for each other. PostgreSQL takes an index that it counted while nobody was asked for
/// empty, and would read all that is open for each reply (seen: 50 replies/s): each pair is looked up first, and then its row by its key.
const ANSWERED_PAIRS: Sql = Sql::each(
    concat!(
        "select ",
        request_columns!(),
        ", requests.pair_key",
        answer_columns!("($2 ->> json_each.key)"),
        " from json_each($1) cross join requests on requests.pair_key = unhex(json_each.value) and requests.listening = 1 \
         left join ratings g on g.desk_id = requests.desk_id and g.request_id = requests.id"
    ),
    concat!(
        "with k as materialized (select r.desk_id, r.id, u.sent from unnest($1::bytea[], $2::text[]) u(pair, sent) \
         cross join lateral (select desk_id, id from requests where requests.pair_key = u.pair and requests.listening = 1 offset 0) r) \
         select ",
        request_columns!(),
        ", requests.pair_key",
        answer_columns!("k.sent"),
        " from k join requests on requests.desk_id = k.desk_id and requests.id = k.id and requests.listening + 0 = 1 \
         left join ratings g on g.desk_id = requests.desk_id and g.request_id = requests.id \
         order by requests.id for update of requests"
    ),
);

macro_rules! save {
    ($rows:expr) => {
        concat!(
            "update or fail requests set state = t.column3, reason = t.column4, sent_at = t.column5, delivered_at = t.column6, \
             reached_at = t.column7, answered_at = t.column8, ended_at = t.column9, delivery = t.column10, \
             delivery_code = t.column11, attempts = t.column12, next_at = t.column13, listening = t.column14, \
             listen_until = t.column15, lease_until = 0 from (values ",
            $rows,
            ") t where requests.desk_id = t.column1 and requests.id = t.column2"
        )
    };
}

/// What [`Inner::save`] saves, of several requests.
const SAVE_ALL: Insert = Insert {
    sqlite: [
        (1, save!("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")),
        (
            4,
            save!(four!("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")),
        ),
        (
            16,
            save!(four!(four!(
                "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            ))),
        ),
        (
            64,
            save!(four!(four!(four!(
                "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            )))),
        ),
    ],
    postgres: "update requests set state = t.state, reason = t.reason, sent_at = t.sent_at, delivered_at = t.delivered_at, \
               reached_at = t.reached_at, answered_at = t.answered_at, ended_at = t.ended_at, delivery = t.delivery, \
               delivery_code = t.delivery_code, attempts = t.attempts, next_at = t.next_at, listening = t.listening, \
               listen_until = t.listen_until, lease_until = 0 from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], \
               $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], \
               $13::bigint[], $14::bigint[], $15::bigint[]) t (desk_id, id, state, reason, sent_at, delivered_at, reached_at, \
               answered_at, ended_at, delivery, delivery_code, attempts, next_at, listening, listen_until) \
               where requests.desk_id = t.desk_id and requests.id = t.id and t.listening between 0 and 1",
};

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("replies.answered_pairs", ANSWERED_PAIRS),
    ("replies.save", SAVE_ALL.one()),
    ("replies.save_many", SAVE_ALL.many()),
];

impl Inner {
    /// Takes the plain replies of a batch; the places in `all` of the others stay empty.
    pub(super) async fn take_replies(
        &self,
        tx: &mut Tx,
        writes: &[&Write],
        all: &mut [Option<Written>],
    ) -> Result<(), StoreError> {
        let plain = self.plain(writes);
        // One alone is read as it ever was.
        if plain.len() < 2 {
            return Ok(());
        }
        let mut answered = self.lock_pairs(tx, &plain).await?;
        tx.pending.saves = Some(Vec::with_capacity(plain.len()));
        for (at, key, new) in plain {
            let Some(answered) = answered.remove(&key) else {
                continue;
            };
            let replied = self.reply_to(tx, new, None, answered).await?;
            if let Some(place) = all.get_mut(at) {
                *place = Some(Written::Replied(replied.map(Box::new)));
            }
        }
        let saves = tx.pending.saves.take().unwrap_or_default();
        let wanted = saves.len() as u64;
        if tx.insert_all(SAVE_ALL, saves).await? == wanted {
            Ok(())
        } else {
            Err(StoreError::Conflict)
        }
    }

    /// Scores and words between two addresses that came just now, of each pair the first: with their places in the batch.
    fn plain<'a>(&self, writes: &[&'a Write]) -> Vec<(usize, [u8; 16], &'a NewReply)> {
        let mut seen = HashSet::new();
        let mut plain = Vec::new();
        for (at, write) in writes.iter().enumerate() {
            let Write::Reply(new) = write else { continue };
            let Find::Pair(pair) = &new.find else {
                continue;
            };
            let is_plain = matches!(
                new.understood,
                Understood::Rating(..) | Understood::Words(_)
            );
            let key = self.pair_key(pair, None);
            if seen.insert(key) && is_plain && new.sent_at.is_none() {
                plain.push((at, key, new.as_ref()));
            }
        }
        plain
    }

    async fn lock_pairs(
        &self,
        tx: &mut Tx,
        plain: &[(usize, [u8; 16], &NewReply)],
    ) -> Result<HashMap<[u8; 16], Answered>, StoreError> {
        let keys: Vec<[u8; 16]> = plain.iter().map(|(_, key, _)| *key).collect();
        let sent = plain.iter().map(|(.., new)| new.reply.provider_id.as_str());
        let sent: Vec<&str> = sent.collect();
        let values = [Value::Set(&keys), Value::Words(&sent)];
        let mut found = HashMap::with_capacity(plain.len());
        for row in tx.rows(ANSWERED_PAIRS, &values).await? {
            // Somebody wrote an answer while PostgreSQL waited for the lock: it has to be read again.
            if row.int("score")? == 0 && row.text("state")? == State::Answered.as_str() {
                continue;
            }
            let key = row.bytes("pair_key")?.try_into();
            let key = key.map_err(|_| StoreError::Corrupt("pair_key: not 16 bytes".to_owned()))?;
            found.insert(key, self.answered(&row)?);
        }
        Ok(found)
    }
}
