//! How far a walk over the rows of a desk has come. Rows are looked at in the order of their keys, which is that of their
//! creation, so a place is enough to go on from.

use crate::domain::id::DeskId;
use crate::store::StoreError;
use crate::store::dialect::{Sql, Value};
use crate::store::sql::Inner;
use crate::store::tx::Tx;

const READ: Sql =
    Sql::both("select goal, stage, reached, n from walks where desk_id = $1 and name = $2");
const SAVE: Sql = Sql::both(
    "insert into walks (desk_id, name, goal, stage, reached, n) values ($1, $2, $3, $4, $5, $6) \
     on conflict (desk_id, name) do update set goal = excluded.goal, stage = excluded.stage, reached = excluded.reached, \
     n = excluded.n",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("walk.read", READ), ("walk.save", SAVE)];

/// A place on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// For what it is walked.
    pub(super) goal: String,
    /// Which part of the way.
    pub(super) stage: String,
    /// The last place that was looked at; empty before the first.
    pub(super) reached: Vec<u8>,
    /// What is counted on the way.
    pub(super) n: i64,
}

impl Walk {
    /// The last identifier that was looked at.
    pub(super) fn id(&self) -> uuid::Uuid {
        uuid::Uuid::from_slice(&self.reached).unwrap_or(uuid::Uuid::nil())
    }
}

impl Inner {
    pub(super) async fn walk(&self, desk: DeskId, name: &str) -> Result<Walk, StoreError> {
        let values = [Value::Id(desk.uuid()), Value::Text(name)];
        let Some(row) = self.database.row(READ, &values).await? else {
            return Ok(Walk::default());
        };
        Ok(Walk {
            goal: row.text("goal")?,
            stage: row.text("stage")?,
            reached: row.bytes("reached")?,
            n: row.int("n")?,
        })
    }

    pub(super) async fn save_walk(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        name: &str,
        walk: &Walk,
    ) -> Result<(), StoreError> {
        let values = [
            Value::Id(desk.uuid()),
            Value::Text(name),
            Value::Text(&walk.goal),
            Value::Text(&walk.stage),
            Value::Bytes(&walk.reached),
            Value::Int(walk.n),
        ];
        tx.execute(SAVE, &values).await?;
        Ok(())
    }
}
