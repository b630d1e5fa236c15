//! Who reads the stream of a desk from here: each reader has a place of its own in the stream and reads on from the store when there is
//! more. One look at the last places serves all readers of a process; without readers there is none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::id::DeskId;
use crate::domain::notice::Recorded;
use crate::journey::Journey;
use crate::store::StoreError;

/// How often another replica's work is looked for.
const LOOK: Duration = Duration::from_millis(150);
/// What is committed within this time is told together.
const GATHER: Duration = Duration::from_millis(40);
/// The pause after a look that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Events that a reader takes from the store at once, and so the most that wait for a slow one.
const BATCH: i64 = 64;

/// The last place of each stream.
pub(super) type Heads = Arc<HashMap<DeskId, i64>>;

/// One who reads a stream.
#[derive(Debug)]
pub struct Reader {
    journey: Journey,
    desk: DeskId,
    after: i64,
    /// What happened after the reader came is told as it happens, and its lateness says how quick we are.
    live: i64,
    heads: watch::Receiver<Heads>,
}

impl Journey {
    /// A reader of what happens in this desk behind the place `after`; from now on, if there is none.
    pub async fn reader(&self, desk: DeskId, after: Option<i64>) -> Result<Reader, StoreError> {
        // Listening begins before the look, so that nothing falls between them.
        let mut heads = self.publishing.heads.subscribe();
        heads.mark_unchanged();
        let live = self.store.head(desk).await?;
        Ok(Reader {
            journey: self.clone(),
            desk,
            after: after.unwrap_or(live),
            live,
            heads,
        })
    }

    /// Rings for everybody in this process who tells of events, and looks at the last places for its readers, until `stop`.
    pub async fn run_feed(&self, stop: CancellationToken) {
        let mut news = self.store.news();
        let mut pause = LOOK;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                Ok(()) = news.changed() => {
                    tokio::time::sleep(GATHER).await;
                    news.mark_unchanged();
                    self.publishing.bell.send_replace(());
                }
            }
            pause = LOOK;
            if self.publishing.heads.receiver_count() == 0 {
                continue;
            }
            if let Err(error) = self.tell_feed().await {
                self.store_failed(&error);
                pause = AGAIN;
            }
        }
    }

    /// Tells the readers of this process how far the streams have come.
    pub(super) async fn tell_feed(&self) -> Result<(), StoreError> {
        let heads: HashMap<DeskId, i64> = self.store.heads().await?.into_iter().collect();
        self.publishing.heads.send_if_modified(|known| {
            let news = **known != heads;
            if news {
                *known = Arc::new(heads);
            }
            news
        });
        Ok(())
    }
}

impl Reader {
    /// The place behind which it reads on: everything up to it was given out by `next`, or is there no more.
    pub const fn place(&self) -> i64 {
        self.after
    }

    /// The next events, as soon as there are any. `None` when the process ends.
    pub async fn next(&mut self) -> Result<Option<Vec<Recorded>>, StoreError> {
        loop {
            let (desk, after) = (self.desk, self.after);
            // Listened to before the look. Whatever has a place by now is seen by the look, unless it is deleted.
            let head = self.heads.borrow_and_update().get(&desk).copied();
            let events = self.journey.store.events(desk, after, BATCH).await?;
            if let Some(last) = events.last() {
                self.after = last.seq;
                self.tell(&events);
                return Ok(Some(events));
            }
            self.after = after.max(head.unwrap_or(0));
            let after = self.after;
            let more = |heads: &Heads| heads.get(&desk).is_some_and(|head| *head > after);
            if self.heads.wait_for(more).await.is_err() {
                return Ok(None);
            }
        }
    }

    fn tell(&self, events: &[Recorded]) {
        for event in events.iter().filter(|event| event.seq > self.live) {
            self.journey.observe("sse", event.at);
        }
        let published = &self.journey.metrics.streams.published;
        published
            .with_label_values(&["sse", "ok"])
            .inc_by(events.len() as u64);
    }
}
