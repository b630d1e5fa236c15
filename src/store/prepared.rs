//! What a trigger is found by and how it is sealed, made before it waits for its transaction: that is half of what is done about it
//! outside the database, and whoever does it within the transaction holds up everybody else's.

use super::past;
use super::row::place;
use super::sql::Inner;
use super::{NewRequest, Pair, StoreError};
use crate::domain::contact::AddressKind;
use crate::domain::policy::Who;

/// A trigger with everything that does not depend on what the store knows.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) new: NewRequest,
    pub(super) pair_key: [u8; 16],
    /// A keyed hash, because desks put ticket numbers and names into their keys; empty if the desk sent none.
    pub(super) idempotency_key: Vec<u8>,
    pub(super) address_hash: [u8; 16],
    /// Of the desk's own id of the contact, if it gave one.
    pub(super) person_hash: Option<[u8; 16]>,
    /// The contact, sealed.
    pub(super) contact: Vec<u8>,
    /// The mail thread, sealed; empty if there is none.
    pub(super) mail: String,
    /// The desk's own JSON, sealed.
    pub(super) metadata: String,
}

impl Inner {
    pub(super) fn prepare(&self, new: NewRequest) -> Result<Prepared, StoreError> {
        let (desk, id) = (new.desk, new.id.uuid());
        let pair = Pair {
            channel: new.channel.clone(),
            ours: new.sender.clone(),
            theirs: new.contact.address.clone(),
        };
        let contact = serde_json::to_vec(&new.contact).map_err(|error| unwritable(&error))?;
        let here = place("requests.contact", desk, id);
        let mail = new.mail.as_ref().map(serde_json::to_string).transpose();
        let mail = mail
            .map_err(|error| unwritable(&error))?
            .unwrap_or_default();
        let idempotency_key = if new.idempotency_key.is_empty() {
            Vec::new()
        } else {
            let parts = [b"idempotency", new.idempotency_key.as_bytes()];
            self.keys.lookup(&parts).to_vec()
        };
        Ok(Prepared {
            pair_key: self.pair_key(&pair, new.reply_names_request.then_some(desk)),
            idempotency_key,
            address_hash: self.address_hash(new.contact.known_at()),
            person_hash: (!new.contact.id.is_empty()).then(|| self.contact_hash(&new.contact)),
            contact: self.keys.seal(self.entropy.as_ref(), &here, &contact),
            mail: self.seal_text("requests.mail", desk, id, &mail),
            metadata: self.sealed_metadata(desk, id, &new.metadata),
            new,
        })
    }
}

impl Prepared {
    /// The key under which the contact may have opted out as a person.
    pub(super) fn wisher(&self) -> Option<past::Key> {
        let known = self.new.contact.known_at().kind() != AddressKind::None;
        self.who().person.filter(|_| known)
    }

    /// The keys of the contact.
    pub(super) fn who(&self) -> Who {
        let key = |hash: &[u8; 16]| past::key(self.new.desk.uuid(), hash);
        Who {
            address: key(&self.address_hash),
            person: self.person_hash.as_ref().map(key),
        }
    }
}

fn unwritable(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
