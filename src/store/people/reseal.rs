//! After a newer key was put on top of the key file: everything that an older key sealed, or none, is sealed with the newest.
//!
//! Two walks a desk: over its requests, which take their ratings and replies along, and over its opt-outs (with the settings of the
//! desk at the start). Each counts first, then seals, then counts again: then 0 is what was seen and not what was hoped. A value is
//! replaced only if it is still the one that was read, so that nothing is brought back that was erased meanwhile.

use std::collections::BTreeMap;

use super::Resealed;
use super::walk::Walk;
use crate::domain::id::DeskId;
use crate::store::StoreError;
use crate::store::dialect::{Row, Sql, Value};
use crate::store::keyring::{SealedWith, sealed_with, text_sealed_with};
use crate::store::row::place;
use crate::store::seal::opt_out_place;
use crate::store::sql::Inner;
use crate::store::tx::Tx;

const REQUESTS: Sql = Sql::both(
    "select id, contact, mail, metadata from requests where desk_id = $1 and id > $2 order by id limit $3",
);
const RATINGS: Sql = Sql::both(
    "select id, comment from ratings where desk_id = $1 and request_id > $2 and request_id <= $3 and comment <> ''",
);
const REPLIES: Sql = Sql::both(
    "select request_id, provider_id, id, raw from replies where desk_id = $1 and request_id > $2 and request_id <= $3",
);
const OPT_OUTS: Sql = Sql::both(
    "select channel, address_hash, contact from opt_outs where desk_id = $1 and (channel, address_hash) > ($2, $3) \
     order by channel, address_hash limit $4",
);
const DESK: Sql = Sql::both("select settings from desks where id = $1");
const DESKS: Sql = Sql::both("select id from desks order by id");

const SEAL_REQUEST: Sql = Sql::both(
    "update requests set contact = $3, mail = $4, metadata = $5 where desk_id = $1 and id = $2 \
     and contact = $6 and mail = $7 and metadata = $8",
);
const SEAL_RATING: Sql =
    Sql::both("update ratings set comment = $3 where desk_id = $1 and id = $2 and comment = $4");
const SEAL_REPLY: Sql = Sql::both(
    "update replies set raw = $4 where desk_id = $1 and request_id = $2 and provider_id = $3 and raw = $5",
);
const SEAL_OPT_OUT: Sql = Sql::both(
    "update opt_outs set contact = $4 where desk_id = $1 and channel = $2 and address_hash = $3 and contact = $5",
);
const SEAL_DESK: Sql = Sql::both("update desks set settings = $2 where id = $1 and settings = $3");

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("reseal.requests", REQUESTS),
    ("reseal.ratings", RATINGS),
    ("reseal.replies", REPLIES),
    ("reseal.opt_outs", OPT_OUTS),
    ("reseal.desk", DESK),
    ("reseal.desks", DESKS),
    ("reseal.request", SEAL_REQUEST),
    ("reseal.rating", SEAL_RATING),
    ("reseal.reply", SEAL_REPLY),
    ("reseal.opt_out", SEAL_OPT_OUT),
    ("reseal.settings", SEAL_DESK),
];

/// The walks of a desk.
const WALKS: [&str; 2] = ["seal_requests", "seal_opt_outs"];
/// Rows at a time when everything is counted at once.
const MANY: i64 = 1_000;

/// The stages of a walk.
const COUNT: &str = "count";
const SEAL: &str = "seal";
const RECOUNT: &str = "recount";
const DONE: &str = "done";

/// The columns of one row that are sealed.
enum Item {
    Request {
        id: uuid::Uuid,
        contact: Vec<u8>,
        mail: String,
        metadata: String,
    },
    Rating {
        id: uuid::Uuid,
        comment: String,
    },
    Reply {
        request: uuid::Uuid,
        provider_id: String,
        id: uuid::Uuid,
        raw: Vec<u8>,
    },
    OptOut {
        channel: String,
        hash: [u8; 16],
        contact: Vec<u8>,
    },
    Desk {
        settings: String,
    },
}

impl Item {
    /// With which key each of its values is sealed.
    fn sealed(&self) -> Vec<SealedWith> {
        match self {
            Self::Request {
                contact,
                mail,
                metadata,
                ..
            } => {
                // JSON's own word for nothing names nobody.
                let metadata = Some(metadata.as_str()).filter(|text| *text != "null");
                let texts = [Some(mail.as_str()), metadata].into_iter().flatten();
                let texts = texts.filter_map(text_sealed_with);
                sealed_with(contact).into_iter().chain(texts).collect()
            }
            Self::Rating { comment: text, .. } | Self::Desk { settings: text } => {
                text_sealed_with(text).into_iter().collect()
            }
            Self::Reply { raw: value, .. } | Self::OptOut { contact: value, .. } => {
                sealed_with(value).into_iter().collect()
            }
        }
    }
}

/// A part of a walk: what was found, and the place of its last row; none at the end of the way.
struct Part {
    items: Vec<Item>,
    reached: Option<Vec<u8>>,
}

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

    async fn part(
        &self,
        desk: DeskId,
        name: &str,
        reached: &[u8],
        limit: i64,
    ) -> Result<Part, StoreError> {
        if name == WALKS[0] {
            self.part_of_requests(desk, reached, limit).await
        } else {
            self.part_of_opt_outs(desk, reached, limit).await
        }
    }

    async fn part_of_requests(
        &self,
        desk: DeskId,
        reached: &[u8],
        limit: i64,
    ) -> Result<Part, StoreError> {
        let after = uuid::Uuid::from_slice(reached).unwrap_or(uuid::Uuid::nil());
        let desk = Value::Id(desk.uuid());
        let rows = self
            .database
            .rows(REQUESTS, &[desk, Value::Id(after), Value::Int(limit)])
            .await?;
        let Some(last) = rows.last() else {
            return Ok(Part {
                items: Vec::new(),
                reached: None,
            });
        };
        let last = last.id("id")?;
        let mut items = rows.iter().map(request).collect::<Result<Vec<_>, _>>()?;
        let range = [desk, Value::Id(after), Value::Id(last)];
        for row in self.database.rows(RATINGS, &range).await? {
            items.push(Item::Rating {
                id: row.id("id")?,
                comment: row.text("comment")?,
            });
        }
        for row in self.database.rows(REPLIES, &range).await? {
            items.push(Item::Reply {
                request: row.id("request_id")?,
                provider_id: row.text("provider_id")?,
                id: row.id("id")?,
                raw: row.bytes("raw")?,
            });
        }
        let whole = rows.len() as u64 >= limit.unsigned_abs();
        let reached = whole.then(|| last.as_bytes().to_vec());
        Ok(Part { items, reached })
    }

    async fn part_of_opt_outs(
        &self,
        desk: DeskId,
        reached: &[u8],
        limit: i64,
    ) -> Result<Part, StoreError> {
        let id = Value::Id(desk.uuid());
        let mut items = Vec::new();
        if reached.is_empty()
            && let Some(row) = self.database.row(DESK, &[id]).await?
        {
            items.push(Item::Desk {
                settings: row.text("settings")?,
            });
        }
        // The place is the channel and behind it the hash.
        let (channel, hash) = reached.split_at(reached.len().saturating_sub(16));
        let channel = String::from_utf8_lossy(channel);
        let values = [
            id,
            Value::Text(&channel),
            Value::Bytes(hash),
            Value::Int(limit),
        ];
        let rows = self.database.rows(OPT_OUTS, &values).await?;
        let mut last = None;
        for row in &rows {
            let (channel, hash) = (row.text("channel")?, row.bytes("address_hash")?);
            last = Some([channel.as_bytes(), &hash].concat());
            items.push(Item::OptOut {
                channel,
                hash: hash.try_into().unwrap_or_default(),
                contact: row.bytes("contact")?,
            });
        }
        let whole = rows.len() as u64 >= limit.unsigned_abs();
        let reached = last.filter(|_| whole);
        Ok(Part { items, reached })
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

    pub(super) async fn key_use(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut used = BTreeMap::new();
        for row in self.database.rows(DESKS, &[]).await? {
            let desk = DeskId::from_uuid(row.id("id")?);
            for name in WALKS {
                let mut reached = Some(Vec::new());
                while let Some(from) = reached {
                    let part = self.part(desk, name, &from, MANY).await?;
                    for with in part.items.iter().flat_map(Item::sealed) {
                        let name = match with {
                            SealedWith::Nothing => String::new(),
                            SealedWith::Key(name) => name,
                        };
                        *used.entry(name).or_default() += 1;
                    }
                    reached = part.reached;
                }
            }
        }
        Ok(used)
    }
}

fn request(row: &Row) -> Result<Item, StoreError> {
    Ok(Item::Request {
        id: row.id("id")?,
        contact: row.bytes("contact")?,
        mail: row.text("mail")?,
        metadata: row.text("metadata")?,
    })
}
