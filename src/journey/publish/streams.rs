//! Sinks that take the events of all desks: each has a mark in the stream of each desk, moved on once the other side has what is
//! before it.

use crate::domain::notice::Notice;
use crate::journey::Journey;
use crate::sink::Letter;
use crate::store::{Behind, StoreError};

/// Events on their way at the same time.
const BATCH: i64 = 256;

impl Journey {
    /// One round: the next events of each desk for each sink. Whether there are more for one that takes them.
    pub async fn tell_streams(&self) -> Result<bool, StoreError> {
        let (mut more, mut failed) = (false, None);
        for (name, sink) in &self.publishing.streams {
            for behind in self.store.behind(name).await? {
                match self.tell_stream(name, sink.as_ref(), behind).await {
                    Ok(Some(rest)) => more |= rest,
                    // It takes nothing now: the other desks' events wait as well.
                    Ok(None) => break,
                    // Nobody's events can be read now.
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    // The other desks wait for nothing that is wrong with this one.
                    Err(error) => {
                        tracing::warn!(sink = name, desk = %behind.desk, %error, "a desk's events could not be told");
                        failed.get_or_insert(error);
                    }
                }
            }
        }
        failed.map_or(Ok(more), Err)
    }

    /// Whether there is more for this desk; `None` if the sink takes nothing now.
    async fn tell_stream(
        &self,
        name: &'static str,
        sink: &dyn crate::sink::Stream,
        behind: Behind,
    ) -> Result<Option<bool>, StoreError> {
        let events = self.store.events(behind.desk, behind.mark, BATCH).await?;
        let places: Vec<_> = events.iter().map(|event| (event.seq, event.at)).collect();
        let letters: Vec<Letter> = events
            .into_iter()
            .map(|event| {
                let notice = Notice::of(event);
                Letter {
                    body: notice.to_json().into(),
                    id: notice.id,
                    desk: notice.desk,
                    kind: notice.kind,
                }
            })
            .collect();
        let (taken, failed) = sink.publish(&letters).await;
        let told = &places[..taken.min(places.len())];
        // Nothing to read where there should be: what is missing was deleted, and nobody can be told of it any more.
        let mark = match (told.last(), places.is_empty()) {
            (Some((seq, _)), _) => Some(*seq),
            (None, true) => Some(behind.head),
            (None, false) => None,
        };
        if let Some(mark) = mark {
            self.store.mark_sink(name, behind.desk, mark).await?;
        }
        for (_, at) in told {
            self.observe(name, *at);
        }
        let published = &self.metrics.streams.published;
        published
            .with_label_values(&[name, "ok"])
            .inc_by(told.len() as u64);
        let down = &self.metrics.streams.sink_down.with_label_values(&[name]);
        if let Some(error) = failed {
            published.with_label_values(&[name, "failed"]).inc();
            // Said once, not every round.
            if down.get() == 0 {
                tracing::warn!(sink = name, %error, "a sink takes no events; they wait");
            }
            down.set(1);
            return Ok(None);
        }
        if down.get() != 0 {
            tracing::info!(sink = name, "a sink takes events again");
            down.set(0);
        }
        Ok(Some(mark.is_some_and(|mark| mark < behind.head)))
    }
}
