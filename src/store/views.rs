//! Showings of the rating page, and their one-time values. Bounded for each request, whoever opens it how often.

use async_trait::async_trait;

use super::dialect::{Row, Sql, Value};
use super::row::word;
use super::sql::{Inner, SqlStore};
use super::tx::Tx;
use super::write::{Write, Written};
use super::{NewReply, Replied, StoreError};
use crate::domain::id::{DeskId, RequestId, ViewId};
use crate::domain::rating::Score;
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::view::{CLIENT_MAX, ClientKey, REQUEST_MAX, View, ViewKind, ViewValue};

/// What the rating page asks of the store.
#[async_trait]
pub trait Views: Send + Sync {
    /// Notes a showing.
    async fn record_view(&self, new: NewView) -> Result<(), StoreError>;
    /// The showings of a request, oldest first.
    async fn views(&self, desk: DeskId, request: RequestId) -> Result<Vec<View>, StoreError>;
    /// Records a post of the page and all that follows from it: a one-time value that was used before changes nothing, and what
    /// a person gave is not changed by another client. `None` if no request has the link.
    async fn record_tap(&self, new: NewReply, tap: Tap) -> Result<Option<Replied>, StoreError>;
}

/// A showing on its way into the store.
#[derive(Debug, Clone)]
pub struct NewView {
    /// Whose request.
    pub desk: DeskId,
    /// Which.
    pub request: RequestId,
    /// The showing.
    pub view: View,
    /// Whether the client brought its cookie; if not, it is known by its network.
    pub brought: bool,
}

/// Where a post of the page comes from.
#[derive(Debug, Clone)]
pub struct Tap {
    /// Its one-time value.
    pub value: ViewValue,
    /// The client.
    pub client: ClientKey,
    /// The signs of a machine that it gave: names with blanks between them.
    pub signs: String,
}

/// Views are needed for as long as their value may be posted, and the time for corrections after that.
const VIEWS_MS: i64 = 3 * 86_400_000;

const COUNT: Sql = Sql::both(
    "select cast(count(*) as bigint) as shown, \
     cast(coalesce(sum(case when kind = $3 and case when $4 = 1 then cookie = $5 else network = $6 end \
     then 1 else 0 end), 0) as bigint) as own from views where desk_id = $1 and request_id = $2",
);
const ADD: Sql = Sql::both(
    "insert into views (desk_id, request_id, id, at, kind, score, network, cookie, more, uses, used_at) \
     values ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0) on conflict do nothing",
);
/// On the newest row of the same client, if there is one: nobody else's showing may look like a storm.
const MORE: Sql = Sql::both(
    "update views set more = more + 1 where desk_id = $1 and request_id = $2 and id = \
     (select v.id from views v where v.desk_id = $3 and v.request_id = $4 and v.cookie = $5 \
     order by v.id desc limit 1)",
);
const LIST: Sql = Sql::both(
    "select id, at, kind, score, network, cookie, more from views where desk_id = $1 and request_id = $2 order by id",
);
const USE: Sql = Sql::both(
    "update views set uses = $4, used_at = $5 where desk_id = $1 and request_id = $2 and id = $3 and uses = $6",
);
const RECORDED: Sql =
    Sql::both("select uses from views where desk_id = $1 and request_id = $2 and id = $3");
const FORGET: Sql = Sql::both(
    "delete from views where (desk_id, request_id, id) in \
     (select desk_id, request_id, id from views where at < $1 order by at limit 1000)",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("views.count", COUNT),
    ("views.add", ADD),
    ("views.more", MORE),
    ("views.list", LIST),
    ("views.use", USE),
    ("views.recorded", RECORDED),
    ("views.forget", FORGET),
];

#[async_trait]
impl Views for SqlStore {
    async fn record_view(&self, new: NewView) -> Result<(), StoreError> {
        let written = self.write(Write::View(Box::new(new))).await?;
        if matches!(written, Written::Viewed) {
            Ok(())
        } else {
            Err(wrong())
        }
    }

    async fn views(&self, desk: DeskId, request: RequestId) -> Result<Vec<View>, StoreError> {
        let keys = [Value::Id(desk.uuid()), Value::Id(request.uuid())];
        let rows = self.inner.database.rows(LIST, &keys).await?;
        rows.iter().map(view).collect()
    }

    async fn record_tap(&self, new: NewReply, tap: Tap) -> Result<Option<Replied>, StoreError> {
        let written = self.write(Write::Tap(Box::new((new, tap)))).await?;
        if let Written::Replied(replied) = written {
            Ok(replied.map(|boxed| *boxed))
        } else {
            Err(wrong())
        }
    }
}

impl Inner {
    /// Two that are written at the same moment may both be the last that has room: a row or two more do no harm.
    pub(super) async fn view(&self, tx: &mut Tx, new: &NewView) -> Result<(), StoreError> {
        let (desk, request) = (Value::Id(new.desk.uuid()), Value::Id(new.request.uuid()));
        let kind = Value::Text(new.view.kind.as_str());
        let (network, cookie) = (
            Value::Bytes(&new.view.network),
            Value::Bytes(&new.view.cookie),
        );
        let brought = Value::Int(i64::from(new.brought));
        let own = [desk, request, kind, brought, cookie, network];
        let counted = tx.row(COUNT, &own).await?;
        let (shown, own) = match counted {
            Some(row) => (row.int("shown")?, row.int("own")?),
            None => (0, 0),
        };
        if shown >= REQUEST_MAX || own >= CLIENT_MAX {
            // Any showing without a cookie may be the first one of somebody who keeps it. So what such clients of a network do
            // beyond is counted on a row that nobody was shown, which has the network's key in the place of a cookie's.
            let counter = if new.brought { cookie } else { network };
            let values = [desk, request, desk, request, counter];
            if tx.execute(MORE, &values).await? == 0 && !new.brought && shown < REQUEST_MAX {
                let id = ViewId::new(new.view.at, self.random());
                self.add_view(tx, new, id, counter).await?;
            }
            return Ok(());
        }
        self.add_view(tx, new, new.view.id, cookie).await
    }

    async fn add_view(
        &self,
        tx: &mut Tx,
        new: &NewView,
        id: ViewId,
        cookie: Value<'_>,
    ) -> Result<(), StoreError> {
        let values = [
            Value::Id(new.desk.uuid()),
            Value::Id(new.request.uuid()),
            Value::Id(id.uuid()),
            Value::Int(new.view.at.as_millis()),
            Value::Text(new.view.kind.as_str()),
            Value::Int(new.view.score.map_or(0, i64::from)),
            Value::Bytes(&new.view.network),
            cookie,
        ];
        tx.execute(ADD, &values).await?;
        Ok(())
    }

    /// Uses a value up. `false` if that was done before. One without a row is known by the reply that it made.
    pub(super) async fn use_view(
        &self,
        tx: &mut Tx,
        request: &Request,
        tap: &Tap,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let keys = [
            Value::Id(request.desk.uuid()),
            Value::Id(request.id.uuid()),
            Value::Id(tap.value.view.uuid()),
        ];
        let values = [
            keys[0],
            keys[1],
            keys[2],
            Value::Int(i64::from(tap.value.post) + 1),
            Value::Int(now.as_millis()),
            Value::Int(i64::from(tap.value.post)),
        ];
        if tx.execute(USE, &values).await? == 1 {
            return Ok(true);
        }
        Ok(tx.row(RECORDED, &keys).await?.is_none())
    }

    /// Forgets showings that nothing depends on any more.
    pub(super) async fn forget_views(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
        let old = now.plus_millis(-VIEWS_MS);
        tx.execute(FORGET, &[Value::Int(old.as_millis())]).await
    }
}

/// A write answers with its own kind; anything else is a mistake in `Inner::apply`.
fn wrong() -> StoreError {
    StoreError::Corrupt("a write was answered as another one".to_owned())
}

fn key(row: &Row, column: &'static str) -> Result<ClientKey, StoreError> {
    row.bytes(column)?
        .try_into()
        .map_err(|_| StoreError::Corrupt(format!("{column}: not 16 bytes")))
}

fn view(row: &Row) -> Result<View, StoreError> {
    Ok(View {
        id: ViewId::from_uuid(row.id("id")?),
        at: Timestamp::from_millis(row.int("at")?),
        kind: word(row, "kind", ViewKind::parse)?,
        score: Score::try_from(row.int("score")?).ok(),
        network: key(row, "network")?,
        cookie: key(row, "cookie")?,
        more: row.int("more")?,
    })
}
