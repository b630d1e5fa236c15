//! A provider's callbacks: on the secret of one attempt, in any order, as often as it likes.

use std::sync::Arc;

use super::stage::{EVERY, NOW, Stage, WAIT_MS, after, digit, not_processed, taken, token};
use crate::domain::delivery::{DeliveryState, Status};
use crate::domain::request::{Request, State};
use crate::domain::token::TokenHash;
use crate::store::{NewRequest, Store as _};

stories!(
    migrated: a_callback_may_be_faster_than_the_report, a_callback_after_the_report_moves_the_request_up,
    callbacks_in_any_order_end_the_same, a_callback_about_another_message_is_no_evidence,
    a_token_that_no_attempt_has_is_nobodys, a_callback_settles_what_is_unknown,
    a_callback_on_an_earlier_attempt_takes_the_request_out_of_the_queue,
    what_arrives_after_a_reported_failure_may_be_answered, what_arrives_late_does_not_displace_a_newer_ask,
);

async fn status(
    stage: &Stage,
    request: &Request,
    provider_id: &str,
    status: Status,
    at: i64,
) -> Option<Request> {
    let token = token(request.id, 1);
    stage
        .store
        .record_status(token, provider_id, status, after(at))
        .await
        .unwrap()
}

fn failed() -> Status {
    Status::Failed {
        code: "30005".to_owned(),
        opted_out: false,
    }
}

async fn a_callback_may_be_faster_than_the_report(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    let moved = status(&stage, &claim.request, "SM1", Status::Delivered, 1)
        .await
        .unwrap();
    assert_eq!(
        (moved.state, moved.delivery),
        (State::Delivered, DeliveryState::Accepted)
    );
    assert!(!stage.report(&claim, taken("SM1"), after(2)).await);
    let read = stage.look(&claim.request).await;
    assert_eq!(
        (read.state, read.delivery),
        (State::Delivered, DeliveryState::Accepted)
    );
    assert_eq!(stage.attempt(&read, 1).await.2, "SM1");
    assert_eq!(stage.events(&read, "request.sent").await, 0);
    assert_eq!(stage.events(&read, "request.delivered").await, 1);
}

async fn a_callback_after_the_report_moves_the_request_up(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    for at in 1..4 {
        assert_eq!(
            status(&stage, &request, "SM1", Status::Delivered, at)
                .await
                .unwrap()
                .state,
            State::Delivered
        );
    }
    assert_eq!(stage.events(&request, "request.delivered").await, 1);
    assert_eq!(
        stage.look(&request).await.history.delivered_at,
        Some(after(1))
    );
}

async fn callbacks_in_any_order_end_the_same(stage: Arc<Stage>) {
    for order in [
        [Status::Taken, Status::Delivered, failed()],
        [Status::Delivered, failed(), Status::Taken],
    ] {
        let request = stage.sent(stage.trigger()).await;
        for one in order {
            status(&stage, &request, "SM1", one, 1).await.unwrap();
        }
        assert_eq!(stage.look(&request).await.state, State::Delivered);
        assert_eq!(stage.events(&request, "request.failed").await, 0);
    }
}

async fn a_callback_about_another_message_is_no_evidence(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    assert!(
        status(&stage, &request, "SM2", Status::Delivered, 1)
            .await
            .is_none()
    );
    assert!(status(&stage, &request, "SM2", failed(), 1).await.is_none());
    assert_eq!(stage.look(&request).await.state, State::Sent);
}

async fn a_token_that_no_attempt_has_is_nobodys(stage: Arc<Stage>) {
    stage.sent(stage.trigger()).await;
    let guess = TokenHash::of("guess");
    assert!(
        stage
            .store
            .record_status(guess, "SM1", Status::Delivered, NOW)
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_callback_settles_what_is_unknown(stage: Arc<Stage>) {
    for (evidence, state, delivery) in [
        (Status::Taken, State::Sent, DeliveryState::Accepted),
        (failed(), State::Failed, DeliveryState::Rejected),
    ] {
        let claim = stage.on_the_wire().await;
        let lost = crate::domain::delivery::Outcome::Unknown {
            code: "timeout".to_owned(),
        };
        assert!(stage.report(&claim, lost, after(1)).await);
        assert_eq!(
            stage.look(&claim.request).await.delivery,
            DeliveryState::Unknown
        );
        status(&stage, &claim.request, "SM1", evidence, 2)
            .await
            .unwrap();
        let read = stage.look(&claim.request).await;
        assert_eq!((read.state, read.delivery), (state, delivery));
    }
}

async fn a_callback_on_an_earlier_attempt_takes_the_request_out_of_the_queue(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    assert!(stage.report(&claim, not_processed(), after(1)).await);
    status(&stage, &claim.request, "SM1", Status::Taken, 2)
        .await
        .unwrap();
    assert_eq!(stage.look(&claim.request).await.state, State::Sent);
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(WAIT_MS - 1))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn what_arrives_after_a_reported_failure_may_be_answered(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    assert_eq!(
        status(&stage, &request, "SM1", failed(), 1)
            .await
            .unwrap()
            .state,
        State::Failed
    );
    assert!(
        stage
            .store
            .record_reply(digit(&request, "SM2", 5, after(2)))
            .await
            .unwrap()
            .is_none()
    );
    let arrived = status(&stage, &request, "SM1", Status::Delivered, 3)
        .await
        .unwrap();
    assert_eq!(
        (arrived.state, arrived.history.ended_at),
        (State::Delivered, None)
    );
    let replied = stage
        .store
        .record_reply(digit(&request, "SM3", 5, after(4)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(replied.request.state, State::Answered);
}

async fn what_arrives_late_does_not_displace_a_newer_ask(stage: Arc<Stage>) {
    let first = stage.trigger();
    let request = stage.sent(first.clone()).await;
    status(&stage, &request, "SM1", failed(), 1).await.unwrap();
    let newer = stage
        .accept(NewRequest {
            contact: first.contact,
            ..stage.trigger()
        })
        .await;
    assert_eq!(newer.state, State::Scheduled);
    assert_eq!(
        status(&stage, &request, "SM1", Status::Delivered, 2)
            .await
            .unwrap()
            .state,
        State::Delivered
    );
    stage.carry("SM9", after(3)).await;
    let replied = stage
        .store
        .record_reply(digit(&request, "SM3", 5, after(4)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(replied.request.id, newer.id);
}
