//! What is sealed, read row by row in the order of keys: the values of a part of a desk, and with which key each is sealed.

use std::collections::BTreeMap;

use crate::domain::id::DeskId;
use crate::store::StoreError;
use crate::store::dialect::{Row, Sql, Value};
use crate::store::keyring::{SealedWith, sealed_with, text_sealed_with};
use crate::store::sql::Inner;

const REQUESTS: Sql = Sql::both(
    "select id, contact, mail, metadata from requests where desk_id = $1 and id > $2 order by id limit $3",
);
const RATINGS: Sql = Sql::both(
    "select id, comment from ratings where desk_id = $1 and request_id > $2 and request_id <= $3 and comment <> ''",
);
const REPLIES: Sql = Sql::both(
    "select request_id, provider_id, id, raw from replies where desk_id = $1 and request_id > $2 and request_id <= $3",
);
/// The condition is that of the index.
const EVENTS: Sql = Sql::each(
    "select id, detail from events where desk_id = $1 and request_id > $2 and request_id <= $3 and detail <> x''",
    "select id, detail from events where desk_id = $1 and request_id > $2 and request_id <= $3 and detail <> '\\x'",
);
const FOLLOW_UPS: Sql = Sql::both(
    "select id, told_note, close_note from follow_ups where desk_id = $1 and request_id > $2 and request_id <= $3",
);
const WEBHOOKS: Sql =
    Sql::both("select id, url, secret, old_secret from webhooks where desk_id = $1 order by id");
const OPT_OUTS: Sql = Sql::both(
    "select channel, address_hash, contact from opt_outs where desk_id = $1 and (channel, address_hash) > ($2, $3) \
     order by channel, address_hash limit $4",
);
const DESK: Sql = Sql::both("select settings from desks where id = $1");
const DESKS: Sql = Sql::both("select id from desks order by id");

#[cfg(test)]
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("reseal.requests", REQUESTS),
    ("reseal.ratings", RATINGS),
    ("reseal.replies", REPLIES),
    ("reseal.events", EVENTS),
    ("reseal.follow_ups", FOLLOW_UPS),
    ("reseal.webhooks", WEBHOOKS),
    ("reseal.opt_outs", OPT_OUTS),
    ("reseal.desk", DESK),
    ("reseal.desks", DESKS),
];

/// The walks of a desk.
pub(super) const WALKS: [&str; 2] = ["seal_requests", "seal_opt_outs"];
/// Rows at a time when everything is counted at once.
const MANY: i64 = 1_000;

/// The columns of one row that are sealed.
pub(super) enum Item {
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
    Event {
        id: uuid::Uuid,
        detail: Vec<u8>,
    },
    FollowUp {
        id: uuid::Uuid,
        told: String,
        closed: String,
    },
    OptOut {
        channel: String,
        hash: [u8; 16],
        contact: Vec<u8>,
    },
    Webhook {
        id: uuid::Uuid,
        url: Vec<u8>,
        secret: Vec<u8>,
        old_secret: Vec<u8>,
    },
    Desk {
        settings: String,
    },
}

impl Item {
    /// With which key each of its values is sealed.
    pub(super) fn sealed(&self) -> Vec<SealedWith> {
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
            Self::Reply { raw: value, .. }
            | Self::Event { detail: value, .. }
            | Self::OptOut { contact: value, .. } => sealed_with(value).into_iter().collect(),
            Self::FollowUp { told, closed, .. } => {
                let notes = [told, closed].into_iter();
                notes.filter_map(|note| text_sealed_with(note)).collect()
            }
            Self::Webhook {
                url,
                secret,
                old_secret,
                ..
            } => {
                let values = [url, secret, old_secret].into_iter();
                values.filter_map(|value| sealed_with(value)).collect()
            }
        }
    }
}

/// A part of a walk: what was found, and the place of its last row; none at the end of the way.
pub(super) struct Part {
    pub(super) items: Vec<Item>,
    pub(super) reached: Option<Vec<u8>>,
}

impl Inner {
    pub(super) async fn part(
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
        for row in self.database.rows(EVENTS, &range).await? {
            items.push(Item::Event {
                id: row.id("id")?,
                detail: row.bytes("detail")?,
            });
        }
        for row in self.database.rows(FOLLOW_UPS, &range).await? {
            items.push(Item::FollowUp {
                id: row.id("id")?,
                told: row.text("told_note")?,
                closed: row.text("close_note")?,
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
            for row in self.database.rows(WEBHOOKS, &[id]).await? {
                items.push(Item::Webhook {
                    id: row.id("id")?,
                    url: row.bytes("url")?,
                    secret: row.bytes("secret")?,
                    old_secret: row.bytes("old_secret")?,
                });
            }
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
