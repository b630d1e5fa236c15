//! Links of asks that name nobody any more. Whoever was erased, or forgotten after their time, may hold a mail of ours; its link still
//! says that they do not want another one, and leads to nothing else.

use crate::domain::event::EventKind;
use crate::domain::id::DeskId;
use crate::domain::opt_out::Origin;
use crate::domain::request::Channel;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;
use crate::store::StoreError;
use crate::store::dialect::{Sql, Value};
use crate::store::record::OPT_OUT;
use crate::store::sql::Inner;
use crate::store::tx::Tx;

/// For so long after it was asked a link is kept: two years.
const KEPT_MS: i64 = 730 * 86_400_000;

/// What an ask that may have arrived leaves behind.
macro_rules! keep {
    ($none:literal) => {
        concat!(
            "insert into kept_links (desk_id, link_hash, channel, address_hash, contact_hash, at) \
             select desk_id, link_hash, channel, address_hash, contact_hash, due_at from requests where desk_id = $1 \
             and link_hash <> ",
            $none,
            " and address_hash <> ",
            $none,
            " and (sent_at > 0 or attempts > 0) "
        )
    };
}

pub(super) use keep;

const KEEP: Sql = Sql::each(
    concat!(keep!("x''"), "and id = $2 on conflict do nothing"),
    concat!(keep!("'\\x'"), "and id = $2 on conflict do nothing"),
);
const FIND: Sql = Sql::both(
    "select desk_id, channel, address_hash, contact_hash from kept_links where link_hash = $1",
);
const FORGET: Sql = Sql::both("delete from kept_links where at < $1");

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("links.keep", KEEP),
    ("links.find", FIND),
    ("links.forget", FORGET),
];

impl Inner {
    /// Keeps the link of a request that is about to be erased.
    pub(super) async fn keep_link(
        &self,
        tx: &mut Tx,
        keys: &[Value<'_>; 2],
    ) -> Result<(), StoreError> {
        tx.execute(KEEP, keys).await?;
        Ok(())
    }

    pub(super) async fn kept_link(&self, link: &TokenHash) -> Result<Option<DeskId>, StoreError> {
        let row = self.database.row(FIND, &[Value::Bytes(&link.0)]).await?;
        row.map(|row| row.id("desk_id").map(DeskId::from_uuid))
            .transpose()
    }

    pub(super) async fn opt_out_by_kept_link(
        &self,
        link: &TokenHash,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<DeskId>, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(row) = tx.row(FIND, &[Value::Bytes(&link.0)]).await? else {
            return Ok(None);
        };
        let desk = DeskId::from_uuid(row.id("desk_id")?);
        let (address, person) = (row.bytes("address_hash")?, row.bytes("contact_hash")?);
        let channel = Channel::from_text(row.text("channel")?);
        let wished = self.has_wished(&mut tx, desk, &address).await?;
        // Whose address that is, nobody knows any more.
        let values = [
            Value::Id(desk.uuid()),
            Value::Text(channel.as_str()),
            Value::Bytes(&address),
            Value::Text(origin.as_str()),
            Value::Int(now.as_millis()),
            Value::Bytes(b""),
        ];
        tx.execute(OPT_OUT, &values).await?;
        if person != address {
            self.hold_hashes(&mut tx, desk, (&person, &address), now)
                .await?;
        }
        if !wished {
            self.emit_about(&mut tx, desk, &channel, EventKind::ContactOptedOut, now);
        }
        tx.commit().await?;
        Ok(Some(desk))
    }

    /// Forgets links that are too old for anybody to use.
    pub(in crate::store) async fn forget_links(
        tx: &mut Tx,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let old = now.plus_millis(-KEPT_MS).as_millis();
        tx.execute(FORGET, &[Value::Int(old)]).await
    }
}
