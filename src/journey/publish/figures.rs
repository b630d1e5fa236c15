//! Everything that is read from the database for its metrics: one look for every door that shows them, so that a scrape and a push
//! cannot differ in what they hold.

use std::sync::Arc;

use crate::domain::follow_up::FollowUpState;
use crate::domain::statistics::Totals;
use crate::journey::Journey;
use crate::store::{Backlog, StoreError};

/// What the database counts.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// What the events add up to, by place.
    pub totals: Vec<Arc<Totals>>,
    /// What is being carried.
    pub backlog: Vec<Backlog>,
    /// Low scores that are being followed: the desk's short name, the step and how many.
    pub unclosed: Vec<(String, FollowUpState, i64)>,
    /// Since when totals count, in milliseconds since 1970; 0 if that was never said.
    pub epoch_ms: i64,
    /// The short names of the desks whose sending is paused.
    pub paused: Vec<String>,
}

impl Figures {
    /// Leaves what is of this desk. The backlog is of the whole service.
    pub fn only(&mut self, slug: &str) {
        self.totals.retain(|totals| totals.desk == slug);
        self.unclosed.retain(|(desk, ..)| desk == slug);
        self.paused.retain(|desk| desk == slug);
    }
}

impl Journey {
    /// What the database counts now.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        Ok(Figures {
            totals: self.store.totals().await?,
            backlog: self.store.backlog().await?,
            unclosed: self.store.unclosed().await?,
            epoch_ms: self.store.duty_mark("epoch").await?,
            paused: self.store.paused().await?,
        })
    }
}
