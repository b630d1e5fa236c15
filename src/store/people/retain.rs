//! Forgetting what was kept for long enough, a few hundred rows at a time.
//!
//! Requests and ratings are walked in the order of their identifiers, which is that of their time, so nothing is read twice and no
//! index is paid for. A request that is still open when its turn comes is passed by; a second walk comes when nothing can be open any
//! more. Raw replies and the notes of follow-ups have indexes of their own: they come at any time of a request's life and later.

use super::Forgotten;
use super::erase::anonymous;
use super::links::keep;
use super::walk::Walk;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::retention::{OPEN_MAX_MS, Retention};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::dialect::{Sql, Value};
use crate::store::sql::Inner;
use crate::store::tx::Tx;

const REQUESTS: Sql = Sql::both(
    "select id from requests where desk_id = $1 and id > $2 and id < $3 order by id limit $4",
);
const RATINGS: Sql = Sql::both(
    "select id from ratings where desk_id = $1 and id > $2 and id < $3 order by id limit $4",
);

const EVENTS: Sql = Sql::both(
    "select id from events where desk_id = $1 and id > $2 and id < $3 order by id limit $4",
);

/// What has ended: nobody waits for it, and nobody is about to send it.
macro_rules! ended {
    () => {
        "and id > $2 and id <= $3 and listening = 0 and state not in ('scheduled', 'sent', 'delivered', 'reached') \
         and delivery not in ('claimed', 'dispatching') "
    };
}

/// Before the addresses: a link outlives what it led to.
const LINKS: Sql = Sql::each(
    concat!(keep!("x''"), ended!(), "on conflict do nothing"),
    concat!(keep!("'\\x'"), ended!(), "on conflict do nothing"),
);
const ADDRESSES: Sql = Sql::each(
    concat!(anonymous!("x''"), ended!(), "and contact <> x''"),
    concat!(anonymous!("'\\x'"), ended!(), "and contact <> '\\x'"),
);
const ATTEMPTS: Sql = Sql::each(
    "update attempts set provider_id = '', body_hash = x'' where desk_id = $1 and request_id > $2 and request_id <= $3 \
     and check_at = 0 and state not in ('dispatching', 'scheduled', 'revoking') and (provider_id <> '' or body_hash <> x'')",
    "update attempts set provider_id = '', body_hash = '\\x' where desk_id = $1 and request_id > $2 and request_id <= $3 \
     and check_at = 0 and state not in ('dispatching', 'scheduled', 'revoking') and (provider_id <> '' or body_hash <> '\\x')",
);
const COMMENTS: Sql = Sql::both(
    "update ratings set comment = '' where desk_id = $1 and id > $2 and id <= $3 and comment <> ''",
);
/// A manager's reason may quote the comment.
const REASONS: Sql = Sql::both(
    "update ratings set excluded_reason = '' where desk_id = $1 and id > $2 and id <= $3 and excluded_reason <> ''",
);
const LOGGED: Sql = Sql::both(
    "update rating_log set reason = '' where desk_id = $1 and rating_id > $2 and rating_id <= $3 and reason <> ''",
);
/// Whatever the words are: those of a comment or of a reply that was no score.
const WORDS: Sql = Sql::each(
    "update events set detail = x'' where desk_id = $1 and id > $2 and id <= $3 and detail <> x''",
    "update events set detail = '\\x' where desk_id = $1 and id > $2 and id <= $3 and detail <> '\\x'",
);
/// Which client of the page gave an answer matters as long as it can be corrected.
const REPLY_CLIENTS: Sql = Sql::each(
    "update replies set client = x'' where desk_id = $1 and request_id > $2 and request_id <= $3 and client <> x''",
    "update replies set client = '\\x' where desk_id = $1 and request_id > $2 and request_id <= $3 and client <> '\\x'",
);
const RATING_CLIENTS: Sql = Sql::each(
    "update ratings set client = x'' where desk_id = $1 and request_id > $2 and request_id <= $3 and client <> x''",
    "update ratings set client = '\\x' where desk_id = $1 and request_id > $2 and request_id <= $3 and client <> '\\x'",
);
/// Notes are written long after their follow-up was opened, so they have their own ages.
const TOLD_NOTES: Sql = Sql::both(
    "update follow_ups set told_note = '' where desk_id = $1 and id in (select id from follow_ups \
     where desk_id = $1 and told_note <> '' and told_at < $2 order by told_at limit $3)",
);
const CLOSE_NOTES: Sql = Sql::both(
    "update follow_ups set close_note = '' where desk_id = $1 and id in (select id from follow_ups \
     where desk_id = $1 and close_note <> '' and closed_at < $2 order by closed_at limit $3)",
);
/// The slot says which resolution a request stands for; afterwards it stands for none.
const ABOUT: Sql = Sql::each(
    concat!(
        "update requests set conversation = '', resolution = '', agent_id = '', agent_name = '', \
         slot = char(1) || lower(hex(id)) where desk_id = $1 ",
        ended!(),
        "and conversation <> ''"
    ),
    concat!(
        "update requests set conversation = '', resolution = '', agent_id = '', agent_name = '', \
         slot = chr(1) || encode(uuid_send(id), 'hex') where desk_id = $1 ",
        ended!(),
        "and conversation <> ''"
    ),
);

/// The condition of the index, as a text, so that it is used whatever the values are.
macro_rules! raw {
    ($none:literal) => {
        concat!(
            "select request_id, provider_id from replies where desk_id = $1 and raw <> ",
            $none,
            " and id < $2 order by id limit $3"
        )
    };
}

const RAWS: Sql = Sql::each(raw!("x''"), raw!("'\\x'"));
const ERASE_RAW: Sql = Sql::each(
    "update replies set raw = x'' where desk_id = $1 and request_id = $2 and provider_id = $3",
    "update replies set raw = '\\x' where desk_id = $1 and request_id = $2 and provider_id = $3",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("retain.requests", REQUESTS),
    ("retain.ratings", RATINGS),
    ("retain.links", LINKS),
    ("retain.addresses", ADDRESSES),
    ("retain.attempts", ATTEMPTS),
    ("retain.comments", COMMENTS),
    ("retain.events", EVENTS),
    ("retain.reasons", REASONS),
    ("retain.logged", LOGGED),
    ("retain.words", WORDS),
    ("retain.reply_clients", REPLY_CLIENTS),
    ("retain.rating_clients", RATING_CLIENTS),
    ("retain.told_notes", TOLD_NOTES),
    ("retain.close_notes", CLOSE_NOTES),
    ("retain.about", ABOUT),
    ("retain.raws", RAWS),
    ("retain.erase_raw", ERASE_RAW),
];

/// A walk: its name, the rows that it looks at, and what it forgets of them.
struct Way {
    name: &'static str,
    page: Sql,
    /// What is kept of them before.
    keep: &'static [Sql],
    forget: &'static [Sql],
}

const ADDRESS: Way = Way {
    name: "address",
    page: REQUESTS,
    keep: &[LINKS],
    forget: &[ADDRESSES, ATTEMPTS],
};
const ADDRESS_LATE: Way = Way {
    name: "address_late",
    page: REQUESTS,
    keep: &[LINKS],
    forget: &[ADDRESSES, ATTEMPTS, REPLY_CLIENTS, RATING_CLIENTS],
};
const COMMENT: Way = Way {
    name: "comment",
    page: RATINGS,
    keep: &[],
    forget: &[COMMENTS, REASONS, LOGGED],
};
const WORD: Way = Way {
    name: "word",
    page: EVENTS,
    keep: &[],
    forget: &[WORDS],
};
const RATING: Way = Way {
    name: "rating",
    page: REQUESTS,
    keep: &[],
    forget: &[ABOUT],
};
const RATING_LATE: Way = Way {
    name: "rating_late",
    ..RATING
};

impl Inner {
    pub(super) async fn retain(
        &self,
        desk: DeskId,
        retention: &Retention,
        now: Timestamp,
        limit: i64,
    ) -> Result<Forgotten, StoreError> {
        let mut forgotten = Forgotten::default();
        let before = |days: u32, later: i64| {
            Retention::millis(days).map(|kept| now.plus_millis(-kept - later))
        };
        for (way, before) in [
            (ADDRESS, before(retention.address_days, 0)),
            (ADDRESS_LATE, before(retention.address_days, OPEN_MAX_MS)),
            (COMMENT, before(retention.comment_days, 0)),
            // Both a comment and a reply that was no score may stand in an event: what is kept shorter decides.
            (
                WORD,
                before(retention.comment_days.min(retention.raw_days), 0),
            ),
            (RATING, before(retention.rating_days, 0)),
            (RATING_LATE, before(retention.rating_days, OPEN_MAX_MS)),
        ] {
            let Some(before) = before else { continue };
            let (n, more) = self.forget_on(desk, &way, before, limit).await?;
            forgotten.more |= more;
            match way.name {
                "comment" => forgotten.comments += n,
                "word" => {}
                "rating" | "rating_late" => forgotten.ratings += n,
                _ => forgotten.addresses += n,
            }
        }
        if let Some(before) = before(retention.rating_days, 0) {
            forgotten.more |= self.forget_agents(desk, before, limit).await?;
        }
        if let Some(before) = before(retention.comment_days, 0) {
            forgotten.more |= self.forget_notes(desk, before, limit).await?;
        }
        if let Some(before) = before(retention.raw_days, 0) {
            forgotten.raws = self.forget_raw(desk, before, limit).await?;
            forgotten.more |= forgotten.raws >= limit.unsigned_abs();
        }
        Ok(forgotten)
    }

    /// One step on a walk: what was forgotten, and whether there is more.
    async fn forget_on(
        &self,
        desk: DeskId,
        way: &Way,
        before: Timestamp,
        limit: i64,
    ) -> Result<(u64, bool), StoreError> {
        let walk = self.walk(desk, way.name).await?;
        let (after, end) = (walk.id(), RequestId::new(before, [0; 10]).uuid());
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(after),
            Value::Id(end),
            Value::Int(limit),
        ];
        let ids = self.database.rows(way.page, &values).await?;
        let Some(last) = ids.last() else {
            return Ok((0, false));
        };
        let last = last.id("id")?;
        let mut tx = self.database.begin().await?;
        let forgotten = forget_range(&mut tx, desk, way, after, last).await?;
        let walk = Walk {
            reached: last.as_bytes().to_vec(),
            ..walk
        };
        self.save_walk(&mut tx, desk, way.name, &walk).await?;
        tx.commit().await?;
        Ok((forgotten, ids.len() as u64 >= limit.unsigned_abs()))
    }

    /// Notes of follow-ups; whether there is more.
    async fn forget_notes(
        &self,
        desk: DeskId,
        before: Timestamp,
        limit: i64,
    ) -> Result<bool, StoreError> {
        let values = [
            Value::Id(desk.uuid()),
            Value::Int(before.as_millis()),
            Value::Int(limit),
        ];
        let mut tx = self.database.begin().await?;
        let mut more = false;
        for sql in [TOLD_NOTES, CLOSE_NOTES] {
            more |= tx.execute(sql, &values).await? >= limit.unsigned_abs();
        }
        tx.commit().await?;
        Ok(more)
    }

    async fn forget_raw(
        &self,
        desk: DeskId,
        before: Timestamp,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let desk = Value::Id(desk.uuid());
        let end = Value::Id(RequestId::new(before, [0; 10]).uuid());
        let rows = self
            .database
            .rows(RAWS, &[desk, end, Value::Int(limit)])
            .await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut tx = self.database.begin().await?;
        let mut forgotten = 0;
        for row in &rows {
            let (request, provider_id) = (row.id("request_id")?, row.text("provider_id")?);
            let values = [desk, Value::Id(request), Value::Text(&provider_id)];
            forgotten += tx.execute(ERASE_RAW, &values).await?;
        }
        tx.commit().await?;
        Ok(forgotten)
    }
}

/// What the first statement forgot; the others belong to it.
async fn forget_range(
    tx: &mut Tx,
    desk: DeskId,
    way: &Way,
    after: uuid::Uuid,
    last: uuid::Uuid,
) -> Result<u64, StoreError> {
    let values = [Value::Id(desk.uuid()), Value::Id(after), Value::Id(last)];
    let mut forgotten = None;
    for sql in way.keep {
        tx.execute(*sql, &values).await?;
    }
    for sql in way.forget {
        let n = tx.execute(*sql, &values).await?;
        forgotten.get_or_insert(n);
    }
    Ok(forgotten.unwrap_or(0))
}
