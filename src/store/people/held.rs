//! Everything that a desk holds about one person, to be given out.

use super::{Held, HeldReply};
use crate::domain::contact::Address;
use crate::domain::id::DeskId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::dialect::{Row, Sql, Value};
use crate::store::reply::RATING;
use crate::store::row::{self, place, request_columns};
use crate::store::sql::Inner;

const REQUESTS: Sql = Sql::both(concat!(
    "select ",
    request_columns!(),
    " from requests where requests.desk_id = $1 and requests.address_hash = $2 \
     and (requests.due_at, requests.id) > ($3, $4) order by requests.due_at, requests.id limit $5"
));
const REPLIES: Sql = Sql::both(
    "select id, kind, grade, raw, effect, received_at from replies where desk_id = $1 and request_id = $2 \
     order by received_at, id",
);
const ATTEMPTS: Sql = Sql::both(
    "select n, provider, provider_id, state, started_at, body_hash, send_at, looks, absent, absent_since from attempts \
     where desk_id = $1 and request_id = $2 order by n",
);
macro_rules! follow_ups {
    ($hint:literal) => {
        concat!(
            "select id as follow_id, rating_id, request_id, score as low_score, state as follow_state, owner, told_note, \
             close_note, closed_by, opened_at, taken_at, told_at, closed_at from follow_ups ",
            $hint,
            "where desk_id = $1 and request_id = $2 order by opened_at, id"
        )
    };
}

/// SQLite would rather read all follow-ups of the desk.
const FOLLOW_UPS: Sql = Sql::each(
    follow_ups!("indexed by follow_ups_request "),
    follow_ups!(""),
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("held.requests", REQUESTS),
    ("held.replies", REPLIES),
    ("held.attempts", ATTEMPTS),
    ("held.follow_ups", FOLLOW_UPS),
];

impl Inner {
    pub(super) async fn held_of(
        &self,
        desk: DeskId,
        address: &Address,
        after: Option<(Timestamp, uuid::Uuid)>,
        limit: i64,
    ) -> Result<Vec<Held>, StoreError> {
        let hash = self.address_hash(address);
        let (due, id) = after.map_or((i64::MIN, uuid::Uuid::nil()), |(due, id)| {
            (due.as_millis(), id)
        });
        let values = [
            Value::Id(desk.uuid()),
            Value::Bytes(&hash),
            Value::Int(due),
            Value::Id(id),
            Value::Int(limit),
        ];
        let mut held = Vec::new();
        for row in self.database.rows(REQUESTS, &values).await? {
            let request = row::request(&row, &self.keys)?;
            let keys = [Value::Id(desk.uuid()), Value::Id(request.id.uuid())];
            let rating = self.database.row(RATING, &keys).await?;
            let rating = rating.map(|row| row::rating(&row, &self.keys, desk));
            let replies = self.database.rows(REPLIES, &keys).await?;
            let attempts = self.database.rows(ATTEMPTS, &keys).await?;
            let follow_ups = self.database.rows(FOLLOW_UPS, &keys).await?;
            held.push(Held {
                request,
                rating: rating.transpose()?,
                replies: replies
                    .iter()
                    .map(|row| self.held_reply(desk, row))
                    .collect::<Result<_, _>>()?,
                attempts: attempts
                    .iter()
                    .map(row::attempt)
                    .collect::<Result<_, _>>()?,
                follow_ups: follow_ups
                    .iter()
                    .map(|row| self.follow_up_of(row, desk))
                    .collect::<Result<_, _>>()?,
            });
        }
        Ok(held)
    }

    fn held_reply(&self, desk: DeskId, row: &Row) -> Result<HeldReply, StoreError> {
        let sealed = row.bytes("raw")?;
        let raw = if sealed.is_empty() {
            Vec::new()
        } else {
            let place = place("replies.raw", desk, row.id("id")?);
            self.keys.open(&place, &sealed)?
        };
        Ok(HeldReply {
            kind: row.text("kind")?,
            grade: row.text("grade")?,
            effect: row.text("effect")?,
            raw: String::from_utf8_lossy(&raw).into_owned(),
            at: Timestamp::from_millis(row.int("received_at")?),
        })
    }
}
