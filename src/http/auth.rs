//! Who calls: `Authorization: Bearer o5_…`. The key is looked up by its handle and compared by its hash.
//!
//! A key that was found is remembered for a second, so that a busy desk does not cost two look-ups a call; that second is also
//! how long a revoked key may still be taken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use super::Doors;
use super::error::Problem;
use crate::domain::desk::{ApiKey, Desk, KeyText, Scope};
use crate::domain::id::DeskId;

/// How long a key is remembered.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Keys remembered at most; beyond that all are forgotten and looked up again.
const KEYS_MAX: usize = 10_000;

/// Keys that were found lately.
#[derive(Clone, Default)]
pub struct KnownKeys(Arc<Mutex<HashMap<String, Known>>>);

/// A key that proved itself, and its desk.
#[derive(Clone)]
pub(super) struct Known {
    since: Instant,
    pub(super) key: Arc<ApiKey>,
    desk: Arc<Desk>,
}

impl Known {
    /// Whose key it is.
    pub(super) fn desk(&self) -> &Desk {
        &self.desk
    }
}

impl std::fmt::Debug for KnownKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KnownKeys")
    }
}

impl KnownKeys {
    fn get(&self, handle: &str) -> Option<Known> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(handle)
            .filter(|known| known.since.elapsed() < REMEMBERED)
            .cloned()
    }

    /// Forgets the keys of a desk, whose settings have changed: the next call sees them. Other replicas see them in a second.
    pub(super) fn forget(&self, desk: DeskId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| known.desk.id != desk);
    }

    fn put(&self, known: &Known) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEYS_MAX {
            all.clear();
        }
        all.insert(known.key.handle.clone(), known.clone());
    }
}

impl Doors {
    /// The desk whose key is presented, if the key has `scope`.
    pub(super) async fn caller(
        &self,
        headers: &HeaderMap,
        scope: Scope,
    ) -> Result<Arc<Desk>, Problem> {
        let known = self.identify(headers).await?;
        if !known.key.scopes.contains(&scope) {
            return Err(Problem::new(
                "forbidden",
                format!("The key needs the scope {}.", scope.as_str()),
            ));
        }
        Ok(known.desk)
    }

    /// The key that is presented, if it is one of ours.
    pub(super) async fn identify(&self, headers: &HeaderMap) -> Result<Known, Problem> {
        let presented = presented(headers).ok_or_else(unauthorized)?;
        let known = match self.known_keys.get(presented.handle()) {
            Some(known) => known,
            None => self.look_up(presented.handle()).await?,
        };
        // Compared each time: the handle is no secret, so that it is remembered says nothing about the rest.
        let genuine: bool = known.key.hash.ct_eq(&presented.hash()).into();
        if !genuine {
            return Err(unauthorized());
        }
        Ok(known)
    }

    async fn look_up(&self, handle: &str) -> Result<Known, Problem> {
        let store = &self.journey.store;
        let key = store.find_key(handle).await?.ok_or_else(unauthorized)?;
        let desk = store.desk(key.desk).await?.ok_or_else(unauthorized)?;
        let known = Known {
            since: Instant::now(),
            key: Arc::new(key),
            desk: Arc::new(desk),
        };
        self.known_keys.put(&known);
        Ok(known)
    }
}

/// The key that is presented, if it can be one. Nothing says yet that it is genuine.
pub(super) fn presented(headers: &HeaderMap) -> Option<KeyText> {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, key)| KeyText::parse(key.trim()))
}

fn unauthorized() -> Problem {
    Problem::new(
        "unauthorized",
        "Send Authorization: Bearer and an API key of yours.",
    )
}
