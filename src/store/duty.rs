//! What keeps replicas and bugs in bounds: who does a scheduled duty, how many sends a day allows, and which texts belong to
//! nobody. All three are small rows that one statement reads and writes at once.

use super::carry::now;
use super::dialect::{Sql, Value};
use super::sql::Inner;
use super::tx::Tx;
use super::{Ceiling, Lease, StoreError};
use crate::domain::id::DeskId;
use crate::domain::request::Request;
use crate::domain::time::Timestamp;

/// Texts that belong to nobody are remembered for so long; no provider lists them for longer than we ask.
const STRAYS_MS: i64 = 8 * 86_400_000;

macro_rules! hold {
    ($now:expr) => {
        concat!(
            "insert into duties (name, owner, until, fence, mark) values ($1, $2, ", $now, " + $3, 1, 0) \
             on conflict (name) do update set fence = duties.fence + case when duties.owner = excluded.owner then 0 else 1 end, \
             owner = excluded.owner, until = excluded.until where duties.owner = excluded.owner or duties.until <= ", $now,
            " returning fence, mark"
        )
    };
}

const HOLD: Sql = Sql::each(hold!(now!(sqlite)), hold!(now!(postgres)));
const MARKED: Sql = Sql::both("select mark from duties where name = $1");
const MARK: Sql = Sql::both("update duties set mark = $3 where name = $1 and fence = $2");

/// A desk's own row comes first in every transaction, so that two of them wait for each other in one order.
macro_rules! count {
    ($now:expr) => {
        concat!(
            "insert into ceilings (desk_id, subject, day, n) values ($1, $2, ", $now, " / 86400000, 1) \
             on conflict (desk_id, subject, day) do update set n = ceilings.n + 1 where ceilings.n < $3 returning n"
        )
    };
}

const COUNT: Sql = Sql::each(count!(now!(sqlite)), count!(now!(postgres)));

macro_rules! uncount {
    ($now:expr) => {
        concat!(
            "update ceilings set n = n - 1 where desk_id = $1 and subject = $2 and n > 0 and day = ",
            $now,
            " / 86400000"
        )
    };
}

const UNCOUNT: Sql = Sql::each(uncount!(now!(sqlite)), uncount!(now!(postgres)));

macro_rules! forget {
    ($now:expr) => {
        concat!("delete from ceilings where day < ", $now, " / 86400000 - 1")
    };
}

const FORGET: Sql = Sql::each(forget!(now!(sqlite)), forget!(now!(postgres)));
const STRAY: Sql = Sql::both(
    "insert into strays (provider, provider_id, at) values ($1, $2, $3) on conflict do nothing",
);
const IS_STRAY: Sql = Sql::both("select at from strays where provider = $1 and provider_id = $2");
const FORGET_STRAYS: Sql = Sql::both("delete from strays where at < $1");

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("duty.hold", HOLD),
    ("duty.marked", MARKED),
    ("duty.mark", MARK),
    ("duty.count", COUNT),
    ("duty.uncount", UNCOUNT),
    ("duty.forget", FORGET),
    ("duty.stray", STRAY),
    ("duty.is_stray", IS_STRAY),
    ("duty.forget_strays", FORGET_STRAYS),
];

impl Inner {
    pub(super) async fn hold_duty(
        &self,
        name: &str,
        owner: &str,
        lease_ms: i64,
    ) -> Result<Option<Lease>, StoreError> {
        let mut tx = self.database.begin().await?;
        let values = [Value::Text(name), Value::Text(owner), Value::Int(lease_ms)];
        let duty = match tx.row(HOLD, &values).await? {
            Some(row) => Some(Lease {
                fence: row.int("fence")?,
                mark: row.int("mark")?,
            }),
            None => None,
        };
        tx.commit().await?;
        Ok(duty)
    }

    pub(super) async fn duty_mark(&self, name: &str) -> Result<i64, StoreError> {
        let row = self.database.row(MARKED, &[Value::Text(name)]).await?;
        row.map_or(Ok(0), |row| row.int("mark"))
    }

    pub(super) async fn mark_duty(
        &self,
        name: &str,
        lease: Lease,
        mark: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let values = [Value::Text(name), Value::Int(lease.fence), Value::Int(mark)];
        let marked = tx.execute(MARK, &values).await? == 1;
        tx.commit().await?;
        Ok(marked)
    }

    /// Counts a send against both ceilings; the one that does not allow it, if any. Then nothing is counted.
    pub(super) async fn count_send(
        &self,
        tx: &mut Tx,
        request: &Request,
    ) -> Result<Option<Ceiling>, StoreError> {
        let desk = Value::Id(request.desk.uuid());
        let nobody = Value::Id(uuid::Uuid::nil());
        let address = self.address_hash(request.contact.known_at());
        let most = [self.ceilings.desk, self.ceilings.address].map(Value::Int);
        if tx
            .row(COUNT, &[desk, Value::Bytes(b""), most[0]])
            .await?
            .is_none()
        {
            return Ok(Some(Ceiling::Desk));
        }
        if tx
            .row(COUNT, &[nobody, Value::Bytes(&address), most[1]])
            .await?
            .is_none()
        {
            tx.execute(UNCOUNT, &[desk, Value::Bytes(b"")]).await?;
            return Ok(Some(Ceiling::Address));
        }
        Ok(None)
    }

    /// Takes a send back that provably did not happen.
    pub(super) async fn uncount_send(
        &self,
        tx: &mut Tx,
        request: &Request,
    ) -> Result<(), StoreError> {
        let address = self.address_hash(request.contact.known_at());
        self.uncount(tx, request.desk, Some(&address)).await
    }

    /// The same, where only the desk may have been counted.
    pub(super) async fn uncount(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        address: Option<&[u8; 16]>,
    ) -> Result<(), StoreError> {
        let desk = [Value::Id(desk.uuid()), Value::Bytes(b"")];
        tx.execute(UNCOUNT, &desk).await?;
        if let Some(address) = address {
            let address = [Value::Id(uuid::Uuid::nil()), Value::Bytes(address)];
            tx.execute(UNCOUNT, &address).await?;
        }
        Ok(())
    }

    pub(super) async fn is_stray(
        &self,
        provider: &str,
        provider_id: &str,
    ) -> Result<bool, StoreError> {
        let values = [Value::Text(provider), Value::Text(provider_id)];
        Ok(self.database.row(IS_STRAY, &values).await?.is_some())
    }

    pub(super) async fn add_stray(
        &self,
        provider: &str,
        provider_id: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.database.begin().await?;
        let values = [
            Value::Text(provider),
            Value::Text(provider_id),
            Value::Int(now.as_millis()),
        ];
        tx.execute(STRAY, &values).await?;
        tx.commit().await
    }

    /// Forgets what bounds nothing any more.
    pub(super) async fn forget(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.database.begin().await?;
        let old = now.plus_millis(-STRAYS_MS);
        let forgotten = tx.execute(FORGET, &[]).await?
            + tx.execute(FORGET_STRAYS, &[Value::Int(old.as_millis())])
                .await?
            + self.forget_days(&mut tx, now).await?
            + Self::forget_views(&mut tx, now).await?
            + Self::forget_links(&mut tx, now).await?
            + self.forget_hours(&mut tx, now).await?;
        tx.commit().await?;
        Ok(forgotten)
    }
}
