//! The second attempt that waits at the provider, so that it can be taken back.

use std::sync::Arc;

use super::settling::{SEND_AT, silent, unknown};
use super::stage::{EVERY, Stage, after, digit, dispatch, report, taken, text};
use crate::domain::delivery::{AttemptState, DeliveryState, Outcome, Status};
use crate::domain::reply::Understood;
use crate::domain::request::State;
use crate::store::{Dispatch, Finding, Permission, Report, Second, Store as _};

stories!(
    migrated: a_second_message_waits_at_the_provider_and_counts_as_sent_when_its_time_has_come,
    news_of_the_first_take_the_second_back,
    an_answer_takes_the_second_back,
    a_callback_while_the_second_is_being_made_wins,
    the_echo_of_taking_back_is_no_failure,
    without_a_way_to_take_it_back_there_is_no_second,
    a_second_that_is_refused_leaves_the_first_lost,
    an_answer_counts_while_the_second_is_queued,
    who_slept_over_a_look_makes_no_third_attempt,
    a_second_without_an_answer_is_looked_for_although_the_first_was_answered,
    a_late_refusal_of_the_second_is_not_lost_on_us,
    a_second_whose_worker_died_is_looked_after_by_itself,
    who_looks_after_the_first_knows_of_the_second,
);

async fn a_second_message_waits_at_the_provider_and_counts_as_sent_when_its_time_has_come(
    stage: Arc<Stage>,
) {
    let request = stage.guarded().await;
    let due = stage.checks(1_000_000 + 60_000).await;
    let second = due.iter().find(|check| check.attempt.n == 2).unwrap();
    assert_eq!(second.attempt.state, AttemptState::Scheduled);
    assert!(
        stage
            .settle(&request, 2, Finding::Released, 1_060_001)
            .await
    );
    let (delivery, now, first, second) = stage.states(&request).await;
    assert_eq!((delivery, now), (DeliveryState::Accepted, State::Sent));
    assert_eq!((first.as_str(), second.as_str()), ("unknown", "accepted"));
    for (name, broken) in stage.store.invariants().await {
        assert_eq!(broken.unwrap(), 0, "{name}");
    }
}

async fn news_of_the_first_take_the_second_back(stage: Arc<Stage>) {
    let request = stage.guarded().await;
    stage
        .callback(&request, 2, "SM2", Status::Taken, 800_000)
        .await;
    let before = stage.states(&request).await;
    assert_eq!(
        before.0,
        DeliveryState::Guarded,
        "it only says that it waits"
    );
    assert_eq!(before.3, "scheduled");
    stage
        .callback(&request, 1, "SM1", Status::Delivered, 800_001)
        .await;
    let read = stage.look(&request).await;
    assert_eq!(
        (read.delivery, read.state),
        (DeliveryState::Accepted, State::Delivered)
    );
    stage.taken_back(&request, 800_002).await;
}

async fn an_answer_takes_the_second_back(stage: Arc<Stage>) {
    let request = stage.guarded().await;
    let rated = digit(&request, "r1", 4, after(800_000));
    let replied = stage.store.record_reply(rated).await.unwrap().unwrap();
    assert_eq!(replied.request.state, State::Answered);
    stage.taken_back(&request, 800_001).await;

    let request = stage.guarded().await;
    let stop = text(&request, "r2", Understood::Stop, after(900_000));
    stage.store.record_reply(stop).await.unwrap().unwrap();
    stage.taken_back(&request, 900_001).await;
}

async fn a_callback_while_the_second_is_being_made_wins(stage: Arc<Stage>) {
    // After the decision, before the point of no return.
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let claim = stage.claim(after(700_001)).await;
    stage
        .callback(&request, 1, "SM1", Status::Taken, 700_002)
        .await;
    let late = Dispatch {
        second: Second::At(SEND_AT),
        ..dispatch(&claim, after(700_003))
    };
    let permission = stage.store.dispatch(late).await.unwrap();
    assert_eq!(permission, Permission::Withdrawn);

    // After it: the second is made, and taken back.
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    stage
        .callback(&request, 1, "SM3", Status::Taken, 700_002)
        .await;
    let late = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, taken("SM2"), after(700_003))
    };
    assert!(!stage.store.report(late).await.unwrap());
    stage.taken_back(&request, 700_004).await;
}

async fn the_echo_of_taking_back_is_no_failure(stage: Arc<Stage>) {
    let request = stage.guarded().await;
    stage
        .callback(&request, 1, "SM1", Status::Taken, 800_000)
        .await;
    stage.taken_back(&request, 800_001).await;
    let cancelled = Status::Failed {
        code: String::new(),
        opted_out: false,
    };
    stage
        .callback(&request, 2, "SM2", cancelled, 1_100_000)
        .await;
    let read = stage.look(&request).await;
    assert_eq!(
        (read.delivery, read.state),
        (DeliveryState::Accepted, State::Sent)
    );
    assert_eq!(stage.attempt(&request, 2).await.0, "revoked");
}

async fn without_a_way_to_take_it_back_there_is_no_second(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let (_, permission) = stage.second(Second::Never, 700_001).await;
    assert_eq!(permission, Permission::Withdrawn);
    let read = stage.look(&request).await;
    assert_eq!((read.delivery, read.attempts), (DeliveryState::Lost, 1));
    let due = stage
        .store
        .claim_deliveries("w", EVERY, 10, after(9_000_000))
        .await;
    assert!(due.unwrap().is_empty());
}

async fn a_second_that_is_refused_leaves_the_first_lost(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    let refused = Outcome::Rejected {
        code: "35118".to_owned(),
        opted_out: false,
    };
    let refused = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, refused, after(700_002))
    };
    assert!(stage.store.report(refused).await.unwrap());
    let (delivery, now, first, second) = stage.states(&request).await;
    assert_eq!((delivery, now), (DeliveryState::Lost, State::Scheduled));
    assert_eq!((first.as_str(), second.as_str()), ("unknown", "rejected"));
}

async fn an_answer_counts_while_the_second_is_queued(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    stage
        .settle(&request, 1, Finding::NotFound { second: true }, 700_000)
        .await;
    let rated = digit(&request, "r1", 3, after(700_001));
    let replied = stage.store.record_reply(rated).await.unwrap().unwrap();
    assert_eq!(
        (replied.request.state, replied.request.delivery),
        (State::Answered, DeliveryState::Accepted)
    );
    let due = stage
        .store
        .claim_deliveries("w", EVERY, 10, after(9_000_000))
        .await;
    assert!(due.unwrap().is_empty(), "nothing is sent any more");
}

async fn who_slept_over_a_look_makes_no_third_attempt(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second.clone(), 700_000).await);
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    let answer = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, unknown(), after(700_002))
    };
    assert!(stage.store.report(answer).await.unwrap());
    assert!(!stage.settle(&request, 1, second, 700_003).await);
    let read = stage.look(&request).await;
    assert_eq!(
        (read.delivery, read.attempts),
        (DeliveryState::Unknown, 2),
        "nothing goes back to the queue"
    );
    assert_eq!(
        stage.checks(800_000).await.len(),
        2,
        "both are looked after"
    );
}

async fn a_second_without_an_answer_is_looked_for_although_the_first_was_answered(
    stage: Arc<Stage>,
) {
    let request = stage.doubtful().await;
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second, 700_000).await);
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    stage
        .callback(&request, 1, "SM1", Status::Delivered, 700_002)
        .await;
    let answer = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, unknown(), after(700_003))
    };
    stage.store.report(answer).await.unwrap();
    let read = stage.look(&request).await;
    assert_eq!(read.delivery, DeliveryState::Accepted);
    let due = stage.checks(700_004).await;
    let second = due.iter().find(|check| check.attempt.n == 2).unwrap();
    assert_eq!(
        second.attempt.state,
        AttemptState::Unknown,
        "it may wait at the provider, and has to be taken back"
    );
}

async fn a_late_refusal_of_the_second_is_not_lost_on_us(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second, 700_000).await);
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    silent(&stage, 700_002).await;
    let refused = Outcome::Rejected {
        code: "21211".to_owned(),
        opted_out: false,
    };
    let answer = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, refused, after(700_003))
    };
    assert!(stage.store.report(answer).await.unwrap());
    let read = stage.look(&request).await;
    assert_eq!(read.delivery, DeliveryState::Lost, "the first is in doubt");
    assert_eq!(stage.attempt(&request, 2).await.0, "rejected");
}

async fn a_second_whose_worker_died_is_looked_after_by_itself(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second, 700_000).await);
    stage.second(Second::At(SEND_AT), 700_001).await;
    stage
        .callback(&request, 1, "SM1", Status::Taken, 700_002)
        .await;
    assert_eq!(stage.look(&request).await.delivery, DeliveryState::Accepted);
    stage.store.sweep(after(700_003)).await.unwrap();
    // Its lease has passed: nobody has said what became of it, and it may wait at the provider.
    let due = stage.checks(700_001 + 60_001).await;
    assert_eq!(due.len(), 1);
    let attempt = &due[0].attempt;
    assert_eq!(
        (attempt.n, attempt.state, attempt.send_at),
        (2, AttemptState::Dispatching, Some(SEND_AT))
    );
    let found = Finding::Found {
        provider_id: "SM2".to_owned(),
        status: Status::Taken,
    };
    assert!(stage.settle(&request, 2, found, 770_000).await);
    stage.taken_back(&request, 770_001).await;
}

async fn who_looks_after_the_first_knows_of_the_second(stage: Arc<Stage>) {
    let request = stage.doubtful().await;
    let first = stage.checks(2).await.remove(0);
    assert_eq!((first.next_send_at, first.next_started_at), (None, None));
    let second = Finding::NotFound { second: true };
    assert!(stage.settle(&request, 1, second, 700_000).await);
    let (claim, _) = stage.second(Second::At(SEND_AT), 700_001).await;
    let answer = Report {
        send_at: Some(SEND_AT),
        ..report(&claim, unknown(), after(700_002))
    };
    assert!(stage.store.report(answer).await.unwrap());
    let due = stage.checks(800_000).await;
    let of = |n| due.iter().find(|check| check.attempt.n == n).unwrap();
    assert_eq!(
        (of(1).next_send_at, of(1).next_started_at),
        (Some(SEND_AT), Some(after(700_001)))
    );
    assert_eq!((of(2).next_send_at, of(2).next_started_at), (None, None));
}
