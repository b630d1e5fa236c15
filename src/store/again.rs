//! An ask that waited is decided again before it is sent: the contact may have been asked otherwise, the rules may have changed,
//! and it may be night by now.

use super::carry::now;
use super::dialect::{Sql, Value};
use super::lock::Held;
use super::sql::Inner;
use super::tx::Tx;
use super::{Again, Permission, StoreError};
use crate::domain::delivery::DeliveryState;
use crate::domain::event::{EventKind, WAITED};
use crate::domain::policy::{Decision, Known, Suppression, decide};
use crate::domain::request::State;
use crate::domain::time::Timestamp;

macro_rules! postpone {
    ($now:expr) => {
        concat!(
            "update requests set delivery = 'queued', lease_until = 0, next_at = $4, due_at = $4, \
             expires_at = expires_at + $5, listen_until = listen_until + $5, \
             planned_at = case when planned_at = 0 then due_at else planned_at end \
             where desk_id = $1 and id = $2 and fence = $3 and delivery = 'claimed' and state = 'scheduled' and lease_until > ",
            $now
        )
    };
}

/// Back into the queue until then; what it waits for an answer counts from then as well.
const POSTPONE: Sql = Sql::each(postpone!(now!(sqlite)), postpone!(now!(postgres)));

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("again.postpone", POSTPONE)];

impl Inner {
    /// Decides once more about a claimed ask. `None`: it is sent.
    pub(super) async fn decide_again(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        again: &Again,
        now: Timestamp,
    ) -> Result<Option<Permission>, StoreError> {
        let request = &held.request;
        let who = self.who(request.desk, &request.contact);
        let known = Known {
            asks: self
                .asks_of(tx, &again.rules, who, request.id, now, Some(request.due_at))
                .await?,
            ..Known::default()
        };
        match decide(&again.rules, &again.given, &known, now) {
            Decision::Ask => Ok(None),
            Decision::Suppress(reason) => self.suppress(tx, held, reason, now).await.map(Some),
            Decision::Wait(until) => {
                let later = until.millis_since(request.due_at);
                let values = [
                    Value::Id(request.desk.uuid()),
                    Value::Id(request.id.uuid()),
                    Value::Int(held.fence),
                    Value::Int(until.as_millis()),
                    Value::Int(later),
                ];
                let postponed = tx.execute(POSTPONE, &values).await? == 1;
                Ok(Some(if postponed {
                    Permission::Postponed(until)
                } else {
                    Permission::Withdrawn
                }))
            }
        }
    }

    /// Not asked after all.
    pub(super) async fn suppress(
        &self,
        tx: &mut Tx,
        held: &mut Held,
        reason: Suppression,
        now: Timestamp,
    ) -> Result<Permission, StoreError> {
        held.request.reason = Some(reason);
        held.request.delivery = DeliveryState::Dropped;
        let entered = held.enter(State::Suppressed, now) | WAITED;
        let kind = EventKind::RequestSuppressed;
        self.emit(tx, &held.request, kind, entered, now);
        self.save(tx, held).await?;
        Ok(Permission::Suppressed(reason))
    }
}
