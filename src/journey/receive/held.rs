//! What managers do to answers and ratings: release, exclude, restore. Each with a reason, each written down.

use crate::domain::desk::Desk;
use crate::domain::id::{RatingId, ReplyId};
use crate::journey::Journey;
use crate::store::{Note, Noted, Release, StoreError};

impl Journey {
    /// A manager makes the rating of an answer that was kept and not counted. `None` if the desk has no such answer.
    pub async fn release_held(
        &self,
        desk: &Desk,
        answer: ReplyId,
        by: &str,
        reason: &str,
    ) -> Result<Option<Release>, StoreError> {
        let note = self.note(by, reason);
        let window_ms = self.rules.correction_ms;
        let released = self.store.release_held(desk.id, answer, note, window_ms);
        released.await
    }

    /// A manager takes a rating out of the reports, or puts it back. Doing so twice does nothing more. `None` if the desk has no
    /// such rating.
    pub async fn note_rating(
        &self,
        desk: &Desk,
        rating: RatingId,
        excluded: bool,
        by: &str,
        reason: &str,
    ) -> Result<Option<Noted>, StoreError> {
        let note = self.note(by, reason);
        self.store
            .note_rating(desk.id, rating, excluded, note)
            .await
    }

    /// A note as of now.
    fn note(&self, by: &str, reason: &str) -> Note {
        Note {
            at: self.clock.now(),
            by: by.to_owned(),
            reason: reason.to_owned(),
        }
    }
}
