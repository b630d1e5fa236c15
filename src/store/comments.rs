//! What customers wrote, newest first: for somebody who looks, not for an export (that pages over all ratings).

use async_trait::async_trait;

use super::StoreError;
use super::dialect::{Sql, Value};
use super::row::{self, rating_columns, request_columns};
use super::sql::{Inner, SqlStore};
use crate::domain::id::DeskId;
use crate::domain::rating::Rating;
use crate::domain::request::Request;
use crate::domain::time::Timestamp;

/// Ratings that are looked through for words: a desk whose customers write little shall not cost a walk over all it has.
const LOOKED_THROUGH: i64 = 20_000;

/// Which comments. An empty text limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommentFilter {
    /// The channel.
    pub channel: String,
    /// The group that served.
    pub team: String,
    /// The line that it came in on.
    pub queue: String,
    /// The named place in the journey.
    pub touchpoint: String,
    /// Only answers that came at or after this.
    pub from: Timestamp,
    /// At most so many.
    pub limit: i64,
}

/// What customers wrote.
#[async_trait]
pub trait Comments: Send + Sync {
    /// Ratings with words that count, newest first, out of the latest 20,000 ratings.
    async fn comments(
        &self,
        desk: DeskId,
        filter: &CommentFilter,
    ) -> Result<Vec<(Rating, Request)>, StoreError>;
}

#[async_trait]
impl Comments for SqlStore {
    async fn comments(
        &self,
        desk: DeskId,
        filter: &CommentFilter,
    ) -> Result<Vec<(Rating, Request)>, StoreError> {
        self.inner.comments(desk, filter).await
    }
}

/// Identifiers are made from the time of the answer, so the newest stand at the end of the desk.
const LATEST: Sql = Sql::both(concat!(
    "select ",
    rating_columns!(),
    ", ",
    request_columns!(),
    " from (select id from ratings where desk_id = $1 and id >= $2 and id <= $3 order by id desc limit $4) t \
     join ratings g on g.desk_id = $5 and g.id = t.id and g.comment <> '' and g.excluded_at = 0 \
     join requests on requests.desk_id = g.desk_id and requests.id = g.request_id \
     where ($6 = '' or requests.channel = $7) and ($8 = '' or requests.team = $9) and ($10 = '' or requests.queue = $11) \
     and ($12 = '' or requests.touchpoint = $13) and g.answered_at >= $14 order by t.id desc limit $15"
));

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("comments.latest", LATEST)];

impl Inner {
    async fn comments(
        &self,
        desk: DeskId,
        filter: &CommentFilter,
    ) -> Result<Vec<(Rating, Request)>, StoreError> {
        let from = filter.from.as_millis().max(0);
        // The first 48 bits of an identifier are its time.
        let first = uuid::Uuid::from_u128(u128::try_from(from).unwrap_or(0) << 80);
        let mut values = vec![
            Value::Id(desk.uuid()),
            Value::Id(first),
            Value::Id(uuid::Uuid::max()),
            Value::Int(LOOKED_THROUGH),
            Value::Id(desk.uuid()),
        ];
        for wanted in [
            &filter.channel,
            &filter.team,
            &filter.queue,
            &filter.touchpoint,
        ] {
            values.extend([Value::Text(wanted), Value::Text(wanted)]);
        }
        values.extend([Value::Int(from), Value::Int(filter.limit)]);
        let rows = self.database.rows(LATEST, &values).await?;
        rows.iter()
            .map(|row| {
                let request = row::request(row, &self.keys)?;
                let rating = row::rating(row, &self.keys, request.desk)?;
                Ok((rating, request))
            })
            .collect()
    }
}
