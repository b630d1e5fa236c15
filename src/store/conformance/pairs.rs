//! One open request between two addresses, so that a bare digit has one meaning.

use std::sync::Arc;

use super::stage::{Stage, WAIT_MS, after, digit};
use crate::domain::policy::Suppression;
use crate::domain::request::State;
use crate::store::{NewRequest, Store as _};

stories!(
    migrated: one_person_is_asked_one_thing_at_a_time, a_number_that_two_desks_share_holds_one_open_request,
    where_a_reply_names_its_request_each_desk_has_its_own, an_answered_request_gives_way,
    what_has_ended_is_not_in_the_way,
);

async fn one_person_is_asked_one_thing_at_a_time(stage: Arc<Stage>) {
    let first = stage.trigger();
    stage.accept(first.clone()).await;
    let second = stage.accept(stage.same_person(&first)).await;
    assert_eq!(second.reason, Some(Suppression::OpenRequestExists));
    let other_number = NewRequest {
        sender: "+15005550007".to_owned(),
        ..stage.same_person(&first)
    };
    assert_eq!(stage.accept(other_number).await.state, State::Scheduled);
}

async fn a_number_that_two_desks_share_holds_one_open_request(stage: Arc<Stage>) {
    let beta = stage.add_desk("beta").await;
    let first = stage.trigger();
    stage.accept(first.clone()).await;
    let second = stage
        .accept(NewRequest {
            desk: beta,
            ..stage.same_person(&first)
        })
        .await;
    assert_eq!(second.reason, Some(Suppression::OpenRequestExists));
}

async fn where_a_reply_names_its_request_each_desk_has_its_own(stage: Arc<Stage>) {
    let beta = stage.add_desk("beta").await;
    let named = |new| NewRequest {
        reply_names_request: true,
        ..new
    };
    let first = named(stage.trigger());
    let request = stage.accept(first.clone()).await;
    assert_eq!(
        stage
            .accept(NewRequest {
                desk: beta,
                ..named(stage.same_person(&first))
            })
            .await
            .state,
        State::Scheduled
    );
    let again = stage.accept(named(stage.same_person(&first))).await;
    assert_eq!(again.reason, Some(Suppression::OpenRequestExists));
    // Such a request is not found by its addresses.
    assert!(
        stage
            .store
            .record_reply(digit(&request, "SM2", 5, after(1)))
            .await
            .unwrap()
            .is_none()
    );
}

async fn an_answered_request_gives_way(stage: Arc<Stage>) {
    let first = stage.trigger();
    let request = stage.sent(first.clone()).await;
    stage
        .store
        .record_reply(digit(&request, "SM2", 2, after(1)))
        .await
        .unwrap()
        .unwrap();
    let second = stage.accept(stage.same_person(&first)).await;
    assert_eq!(second.state, State::Scheduled);
    let early = digit(&request, "SM4", 5, after(2));
    assert!(
        stage.store.record_reply(early).await.unwrap().is_none(),
        "what was not sent yet is not answered"
    );
    stage.carry("SM9", after(2)).await;
    let replied = stage
        .store
        .record_reply(digit(&request, "SM3", 5, after(2)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        replied.request.id, second.id,
        "a digit now answers the new ask"
    );
}

async fn what_has_ended_is_not_in_the_way(stage: Arc<Stage>) {
    let first = stage.trigger();
    let cancelled = stage.accept(first.clone()).await;
    stage
        .store
        .cancel(stage.desk, cancelled.id, after(1))
        .await
        .unwrap();
    assert_eq!(
        stage.accept(stage.same_person(&first)).await.state,
        State::Scheduled
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
        stage.accept(stage.same_person(&first)).await.state,
        State::Scheduled
    );
}
