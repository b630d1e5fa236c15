//! A reply and what follows from it.

use std::sync::Arc;

use super::stage::{EVERY, Stage, WINDOW_MS, after, digit, link, score, text, token, words};
use crate::domain::delivery::{DeliveryState, Status};
use crate::domain::id::DeskId;
use crate::domain::reply::{Effect, ReplyKind, Understood};
use crate::domain::request::{Request, State};
use crate::store::dialect::{Sql, Value};
use crate::store::{Find, NewReply, NewRequest, Replied, Store as _};

stories!(
    migrated: an_answer_is_counted_once, the_same_message_again_changes_nothing, an_answer_proves_what_came_before_it,
    a_score_may_be_corrected_inside_the_window, the_next_words_are_the_comment, stop_ends_the_request,
    a_second_unclear_reply_is_known_as_such, a_reply_finds_its_request_by_pair_link_attempt_and_id,
    a_click_that_changes_nothing_leaves_no_row, an_answer_to_a_failed_ask_counts_beside_a_newer_one,
    seeing_the_ask_is_recorded_once,
);

async fn send(stage: &Stage, reply: NewReply) -> Replied {
    stage.store.record_reply(reply).await.unwrap().unwrap()
}

/// The states that the event of a kind entered.
async fn entered(stage: &Stage, request: &Request, kind: &str) -> i64 {
    const ENTERED: Sql =
        Sql::both("select entered as n from events where request_id = $1 and kind = $2");
    stage
        .count(ENTERED, &[Value::Id(request.id.uuid()), Value::Text(kind)])
        .await
}

async fn an_answer_is_counted_once(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    let replied = send(&stage, digit(&request, "SM2", 4, after(5_000))).await;
    assert_eq!(
        (replied.effect, replied.repeated),
        (Effect::Rated(score(4), String::new()), false)
    );
    let (read, rating) = stage
        .store
        .request(stage.desk, request.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (read.state, read.history.answered_at),
        (State::Answered, Some(after(5_000)))
    );
    assert_eq!(rating, replied.rating);
    let rating = rating.unwrap();
    assert_eq!(
        (rating.score, rating.elapsed_ms, rating.request),
        (score(4), 5_000, request.id)
    );
    assert_eq!(
        send(&stage, digit(&request, "SM3", 4, after(6_000)))
            .await
            .effect,
        Effect::Nothing
    );
    assert_eq!(stage.events(&request, "rating.created").await, 1);
    assert_eq!(stage.events(&request, "rating.changed").await, 0);
}

async fn the_same_message_again_changes_nothing(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    let reply = digit(&request, "SM2", 2, after(1));
    let first = send(&stage, reply.clone()).await;
    send(&stage, digit(&request, "SM3", 5, after(2))).await;
    let sizes = stage.sizes().await;
    let repeated = send(&stage, reply).await;
    assert!(repeated.repeated && !first.repeated);
    assert_eq!(
        (repeated.effect, repeated.rating.unwrap().score),
        (Effect::Nothing, score(5))
    );
    assert_eq!(stage.sizes().await, sizes);
    assert_eq!(stage.events(&request, "rating.changed").await, 1);
}

async fn an_answer_proves_what_came_before_it(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    let replied = send(&stage, digit(&claim.request, "SM2", 3, after(1))).await;
    assert_eq!(
        (replied.request.state, replied.request.delivery),
        (State::Answered, DeliveryState::Accepted)
    );
    let all =
        State::Sent.bit() | State::Delivered.bit() | State::Reached.bit() | State::Answered.bit();
    assert_eq!(entered(&stage, &claim.request, "rating.created").await, all);
    let delivered = stage.sent(stage.trigger()).await;
    stage
        .store
        .record_status(token(delivered.id, 1), "SM1", Status::Delivered, after(1))
        .await
        .unwrap();
    send(&stage, digit(&delivered, "SM2", 3, after(1))).await;
    assert_eq!(
        entered(&stage, &delivered, "rating.created").await,
        State::Reached.bit() | State::Answered.bit()
    );
}

async fn a_score_may_be_corrected_inside_the_window(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    send(&stage, digit(&request, "SM2", 1, after(0))).await;
    let corrected = send(&stage, digit(&request, "SM3", 5, after(WINDOW_MS))).await;
    assert_eq!(corrected.effect, Effect::Changed(score(5), String::new()));
    let late = send(&stage, digit(&request, "SM4", 2, after(WINDOW_MS + 1))).await;
    assert_eq!(late.effect, Effect::Nothing);
    let (_, rating) = stage
        .store
        .request(stage.desk, request.id)
        .await
        .unwrap()
        .unwrap();
    let rating = rating.unwrap();
    assert_eq!(
        (rating.score, rating.answered_at, rating.changed_at),
        (score(5), after(0), after(WINDOW_MS))
    );
    assert_eq!(stage.events(&request, "rating.changed").await, 1);
}

async fn the_next_words_are_the_comment(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    send(&stage, digit(&request, "SM2", 5, after(1))).await;
    let commented = send(&stage, words(&request, "SM3", "quick help", after(2))).await;
    assert_eq!(commented.effect, Effect::Commented("quick help".to_owned()));
    assert_eq!(commented.rating.unwrap().comment, "quick help");
    let more = send(
        &stage,
        words(&request, "SM4", "and one more thing", after(3)),
    )
    .await;
    assert_eq!(
        more.effect,
        Effect::Unrecognized("and one more thing".to_owned())
    );
    let (_, rating) = stage
        .store
        .request(stage.desk, request.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rating.unwrap().comment, "quick help");
    assert_eq!(stage.events(&request, "rating.commented").await, 1);
}

async fn stop_ends_the_request(stage: Arc<Stage>) {
    let request = stage.accept(stage.trigger()).await;
    let stopped = send(&stage, text(&request, "SM2", Understood::Stop, after(1))).await;
    assert_eq!(
        (stopped.request.state, stopped.request.delivery),
        (State::Cancelled, DeliveryState::Dropped)
    );
    assert_eq!(
        entered(&stage, &request, "contact.opted_out").await,
        State::Cancelled.bit()
    );
    assert!(
        stage
            .store
            .record_reply(digit(&request, "SM3", 5, after(2)))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        stage
            .store
            .claim_deliveries("w", EVERY, 10, after(3))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_second_unclear_reply_is_known_as_such(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    assert!(
        !send(&stage, words(&request, "SM2", "what?", after(1)))
            .await
            .unclear_before
    );
    assert!(
        send(&stage, words(&request, "SM3", "who is this?", after(2)))
            .await
            .unclear_before
    );
    assert!(
        !send(&stage, digit(&request, "SM4", 4, after(3)))
            .await
            .unclear_before
    );
    assert_eq!(stage.events(&request, "reply.unrecognized").await, 2);
    let other = stage.sent(stage.trigger()).await;
    assert!(
        !send(&stage, words(&other, "SM2", "what?", after(1)))
            .await
            .unclear_before
    );
}

async fn a_reply_finds_its_request_by_pair_link_attempt_and_id(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    stage.sent(stage.trigger()).await;
    let by = |find, id: &str| NewReply {
        find,
        ..words(&request, id, "hello", after(1))
    };
    assert_eq!(
        send(&stage, words(&request, "SM2", "hello", after(1)))
            .await
            .request
            .id,
        request.id
    );
    assert_eq!(
        send(&stage, by(Find::Link(link(request.id)), "a"))
            .await
            .request
            .id,
        request.id
    );
    assert_eq!(
        send(&stage, by(Find::Attempt(token(request.id, 1)), "b"))
            .await
            .request
            .id,
        request.id
    );
    let itself = Find::Request(request.desk, request.id);
    let replied = send(&stage, by(itself.clone(), "itself")).await;
    assert_eq!((replied.request.id, replied.repeated), (request.id, false));
    assert!(send(&stage, by(itself.clone(), "itself")).await.repeated);
    let found = stage.store.find(&itself).await.unwrap().unwrap().0;
    assert_eq!(found.id, request.id);
    // A desk is a wall: the right request of another desk is no request.
    let walled = Find::Request(DeskId::from_uuid(request.id.uuid()), request.id);
    assert!(stage.store.find(&walled).await.unwrap().is_none());
    let reached = stage.store.record_reached(walled.clone(), after(1)).await;
    assert!(reached.unwrap().is_none());
    let walled = by(walled, "walled");
    assert!(stage.store.record_reply(walled).await.unwrap().is_none());
    let nobody = by(Find::Link(token(request.id, 1)), "c");
    assert!(stage.store.record_reply(nobody).await.unwrap().is_none());
    let stranger = NewRequest {
        contact: stage.trigger().contact,
        ..stage.trigger()
    };
    let stranger = Request {
        contact: stranger.contact,
        ..request
    };
    assert!(
        stage
            .store
            .record_reply(digit(&stranger, "SM3", 5, after(2)))
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_click_that_changes_nothing_leaves_no_row(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    let click = |id: &str| {
        let mut reply = digit(&request, id, 4, after(1));
        reply.find = Find::Link(link(request.id));
        reply.reply.kind = ReplyKind::Click;
        reply
    };
    send(&stage, click("1")).await;
    let sizes = stage.sizes().await;
    assert_eq!(send(&stage, click("2")).await.effect, Effect::Nothing);
    assert_eq!(stage.sizes().await, sizes);
}

async fn an_answer_to_a_failed_ask_counts_beside_a_newer_one(stage: Arc<Stage>) {
    let first = stage.trigger();
    let request = stage.sent(first.clone()).await;
    let failed = Status::Failed {
        code: "30005".to_owned(),
        opted_out: false,
    };
    stage
        .store
        .record_status(token(request.id, 1), "SM1", failed, after(1))
        .await
        .unwrap();
    let newer = stage.sent(stage.same_person(&first)).await;
    let by_link = NewReply {
        find: Find::Link(link(request.id)),
        ..digit(&request, "SM2", 4, after(2))
    };
    assert_eq!(send(&stage, by_link).await.request.state, State::Answered);
    let by_pair = send(&stage, digit(&request, "SM3", 2, after(3))).await;
    assert_eq!(by_pair.request.id, newer.id);
}

async fn seeing_the_ask_is_recorded_once(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    for at in 1..3 {
        let seen = stage
            .store
            .record_reached(Find::Link(link(request.id)), after(at))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (seen.state, seen.history.reached_at),
            (State::Reached, Some(after(1)))
        );
    }
    assert_eq!(stage.events(&request, "request.reached").await, 1);
    assert_eq!(
        entered(&stage, &request, "request.reached").await,
        State::Delivered.bit() | State::Reached.bit()
    );
    assert!(
        stage
            .store
            .record_reached(Find::Link(token(request.id, 1)), after(1))
            .await
            .unwrap()
            .is_none()
    );
}
