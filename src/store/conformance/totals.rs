//! Totals are what the events add up to, at every instant, however far folding has come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::stage::{EVERY, Stage, WAIT_MS, after, digit, parallel, words};
use crate::domain::delivery::Outcome;
use crate::domain::statistics::Totals;
use crate::store::dialect::Sql;
use crate::store::{Cancelled, Carriage, NewRequest, Store as _};

stories!(
    migrated plainly: totals_are_the_sum_of_the_events_however_far_they_are_folded, totals_never_fall_while_many_write_and_fold,
    what_is_alike_is_added_up, what_is_erased_stays_counted, a_total_knows_its_first_event,
);

/// The counted event, and how often, how long and since when.
type Sums = BTreeMap<String, (i64, i64, i64)>;

fn sums(totals: &[Arc<Totals>]) -> Sums {
    let mut sums = Sums::new();
    let each = totals
        .iter()
        .flat_map(|at| at.sums.iter().map(move |total| (at, total)));
    for (at, total) in each {
        let reason = total.reason.map_or("", |reason| reason.as_str());
        let score = total.score.map_or(0, i64::from);
        let bucket = total
            .bucket
            .map_or(-1, |bucket| i64::try_from(bucket).unwrap());
        let name = format!(
            "{} {} {} {} {} {reason} {score} {bucket}",
            at.desk,
            total.kind.as_str(),
            at.channel,
            at.touchpoint,
            total.entered
        );
        let before = sums.insert(name, (total.count, total.elapsed_ms, total.first_at));
        assert_eq!(before, None, "a total stands once");
    }
    sums
}

/// The same, counted one event after the other.
async fn counted(stage: &Stage) -> Sums {
    const EVENTS: Sql = Sql::both(
        "select d.slug, e.kind, e.channel, e.touchpoint, e.entered, e.reason, e.score, e.bucket, e.elapsed_ms, e.at \
         from events e join desks d on d.id = e.desk_id",
    );
    let mut sums = Sums::new();
    for row in stage.rows(EVENTS, &[]).await {
        let text = |column| row.text(column).unwrap();
        let int = |column| row.int(column).unwrap();
        let name = format!(
            "{} {} {} {} {} {} {} {}",
            text("slug"),
            text("kind"),
            text("channel"),
            text("touchpoint"),
            int("entered"),
            text("reason"),
            int("score"),
            int("bucket")
        );
        let sum = sums.entry(name).or_insert((0, 0, i64::MAX));
        *sum = (sum.0 + 1, sum.1 + int("elapsed_ms"), sum.2.min(int("at")));
    }
    sums
}

async fn totals(stage: &Stage) -> Sums {
    sums(&stage.store.totals().await.unwrap())
}

/// A bit of everything. `n` makes it somebody else's.
async fn a_busy_day(stage: &Stage, n: i64) {
    let mut first = stage.trigger();
    first.attribution.touchpoint = format!("place-{}", n % 2);
    first.now = after(n);
    if matches!(n % 4, 0 | 2) {
        // What is answered has to be out.
        first.carriage = Carriage::Answer;
    }
    let request = stage.accept(first.clone()).await;
    let duplicate = NewRequest {
        conversation: first.conversation.clone(),
        ..stage.trigger()
    };
    stage.accept(duplicate).await;
    match n % 4 {
        0 => {
            stage
                .store
                .record_reply(digit(&request, "SM1", n % 5 + 1, after(n * 10_000)))
                .await
                .unwrap();
            stage
                .store
                .record_reply(digit(&request, "SM2", (n + 1) % 5 + 1, after(n * 10_000)))
                .await
                .unwrap();
            stage
                .store
                .record_reply(words(&request, "SM3", "thanks", after(n * 10_000)))
                .await
                .unwrap();
        }
        1 => {
            let done = stage
                .store
                .cancel(stage.desk, request.id, after(n))
                .await
                .unwrap()
                .unwrap();
            assert!(matches!(done, Cancelled::Done(_)));
        }
        2 => {
            stage
                .store
                .record_reply(words(&request, "SM1", "what?", after(n)))
                .await
                .unwrap();
        }
        _ => {}
    }
}

const PENDING: Sql = Sql::both(
    "select count(*) as n from streams s where s.seq > coalesce((select m.seq from sink_marks m where m.desk_id = s.desk_id \
     and m.sink = 'totals'), 0)",
);

async fn totals_are_the_sum_of_the_events_however_far_they_are_folded(stage: Arc<Stage>) {
    for n in 0..12 {
        a_busy_day(&stage, n).await;
    }
    for claim in stage
        .store
        .claim_deliveries("w", EVERY, 100, after(100))
        .await
        .unwrap()
    {
        stage.dispatch(&claim, after(100)).await;
        let refused = Outcome::Rejected {
            code: "21211".to_owned(),
            opted_out: claim.request.conversation.ends_with('3'),
        };
        stage.report(&claim, refused, after(200)).await;
    }
    stage
        .store
        .expire(after(WAIT_MS), after(WAIT_MS), 100)
        .await
        .unwrap();
    let expected = counted(&stage).await;
    assert!(expected.len() > 10 && expected.values().any(|sum| sum.1 > 0));
    assert_eq!(totals(&stage).await, expected);
    loop {
        let folded = stage.store.fold(7).await.unwrap();
        assert!(folded <= 7);
        assert_eq!(totals(&stage).await, expected);
        if folded == 0 {
            break;
        }
    }
    assert_eq!(stage.count(PENDING, &[]).await, 0);
    a_busy_day(&stage, 4).await;
    assert_eq!(totals(&stage).await, counted(&stage).await);
}

/// Answers that differ in nothing but how long they took.
async fn what_is_alike_is_added_up(stage: Arc<Stage>) {
    for n in 0..12 {
        let mut new = stage.trigger();
        new.carriage = Carriage::Answer;
        let at = new.now.plus_millis(6_000 + n);
        let request = stage.accept(new).await;
        let reply = digit(&request, "SM1", 4, at);
        stage.store.record_reply(reply).await.unwrap();
    }
    let expected = counted(&stage).await;
    assert!(expected.values().any(|sum| sum.0 == 12 && sum.1 > 72_000));
    while stage.store.fold(100).await.unwrap() > 0 {}
    assert_eq!(totals(&stage).await, expected);
}

async fn totals_never_fall_while_many_write_and_fold(stage: Arc<Stage>) {
    let writing = Arc::new(AtomicUsize::new(4));
    parallel(7, |n| {
        let (stage, writing) = (Arc::clone(&stage), Arc::clone(&writing));
        async move {
            match n {
                0..4 => {
                    for day in 0..8 {
                        a_busy_day(&stage, day).await;
                    }
                    writing.fetch_sub(1, Ordering::SeqCst);
                }
                4..6 => {
                    while writing.load(Ordering::SeqCst) > 0
                        || stage.store.fold(9).await.unwrap() > 0
                    {
                        stage.store.fold(5).await.unwrap();
                    }
                }
                _ => {
                    let mut before = Sums::new();
                    while writing.load(Ordering::SeqCst) > 0 {
                        let now = totals(&stage).await;
                        for (name, sum) in &before {
                            assert!(now[name].0 >= sum.0 && now[name].1 >= sum.1, "{name} fell");
                        }
                        before = now;
                    }
                }
            }
        }
    })
    .await;
    assert_eq!(totals(&stage).await, counted(&stage).await);
}

async fn what_is_erased_stays_counted(stage: Arc<Stage>) {
    for n in 0..8 {
        a_busy_day(&stage, n).await;
    }
    while stage.store.fold(100).await.unwrap() > 0 {}
    let before = totals(&stage).await;
    for erase in [
        Sql::both("delete from events"),
        Sql::both("delete from replies"),
        Sql::both("delete from ratings"),
        Sql::both("delete from requests"),
    ] {
        stage.execute(erase).await;
    }
    assert_eq!(totals(&stage).await, before);
}

async fn a_total_knows_its_first_event(stage: Arc<Stage>) {
    for at in [after(500), after(100)] {
        stage
            .accept(NewRequest {
                now: at,
                ..stage.trigger()
            })
            .await;
        stage.store.fold(10).await.unwrap();
    }
    let totals = stage.store.totals().await.unwrap();
    assert_eq!(
        totals
            .iter()
            .flat_map(|at| at.sums.iter().map(|total| (total.count, at.first_at)))
            .collect::<Vec<_>>(),
        [(2, after(100).as_millis())]
    );
}
