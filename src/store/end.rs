//! What ends a request without a reply: taking it back, and time.

use super::dialect::{Sql, Value};
use super::lock::Held;
use super::sql::Inner;
use super::tx::Tx;
use super::{Cancelled, StoreError};
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::request::State;
use crate::domain::time::Timestamp;

const WAITED: Sql = Sql::both(
    "select desk_id, id from requests where listening = 1 and listen_until > 0 and listen_until <= $1 order by listen_until limit $2",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("end.waited", WAITED)];

impl Inner {
    pub(super) async fn cancel(
        &self,
        desk: DeskId,
        id: RequestId,
        now: Timestamp,
    ) -> Result<Option<Cancelled>, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(mut held) = self.lock_id(&mut tx, desk, id).await? else {
            return Ok(None);
        };
        if held.request.state == State::Cancelled {
            return Ok(Some(Cancelled::Done(Box::new(held.request))));
        }
        if !held.request.state.admits(State::Cancelled) {
            return Ok(Some(Cancelled::Ended(Box::new(held.request))));
        }
        self.end(&mut tx, &mut held, State::Cancelled, now).await?;
        // Reopened: the next closing is a resolution of its own, even if the desk does not number them. One that is numbered stays
        // taken, so that a late repetition of its trigger asks nobody.
        if held.request.resolution.is_empty() {
            self.release_slot(&mut tx, desk, id).await?;
        }
        tx.commit().await?;
        Ok(Some(Cancelled::Done(Box::new(held.request))))
    }

    pub(super) async fn expire(
        &self,
        now: Timestamp,
        heard: Timestamp,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.database.begin().await?;
        let mut ended = 0;
        for row in tx
            .rows(WAITED, &[Value::Int(heard.as_millis()), Value::Int(limit)])
            .await?
        {
            let (desk, id) = (
                DeskId::from_uuid(row.id("desk_id")?),
                RequestId::from_uuid(row.id("id")?),
            );
            let Some(mut held) = self.lock_readable(&mut tx, desk, id).await? else {
                continue;
            };
            // An answer that came between the look and the lock has its own time.
            if !held.listening || held.listen_until > heard {
                continue;
            }
            if held.request.state.admits(State::Expired) {
                self.end(&mut tx, &mut held, State::Expired, now).await?;
            } else {
                // Answered, and the time for corrections is over; or failed, and nobody answered after all.
                held.listening = false;
                self.save(&mut tx, &held).await?;
            }
            ended += 1;
        }
        tx.commit().await?;
        Ok(ended)
    }

    pub(super) async fn end(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        state: State,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let entered = held.enter(state, now);
        held.call_off();
        self.save(tx, held).await?;
        self.emit(tx, &held.request, EventKind::for_state(state), entered, now);
        Ok(())
    }
}
