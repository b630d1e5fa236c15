//! The store's double, third part: what contacts answer, and the end of waiting.

use onefive::domain::delivery::{DeliveryState, Evidence};
use onefive::domain::id::{RatingId, RequestId};
use onefive::domain::rating::{Grade, Rating, Score};
use onefive::domain::reply::{Effect, Understood, effect};
use onefive::domain::request::State;

use super::mutation::Mutation;
use super::store::{About, Store, at};

/// The time for corrections.
const WINDOW_MS: i64 = 900_000;

impl Store {
    /// Records a reply. `false` if no request waits for it.
    pub(super) fn reply(&mut self, r: usize, id: usize, said: &Understood, now: i64) -> bool {
        let row = &self.rows[r];
        if !row.listening {
            return false;
        }
        let queued = matches!(row.delivery, DeliveryState::Queued | DeliveryState::Claimed);
        let about = About {
            attempt: row.attempts,
            send_at: None,
            doubt: queued && row.doubts() > 0,
        };
        let wish = matches!(said, Understood::Stop | Understood::Start);
        if queued && !about.doubt && !wish {
            return false;
        }
        if row.replies.contains(&id) {
            return true;
        }
        let rating = row.rating.as_ref();
        let did = effect(
            row.state,
            rating,
            said.clone(),
            Grade::Channel,
            at(now),
            WINDOW_MS,
        );
        let row = &mut self.rows[r];
        row.replies.push(id);
        match did {
            Effect::Rated(score, comment) => {
                self.weigh(r, about, &Evidence::Contact, now);
                let row = &mut self.rows[r];
                row.enter(State::Answered);
                row.call_off();
                row.listen_until = now + WINDOW_MS;
                row.rating = Some(rated(r, score, comment, now));
                row.counted += 1;
            }
            Effect::Changed(score, comment) => {
                if let Some(rating) = &mut row.rating {
                    rating.score = score;
                    rating.changed_at = at(now);
                    if !comment.is_empty() {
                        rating.comment = comment;
                    }
                }
                row.counted += u32::from(self.mutation == Some(Mutation::CountCorrections));
            }
            Effect::Commented(comment) => {
                if let Some(rating) = &mut row.rating {
                    rating.comment = comment;
                }
            }
            Effect::OptedOut => {
                if row.state.admits(State::Cancelled) {
                    row.enter(State::Cancelled);
                }
                row.call_off();
                row.listening = false;
            }
            Effect::OptedIn | Effect::Helped | Effect::Unrecognized(_) | Effect::Nothing => {}
        }
        true
    }

    /// Ends what has waited long enough.
    pub(super) fn expire(&mut self, now: i64) {
        for row in &mut self.rows {
            if row.listening && row.listen_until <= now {
                if row.state.admits(State::Expired) {
                    row.enter(State::Expired);
                    row.call_off();
                } else {
                    row.listening = false;
                }
            }
        }
    }
}

fn rated(r: usize, score: Score, comment: String, now: i64) -> Rating {
    let now = at(now);
    let random = [u8::try_from(r).unwrap_or(0); 10];
    Rating {
        id: RatingId::new(now, random),
        request: RequestId::new(now, random),
        score,
        grade: Grade::Channel,
        comment,
        answered_at: now,
        changed_at: now,
        elapsed_ms: 0,
        client: None,
        excluded: None,
    }
}
