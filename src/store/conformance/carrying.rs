//! Claims, leases, fences and reports: nothing is sent twice, and nothing is forgotten.

use std::sync::Arc;

use super::stage::{
    EVERY, NOW, Stage, WAIT_MS, after, digit, dispatch, link, not_processed, report, taken, token,
};
use crate::domain::delivery::{DeliveryState, Outcome};
use crate::domain::request::State;
use crate::domain::time::Timestamp;
use crate::store::{Find, NewReply, NewRequest, Permission, Store as _};

stories!(
    migrated plainly: a_request_is_not_claimed_before_it_is_due, the_claim_of_a_dead_worker_goes_back_and_fences_it_out,
    a_worker_whose_lease_is_over_may_not_send, what_a_dead_worker_may_have_sent_is_unknown_and_never_sent_again,
    a_late_report_binds_but_never_leads_back_to_the_queue, a_report_for_another_fence_or_attempt_is_not_recorded,
    proof_that_nothing_happened_leads_back_to_the_queue_later, a_refusal_is_a_failure,
    a_way_that_did_not_open_leads_back_to_the_queue, it_is_given_up_when_there_is_no_time_left,
    a_request_that_ended_is_not_sent, a_cancelled_request_does_not_go_back_to_the_queue,
    what_is_answered_before_it_is_sent_leaves_the_queue, what_is_carried_is_counted,
);

async fn a_request_is_not_claimed_before_it_is_due(stage: Arc<Stage>) {
    let request = stage
        .accept(NewRequest {
            due_at: after(1_000),
            ..stage.trigger()
        })
        .await;
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(999))
            .await
            .unwrap()
            .is_empty()
    );
    let claim = stage.claim(after(1_000)).await;
    assert_eq!(
        (claim.request.id, claim.request.delivery),
        (request.id, DeliveryState::Claimed)
    );
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(1_000))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        stage.store.sweep(after(1_000)).await.unwrap(),
        0,
        "the lease holds"
    );
}

async fn the_claim_of_a_dead_worker_goes_back_and_fences_it_out(stage: Arc<Stage>) {
    stage.accept(stage.trigger()).await;
    let dead = stage.another(-1).await;
    let old = dead
        .claim_deliveries("dead", EVERY, 10, NOW)
        .await
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(stage.store.sweep(NOW).await.unwrap(), 1);
    let new = stage.claim(NOW).await;
    assert_eq!(new.fence, old.fence + 1);
    assert_eq!(stage.dispatch(&old, NOW).await, Permission::Withdrawn);
    assert!(!stage.report(&old, not_processed(), NOW).await);
    assert_eq!(
        stage.dispatch(&new, NOW).await,
        Permission::Granted { send_at: None }
    );
    assert_eq!(
        stage.dispatch(&new, NOW).await,
        Permission::Withdrawn,
        "an attempt is committed to once"
    );
    dead.close().await;
}

async fn a_worker_whose_lease_is_over_may_not_send(stage: Arc<Stage>) {
    stage.accept(stage.trigger()).await;
    let slow = stage.another(-1).await;
    let claim = slow
        .claim_deliveries("slow", EVERY, 10, NOW)
        .await
        .unwrap()
        .pop()
        .unwrap();
    // Nobody has swept yet.
    assert_eq!(stage.dispatch(&claim, NOW).await, Permission::Withdrawn);
    assert_eq!(stage.look(&claim.request).await.attempts, 0);
    slow.close().await;
}

async fn what_a_dead_worker_may_have_sent_is_unknown_and_never_sent_again(stage: Arc<Stage>) {
    let request = stage.accept(stage.trigger()).await;
    let claim = stage.claim(NOW).await;
    let dead = stage.another(-1).await;
    assert_eq!(
        dead.dispatch(dispatch(&claim, NOW)).await.unwrap(),
        Permission::Granted { send_at: None }
    );
    assert_eq!(stage.store.sweep(after(1)).await.unwrap(), 1);
    let read = stage.look(&request).await;
    assert_eq!(
        (read.delivery, read.state, read.delivery_code.as_str()),
        (DeliveryState::Unknown, State::Scheduled, "no_report")
    );
    assert_eq!(stage.attempt(&request, 1).await.0, "unknown");
    assert_eq!(stage.store.sweep(after(2)).await.unwrap(), 0);
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(WAIT_MS - 1))
            .await
            .unwrap()
            .is_empty()
    );
    dead.close().await;
}

async fn a_late_report_binds_but_never_leads_back_to_the_queue(stage: Arc<Stage>) {
    let dead = stage.another(-1).await;
    for (outcome, delivery) in [
        (taken("SM9"), DeliveryState::Accepted),
        (not_processed(), DeliveryState::Unknown),
    ] {
        let request = stage.accept(stage.trigger()).await;
        let claim = stage.claim(NOW).await;
        dead.dispatch(dispatch(&claim, NOW)).await.unwrap();
        assert_eq!(stage.store.sweep(after(1)).await.unwrap(), 1);
        stage.report(&claim, outcome, after(2)).await;
        assert_eq!(stage.look(&request).await.delivery, delivery);
        assert!(
            stage
                .store
                .claim_deliveries("w", EVERY, 10, after(WAIT_MS - 1))
                .await
                .unwrap()
                .is_empty()
        );
        if delivery == DeliveryState::Accepted {
            assert_eq!(stage.attempt(&request, 1).await.2, "SM9");
            assert_eq!(stage.look(&request).await.state, State::Sent);
        }
    }
    dead.close().await;
}

async fn a_report_for_another_fence_or_attempt_is_not_recorded(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    for wrong in [
        crate::store::Report {
            fence: claim.fence + 1,
            ..report(&claim, taken("SM8"), NOW)
        },
        crate::store::Report {
            fence: claim.fence - 1,
            ..report(&claim, taken("SM8"), NOW)
        },
        crate::store::Report {
            attempt: 2,
            ..report(&claim, taken("SM8"), NOW)
        },
    ] {
        assert!(!stage.store.report(wrong).await.unwrap());
    }
    assert_eq!(
        stage.look(&claim.request).await.delivery,
        DeliveryState::Dispatching
    );
    assert!(stage.report(&claim, taken("SM1"), NOW).await);
    assert_eq!(
        stage.attempt(&claim.request, 1).await,
        ("accepted".to_owned(), String::new(), "SM1".to_owned())
    );
    assert!(
        !stage.report(&claim, taken("SM1"), NOW).await,
        "a report is recorded once"
    );
    assert_eq!(stage.events(&claim.request, "request.sent").await, 1);
}

async fn proof_that_nothing_happened_leads_back_to_the_queue_later(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    assert!(stage.report(&claim, not_processed(), NOW).await);
    let read = stage.look(&claim.request).await;
    assert_eq!(
        (read.delivery, read.state, read.delivery_code.as_str()),
        (DeliveryState::Queued, State::Scheduled, "429")
    );
    assert_eq!(stage.attempt(&read, 1).await.0, "not_processed");
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(3_999))
            .await
            .unwrap()
            .is_empty()
    );
    let second = stage.claim(after(6_000)).await;
    assert_eq!(
        (second.fence, second.request.attempts),
        (claim.fence + 1, 1)
    );
    assert_eq!(
        stage.dispatch(&second, after(6_000)).await,
        Permission::Granted { send_at: None }
    );
    assert!(stage.report(&second, taken("SM2"), after(6_000)).await);
    assert_eq!(
        stage
            .store
            .find(&Find::Attempt(token(read.id, 2)))
            .await
            .unwrap()
            .unwrap()
            .0
            .state,
        State::Sent
    );
}

async fn a_refusal_is_a_failure(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    let refused = Outcome::Rejected {
        code: "21211".to_owned(),
        opted_out: false,
    };
    assert!(stage.report(&claim, refused, after(1)).await);
    let read = stage.look(&claim.request).await;
    assert_eq!(
        (read.state, read.delivery),
        (State::Failed, DeliveryState::Rejected)
    );
    assert_eq!(read.history.ended_at, Some(after(1)));
    assert_eq!(stage.events(&read, "request.failed").await, 1);
    assert_eq!(stage.events(&read, "contact.opted_out").await, 0);
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(WAIT_MS - 1))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_way_that_did_not_open_leads_back_to_the_queue(stage: Arc<Stage>) {
    stage.accept(stage.trigger()).await;
    let claim = stage.claim(NOW).await;
    assert!(stage.report(&claim, not_processed(), NOW).await);
    let read = stage.look(&claim.request).await;
    assert_eq!((read.delivery, read.attempts), (DeliveryState::Queued, 1));
    let second = stage.claim(after(6_000)).await;
    assert_eq!(
        stage.dispatch(&second, after(6_000)).await,
        Permission::Granted { send_at: None }
    );
}

async fn it_is_given_up_when_there_is_no_time_left(stage: Arc<Stage>) {
    let request = stage.accept(stage.trigger()).await;
    let mut now = NOW;
    while now < request.expires_at {
        assert_eq!(stage.look(&request).await.state, State::Scheduled);
        let claim = stage.claim(now).await;
        assert_eq!(
            stage.dispatch(&claim, now).await,
            Permission::Granted { send_at: None }
        );
        assert!(stage.report(&claim, not_processed(), now).await);
        now = now.plus_millis(720_000);
    }
    stage.store.expire(now, now, 10).await.unwrap();
    let read = stage.look(&request).await;
    assert!(matches!(read.state, State::Failed | State::Expired));
    assert_eq!(
        (read.delivery, read.attempts),
        (DeliveryState::Dropped, WAIT_MS / 720_000)
    );
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, now)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_request_that_ended_is_not_sent(stage: Arc<Stage>) {
    let request = stage.accept(stage.trigger()).await;
    let claim = stage.claim(NOW).await;
    stage
        .store
        .cancel(stage.desk, request.id, after(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stage.dispatch(&claim, after(2)).await,
        Permission::Withdrawn
    );
    stage.accept(stage.trigger()).await;
    let late = stage.claim(NOW).await;
    let at: Timestamp = late.request.expires_at;
    assert_eq!(
        stage.dispatch(&late, at).await,
        Permission::Withdrawn,
        "nobody waits for an answer any more"
    );
}

async fn a_cancelled_request_does_not_go_back_to_the_queue(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    stage
        .store
        .cancel(stage.desk, claim.request.id, after(1))
        .await
        .unwrap()
        .unwrap();
    stage.report(&claim, not_processed(), after(2)).await;
    assert_eq!(
        stage.look(&claim.request).await.delivery,
        DeliveryState::Dropped
    );
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(WAIT_MS - 1))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn what_is_answered_before_it_is_sent_leaves_the_queue(stage: Arc<Stage>) {
    let queued = stage.accept(stage.trigger()).await;
    let by_pair = digit(&queued, "SM2", 5, after(1));
    let by_link = NewReply {
        find: Find::Link(link(queued.id)),
        ..by_pair.clone()
    };
    // A text cannot be about what was not sent yet; whoever has the link has it from somewhere.
    assert!(stage.store.record_reply(by_pair).await.unwrap().is_none());
    assert_eq!(stage.look(&queued).await.delivery, DeliveryState::Queued);
    stage.store.record_reply(by_link).await.unwrap().unwrap();
    let seen = stage.accept(stage.trigger()).await;
    stage
        .store
        .record_reached(Find::Link(link(seen.id)), after(1))
        .await
        .unwrap()
        .unwrap();
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(2))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(stage.look(&queued).await.delivery, DeliveryState::Dropped);
    assert_eq!(stage.look(&seen).await.delivery, DeliveryState::Dropped);
}

async fn what_is_carried_is_counted(stage: Arc<Stage>) {
    stage.on_the_wire().await;
    for due in [after(50), after(20)] {
        stage
            .accept(NewRequest {
                due_at: due,
                ..stage.trigger()
            })
            .await;
    }
    let mut backlog = stage.store.backlog().await.unwrap();
    backlog.sort_by_key(|line| line.state.as_str());
    let lines: Vec<_> = backlog
        .iter()
        .map(|line| (line.state, line.count, line.oldest_due))
        .collect();
    assert_eq!(
        lines,
        [
            (DeliveryState::Dispatching, 1, NOW),
            (DeliveryState::Queued, 2, after(20))
        ]
    );
}
