//! Finding the request that a step is about, and locking its row until the step is committed.

use super::dialect::{Row, Sql, Value};
use super::row::{self, request_columns};
use super::sql::Inner;
use super::tx::Tx;
use super::{Find, Pair, Speaker, StoreError};
use crate::domain::contact::Address;
use crate::domain::delivery::DeliveryState;
use crate::domain::follow_up::LowScores;
use crate::domain::grade::AnswerSettings;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::rating::Rating;
use crate::domain::request::{Request, State};
use crate::domain::time::Timestamp;

/// From a link to its request. The second half is the condition of the index, without which SQLite does not use it, nor PostgreSQL
/// once it plans without the values.
macro_rules! linked {
    (sqlite) => {
        "where requests.link_hash = $1 and requests.link_hash <> x''"
    };
    (postgres) => {
        "where requests.link_hash = $1 and requests.link_hash <> '\\x'"
    };
}

pub(super) use linked;

/// Statements that lock the row on PostgreSQL; on SQLite the transaction is alone anyway.
macro_rules! locked {
    ($tail:literal, $lock:literal) => {
        locked!($tail, $tail, $lock)
    };
    ($sqlite:expr, $postgres:expr, $lock:literal) => {
        Sql::each(
            concat!("select ", request_columns!(), " from requests ", $sqlite),
            concat!(
                "select ",
                request_columns!(),
                " from requests ",
                $postgres,
                " ",
                $lock
            ),
        )
    };
}

const BY_ID: Sql = locked!(
    "where requests.desk_id = $1 and requests.id = $2",
    "for update"
);
const BY_PAIR: Sql = locked!(
    "where requests.pair_key = $1 and requests.listening = 1",
    "for update"
);
const BY_LINK: Sql = locked!(linked!(sqlite), linked!(postgres), "for update");
const BY_ATTEMPT: Sql = locked!(
    "join attempts a on a.desk_id = requests.desk_id and a.request_id = requests.id where a.token_hash = $1",
    "for update of requests"
);

macro_rules! locked_columns {
    ($more:expr, $join:literal, $sqlite:expr, $postgres:expr, $lock:literal) => {
        Sql::each(
            concat!(
                "select ",
                request_columns!(),
                $more,
                " from requests ",
                $join,
                $sqlite
            ),
            concat!(
                "select ",
                request_columns!(),
                $more,
                " from requests ",
                $join,
                $postgres,
                " ",
                $lock
            ),
        )
    };
}

/// The request's rating, and whether the reply with this identifier came before: one probe for a reply instead of three.
macro_rules! answer_columns {
    ($sent:literal) => {
        concat!(
            ", coalesce(g.id, requests.id) as rating_id, requests.id as request_id, coalesce(g.score, 0) as score, \
             coalesce(g.grade, '') as grade, coalesce(g.comment, '') as comment, coalesce(g.answered_at, 0) as rated_at, \
             coalesce(g.changed_at, 0) as changed_at, coalesce(g.elapsed_ms, 0) as elapsed_ms, \
             coalesce(g.client, requests.link_hash) as client, coalesce(g.excluded_at, 0) as excluded_at, \
             coalesce(g.excluded_by, '') as excluded_by, coalesce(g.excluded_reason, '') as excluded_reason, \
             (select d.settings from desks d where d.id = requests.desk_id) as settings, \
             (select d.name from desks d where d.id = requests.desk_id) as desk_name, \
             cast((select count(*) from replies p where p.desk_id = requests.desk_id and p.request_id = requests.id \
             and p.provider_id = ",
            $sent,
            ") as bigint) as repeated"
        )
    };
}

pub(super) use answer_columns;

/// The same with these, for the reply `$2`.
macro_rules! answered {
    ($tail:literal, $lock:literal) => {
        answered!($tail, $tail, $lock)
    };
    ($sqlite:expr, $postgres:expr, $lock:literal) => {
        locked_columns!(
            answer_columns!("$2"),
            "left join ratings g on g.desk_id = requests.desk_id and g.request_id = requests.id ",
            $sqlite,
            $postgres,
            $lock
        )
    };
}

const ANSWERED_PAIR: Sql = answered!(
    "where requests.pair_key = $1 and requests.listening = 1",
    "for update of requests"
);
const ANSWERED_LINK: Sql = answered!(linked!(sqlite), linked!(postgres), "for update of requests");
const ANSWERED_ATTEMPT: Sql = answered!(
    "join attempts a on a.desk_id = requests.desk_id and a.request_id = requests.id where a.token_hash = $1",
    "for update of requests"
);

const ANSWERED_ID: Sql = answered!(
    "where requests.desk_id = $1 and requests.id = $3",
    "for update of requests"
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("lock.by_id", BY_ID),
    ("lock.by_pair", BY_PAIR),
    ("lock.by_link", BY_LINK),
    ("lock.by_attempt", BY_ATTEMPT),
    ("lock.answered_pair", ANSWERED_PAIR),
    ("lock.answered_link", ANSWERED_LINK),
    ("lock.answered_attempt", ANSWERED_ATTEMPT),
    ("lock.answered_id", ANSWERED_ID),
];

/// A locked request, with the columns that are no noun's business.
pub(super) struct Held {
    pub(super) request: Request,
    pub(super) fence: i64,
    pub(super) listening: bool,
    pub(super) listen_until: Timestamp,
    pub(super) next_at: Timestamp,
    /// It has no rating, and answers that are kept and not counted.
    pub(super) machines_only: bool,
}

/// A locked request, with what was answered so far.
pub(super) struct Answered {
    pub(super) held: Held,
    pub(super) rating: Option<Rating>,
    pub(super) repeated: bool,
    /// What the desk sets about answers.
    pub(super) answers: AnswerSettings,
    /// Which scores the desk calls low.
    pub(super) low_scores: LowScores,
    /// Whose request it is.
    pub(super) desk: Speaker,
}

impl Held {
    /// Enters `to` and notes when.
    pub(super) fn enter(&mut self, to: State, now: Timestamp) -> i64 {
        let history = &mut self.request.history;
        let was_sent = history.sent_at.is_some();
        let entered = self.request.state.entered_by(to, was_sent);
        match to {
            State::Scheduled => {}
            State::Sent => history.sent_at = Some(now),
            State::Delivered => history.delivered_at = Some(now),
            State::Reached => history.reached_at = Some(now),
            State::Answered => history.answered_at = Some(now),
            State::Suppressed | State::Expired | State::Cancelled | State::Failed => {
                history.ended_at = Some(now);
            }
        }
        if matches!(
            to,
            State::Suppressed | State::Expired | State::Cancelled | State::Failed
        ) {
            self.listening = false;
        }
        // Evidence after a reported failure: it arrived after all, so a reply may come.
        if self.request.state == State::Failed && matches!(to, State::Delivered | State::Reached) {
            history.ended_at = None;
        }
        self.request.state = to;
        entered
    }

    /// What may be on the wire stays as it is known; what is not, never goes out.
    pub(super) fn call_off(&mut self) {
        if matches!(
            self.request.delivery,
            DeliveryState::Queued | DeliveryState::Claimed
        ) {
            self.request.delivery = DeliveryState::Dropped;
        }
        // A second message that waits at the provider is taken back by whoever looks after it; the first stays in doubt.
        if self.request.delivery == DeliveryState::Guarded {
            self.request.delivery = DeliveryState::Unknown;
        }
    }
}

impl Inner {
    fn held(&self, row: &Row) -> Result<Held, StoreError> {
        let request = row::request(row, &self.keys)?;
        Ok(Held {
            fence: row.int("fence")?,
            listening: row.int("listening")? == 1,
            listen_until: Timestamp::from_millis(row.int("listen_until")?),
            next_at: Timestamp::from_millis(row.int("next_at")?),
            machines_only: row.int("held_back")? == 1,
            request,
        })
    }

    /// Locks the request that a door names.
    pub(super) async fn lock(&self, tx: &mut Tx, find: &Find) -> Result<Option<Held>, StoreError> {
        let row = match find {
            Find::Pair(pair) => {
                let key = self.pair_key(pair, None);
                tx.row(BY_PAIR, &[Value::Bytes(&key)]).await?
            }
            Find::Link(hash) => tx.row(BY_LINK, &[Value::Bytes(&hash.0)]).await?,
            Find::Attempt(hash) => tx.row(BY_ATTEMPT, &[Value::Bytes(&hash.0)]).await?,
            Find::Request(desk, id) => return self.lock_id(tx, *desk, *id).await,
        };
        row.as_ref().map(|row| self.held(row)).transpose()
    }

    /// Locks the request that a reply belongs to.
    pub(super) async fn lock_answered(
        &self,
        tx: &mut Tx,
        find: &Find,
        provider_id: &str,
    ) -> Result<Option<Answered>, StoreError> {
        let mut row = self.answered_row(tx, find, provider_id).await?;
        let again = match &row {
            // PostgreSQL, after waiting for a lock, looks again at the locked row and at nothing else: an answer that was being
            // written is missing, or the pair has gone over to a newer request. Under the lock, all of it is seen.
            Some(row) => {
                let unrated = row.int("score")? == 0;
                let waiting_here = tx.pending.answered.contains(&row.id("id")?);
                waiting_here || (unrated && row.text("state")? == State::Answered.as_str())
            }
            None => matches!(find, Find::Pair(_)),
        };
        if again {
            // Another reply to the same request may wait in this transaction: what it did has to be seen.
            tx.flush().await?;
            row = self.answered_row(tx, find, provider_id).await?;
        }
        row.as_ref().map(|row| self.answered(row)).transpose()
    }

    /// A locked request with what was answered so far.
    pub(super) fn answered(&self, row: &Row) -> Result<Answered, StoreError> {
        let held = self.held(row)?;
        let desk = self.speaker(row, held.request.desk)?;
        Ok(Answered {
            answers: desk.settings.answers.clone(),
            low_scores: desk.settings.low_scores,
            desk,
            rating: if row.int("score")? == 0 {
                None
            } else {
                Some(row::rating(row, &self.keys, held.request.desk)?)
            },
            repeated: row.int("repeated")? > 0,
            held,
        })
    }

    /// In whose name a request of this desk is answered.
    pub(super) fn speaker(&self, row: &Row, desk: DeskId) -> Result<Speaker, StoreError> {
        Ok(Speaker {
            name: row.text("desk_name")?,
            settings: self.settings(row, desk)?,
        })
    }

    async fn answered_row(
        &self,
        tx: &mut Tx,
        find: &Find,
        provider_id: &str,
    ) -> Result<Option<Row>, StoreError> {
        let provider_id = Value::Text(provider_id);
        match find {
            Find::Pair(pair) => {
                let key = self.pair_key(pair, None);
                tx.row(ANSWERED_PAIR, &[Value::Bytes(&key), provider_id])
                    .await
            }
            Find::Link(hash) => {
                tx.row(ANSWERED_LINK, &[Value::Bytes(&hash.0), provider_id])
                    .await
            }
            Find::Attempt(hash) => {
                tx.row(ANSWERED_ATTEMPT, &[Value::Bytes(&hash.0), provider_id])
                    .await
            }
            Find::Request(desk, id) => {
                let (desk, id) = (Value::Id(desk.uuid()), Value::Id(id.uuid()));
                tx.row(ANSWERED_ID, &[desk, provider_id, id]).await
            }
        }
    }

    /// Locks one request of a desk.
    pub(super) async fn lock_id(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        id: RequestId,
    ) -> Result<Option<Held>, StoreError> {
        let row = tx
            .row(BY_ID, &[Value::Id(desk.uuid()), Value::Id(id.uuid())])
            .await?;
        row.as_ref().map(|row| self.held(row)).transpose()
    }

    /// Locks one request of many; `None` also if it cannot be read.
    pub(super) async fn lock_readable(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        id: RequestId,
    ) -> Result<Option<Held>, StoreError> {
        let keys = [Value::Id(desk.uuid()), Value::Id(id.uuid())];
        match tx.row(BY_ID, &keys).await? {
            Some(row) => row::readable(id.uuid(), self.held(&row)),
            None => Ok(None),
        }
    }

    /// The key of a pair of addresses. With a desk it is the desk's own; without, every desk shares it.
    pub(super) fn pair_key(&self, pair: &Pair, desk: Option<DeskId>) -> [u8; 16] {
        let desk = desk.map_or([0; 16], |desk| *desk.uuid().as_bytes());
        let theirs = pair.theirs.lookup_form();
        self.keys.lookup(&[
            b"pair",
            &desk,
            pair.channel.as_str().as_bytes(),
            pair.ours.as_bytes(),
            theirs.as_bytes(),
        ])
    }

    /// The key under which an address is found again.
    pub(super) fn address_hash(&self, address: &Address) -> [u8; 16] {
        let kind = format!("{:?}", address.kind());
        self.keys.lookup(&[
            b"address",
            kind.as_bytes(),
            address.lookup_form().as_bytes(),
        ])
    }
}
