//! Events have one place each in the stream of their desk, without a gap, whatever races; and none goes before it was told.

use std::sync::Arc;

use super::stage::{NOW, Stage, after, digit, parallel, words};
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, WebhookId};
use crate::domain::notice::Notice;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Health, Tried, Webhook, WebhookFormat, WebhookSecret, WebhookState};
use crate::store::dialect::{Database, Sql};
use crate::store::{
    Keeping, Outbox as _, Store as _, Subscriptions as _, Tries as _, WebhookTries,
};

stories!(migrated:
    places_follow_the_order_of_events_and_have_no_gap,
    whoever_is_committed_late_gets_a_later_place,
    places_have_no_gap_while_many_commit,
    desks_have_streams_of_their_own,
    an_event_keeps_the_words_that_came_with_it,
    an_event_is_told_even_if_its_request_cannot_be_read,
    old_events_go_once_they_are_folded_and_told_and_not_before,
    a_retry_keeps_its_event,
    what_nobody_takes_goes_in_the_end,
    going_back_is_not_undone_by_what_was_under_way,
    kinds_of_a_newer_version_stop_nobody,
    places_of_a_lost_stretch_are_not_given_again,
);

const DAY_MS: i64 = 86_400_000;
const KEEPING: Keeping = Keeping {
    keep_ms: 7 * DAY_MS,
    longest_ms: 30 * DAY_MS,
};

/// Every event of the stage's desk that has a place.
async fn stream(stage: &Stage) -> Vec<Notice> {
    let events = stage.store.events(stage.desk, 0, 1_000).await.unwrap();
    events.into_iter().map(Notice::of).collect()
}

async fn triggers(stage: &Stage, count: usize) {
    for _ in 0..count {
        stage.accept(stage.trigger()).await;
    }
}

fn places(stream: &[Notice]) -> Vec<i64> {
    stream.iter().map(|notice| notice.seq).collect()
}

async fn webhook(stage: &Stage) -> WebhookId {
    let id = WebhookId::new(NOW, [7; 10]);
    let webhook = Webhook {
        desk: stage.desk,
        id,
        url: "https://desk.example.com/hook?token=secret".to_owned(),
        kinds: vec![EventKind::RequestScheduled],
        format: WebhookFormat::Event,
        description: String::new(),
        state: WebhookState::Enabled,
        mark: 0,
        health: Health::default(),
        old_until: Timestamp::default(),
        created_at: NOW,
    };
    let secret = WebhookSecret::new(vec![1; 32]);
    assert!(stage.store.add_webhook(&webhook, &secret).await.unwrap());
    id
}

/// What was tried of the events between two places: nothing failed but `again`.
fn tries(stage: &Stage, id: WebhookId, (from, to): (i64, i64), again: &[i64]) -> WebhookTries {
    WebhookTries {
        desk: stage.desk,
        id,
        from,
        to,
        health: Health::default(),
        state: WebhookState::Enabled,
        settled: Vec::new(),
        again: again.iter().map(|seq| (*seq, 1, after(5_000))).collect(),
        log: Vec::new(),
        soon: None,
    }
}

async fn places_follow_the_order_of_events_and_have_no_gap(stage: Arc<Stage>) {
    let mut news = stage.store.news();
    triggers(&stage, 20).await;
    assert!(news.has_changed().unwrap(), "whoever listens hears of it");
    news.mark_unchanged();
    let told = stream(&stage).await;
    assert_eq!(places(&told), (1..=20).collect::<Vec<_>>());
    assert!(told.is_sorted_by_key(|notice| notice.at));
    assert_eq!(stage.store.head(stage.desk).await.unwrap(), 20);
    let next = stage.store.events(stage.desk, 15, 3).await.unwrap();
    let next: Vec<i64> = next.iter().map(|event| event.seq).collect();
    assert_eq!(next, [16, 17, 18]);
    let beyond = stage.store.events(stage.desk, i64::MAX, 64).await;
    assert!(beyond.unwrap().is_empty(), "any place may be named");
    assert!(!news.has_changed().unwrap(), "nothing was written");
}

/// A transaction that began before others and is committed after them: what it writes stands behind what they wrote.
async fn whoever_is_committed_late_gets_a_later_place(stage: Arc<Stage>) {
    // SQLite has one writer, so nobody can be late.
    if !matches!(stage.store.inner.database, Database::Postgres(_)) {
        return;
    }
    let request = stage.accept(stage.trigger()).await;
    let early = NOW.plus_millis(-60_000);
    let mut late = stage.store.inner.database.begin().await.unwrap();
    let inner = &stage.store.inner;
    inner.emit(&mut late, &request, EventKind::RequestSent, 0, early);
    late.flush().await.unwrap();
    triggers(&stage, 3).await;
    assert_eq!(places(&stream(&stage).await), [1, 2, 3, 4]);
    late.commit().await.unwrap();
    let told = stage.store.events(stage.desk, 4, 10).await.unwrap();
    assert_eq!(told.len(), 1, "who was told of all four is told of it too");
    assert_eq!((told[0].seq, told[0].at), (5, early));
}

/// Readers of several processes look while several write: whoever has read up to a place has everything before it.
async fn places_have_no_gap_while_many_commit(stage: Arc<Stage>) {
    const EACH: i64 = 25;
    let second = stage.add_desk("second").await;
    let other = Arc::new(stage.another(60_000).await);
    let own = Arc::clone(&stage);
    parallel(6, move |n| {
        let (own, other) = (Arc::clone(&own), Arc::clone(&other));
        async move {
            let store = if n % 2 == 0 { &own.store } else { &*other };
            if n < 4 {
                for m in 0..EACH {
                    let mut new = own.trigger();
                    if m % 5 == 0 {
                        new.desk = second;
                    }
                    store.accept(new).await.unwrap();
                }
                return;
            }
            let mut seen = Vec::new();
            while seen.len() < 80 {
                let after = seen.last().copied().unwrap_or(0);
                let events = store.events(own.desk, after, 7).await.unwrap();
                seen.extend(events.iter().map(|event| event.seq));
            }
            assert_eq!(seen, (1..=80).collect::<Vec<_>>());
        }
    })
    .await;
    assert_eq!(stage.store.head(stage.desk).await.unwrap(), 80);
    assert_eq!(stage.store.head(second).await.unwrap(), 20);
}

async fn desks_have_streams_of_their_own(stage: Arc<Stage>) {
    let second = stage.add_desk("second").await;
    triggers(&stage, 2).await;
    let mut new = stage.trigger();
    new.desk = second;
    stage.accept(new).await;
    let mut heads = stage.store.heads().await.unwrap();
    heads.sort_unstable();
    let mut wanted = vec![(stage.desk, 2), (second, 1)];
    wanted.sort_unstable();
    assert_eq!(heads, wanted);
    let nobody = DeskId::new(NOW, [9; 10]);
    assert!(stage.store.events(nobody, 0, 10).await.unwrap().is_empty());
    let mut behind = stage.store.behind("nats").await.unwrap();
    assert_eq!(behind.len(), 2);
    stage.store.mark_sink("nats", second, 1).await.unwrap();
    // A mark that is noted late takes nothing back.
    stage.store.mark_sink("nats", stage.desk, 2).await.unwrap();
    stage.store.mark_sink("nats", stage.desk, 1).await.unwrap();
    behind = stage.store.behind("nats").await.unwrap();
    assert_eq!(behind, []);
}

async fn an_event_keeps_the_words_that_came_with_it(stage: Arc<Stage>) {
    const DETAIL: Sql = Sql::both("select detail from events");
    let request = stage.sent(stage.trigger()).await;
    for reply in [
        words(&request, "m1", "who is this", after(1)),
        digit(&request, "m2", 2, after(2)),
        words(&request, "m3", "far too slow", after(3)),
        digit(&request, "m4", 4, after(4)),
    ] {
        stage.store.record_reply(reply).await.unwrap().unwrap();
    }
    let told = stream(&stage).await;
    let said: Vec<(&str, u8, &str)> = told
        .iter()
        .filter(|notice| !notice.kind.starts_with("request"))
        .map(|notice| {
            let rating = notice.data.rating.as_ref();
            let comment = rating.map_or(notice.data.text.as_str(), |rating| &rating.comment);
            (
                notice.kind,
                rating.map_or(0, |rating| rating.score),
                comment,
            )
        })
        .collect();
    // Each says what it was, though the rating is 4 by now.
    assert_eq!(
        said,
        [
            ("reply.unrecognized", 0, "who is this"),
            ("rating.created", 2, ""),
            ("rating.low", 2, ""),
            ("rating.commented", 2, "far too slow"),
            ("rating.changed", 4, ""),
            ("follow_up.closed", 4, ""),
        ]
    );
    for row in stage.rows(DETAIL, &[]).await {
        let detail = row.bytes("detail").unwrap();
        for clear in ["who is", "too slow"] {
            assert!(!String::from_utf8_lossy(&detail).contains(clear));
        }
    }
}

async fn an_event_is_told_even_if_its_request_cannot_be_read(stage: Arc<Stage>) {
    const BREAK: Sql = Sql::both("update requests set phase = 'nonsense'");
    triggers(&stage, 1).await;
    let mut tx = stage.store.inner.database.begin().await.unwrap();
    tx.execute(BREAK, &[]).await.unwrap();
    tx.commit().await.unwrap();
    let told = stream(&stage).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].data.request.as_ref().unwrap().about.is_none());
}

async fn old_events_go_once_they_are_folded_and_told_and_not_before(stage: Arc<Stage>) {
    triggers(&stage, 5).await;
    let id = webhook(&stage).await;
    let late = after(8 * DAY_MS);
    let prune = async |sinks: &[&str], at| {
        let pruned = stage.store.prune_events(KEEPING, sinks, at, 100).await;
        pruned.unwrap()
    };
    let noted = async |from, to| {
        let tries = tries(&stage, id, (from, to), &[]);
        stage.store.record_tries(&tries).await.unwrap();
    };
    noted(0, 5).await;
    assert_eq!(prune(&[], late).await, 0, "not folded");
    stage.store.fold(3).await.unwrap();
    assert_eq!(prune(&[], after(6 * DAY_MS)).await, 0, "not old");
    assert_eq!(prune(&["nats"], late).await, 0, "a sink was told nothing");
    stage.store.mark_sink("nats", stage.desk, 2).await.unwrap();
    assert_eq!(prune(&["nats"], late).await, 2);
    stage.store.mark_sink("nats", stage.desk, 5).await.unwrap();
    assert_eq!(prune(&["nats"], late).await, 1, "two are not folded");
    stage.store.fold(100).await.unwrap();
    let totals = stage.store.totals().await.unwrap();
    assert_eq!(prune(&["nats"], late).await, 2);
    assert_eq!(stage.store.totals().await.unwrap(), totals);
    // Places go on, also when nothing is left.
    triggers(&stage, 1).await;
    assert_eq!(places(&stream(&stage).await), [6]);
}

async fn a_retry_keeps_its_event(stage: Arc<Stage>) {
    triggers(&stage, 3).await;
    stage.store.fold(100).await.unwrap();
    let id = webhook(&stage).await;
    let failed = tries(&stage, id, (0, 3), &[2]);
    stage.store.record_tries(&failed).await.unwrap();
    let late = after(8 * DAY_MS);
    let pruned = stage.store.prune_events(KEEPING, &[], late, 100).await;
    assert_eq!(pruned.unwrap(), 1);
    assert_eq!(places(&stream(&stage).await), [2, 3]);
    let busy = stage.store.busy_webhooks(after(4_999), 10).await.unwrap();
    assert_eq!(busy, []);
    let busy = stage.store.busy_webhooks(after(5_000), 10).await.unwrap();
    assert_eq!(busy, [(stage.desk, id)]);
    let work = stage.store.webhook_work(stage.desk, id, 10, after(5_000));
    let work = work.await.unwrap().unwrap();
    assert_eq!(
        (work.again.len(), work.fresh.len(), work.waiting),
        (1, 0, 1)
    );
    assert_eq!((work.again[0].0, work.again[0].1.seq), (1, 2));
    // Switched off, it holds up nothing.
    let off = WebhookTries {
        state: WebhookState::Gone,
        settled: vec![2],
        ..tries(&stage, id, (3, 3), &[])
    };
    stage.store.record_tries(&off).await.unwrap();
    let pruned = stage.store.prune_events(KEEPING, &[], late, 100).await;
    assert_eq!(pruned.unwrap(), 2);
}

async fn what_nobody_takes_goes_in_the_end(stage: Arc<Stage>) {
    triggers(&stage, 3).await;
    stage.store.fold(100).await.unwrap();
    webhook(&stage).await;
    let prune = async |days| {
        let at = after(days * DAY_MS);
        stage
            .store
            .prune_events(KEEPING, &["nats"], at, 100)
            .await
            .unwrap()
    };
    assert_eq!(prune(29).await, 0);
    assert_eq!(prune(31).await, 3);
    // Whoever was behind goes on with what there is.
    triggers(&stage, 1).await;
    assert_eq!(places(&stream(&stage).await), [4]);
}

async fn going_back_is_not_undone_by_what_was_under_way(stage: Arc<Stage>) {
    triggers(&stage, 3).await;
    let id = webhook(&stage).await;
    let mark = async || {
        let found = stage.store.webhook(stage.desk, id, NOW).await.unwrap();
        found.unwrap().0.mark
    };
    let first = tries(&stage, id, (0, 2), &[]);
    stage.store.record_tries(&first).await.unwrap();
    assert_eq!(mark().await, 2);
    assert!(stage.store.rewind_webhook(stage.desk, id, 0).await.unwrap());
    // A window that was begun before is noted after.
    let health = Health::default().after(Tried::Failed(None), NOW, 0);
    let second = WebhookTries {
        health,
        ..tries(&stage, id, (2, 3), &[])
    };
    stage.store.record_tries(&second).await.unwrap();
    assert_eq!(mark().await, 0);
}

async fn kinds_of_a_newer_version_stop_nobody(stage: Arc<Stage>) {
    const NEWER: Sql =
        Sql::both("update events set kind = 'rating.foretold' where seq in (2, 3, 5)");
    triggers(&stage, 5).await;
    let id = webhook(&stage).await;
    stage.execute(NEWER).await;
    assert_eq!(places(&stream(&stage).await), [1, 4]);
    let next = stage.store.events(stage.desk, 1, 1).await.unwrap();
    assert_eq!(next[0].seq, 4, "what is behind them is found");
    assert!(
        stage
            .store
            .events(stage.desk, 4, 9)
            .await
            .unwrap()
            .is_empty()
    );
    let noted = tries(&stage, id, (0, 4), &[]);
    stage.store.record_tries(&noted).await.unwrap();
    let work = stage.store.webhook_work(stage.desk, id, 10, NOW).await;
    let work = work.unwrap().unwrap();
    assert_eq!((work.fresh.len(), work.head), (0, 5));
    for _ in 0..2 {
        let totals = stage.store.totals().await.unwrap();
        let sums = totals.iter().flat_map(|at| &at.sums);
        let counted: i64 = sums.map(|total| total.count).sum();
        assert_eq!(counted, 2);
        stage.store.fold(100).await.unwrap();
    }
}

async fn places_of_a_lost_stretch_are_not_given_again(stage: Arc<Stage>) {
    let quiet = stage.add_desk("quiet").await;
    triggers(&stage, 2).await;
    stage.store.leave_places(1_000).await.unwrap();
    triggers(&stage, 1).await;
    let mut new = stage.trigger();
    new.desk = quiet;
    stage.accept(new).await;
    assert_eq!(places(&stream(&stage).await), [1, 2]);
    let next = stage.store.events(stage.desk, 700, 9).await.unwrap();
    assert_eq!(next[0].seq, 1_003, "whoever knows a lost place goes on");
    let next = stage.store.events(quiet, 0, 9).await.unwrap();
    assert_eq!(next[0].seq, 1_001);
}
