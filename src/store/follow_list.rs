//! Pages of low scores, the oldest or the newest first, of the whole desk or of a part of it.

use super::StoreError;
use super::dialect::{Sql, Value};
use super::follow::Followed;
use super::sql::Inner;
use crate::domain::follow_up::FollowUpState;
use crate::domain::id::DeskId;

/// Which low scores. A text of `None` means "any".
#[derive(Debug, Clone, Default)]
pub struct LowFilter {
    /// Only those in this state.
    pub state: Option<FollowUpState>,
    /// Only of this channel.
    pub channel: Option<String>,
    /// Only of this team.
    pub team: Option<String>,
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only of this touchpoint.
    pub touchpoint: Option<String>,
    /// The one that was opened last comes first; otherwise the oldest.
    pub newest: bool,
    /// Only what comes after this identifier, in the order that is asked for.
    pub after: Option<uuid::Uuid>,
    /// At most so many.
    pub limit: i64,
}

/// A statement that reads follow-ups with what they are about.
macro_rules! follow_ups {
    ($tail:literal) => {
        follow_ups!("", $tail)
    };
    ($hint:literal, $($tail:literal),+) => {
        concat!(
            "select f.id as follow_id, f.score as low_score, f.state as follow_state, f.owner, f.told_note, f.close_note, \
             f.closed_by, f.opened_at, f.taken_at, f.told_at, f.closed_at, ",
            rating_columns!(),
            ", ",
            request_columns!(),
            " from follow_ups f ",
            $hint,
            "join ratings g on g.desk_id = f.desk_id and g.id = f.rating_id \
             join requests on requests.desk_id = f.desk_id and requests.id = f.request_id ",
            $($tail),+
        )
    };
}

pub(super) use follow_ups;

use super::row::{rating_columns, request_columns};

/// An empty text means "any", so that one constant serves every combination of filters.
macro_rules! page {
    ($hint:literal, $after:literal, $state:literal, $order:literal) => {
        follow_ups!(
            $hint,
            "where f.desk_id = $1 and ",
            $after,
            $state,
            " and ($4 = '' or requests.channel = $4) and ($5 = '' or requests.team = $5) \
             and ($6 = '' or requests.queue = $6) and ($7 = '' or requests.touchpoint = $7) order by ",
            $order,
            " limit $3"
        )
    };
}

/// SQLite would rather read all follow-ups of the desk than those in one state.
macro_rules! page_of_state {
    ($after:literal, $order:literal) => {
        Sql::each(
            page!(
                "indexed by follow_ups_state ",
                $after,
                " and f.state = $8",
                $order
            ),
            page!("", $after, " and f.state = $8", $order),
        )
    };
}

const LIST: Sql = Sql::both(page!("", "f.id > $2", "", "f.id"));
const LIST_NEWEST: Sql = Sql::both(page!("", "f.id < $2", "", "f.id desc"));
const LIST_STATE: Sql = page_of_state!("f.id > $2", "f.id");
const LIST_STATE_NEWEST: Sql = page_of_state!("f.id < $2", "f.id desc");

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("follow.list", LIST),
    ("follow.list_newest", LIST_NEWEST),
    ("follow.list_state", LIST_STATE),
    ("follow.list_state_newest", LIST_STATE_NEWEST),
];

impl Inner {
    /// A page of low scores.
    pub(super) async fn follow_ups(
        &self,
        desk: DeskId,
        wanted: &LowFilter,
    ) -> Result<Vec<Followed>, StoreError> {
        let first = if wanted.newest {
            uuid::Uuid::max()
        } else {
            uuid::Uuid::nil()
        };
        let mut values = vec![
            Value::Id(desk.uuid()),
            Value::Id(wanted.after.unwrap_or(first)),
            Value::Int(wanted.limit),
        ];
        let filters = [
            &wanted.channel,
            &wanted.team,
            &wanted.queue,
            &wanted.touchpoint,
        ];
        values.extend(filters.map(|filter| Value::Text(filter.as_deref().unwrap_or_default())));
        values.extend(wanted.state.map(|state| Value::Text(state.as_str())));
        let statement = match (wanted.state, wanted.newest) {
            (None, false) => LIST,
            (None, true) => LIST_NEWEST,
            (Some(_), false) => LIST_STATE,
            (Some(_), true) => LIST_STATE_NEWEST,
        };
        let rows = self.database.rows(statement, &values).await?;
        rows.iter().map(|row| self.followed(row)).collect()
    }
}
