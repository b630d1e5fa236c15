//! A trigger is decided on once, whatever is repeated.

use std::sync::Arc;

use super::stage::{EVERY, NOW, Stage, after, digit, link, taken};
use crate::domain::contact::Address;
use crate::domain::delivery::DeliveryState;
use crate::domain::id::RequestId;
use crate::domain::policy::{Given, Suppression};
use crate::domain::request::State;
use crate::domain::token::TokenHash;
use crate::store::{Accepted, Cancelled, Carriage, Find, NewRequest, Rulings as _, Store as _};

stories!(
    migrated: a_request_reads_back_as_it_came, a_repeated_key_replays_the_same_body_and_refuses_another,
    a_repeated_call_without_a_key_is_replayed, another_body_for_the_same_resolution_is_a_duplicate,
    who_was_not_asked_may_be_asked_when_the_desk_says_something_else,
    a_cancelled_conversation_may_be_asked_about_again, another_resolution_is_a_request_of_its_own,
    desks_are_walls, a_dry_run_decides_and_writes_nothing, a_request_in_an_answer_or_a_call_is_sent_at_once,
    of_many_asks_the_watch_sees_the_newest,
);

async fn a_request_reads_back_as_it_came(stage: Arc<Stage>) {
    let mut new = stage.trigger();
    new.contact.name = "Ana".to_owned();
    new.contact.id = "c-901".to_owned();
    new.attribution.team = "network".to_owned();
    new.attribution.switches = 3;
    new.metadata = serde_json::json!({"any": ["json", null, 1.5]});
    new.due_at = after(60_000);
    let request = stage.accept(new.clone()).await;
    let read = stage.look(&request).await;
    assert_eq!(
        (read.id, read.desk, read.state, read.reason),
        (new.id, stage.desk, State::Scheduled, None)
    );
    assert_eq!(
        (read.contact, read.attribution, read.metadata),
        (new.contact, new.attribution, new.metadata)
    );
    assert_eq!(
        (read.due_at, read.expires_at, read.delivery),
        (new.due_at, new.expires_at, DeliveryState::Queued)
    );
    assert_eq!(read.history.created_at, NOW);
    let found = stage
        .store
        .find(&Find::Link(link(new.id)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.0.id, found.1), (new.id, None));
    assert!(
        stage
            .store
            .find(&Find::Link(TokenHash::of("guess")))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(stage.events(&request, "request.scheduled").await, 1);
}

async fn a_repeated_key_replays_the_same_body_and_refuses_another(stage: Arc<Stage>) {
    let first = NewRequest {
        idempotency_key: "key-1".to_owned(),
        ..stage.trigger()
    };
    let request = stage.accept(first.clone()).await;
    let sizes = stage.sizes().await;
    assert_eq!(stage.replay(Stage::again(&first)).await.id, request.id);
    let other = NewRequest {
        idempotency_key: "key-1".to_owned(),
        ..stage.trigger()
    };
    assert!(matches!(
        stage.store.accept(other.clone()).await.unwrap(),
        Accepted::KeyReused
    ));
    assert_eq!(stage.sizes().await, sizes);
    // A key belongs to its desk.
    let desk = stage.add_desk("beta").await;
    stage.accept(NewRequest { desk, ..other }).await;
}

async fn a_repeated_call_without_a_key_is_replayed(stage: Arc<Stage>) {
    let first = stage.trigger();
    let request = stage.accept(first.clone()).await;
    let sizes = stage.sizes().await;
    let replayed = stage.replay(Stage::again(&first)).await;
    assert_eq!(
        (replayed.id, replayed.state),
        (request.id, State::Scheduled)
    );
    assert_eq!(stage.sizes().await, sizes);
}

async fn another_body_for_the_same_resolution_is_a_duplicate(stage: Arc<Stage>) {
    let first = stage.trigger();
    stage.accept(first.clone()).await;
    let second = NewRequest {
        conversation: first.conversation.clone(),
        ..stage.trigger()
    };
    let request = stage.accept(second).await;
    assert_eq!(
        (request.state, request.reason),
        (State::Suppressed, Some(Suppression::Duplicate))
    );
    assert_eq!(request.delivery, DeliveryState::None);
    assert_eq!(stage.events(&request, "request.suppressed").await, 1);
    // The first still stands for the resolution.
    assert_eq!(stage.replay(Stage::again(&first)).await.id, first.id);
}

async fn who_was_not_asked_may_be_asked_when_the_desk_says_something_else(stage: Arc<Stage>) {
    let mut first = stage.trigger();
    first.contact.address = Address::none();
    first.given = Given {
        no_address: true,
        ..Given::default()
    };
    assert_eq!(
        stage.accept(first.clone()).await.reason,
        Some(Suppression::NoAddress)
    );
    assert_eq!(
        stage.replay(Stage::again(&first)).await.state,
        State::Suppressed
    );
    let second = NewRequest {
        conversation: first.conversation.clone(),
        ..stage.trigger()
    };
    assert_eq!(stage.accept(second.clone()).await.state, State::Scheduled);
    assert_eq!(stage.replay(Stage::again(&second)).await.id, second.id);
}

async fn a_cancelled_conversation_may_be_asked_about_again(stage: Arc<Stage>) {
    let first = stage.trigger();
    let request = stage.accept(first.clone()).await;
    let done = stage
        .store
        .cancel(stage.desk, request.id, after(1))
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(done, Cancelled::Done(gone) if gone.state == State::Cancelled && gone.delivery == DeliveryState::Dropped)
    );
    let repeated = stage
        .store
        .cancel(stage.desk, request.id, after(2))
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(repeated, Cancelled::Done(gone) if gone.history.ended_at == Some(after(1))));
    assert_eq!(stage.events(&request, "request.cancelled").await, 1);
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(1))
            .await
            .unwrap()
            .is_empty()
    );
    let second = stage.accept(Stage::again(&first)).await;
    assert_eq!(second.state, State::Scheduled);
    stage.carry("SM9", after(2)).await;
    stage
        .store
        .record_reply(digit(&second, "SM2", 5, after(3)))
        .await
        .unwrap()
        .unwrap();
    let answered = stage
        .store
        .cancel(stage.desk, second.id, after(4))
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(answered, Cancelled::Ended(request) if request.state == State::Answered));
}

async fn another_resolution_is_a_request_of_its_own(stage: Arc<Stage>) {
    let first = stage.trigger();
    let request = stage.sent(first.clone()).await;
    let next = |resolution: &str, fingerprint| NewRequest {
        resolution: resolution.to_owned(),
        fingerprint,
        ..Stage::again(&first)
    };
    let early = stage.accept(next("2", [2; 32])).await;
    assert_eq!(early.reason, Some(Suppression::OpenRequestExists));
    stage
        .store
        .record_reply(digit(&request, "SM2", 4, after(1)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stage.accept(next("3", [3; 32])).await.state,
        State::Scheduled
    );
}

async fn desks_are_walls(stage: Arc<Stage>) {
    let beta = stage.add_desk("beta").await;
    let ours = stage.trigger();
    let request = stage.accept(ours.clone()).await;
    assert!(
        stage
            .store
            .request(beta, request.id)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        stage
            .store
            .cancel(beta, request.id, NOW)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        stage
            .store
            .requests(beta, &super::listing::any(10))
            .await
            .unwrap()
            .is_empty()
    );
    // The same conversation of another desk is another conversation.
    let theirs = NewRequest {
        desk: beta,
        contact: stage.trigger().contact,
        ..Stage::again(&ours)
    };
    assert_eq!(stage.accept(theirs.clone()).await.state, State::Scheduled);
    // Even the very same identifier is another request.
    let twin = NewRequest {
        desk: beta,
        id: request.id,
        link: None,
        ..stage.trigger()
    };
    stage.accept(twin.clone()).await;
    let claims = stage
        .store
        .claim_deliveries("w", EVERY, 10, NOW)
        .await
        .unwrap();
    let claim = claims
        .iter()
        .find(|claim| claim.request.desk == stage.desk)
        .unwrap();
    stage.dispatch(claim, NOW).await;
    stage.report(claim, taken("SM1"), NOW).await;
    assert_eq!(stage.look(&request).await.state, State::Sent);
    assert_eq!(
        stage
            .store
            .request(beta, request.id)
            .await
            .unwrap()
            .unwrap()
            .0
            .state,
        State::Scheduled
    );
    let unknown = RequestId::from_uuid(uuid::Uuid::from_u128(1));
    assert!(
        stage
            .store
            .request(stage.desk, unknown)
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_dry_run_decides_and_writes_nothing(stage: Arc<Stage>) {
    let first = stage.trigger();
    let request = stage.sent(first.clone()).await;
    let sizes = stage.sizes().await;
    let dry = |new| NewRequest {
        dry_run: true,
        ..new
    };
    let considered = async |new| match stage.store.accept(dry(new)).await.unwrap() {
        Accepted::Considered(decision) => decision.reason(),
        other @ (Accepted::New(_) | Accepted::Replayed(_) | Accepted::KeyReused) => {
            panic!("{other:?}")
        }
    };
    assert_eq!(considered(stage.trigger()).await, None);
    assert_eq!(
        considered(stage.same_person(&first)).await,
        Some(Suppression::OpenRequestExists)
    );
    assert_eq!(
        considered(NewRequest {
            fingerprint: [1; 32],
            ..Stage::again(&first)
        })
        .await,
        Some(Suppression::Duplicate)
    );
    assert_eq!(stage.sizes().await, sizes);
    // Nor does it take an answered request's place.
    stage
        .store
        .record_reply(digit(&request, "SM2", 4, after(1)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(considered(stage.same_person(&first)).await, None);
    assert!(
        stage
            .store
            .record_reply(digit(&request, "SM3", 5, after(2)))
            .await
            .unwrap()
            .is_some()
    );
}

async fn a_request_in_an_answer_or_a_call_is_sent_at_once(stage: Arc<Stage>) {
    let request = stage
        .accept(NewRequest {
            carriage: Carriage::Answer,
            ..stage.trigger()
        })
        .await;
    assert_eq!(
        (request.state, request.delivery),
        (State::Sent, DeliveryState::None)
    );
    let hash = TokenHash::of("call");
    let carriage = Carriage::Call {
        attempt: hash,
        provider: "sandbox",
    };
    let call = stage
        .accept(NewRequest {
            carriage,
            ..stage.trigger()
        })
        .await;
    assert_eq!(
        (call.state, call.delivery, call.attempts),
        (State::Sent, DeliveryState::Accepted, 1)
    );
    assert_eq!(
        stage
            .store
            .find(&Find::Attempt(hash))
            .await
            .unwrap()
            .unwrap()
            .0
            .id,
        call.id
    );
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(1))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(stage.look(&call).await.history.sent_at, Some(NOW));
}

async fn of_many_asks_the_watch_sees_the_newest(stage: Arc<Stage>) {
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(stage.sent(stage.trigger()).await);
    }
    let (from, to) = (after(-60_000), after(60_000));
    let seen = stage
        .store
        .sent_between(stage.desk, from, to, 60_000, 2)
        .await;
    let seen: Vec<Address> = seen.unwrap().into_iter().map(|one| one.to).collect();
    let newest = asked.iter().rev().take(2);
    let newest: Vec<Address> = newest.map(|one| one.contact.address.clone()).collect();
    assert_eq!(seen, newest);
}
