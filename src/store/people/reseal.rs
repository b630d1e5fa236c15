//! After a newer key was put on top of the key file: everything that an older key sealed, or none, is sealed with the newest.
//!
//! Two walks a desk: over its requests, which take their ratings, replies, events and follow-ups along, and over its opt-outs (with the
//! settings and the webhooks of the desk at the start). Each counts first, then seals, then counts again: then 0 is what was seen and not what was hoped. A value is
//! replaced only if it is still the one that was read, so that nothing is brought back that was erased meanwhile.

use super::Resealed;
use super::sealed::{Item, WALKS};
use super::walk::Walk;
use crate::domain::id::DeskId;
use crate::store::StoreError;
use crate::store::dialect::{Sql, Value};
use crate::store::keyring::SealedWith;
use crate::store::row::place;
use crate::store::seal::opt_out_place;
use crate::store::sql::Inner;
use crate::store::tx::Tx;

const SEAL_REQUEST: Sql = Sql::both(
    "update requests set contact = $3, mail = $4, metadata = $5 where desk_id = $1 and id = $2 \
     and contact = $6 and mail = $7 and metadata = $8",
);
const SEAL_RATING: Sql =
    Sql::both("update ratings set comment = $3 where desk_id = $1 and id = $2 and comment = $4");
const SEAL_REPLY: Sql = Sql::both(
    "update replies set raw = $4 where desk_id = $1 and request_id = $2 and provider_id = $3 and raw = $5",
);
const SEAL_EVENT: Sql =
    Sql::both("update events set detail = $3 where desk_id = $1 and id = $2 and detail = $4");
const SEAL_FOLLOW_UP: Sql = Sql::both(
    "update follow_ups set told_note = $3, close_note = $4 where desk_id = $1 and id = $2 and told_note = $5 and close_note = $6",
);
const SEAL_WEBHOOK: Sql = Sql::both(
    "update webhooks set url = $3, secret = $4, old_secret = $5 where desk_id = $1 and id = $2 \
     and url = $6 and secret = $7 and old_secret = $8",
);
const SEAL_OPT_OUT: Sql = Sql::both(
    "update opt_outs set contact = $4 where desk_id = $1 and channel = $2 and address_hash = $3 and contact = $5",
);
const SEAL_DESK: Sql = Sql::both("update desks set settings = $2 where id = $1 and settings = $3");

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("reseal.request", SEAL_REQUEST),
    ("reseal.rating", SEAL_RATING),
    ("reseal.reply", SEAL_REPLY),
    ("reseal.event", SEAL_EVENT),
    ("reseal.follow_up", SEAL_FOLLOW_UP),
    ("reseal.webhook", SEAL_WEBHOOK),
    ("reseal.opt_out", SEAL_OPT_OUT),
    ("reseal.settings", SEAL_DESK),
];

/// The stages of a walk.
const COUNT: &str = "count";
const SEAL: &str = "seal";
const RECOUNT: &str = "recount";
const DONE: &str = "done";

impl Inner {
    pub(super) async fn reseal(&self, desk: DeskId, limit: i64) -> Result<Resealed, StoreError> {
        let mut resealed = Resealed {
            left: Some(0),
            more: false,
        };
        for name in WALKS {
            let walk = self.reseal_on(desk, name, limit).await?;
            let counted = walk.stage == SEAL || walk.stage == DONE;
            let left = u64::try_from(walk.n).unwrap_or(0);
            resealed.left = resealed.left.filter(|_| counted).map(|sum| sum + left);
            resealed.more |= walk.stage != DONE;
        }
        Ok(resealed)
    }

    /// One step on a walk, which it gives back as it stands then.
    async fn reseal_on(&self, desk: DeskId, name: &str, limit: i64) -> Result<Walk, StoreError> {
        let mut walk = self.walk(desk, name).await?;
        let newest = self.keys.newest();
        if walk.goal != newest {
            walk = Walk {
                goal: newest.to_owned(),
                stage: COUNT.to_owned(),
                ..Walk::default()
            };
        } else if walk.stage == DONE && walk.n == 0 {
            return Ok(walk);
        } else if walk.stage == DONE {
            // What could not be done the last time may be possible now: a key was put back.
            COUNT.clone_into(&mut walk.stage);
            (walk.reached, walk.n) = (Vec::new(), 0);
        }
        let part = self.part(desk, name, &walk.reached, limit).await?;
        let mut tx = self.database.begin().await?;
        for item in &part.items {
            let outdated = self.outdated(item);
            if outdated == 0 {
                continue;
            }
            if walk.stage == SEAL {
                match self.seal_item(&mut tx, desk, item).await {
                    Ok(()) => walk.n = (walk.n - outdated).max(0),
                    // It stays as it is and is counted again at the end.
                    Err(error @ StoreError::Corrupt(_)) => {
                        tracing::error!(%desk, %error, "a value cannot be sealed anew");
                    }
                    Err(error) => return Err(error),
                }
            } else {
                walk.n += outdated;
            }
        }
        if let Some(reached) = part.reached {
            walk.reached = reached;
        } else {
            walk.reached = Vec::new();
            let next = match walk.stage.as_str() {
                COUNT if walk.n > 0 => SEAL,
                SEAL => {
                    walk.n = 0;
                    RECOUNT
                }
                _ => DONE,
            };
            next.clone_into(&mut walk.stage);
        }
        self.save_walk(&mut tx, desk, name, &walk).await?;
        tx.commit().await?;
        Ok(walk)
    }

    fn outdated(&self, item: &Item) -> i64 {
        let newest = self.keys.newest();
        let sealed = item.sealed();
        let old = sealed
            .iter()
            .filter(|with| !matches!(with, SealedWith::Key(name) if name == newest));
        i64::try_from(old.count()).unwrap_or(i64::MAX)
    }

    async fn seal_item(&self, tx: &mut Tx, desk: DeskId, item: &Item) -> Result<(), StoreError> {
        let own = Value::Id(desk.uuid());
        match item {
            Item::Request {
                id,
                contact,
                mail,
                metadata,
            } => {
                let new_contact = self.anew(&place("requests.contact", desk, *id), contact)?;
                let new_mail = self.text_anew("requests.mail", desk, *id, mail)?;
                let new_metadata = if metadata == "null" {
                    metadata.clone()
                } else {
                    self.text_anew("requests.metadata", desk, *id, metadata)?
                };
                let values = [
                    own,
                    Value::Id(*id),
                    Value::Bytes(&new_contact),
                    Value::Text(&new_mail),
                    Value::Text(&new_metadata),
                    Value::Bytes(contact),
                    Value::Text(mail),
                    Value::Text(metadata),
                ];
                tx.execute(SEAL_REQUEST, &values).await?;
            }
            Item::Rating { id, comment } => {
                let new = self.text_anew("ratings.comment", desk, *id, comment)?;
                let values = [own, Value::Id(*id), Value::Text(&new), Value::Text(comment)];
                tx.execute(SEAL_RATING, &values).await?;
            }
            Item::Reply {
                request,
                provider_id,
                id,
                raw,
            } => {
                let new = self.anew(&place("replies.raw", desk, *id), raw)?;
                let values = [
                    own,
                    Value::Id(*request),
                    Value::Text(provider_id),
                    Value::Bytes(&new),
                    Value::Bytes(raw),
                ];
                tx.execute(SEAL_REPLY, &values).await?;
            }
            Item::Event { id, detail } => {
                let new = self.anew(&place("events.detail", desk, *id), detail)?;
                let values = [
                    own,
                    Value::Id(*id),
                    Value::Bytes(&new),
                    Value::Bytes(detail),
                ];
                tx.execute(SEAL_EVENT, &values).await?;
            }
            Item::FollowUp { id, told, closed } => {
                self.seal_notes(tx, desk, *id, [told, closed]).await?;
            }
            Item::Webhook {
                id,
                url,
                secret,
                old_secret,
            } => {
                self.seal_webhook(tx, desk, *id, [url, secret, old_secret])
                    .await?;
            }
            Item::OptOut {
                channel,
                hash,
                contact,
            } => {
                let new = self.anew(&opt_out_place(desk, hash), contact)?;
                let values = [
                    own,
                    Value::Text(channel),
                    Value::Bytes(hash),
                    Value::Bytes(&new),
                    Value::Bytes(contact),
                ];
                tx.execute(SEAL_OPT_OUT, &values).await?;
            }
            Item::Desk { settings } => {
                let new = self.text_anew("desks.settings", desk, desk.uuid(), settings)?;
                let values = [own, Value::Text(&new), Value::Text(settings)];
                tx.execute(SEAL_DESK, &values).await?;
            }
        }
        Ok(())
    }

    async fn seal_notes(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        id: uuid::Uuid,
        [told, closed]: [&str; 2],
    ) -> Result<(), StoreError> {
        let new_told = self.text_anew("follow_ups.told_note", desk, id, told)?;
        let new_closed = self.text_anew("follow_ups.close_note", desk, id, closed)?;
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(id),
            Value::Text(&new_told),
            Value::Text(&new_closed),
            Value::Text(told),
            Value::Text(closed),
        ];
        tx.execute(SEAL_FOLLOW_UP, &values).await?;
        Ok(())
    }

    async fn seal_webhook(
        &self,
        tx: &mut Tx,
        desk: DeskId,
        id: uuid::Uuid,
        [url, secret, old_secret]: [&[u8]; 3],
    ) -> Result<(), StoreError> {
        let anew = |column, value| self.anew(&place(column, desk, id), value);
        let new_url = anew("webhooks.url", url)?;
        let new_secret = anew("webhooks.secret", secret)?;
        let new_old_secret = anew("webhooks.old_secret", old_secret)?;
        let values = [
            Value::Id(desk.uuid()),
            Value::Id(id),
            Value::Bytes(&new_url),
            Value::Bytes(&new_secret),
            Value::Bytes(&new_old_secret),
            Value::Bytes(url),
            Value::Bytes(secret),
            Value::Bytes(old_secret),
        ];
        tx.execute(SEAL_WEBHOOK, &values).await?;
        Ok(())
    }

    fn anew(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        if sealed.is_empty() {
            return Ok(Vec::new());
        }
        let plain = self.keys.open(place, sealed)?;
        Ok(self.keys.seal(self.entropy.as_ref(), place, &plain))
    }

    fn text_anew(
        &self,
        column: &str,
        desk: DeskId,
        id: uuid::Uuid,
        stored: &str,
    ) -> Result<String, StoreError> {
        let place = place(column, desk, id);
        let plain = self.keys.open_text(&place, stored.to_owned())?;
        Ok(self.keys.seal_text(self.entropy.as_ref(), &place, &plain))
    }
}
