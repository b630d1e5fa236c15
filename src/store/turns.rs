//! Triggers about one contact take turns: of two that come in the same instant, neither would see that the other asks, and both
//! would pass a cap.
//!
//! On SQLite there is one writer, so they take turns anyway. On PostgreSQL a transaction locks all contacts of its triggers before
//! it reads their asks, in one statement and always in the same order, so that two transactions never wait for each other. The locks
//! are the transaction's own, so they end with it, behind a pooler too. They bound nothing but this: whatever else is exact is so by
//! rows and unique indexes.

use std::collections::BTreeSet;

use super::StoreError;
use super::dialect::{Sql, Value};
use super::prepared::Prepared;
use super::sql::Inner;
use super::tx::{Link, Tx};
use super::write::Write;
use crate::domain::contact::AddressKind;

/// The statements that follow see what was committed until they begin, and so what whoever had a lock before has written. SQLite only
/// understands its half.
const TAKE: Sql = Sql::each(
    "select cast(value as integer) is null as done from json_each($1)",
    "select pg_advisory_xact_lock(cast(k.v as bigint)) is null as done from unnest($1::text[]) k(v)",
);

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("turns.take", TAKE)];

impl Inner {
    /// Waits until nobody else decides about a contact of these triggers whose rules look at other asks.
    pub(super) async fn take_turns(
        &self,
        tx: &mut Tx,
        writes: &[&Write],
    ) -> Result<(), StoreError> {
        if matches!(tx.link, Link::Sqlite(..)) {
            return Ok(());
        }
        let mut keys = BTreeSet::new();
        for write in writes {
            if let Write::Accept(prepared) = write
                && !prepared.new.dry_run
                && prepared.new.rules.need_asks()
            {
                keys.extend(turns_of(prepared));
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        tx.rows(TAKE, &[Value::Words(&keys)]).await?;
        Ok(())
    }
}

/// The numbers of a contact's locks: by the address, which nobody has in common with those who have none, and by the desk's id.
/// Two contacts that have one by chance wait for each other, which is all.
fn turns_of(prepared: &Prepared) -> impl Iterator<Item = i64> {
    let who = prepared.who();
    let known = prepared.new.contact.known_at().kind() != AddressKind::None;
    let keys = [known.then_some(who.address), who.person];
    keys.into_iter().flatten().map(|key| {
        let part = |from: usize| {
            let mut part = [0; 8];
            part.copy_from_slice(&key[from..from + 8]);
            i64::from_be_bytes(part)
        };
        // The end of the desk's identifier is random, and the whole of a hash.
        part(8) ^ part(16)
    })
}
