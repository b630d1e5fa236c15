//! What keeps replicas and bugs in bounds: duties, ceilings, texts that belong to nobody, and the invariants.

use std::sync::Arc;

use super::stage::{NOW, Stage, after, not_processed, parallel, taken};
use crate::domain::contact::Address;
use crate::domain::delivery::DeliveryState;
use crate::domain::request::State;
use crate::store::dialect::Sql;
use crate::store::{Ceiling, Ceilings, Lease, Permission, Store as _};

stories!(
    migrated: one_replica_has_a_duty_and_another_takes_it_over_when_the_lease_ends,
    of_many_that_want_a_duty_one_gets_it, nothing_is_sent_above_the_ceiling_of_an_address,
    nothing_is_sent_above_the_ceiling_of_a_desk, what_was_not_processed_does_not_count,
    a_text_of_nobody_is_remembered, a_broken_promise_is_counted,
    a_question_that_fails_keeps_no_other_from_being_asked,
);

async fn one_replica_has_a_duty_and_another_takes_it_over_when_the_lease_ends(stage: Arc<Stage>) {
    let store = &stage.store;
    let mine = store.hold_duty("tidy", "a", 600_000).await.unwrap();
    assert_eq!(mine, Some(Lease { fence: 1, mark: 0 }));
    assert_eq!(store.hold_duty("tidy", "b", 600_000).await.unwrap(), None);
    assert!(
        store
            .hold_duty("sweep", "b", 600_000)
            .await
            .unwrap()
            .is_some()
    );
    assert!(store.mark_duty("tidy", mine.unwrap(), 7).await.unwrap());
    // Kept by the holder; a lease of no length is over at once.
    let kept = store.hold_duty("tidy", "a", 0).await.unwrap();
    assert_eq!(kept, Some(Lease { fence: 1, mark: 7 }));
    let theirs = store.hold_duty("tidy", "b", 600_000).await.unwrap();
    assert_eq!(theirs, Some(Lease { fence: 2, mark: 7 }));
    let woken = store.mark_duty("tidy", mine.unwrap(), 99).await.unwrap();
    assert!(!woken, "who lost it notes nothing");
    store.release("b").await.unwrap();
    let back = store.hold_duty("tidy", "a", 600_000).await.unwrap();
    assert_eq!(back, Some(Lease { fence: 3, mark: 7 }));
}

async fn of_many_that_want_a_duty_one_gets_it(stage: Arc<Stage>) {
    let held = parallel(16, |n| {
        let stage = Arc::clone(&stage);
        async move {
            let owner = format!("r{n}");
            let lease = stage.store.hold_duty("tidy", &owner, 600_000).await;
            lease.unwrap().is_some()
        }
    })
    .await;
    assert_eq!(held.into_iter().filter(|held| *held).count(), 1);
}

/// Sends to one person until it is not allowed any more; how many went out, and what stopped it.
async fn send_until_stopped(stage: &Stage, store: &crate::store::SqlStore) -> (i64, Permission) {
    let mut sent = 0;
    loop {
        let mut trigger = stage.trigger();
        trigger.contact.address = Address::phone("+14155550123").unwrap();
        trigger.sender = format!("+1500555{sent:04}");
        stage.accept(trigger).await;
        let claim = stage.claim(NOW).await;
        let permission = store
            .dispatch(super::stage::dispatch(&claim, NOW))
            .await
            .unwrap();
        if permission != (Permission::Granted { send_at: None }) {
            let read = stage.look(&claim.request).await;
            assert_eq!(
                (read.delivery, read.state),
                (DeliveryState::Dropped, State::Failed)
            );
            assert!(read.delivery_code.starts_with("ceiling_"));
            assert_eq!(stage.events(&read, "request.failed").await, 1);
            return (sent, permission);
        }
        assert!(stage.report(&claim, taken(&format!("SM{sent}")), NOW).await);
        sent += 1;
    }
}

/// Sends counted for desks.
const OF_DESKS: Sql = Sql::each(
    "select cast(sum(n) as integer) as n from ceilings where length(subject) = 0",
    "select cast(sum(n) as bigint) as n from ceilings where length(subject) = 0",
);

async fn nothing_is_sent_above_the_ceiling_of_an_address(stage: Arc<Stage>) {
    let bounded = stage
        .bounded(Ceilings {
            address: 3,
            desk: 100,
        })
        .await;
    let (sent, stopped) = send_until_stopped(&stage, &bounded).await;
    assert_eq!((sent, stopped), (3, Permission::Ceiling(Ceiling::Address)));
    // Another person is not concerned, and the one that was refused did not count for the desk.
    stage.accept(stage.trigger()).await;
    let claim = stage.claim(NOW).await;
    let permission = bounded.dispatch(super::stage::dispatch(&claim, NOW)).await;
    assert_eq!(permission.unwrap(), Permission::Granted { send_at: None });
    assert_eq!(stage.count(OF_DESKS, &[]).await, 4);
    bounded.close().await;
}

async fn nothing_is_sent_above_the_ceiling_of_a_desk(stage: Arc<Stage>) {
    let bounded = stage
        .bounded(Ceilings {
            address: 100,
            desk: 2,
        })
        .await;
    let (sent, stopped) = send_until_stopped(&stage, &bounded).await;
    assert_eq!((sent, stopped), (2, Permission::Ceiling(Ceiling::Desk)));
    bounded.close().await;
}

async fn what_was_not_processed_does_not_count(stage: Arc<Stage>) {
    let bounded = stage
        .bounded(Ceilings {
            address: 1,
            desk: 1,
        })
        .await;
    stage.accept(stage.trigger()).await;
    for n in 0..3 {
        let at = after(n * 1_000_000);
        let claim = stage.claim(at).await;
        let permission = bounded.dispatch(super::stage::dispatch(&claim, at)).await;
        assert_eq!(
            permission.unwrap(),
            Permission::Granted { send_at: None },
            "{n}"
        );
        assert!(stage.report(&claim, not_processed(), at).await);
    }
    bounded.close().await;
}

async fn a_text_of_nobody_is_remembered(stage: Arc<Stage>) {
    let store = &stage.store;
    assert!(!store.is_stray("twilio", "SM1").await.unwrap());
    for _ in 0..2 {
        store.add_stray("twilio", "SM1", NOW).await.unwrap();
    }
    assert!(store.is_stray("twilio", "SM1").await.unwrap());
    assert!(!store.is_stray("sandbox", "SM1").await.unwrap());
    store.forget(after(86_400_000)).await.unwrap();
    assert!(store.is_stray("twilio", "SM1").await.unwrap());
    assert_eq!(store.forget(after(9 * 86_400_000)).await.unwrap(), 1);
    assert!(!store.is_stray("twilio", "SM1").await.unwrap());
}

async fn a_broken_promise_is_counted(stage: Arc<Stage>) {
    let broken = async || {
        let mut all = stage.store.invariants().await;
        all.retain(|(_, broken)| *broken.as_ref().unwrap() > 0);
        all.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let request = stage.sent(stage.trigger()).await;
    let rated = super::stage::digit(&request, "r1", 4, after(1));
    stage.store.record_reply(rated).await.unwrap().unwrap();
    assert_eq!(broken().await, Vec::<&str>::new());
    stage
        .execute(Sql::each(
            "insert into attempts select desk_id, request_id, 2, x'02', provider, provider_id, state, code, started_at, \
             ended_at, body_hash, send_at, check_at, looks, absent, absent_since from attempts",
            "insert into attempts select desk_id, request_id, 2, '\\x02'::bytea, provider, provider_id, state, code, started_at, \
             ended_at, body_hash, send_at, check_at, looks, absent, absent_since from attempts",
        ))
        .await;
    assert_eq!(broken().await, ["sent_twice"]);
    stage
        .execute(Sql::each(
            "update attempts set body_hash = x'01'",
            "update attempts set body_hash = '\\x01'",
        ))
        .await;
    assert_eq!(broken().await, ["sent_twice", "bound_twice"]);
    stage
        .execute(Sql::both("delete from attempts where n = 2"))
        .await;
    stage
        .execute(Sql::both("update requests set state = 'sent'"))
        .await;
    assert_eq!(broken().await, ["rating_unanswered"]);
    stage.execute(Sql::both("delete from ratings")).await;
    assert_eq!(broken().await, ["ratings_miscounted"]);
    stage
        .execute(Sql::both(
            "update requests set delivery = 'claimed', lease_until = 1",
        ))
        .await;
    assert_eq!(broken().await, ["ratings_miscounted", "lease_overdue"]);
}

async fn a_question_that_fails_keeps_no_other_from_being_asked(stage: Arc<Stage>) {
    stage
        .execute(Sql::both("alter table ratings rename to spoiled"))
        .await;
    let answers = stage.store.invariants().await;
    let failed: Vec<_> = answers
        .iter()
        .filter(|(_, broken)| broken.is_err())
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(failed, ["ratings_miscounted", "rating_unanswered"]);
    assert_eq!(answers.last().unwrap().0, "lease_overdue");
}
