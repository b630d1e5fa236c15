//! Changed rules over past triggers: what would have been decided. Reads, and changes nothing.

use std::time::{Duration, Instant};

use super::Journey;
use crate::domain::desk::{Desk, DeskSettings};
use crate::domain::id::RequestId;
use crate::domain::policy::{Compared, Recorded, Replay, Tally};
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// Triggers of one call at most.
const MOST: usize = 50_000;
/// Triggers read at a time.
const PAGE: usize = 500;
/// Differences that are shown one by one.
const EXAMPLES: usize = 50;
/// A call ends after this long, well before a request's deadline, and says where to go on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which triggers.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Those that came at or after this instant.
    pub from: Timestamp,
    /// And before this one.
    pub to: Timestamp,
    /// And after this one, where an earlier call was cut.
    pub after: Option<RequestId>,
}

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    /// Triggers looked at.
    pub triggers: usize,
    /// Of these, decided otherwise.
    pub differ: usize,
    /// What was decided.
    pub before: Tally,
    /// What would be decided.
    pub after: Tally,
    /// The first differences.
    pub examples: Vec<(RequestId, Compared)>,
    /// The last one looked at, if there are more.
    pub cut: Option<RequestId>,
}

impl Journey {
    /// Decides about the past triggers of a desk once more, with other settings.
    pub async fn replay(
        &self,
        desk: &Desk,
        then: DeskSettings,
        stretch: Stretch,
    ) -> Result<Replayed, StoreError> {
        let begun = Instant::now();
        let reach_ms = then.rules.reach_ms();
        let mut replay = Replay::new(desk.settings.clone(), then);
        let first = stretch.after.map_or_else(
            || before(RequestId::new(stretch.from, [0; 10])),
            RequestId::uuid,
        );
        let end = RequestId::new(stretch.to, [0; 10]).uuid();
        let mut last = first;
        let (mut triggers, mut differ, mut examples) = (0, 0, Vec::new());
        let mut cut = None;
        loop {
            let page = self
                .store
                .past_triggers(desk.id, (first, last, end), PAGE, reach_ms)
                .await?;
            if page.is_empty() {
                break;
            }
            for past in page {
                let request = &past.request;
                let case = self.case(request, request.planned_at.unwrap_or(request.due_at));
                let recorded = Recorded {
                    reason: request.reason,
                    delayed: request.planned_at.is_some(),
                };
                let compared = replay.step(&case, past.who, recorded, past.earlier);
                triggers += 1;
                if compared.before != compared.after {
                    differ += 1;
                    if examples.len() < EXAMPLES {
                        examples.push((request.id, compared));
                    }
                }
                last = request.id.uuid();
            }
            if triggers + PAGE > MOST || begun.elapsed() > PATIENCE {
                cut = Some(RequestId::from_uuid(last));
                break;
            }
        }
        Ok(Replayed {
            triggers,
            differ,
            before: replay.before,
            after: replay.after,
            examples,
            cut,
        })
    }
}

/// The identifier just below.
fn before(id: RequestId) -> uuid::Uuid {
    uuid::Uuid::from_u128(id.uuid().as_u128().saturating_sub(1))
}
