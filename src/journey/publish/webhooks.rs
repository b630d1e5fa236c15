//! Telling webhooks. Each is told by a task of its own, so that a slow or dead one holds up no other.
//!
//! A window of events is told at once: different requests side by side, the events of one request in their order. Then it is noted, in
//! one transaction: the mark, what is to be tried again and when, how the address does, and the log. While an address is left alone its
//! mark stands still, so nothing piles up for it but what the stream holds anyway.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::clock::random;
use crate::domain::id::{DeskId, EventId, WebhookId};
use crate::domain::notice::{Notice, Recorded};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{
    Delivery, Gate, RETRIES_MAX, Tried, Webhook, WebhookSecret, WebhookState, is_unwanted,
    retry_after,
};
use crate::journey::Journey;
use crate::sink::{Call, Called, Post};
use crate::store::{StoreError, WebhookTries, WebhookWork};

/// Events of one window, and calls of one webhook at the same time.
const WINDOW: i64 = 32;
const ABREAST: usize = 8;
/// A webhook makes room for others after so many windows, or sooner if they take long.
const TURN: usize = 50;
const TURN_TIME: Duration = Duration::from_secs(5);
/// Webhooks that are looked for at once.
const BUSY: i64 = 200;
/// For so long at least a webhook is left alone that cannot be read.
const UNREADABLE_MS: i64 = 60_000;

/// An event on its way to a webhook.
pub(super) struct Outgoing {
    pub(super) seq: i64,
    /// Which try it is, from 1.
    pub(super) attempt: i64,
    pub(super) event: EventId,
    pub(super) kind: &'static str,
    pub(super) at: Timestamp,
    pub(super) notice: Notice,
}

/// The same with the request that it is about.
type Addressed = (Option<uuid::Uuid>, Outgoing);

/// What came of one.
pub(super) struct Told {
    pub(super) seq: i64,
    pub(super) tried: Tried,
    pub(super) delivery: Delivery,
}

impl Journey {
    /// One round: begins to tell every webhook that has something to be told and is not being told already.
    pub(in crate::journey) async fn tell_webhooks(&self) -> Result<(), StoreError> {
        let mut busy = self.store.busy_webhooks(self.clock.now(), BUSY).await?;
        // Whoever had a turn last comes last, or slow ones would take every place again and again.
        let last = self.called(|called| called.last);
        busy.sort_by_key(|(_, id)| last.is_some_and(|last| *id <= last));
        for (desk, id) in busy {
            let Ok(permit) = Arc::clone(&self.publishing.room).try_acquire_owned() else {
                return Ok(());
            };
            if !self.called(|called| called.now.insert(id)) {
                continue;
            }
            self.called(|called| called.last = Some(id));
            let journey = self.clone();
            self.publishing.tasks.spawn(async move {
                let begun = Instant::now();
                for _ in 0..TURN {
                    match journey.tell_webhook(desk, id).await {
                        Ok(true) if begun.elapsed() < TURN_TIME => {}
                        Ok(_) => break,
                        Err(error) => {
                            journey.store_failed(&error);
                            tracing::warn!(webhook = %id, %error, "a webhook could not be told");
                            break;
                        }
                    }
                }
                journey.called(|called| called.now.remove(&id));
                drop(permit);
            });
        }
        if self.publishing.counts() {
            self.count_webhooks().await?;
        }
        Ok(())
    }

    /// The same to its end, one after the other.
    pub(super) async fn tell_webhooks_all(&self) -> Result<(), StoreError> {
        for (desk, id) in self.store.busy_webhooks(self.clock.now(), BUSY).await? {
            while self.tell_webhook(desk, id).await? {}
        }
        self.count_webhooks().await
    }

    fn called<T>(&self, change: impl FnOnce(&mut super::Called) -> T) -> T {
        let called = &self.publishing.called;
        change(&mut called.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn count_webhooks(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let (mut working, mut open, mut disabled) = (0, 0, 0);
        for (state, health) in self.store.webhook_states().await? {
            match (state, health.gate(now)) {
                (WebhookState::Enabled, Gate::Closed) => working += 1,
                (WebhookState::Enabled, Gate::Open | Gate::Trial) => open += 1,
                (WebhookState::Off | WebhookState::Gone | WebhookState::Failing, _) => {
                    disabled += 1;
                }
            }
        }
        let webhooks = &self.metrics.streams.webhooks;
        for (state, count) in [("working", working), ("open", open), ("disabled", disabled)] {
            webhooks.with_label_values(&[state]).set(count);
        }
        Ok(())
    }

    /// Tells a webhook of one window; whether it may be told of more at once.
    async fn tell_webhook(&self, desk: DeskId, id: WebhookId) -> Result<bool, StoreError> {
        match self.tell_window(desk, id).await {
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::warn!(webhook = %id, %error, "a webhook cannot be read and is left alone for a while");
                self.leave_alone(desk, id).await?;
                Ok(false)
            }
            told => told,
        }
    }

    /// A webhook that cannot be read, as when its key is not in the key file, has failed: looked at again at once, it would keep others
    /// from their turn. It is not given up, because the key may come back.
    async fn leave_alone(&self, desk: DeskId, id: WebhookId) -> Result<(), StoreError> {
        let Some(health) = self.store.webhook_health(desk, id).await? else {
            return Ok(());
        };
        let jitter = u16::from_le_bytes(random(self.entropy.as_ref())) % 1000;
        let failed = Tried::Failed(Some(UNREADABLE_MS));
        let tries = WebhookTries {
            desk,
            id,
            // No mark: it stays where it is.
            from: -1,
            to: -1,
            health: health.after(failed, self.clock.now(), jitter),
            state: WebhookState::Enabled,
            settled: Vec::new(),
            again: Vec::new(),
            log: Vec::new(),
            soon: None,
        };
        self.store.record_tries(&tries).await
    }

    async fn tell_window(&self, desk: DeskId, id: WebhookId) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let (Some(post), Some(work)) = (
            &self.publishing.post,
            self.store.webhook_work(desk, id, WINDOW, now).await?,
        ) else {
            return Ok(false);
        };
        let gate = work.webhook.health.gate(now);
        if work.webhook.state != WebhookState::Enabled || gate == Gate::Open {
            return Ok(false);
        }
        let most = if gate == Gate::Trial {
            1
        } else {
            usize::try_from(WINDOW).unwrap_or(1)
        };
        let (webhook, secrets) = (work.webhook.clone(), work.secrets.clone());
        let waiting = work.waiting;
        let (window, to, mut settled) = window(work, most);
        if window.is_empty() && settled.is_empty() && to == webhook.mark {
            return Ok(false);
        }
        let mut told = self
            .call_all(post.as_ref(), &webhook, &secrets, window)
            .await;
        told.sort_by_key(|told| told.seq);
        let took = told.iter().any(|told| told.tried == Tried::Taken);

        let ended = self.clock.now();
        let (mut health, mut state, mut again) = (webhook.health, webhook.state, Vec::new());
        for told in &told {
            let jitter = u16::from_le_bytes(random(self.entropy.as_ref())) % 1000;
            health = health.after(told.tried, ended, jitter);
            let attempt = told.delivery.attempt;
            let unwanted = told.tried == Tried::Refused
                && is_unwanted(attempt, waiting)
                && (took || webhook.health.took_others(attempt, ended));
            let wait = retry_after(attempt, jitter).filter(|_| !unwanted);
            match (told.tried, wait) {
                (Tried::Failed(_) | Tried::Refused, Some(wait)) => {
                    again.push((told.seq, attempt, ended.plus_millis(wait)));
                }
                (Tried::Failed(_) | Tried::Refused, None) => {
                    self.count_call("gave_up");
                    settled.push(told.seq);
                }
                (Tried::Taken, _) => settled.push(told.seq),
                (Tried::Gone, _) => {
                    state = WebhookState::Gone;
                    settled.push(told.seq);
                }
            }
        }
        if health.hopeless(ended) && state == WebhookState::Enabled {
            state = WebhookState::Failing;
        }
        if state != WebhookState::Enabled {
            tracing::warn!(webhook = %id, state = state.as_str(), "a webhook is not used any more");
        }
        // What succeeded at once was never among the retries.
        settled.retain(|seq| {
            told.iter()
                .all(|told| told.seq != *seq || told.delivery.attempt > 1)
        });
        let (from, open) = (webhook.mark, health.gate(ended) != Gate::Closed);
        // It is back: what it missed need not wait for its time.
        let soon = (gate == Gate::Trial && !open).then_some(ended);
        let log = told.into_iter().map(|told| told.delivery).collect();
        let tries = WebhookTries {
            desk,
            id,
            from,
            to,
            health,
            state,
            settled,
            again,
            log,
            soon,
        };
        self.store.record_tries(&tries).await?;
        Ok(state == WebhookState::Enabled && !open)
    }

    /// Calls for different requests side by side, for one request in order.
    async fn call_all(
        &self,
        post: &dyn Post,
        webhook: &Webhook,
        secrets: &[WebhookSecret],
        window: Vec<Addressed>,
    ) -> Vec<Told> {
        let mut rows: BTreeMap<Option<uuid::Uuid>, Vec<Outgoing>> = BTreeMap::new();
        for (request, outgoing) in window {
            rows.entry(request).or_default().push(outgoing);
        }
        let mut rows: Vec<Vec<Outgoing>> = rows.into_values().collect();
        rows.sort_by_key(|row| row.first().map_or(0, |outgoing| outgoing.seq));
        let calls = rows.into_iter().map(|row| async move {
            let mut told = Vec::with_capacity(row.len());
            for outgoing in row {
                told.push(self.call(post, webhook, secrets, outgoing).await);
            }
            told
        });
        let told: Vec<Vec<Told>> = stream::iter(calls)
            .buffer_unordered(ABREAST)
            .collect()
            .await;
        told.into_iter().flatten().collect()
    }

    pub(super) async fn call(
        &self,
        post: &dyn Post,
        webhook: &Webhook,
        secrets: &[WebhookSecret],
        outgoing: Outgoing,
    ) -> Told {
        let at = self.clock.now();
        let timestamp = at.as_millis().div_euclid(1000);
        let id = outgoing.event.to_string();
        let body = webhook.format.body(&outgoing.notice);
        let signatures: Vec<String> = secrets
            .iter()
            .map(|secret| secret.sign(&id, timestamp, &body))
            .collect();
        let call = Call {
            url: webhook.url.clone(),
            id,
            timestamp,
            signatures: signatures.join(" "),
            body: body.into(),
        };
        if outgoing.seq > 0 && outgoing.attempt == 1 {
            self.observe("webhook", outgoing.at);
        }
        let begun = Instant::now();
        let called = post.post(call).await;
        let elapsed_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let tried = tried(&called);
        self.count_call(match tried {
            Tried::Taken => "ok",
            Tried::Failed(_) | Tried::Refused => "failed",
            Tried::Gone => "gone",
        });
        Told {
            seq: outgoing.seq,
            tried,
            delivery: Delivery {
                // An identifier like any other of ours; its prefix is never shown.
                id: EventId::new(at, random(self.entropy.as_ref())).uuid(),
                event: outgoing.event,
                kind: outgoing.kind.to_owned(),
                attempt: outgoing.attempt,
                at,
                status: i64::from(called.status),
                elapsed_ms,
                error: called.error.to_owned(),
            },
        }
    }

    fn count_call(&self, result: &str) {
        let published = &self.metrics.streams.published;
        published.with_label_values(&["webhook", result]).inc();
    }
}

fn tried(called: &Called) -> Tried {
    match (called.error, called.status) {
        ("", _) => Tried::Taken,
        ("gone", _) => Tried::Gone,
        // What these say is about what was sent. 401, 403 and 404 are about the address.
        ("refused", 400 | 406 | 409 | 413 | 415 | 422) => Tried::Refused,
        _ => Tried::Failed(called.retry_after_ms),
    }
}

/// What is told now: first what is tried again, then what is new and wanted. With it, the mark afterwards, and places that are
/// settled without a call because their events are gone.
fn window(work: WebhookWork, most: usize) -> (Vec<Addressed>, i64, Vec<i64>) {
    let outgoing = |attempt, event: Recorded| {
        let request = event.request_id.uuid();
        let outgoing = Outgoing {
            seq: event.seq,
            attempt,
            event: event.id,
            kind: event.kind.as_str(),
            at: event.at,
            notice: Notice::of(event),
        };
        ((!request.is_nil()).then_some(request), outgoing)
    };
    let mut window: Vec<_> = work
        .again
        .into_iter()
        .take(most)
        .map(|(attempts, event)| outgoing(attempts + 1, event))
        .collect();
    let mut mark = work.webhook.mark;
    if work.fresh.is_empty() {
        // What is missing is gone or of a kind that only a newer version knows: nobody can be told of it here.
        mark = mark.max(work.head);
    }
    // Whatever is new may fail, and then has to wait somewhere.
    let room = usize::try_from(RETRIES_MAX - work.waiting).unwrap_or(0);
    let mut room = room.min(most.saturating_sub(window.len()));
    let kinds = &work.webhook.kinds;
    for event in work.fresh {
        let wanted = kinds.is_empty() || kinds.contains(&event.kind);
        if wanted && room == 0 {
            break;
        }
        mark = event.seq;
        if wanted {
            room -= 1;
            window.push(outgoing(1, event));
        }
    }
    (window, mark, work.gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventKind;
    use crate::domain::id::RequestId;
    use crate::domain::webhook::{Health, WebhookFormat};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn event(seq: i64, kind: EventKind) -> Recorded {
        Recorded {
            id: EventId::new(NOW, [1; 10]),
            seq,
            kind,
            at: NOW,
            desk: DeskId::new(NOW, [2; 10]),
            slug: "acme".to_owned(),
            request_id: RequestId::new(NOW, [3; 10]),
            request: None,
            rating: None,
            score: None,
            elapsed_ms: None,
            reason: None,
            words: String::new(),
            follow_up: None,
        }
    }

    /// Five new events, of which only the fourth is a rating.
    fn work(waiting: i64, kinds: &[EventKind]) -> WebhookWork {
        let fresh = (1..=5).map(|seq| match seq {
            4 => event(seq, EventKind::RatingCreated),
            _ => event(seq, EventKind::RequestSent),
        });
        WebhookWork {
            webhook: Webhook {
                desk: DeskId::new(NOW, [2; 10]),
                id: WebhookId::new(NOW, [4; 10]),
                url: String::new(),
                kinds: kinds.to_vec(),
                format: WebhookFormat::Event,
                description: String::new(),
                state: WebhookState::Enabled,
                mark: 0,
                health: Health::default(),
                old_until: Timestamp::default(),
                created_at: NOW,
            },
            secrets: Vec::new(),
            again: Vec::new(),
            gone: Vec::new(),
            waiting,
            fresh: fresh.collect(),
            head: 5,
        }
    }

    /// The places that are told, and the mark afterwards.
    fn told(work: WebhookWork, most: usize) -> (Vec<i64>, i64) {
        let (window, mark, _) = window(work, most);
        (window.iter().map(|(_, told)| told.seq).collect(), mark)
    }

    #[test]
    fn nothing_is_begun_that_could_not_wait_if_it_failed() {
        assert_eq!(told(work(0, &[]), 32), (vec![1, 2, 3, 4, 5], 5));
        assert_eq!(told(work(RETRIES_MAX - 2, &[]), 32), (vec![1, 2], 2));
        // What is not wanted cannot fail.
        let ratings = [EventKind::RatingCreated];
        assert_eq!(told(work(RETRIES_MAX, &ratings), 32), (vec![], 3));
        assert_eq!(told(work(0, &ratings), 32), (vec![4], 5));
    }

    #[test]
    fn an_address_that_is_only_tried_gets_one_event_and_an_old_one_first() {
        let mut trial = work(1, &[]);
        assert_eq!(told(trial.clone(), 1), (vec![1], 1));
        trial.again = vec![(3, event(-1, EventKind::RequestSent))];
        let (window, mark, _) = window(trial, 1);
        assert_eq!((window.len(), mark), (1, 0));
        assert_eq!((window[0].1.seq, window[0].1.attempt), (-1, 4));
    }
}
