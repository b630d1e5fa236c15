//! Reading without locks: one request, lists by cursor, what is being carried.

use super::dialect::{Row, Sql, Value};
use super::lock::linked;
use super::row::{self, rating_columns, request_columns};
use super::sql::Inner;
use super::{Backlog, Filter, Find, StoreError};
use crate::domain::delivery::DeliveryState;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::rating::Rating;
use crate::domain::request::{Request, State};
use crate::domain::time::Timestamp;

macro_rules! requests_where {
    ($tail:literal) => {
        Sql::both(concat!(
            "select ",
            request_columns!(),
            " from requests ",
            $tail
        ))
    };
}

const ONE: Sql = requests_where!("where requests.desk_id = $1 and requests.id = $2");
const BY_PAIR: Sql = requests_where!("where requests.pair_key = $1 and requests.listening = 1");
const BY_LINK: Sql = Sql::each(
    concat!(
        "select ",
        request_columns!(),
        " from requests ",
        linked!(sqlite)
    ),
    concat!(
        "select ",
        request_columns!(),
        " from requests ",
        linked!(postgres)
    ),
);
const BY_ATTEMPT: Sql = requests_where!(
    "join attempts a on a.desk_id = requests.desk_id and a.request_id = requests.id where a.token_hash = $1"
);
/// An empty text or a 0 means "any", so that one constant serves every combination of filters.
const LIST: Sql = requests_where!(
    "where requests.desk_id = $1 and requests.id > $2 and ($3 = '' or requests.state = $4) and ($5 = '' or requests.channel = $6) \
     and requests.created_at >= $7 and requests.created_at < $8 order by requests.id limit $9"
);
const LIST_CONVERSATION: Sql = requests_where!(
    "where requests.desk_id = $1 and requests.id > $2 and ($3 = '' or requests.state = $4) and ($5 = '' or requests.channel = $6) \
     and requests.created_at >= $7 and requests.created_at < $8 and requests.conversation = $10 order by requests.id limit $9"
);
macro_rules! ratings_where {
    ($tail:literal) => {
        Sql::both(concat!(
            "select ",
            rating_columns!(),
            ", ",
            request_columns!(),
            " from ratings g join requests on requests.desk_id = g.desk_id and requests.id = g.request_id \
             where g.desk_id = $1 and g.id > $2 and ($3 = '' or requests.channel = $4) and g.answered_at >= $5 \
             and g.answered_at < $6 ",
            $tail,
            " order by g.id limit $7"
        ))
    };
}

const RATINGS: Sql = ratings_where!("");
const RATINGS_CONVERSATION: Sql = ratings_where!("and requests.conversation = $8");
/// Each part's condition is that of a partial index, so the cost is what is being carried and not what was ever asked. What has
/// ended does not count: nobody waits for it. What is queued may be much: it is counted in its index alone, so no other column is named.
const BACKLOG: Sql = Sql::both(
    "select 'queued' as delivery, cast(count(*) as bigint) as n, cast(min(next_at) as bigint) as oldest from requests \
     where delivery = 'queued' having count(*) > 0 \
     union all select delivery, cast(count(*) as bigint), cast(min(next_at) as bigint) from requests \
     where delivery in ('claimed', 'dispatching') and state = 'scheduled' group by delivery \
     union all select delivery, cast(count(*) as bigint), cast(min(next_at) as bigint) from requests \
     where delivery in ('unknown', 'guarded', 'lost') and (state = 'scheduled' or delivery = 'lost') group by delivery",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("read.one", ONE),
    ("read.by_pair", BY_PAIR),
    ("read.by_link", BY_LINK),
    ("read.by_attempt", BY_ATTEMPT),
    ("read.list", LIST),
    ("read.list_conversation", LIST_CONVERSATION),
    ("read.ratings", RATINGS),
    ("read.ratings_conversation", RATINGS_CONVERSATION),
    ("read.backlog", BACKLOG),
];

impl Inner {
    pub(super) async fn request(
        &self,
        desk: DeskId,
        id: RequestId,
    ) -> Result<Option<(Request, Option<Rating>)>, StoreError> {
        let row = self
            .database
            .row(ONE, &[Value::Id(desk.uuid()), Value::Id(id.uuid())])
            .await?;
        match row {
            Some(row) => self.with_rating(&row).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn find(
        &self,
        find: &Find,
    ) -> Result<Option<(Request, Option<Rating>)>, StoreError> {
        match self.peek(find).await? {
            Some(row) => self.with_rating(&row).await.map(Some),
            None => Ok(None),
        }
    }

    async fn with_rating(&self, row: &Row) -> Result<(Request, Option<Rating>), StoreError> {
        let request = row::request(row, &self.keys)?;
        let keys = [Value::Id(request.desk.uuid()), Value::Id(request.id.uuid())];
        let rating = self
            .database
            .row(super::reply::RATING, &keys)
            .await?
            .map(|row| row::rating(&row, &self.keys, request.desk))
            .transpose()?;
        Ok((request, rating))
    }

    async fn peek(&self, find: &Find) -> Result<Option<Row>, StoreError> {
        match find {
            Find::Pair(pair) => {
                let key = self.pair_key(pair, None);
                self.database.row(BY_PAIR, &[Value::Bytes(&key)]).await
            }
            Find::Link(hash) => self.database.row(BY_LINK, &[Value::Bytes(&hash.0)]).await,
            Find::Attempt(hash) => {
                self.database
                    .row(BY_ATTEMPT, &[Value::Bytes(&hash.0)])
                    .await
            }
            Find::Request(desk, id) => {
                let keys = [Value::Id(desk.uuid()), Value::Id(id.uuid())];
                self.database.row(ONE, &keys).await
            }
        }
    }

    pub(super) async fn requests(
        &self,
        desk: DeskId,
        filter: &Filter,
    ) -> Result<Vec<Request>, StoreError> {
        let after = filter.after.unwrap_or(uuid::Uuid::nil());
        let state = filter.state.map_or("", State::as_str);
        let channel = filter.channel.as_deref().unwrap_or("");
        let (from, to) = span(filter);
        let mut values = vec![
            Value::Id(desk.uuid()),
            Value::Id(after),
            Value::Text(state),
            Value::Text(state),
            Value::Text(channel),
            Value::Text(channel),
            Value::Int(from),
            Value::Int(to),
            Value::Int(filter.limit),
        ];
        let rows = match &filter.conversation {
            Some(conversation) => {
                values.push(Value::Text(conversation));
                self.database.rows(LIST_CONVERSATION, &values).await?
            }
            None => self.database.rows(LIST, &values).await?,
        };
        rows.iter()
            .map(|row| row::request(row, &self.keys))
            .collect()
    }

    pub(super) async fn ratings(
        &self,
        desk: DeskId,
        filter: &Filter,
    ) -> Result<Vec<(Rating, Request)>, StoreError> {
        let after = filter.after.unwrap_or(uuid::Uuid::nil());
        let channel = filter.channel.as_deref().unwrap_or("");
        let (from, to) = span(filter);
        let mut values = vec![
            Value::Id(desk.uuid()),
            Value::Id(after),
            Value::Text(channel),
            Value::Text(channel),
            Value::Int(from),
            Value::Int(to),
            Value::Int(filter.limit),
        ];
        let rows = match &filter.conversation {
            Some(conversation) => {
                values.push(Value::Text(conversation));
                self.database.rows(RATINGS_CONVERSATION, &values).await?
            }
            None => self.database.rows(RATINGS, &values).await?,
        };
        rows.iter()
            .map(|row| {
                let request = row::request(row, &self.keys)?;
                Ok((row::rating(row, &self.keys, desk)?, request))
            })
            .collect()
    }

    pub(super) async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let rows = self.database.rows(BACKLOG, &[]).await?;
        rows.iter()
            .map(|row| {
                let word = row.text("delivery")?;
                Ok(Backlog {
                    state: DeliveryState::parse(&word).ok_or_else(|| {
                        StoreError::Corrupt(format!("delivery: unknown word {word:?}"))
                    })?,
                    count: row.int("n")?,
                    oldest_due: Timestamp::from_millis(row.int("oldest")?),
                })
            })
            .collect()
    }
}

fn span(filter: &Filter) -> (i64, i64) {
    (
        filter.from.map_or(i64::MIN, Timestamp::as_millis),
        filter.to.map_or(i64::MAX, Timestamp::as_millis),
    )
}
