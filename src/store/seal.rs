//! What is sealed and where: one function a column, so that nobody has to know more than that it is.

use serde::{Deserialize, Serialize};

use super::row::place;
use super::sql::Inner;
use super::{KeyRing, StoreError};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::desk::DeskSettings;
use crate::domain::id::DeskId;
use crate::domain::rating::Rating;

/// Who opted out and why, as it is sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) address: Address,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

impl Inner {
    pub(super) fn seal_text(
        &self,
        column: &str,
        desk: DeskId,
        id: uuid::Uuid,
        plain: &str,
    ) -> String {
        let place = place(column, desk, id);
        self.keys.seal_text(self.entropy.as_ref(), &place, plain)
    }

    /// The desk's own JSON of a request. Nothing stays nothing.
    pub(super) fn sealed_metadata(
        &self,
        desk: DeskId,
        id: uuid::Uuid,
        metadata: &serde_json::Value,
    ) -> String {
        let text = metadata.to_string();
        if metadata.is_null() {
            return text;
        }
        self.seal_text("requests.metadata", desk, id, &text)
    }

    pub(super) fn sealed_comment(&self, desk: DeskId, rating: &Rating) -> String {
        self.seal_text("ratings.comment", desk, rating.id.uuid(), &rating.comment)
    }

    /// A desk's settings: they hold addresses of its own people.
    pub(super) fn sealed_settings(
        &self,
        desk: DeskId,
        settings: &DeskSettings,
    ) -> Result<String, StoreError> {
        let json = serde_json::to_string(settings)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(self.seal_text("desks.settings", desk, desk.uuid(), &json))
    }

    /// Who a desk's opt-out is about. One that holds for every desk names nobody: a desk must not learn an address from another.
    pub(super) fn sealed_opt_out(
        &self,
        desk: DeskId,
        hash: &[u8; 16],
        address: &Address,
        reason: &str,
    ) -> Vec<u8> {
        if desk.uuid().is_nil() || address.kind() == AddressKind::None {
            return Vec::new();
        }
        let listed = Listed {
            address: address.clone(),
            reason: reason.to_owned(),
        };
        let plain = serde_json::to_vec(&listed).unwrap_or_default();
        let place = opt_out_place(desk, hash);
        self.keys.seal(self.entropy.as_ref(), &place, &plain)
    }
}

/// Opens what [`Inner::sealed_opt_out`] made; `None` if it names nobody.
pub(super) fn open_opt_out(
    keys: &KeyRing,
    desk: DeskId,
    hash: &[u8; 16],
    sealed: &[u8],
) -> Result<Option<Listed>, StoreError> {
    if sealed.is_empty() {
        return Ok(None);
    }
    let plain = keys.open(&opt_out_place(desk, hash), sealed)?;
    let listed = serde_json::from_slice(&plain);
    listed
        .map(Some)
        .map_err(|error| StoreError::Corrupt(format!("opt_outs.contact: {error}")))
}

pub(super) fn opt_out_place(desk: DeskId, hash: &[u8; 16]) -> Vec<u8> {
    place("opt_outs.contact", desk, uuid::Uuid::from_bytes(*hash))
}
