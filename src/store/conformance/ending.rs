//! What time ends.

use std::sync::Arc;

use super::stage::{
    EVERY, NOW, Stage, WAIT_MS, WINDOW_MS, after, digit, link, not_processed, parallel, token,
};
use crate::domain::delivery::{DeliveryState, Status};
use crate::domain::request::State;
use crate::store::{Find, NewReply, Store as _};

stories!(
    migrated: what_nobody_answered_expires, what_was_not_sent_is_dropped, what_is_on_the_wire_stays_known,
    an_answered_request_listens_until_its_window_ends, expiring_takes_no_more_than_it_was_told,
    expiring_side_by_side_ends_each_once, evidence_does_not_lengthen_the_window,
);

async fn what_nobody_answered_expires(stage: Arc<Stage>) {
    let first = stage.trigger();
    let request = stage.sent(first.clone()).await;
    assert_eq!(
        stage
            .store
            .expire(after(WAIT_MS - 1), after(WAIT_MS - 1), 10)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        stage
            .store
            .expire(after(WAIT_MS), after(WAIT_MS), 10)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        stage
            .store
            .expire(after(WAIT_MS), after(WAIT_MS), 10)
            .await
            .unwrap(),
        0
    );
    let read = stage.look(&request).await;
    assert_eq!(
        (read.state, read.history.ended_at),
        (State::Expired, Some(after(WAIT_MS)))
    );
    assert_eq!(stage.events(&request, "request.expired").await, 1);
    assert!(
        stage
            .store
            .record_reply(digit(&request, "SM2", 5, after(WAIT_MS + 1)))
            .await
            .unwrap()
            .is_none()
    );
    let by_link = NewReply {
        find: Find::Link(link(request.id)),
        ..digit(&request, "SM3", 5, after(WAIT_MS + 2))
    };
    assert_eq!(
        stage
            .store
            .record_reply(by_link)
            .await
            .unwrap()
            .unwrap()
            .rating,
        None
    );
    assert_eq!(
        stage.accept(stage.same_person(&first)).await.state,
        State::Scheduled
    );
}

async fn what_was_not_sent_is_dropped(stage: Arc<Stage>) {
    let queued = stage.accept(stage.trigger()).await;
    assert_eq!(
        stage
            .store
            .expire(after(WAIT_MS), after(WAIT_MS), 10)
            .await
            .unwrap(),
        1
    );
    let read = stage.look(&queued).await;
    assert_eq!(
        (read.state, read.delivery),
        (State::Expired, DeliveryState::Dropped)
    );
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(WAIT_MS))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn what_is_on_the_wire_stays_known(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    assert_eq!(
        stage
            .store
            .expire(after(WAIT_MS), after(WAIT_MS), 10)
            .await
            .unwrap(),
        1
    );
    let read = stage.look(&claim.request).await;
    assert_eq!(
        (read.state, read.delivery),
        (State::Expired, DeliveryState::Dispatching)
    );
    stage.report(&claim, not_processed(), after(WAIT_MS)).await;
    assert_eq!(
        stage.look(&claim.request).await.delivery,
        DeliveryState::Dropped
    );
}

async fn an_answered_request_listens_until_its_window_ends(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    stage
        .store
        .record_reply(digit(&request, "SM2", 5, after(0)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stage
            .store
            .expire(after(WINDOW_MS - 1), after(WINDOW_MS - 1), 10)
            .await
            .unwrap(),
        0
    );
    assert!(
        stage
            .store
            .record_reply(digit(&request, "SM3", 4, after(1)))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        stage
            .store
            .expire(after(WINDOW_MS), after(WINDOW_MS), 10)
            .await
            .unwrap(),
        1
    );
    assert!(
        stage
            .store
            .record_reply(digit(&request, "SM4", 3, after(WINDOW_MS)))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(stage.look(&request).await.state, State::Answered);
    assert_eq!(stage.events(&request, "request.expired").await, 0);
}

async fn expiring_takes_no_more_than_it_was_told(stage: Arc<Stage>) {
    for _ in 0..5 {
        stage.accept(stage.trigger()).await;
    }
    let mut ended = Vec::new();
    for _ in 0..4 {
        ended.push(
            stage
                .store
                .expire(after(WAIT_MS), after(WAIT_MS), 2)
                .await
                .unwrap(),
        );
    }
    assert_eq!(ended, [2, 2, 1, 0]);
}

async fn expiring_side_by_side_ends_each_once(stage: Arc<Stage>) {
    let mut requests = Vec::new();
    for _ in 0..20 {
        requests.push(stage.accept(stage.trigger()).await);
    }
    parallel(4, |_| {
        let stage = Arc::clone(&stage);
        async move {
            stage
                .store
                .expire(after(WAIT_MS), after(WAIT_MS), 100)
                .await
                .unwrap()
        }
    })
    .await;
    for request in &requests {
        assert_eq!(stage.events(request, "request.expired").await, 1);
    }
}

async fn evidence_does_not_lengthen_the_window(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    stage
        .store
        .record_reply(digit(&request, "SM2", 5, NOW))
        .await
        .unwrap()
        .unwrap();
    stage
        .store
        .record_status(token(request.id, 1), "SM1", Status::Delivered, after(1))
        .await
        .unwrap();
    stage
        .store
        .record_reached(Find::Link(link(request.id)), after(2))
        .await
        .unwrap();
    stage
        .store
        .record_reply(digit(&request, "SM3", 4, after(3)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stage
            .store
            .expire(after(WINDOW_MS), after(WINDOW_MS), 10)
            .await
            .unwrap(),
        1
    );
}
