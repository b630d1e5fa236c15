//! What a request counts as when it takes an unusual way: it waits in vain, fails and is answered, is answered by machines first, or
//! is so old that its agent is forgotten.

use std::sync::Arc;

use super::counted::{Groups, groups};
use super::held::{note, send, shown, tap};
use super::stage::{NOW, SMS, Stage, after, digit, link};
use super::summary::{Dice, EXCLUDE, by_hand, check, something};
use crate::domain::delivery::Outcome;
use crate::domain::policy::Suppression;
use crate::domain::rating::Grade;
use crate::domain::request::State;
use crate::domain::retention::Retention;
use crate::domain::statistics::counts::Counts;
use crate::domain::statistics::grouping::{DAY_MS, Dimension, Question};
use crate::store::{
    Find, HeldAnswers as _, NewReply, People as _, Permission, Release, Store as _,
};

stories!(
    migrated: an_ask_that_waited_in_vain_counts_once, a_failed_ask_that_is_answered_was_sent,
    a_customer_is_held_back_once_and_until_rated, an_agent_is_forgotten_in_sums_too,
);

async fn total(stage: &Stage) -> Counts {
    let all = groups(stage, &Question::default()).await;
    all.values().next().cloned().unwrap_or_default()
}

async fn an_ask_that_waited_in_vain_counts_once(stage: Arc<Stage>) {
    let request = stage.accept(stage.trigger()).await;
    let claim = stage.claim(NOW).await;
    let waiting = total(&stage).await;
    assert_eq!((waiting.triggers(), waiting.requested()), (1, 1));
    stage
        .store
        .opt_out(&SMS, &request.contact.address, after(1))
        .await
        .unwrap();
    assert_eq!(
        stage.dispatch(&claim, after(2)).await,
        Permission::Suppressed(Suppression::OptedOut)
    );
    for _ in 0..2 {
        let all = total(&stage).await;
        assert_eq!((all.triggers(), all.requested()), (1, 0), "{all:?}");
        assert_eq!(all.suppressed_later, 1);
        check(&stage).await;
        stage.store.fold(100).await.unwrap();
    }
}

async fn a_failed_ask_that_is_answered_was_sent(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    let refused = Outcome::Rejected {
        code: "30006".to_owned(),
        opted_out: false,
    };
    assert!(stage.report(&claim, refused, after(1)).await);
    let request = stage.look(&claim.request).await;
    assert_eq!(
        (request.state, request.history.sent_at),
        (State::Failed, None)
    );
    let answer = NewReply {
        find: Find::Link(link(request.id)),
        ..digit(&request, "SM1", 4, after(2))
    };
    stage.store.record_reply(answer).await.unwrap();
    let all = total(&stage).await;
    let entered = [State::Sent, State::Answered, State::Failed];
    assert_eq!(entered.map(|state| all.entered(state)), [1, 1, 1]);
    check(&stage).await;
}

async fn a_customer_is_held_back_once_and_until_rated(stage: Arc<Stage>) {
    let opened = stage.sent(stage.trigger()).await;
    for client in 1..=5 {
        let value = shown(&stage, &opened).await;
        let post = tap(&opened, value, [client; 16], 3, Grade::Auto, after(1_000));
        send(&stage, post).await;
        assert_eq!(total(&stage).await.suspect, 1);
    }
    let listed = async |rated| {
        let list = stage.store.held_answers(stage.desk, rated, None, 50).await;
        list.unwrap().len()
    };
    assert_eq!(listed(Some(false)).await, 5);
    check(&stage).await;
    // A person looks at the page after all.
    let value = shown(&stage, &opened).await;
    let post = tap(&opened, value, [9; 16], 5, Grade::Tap, after(2_000));
    send(&stage, post).await;
    let all = total(&stage).await;
    assert_eq!((all.suspect, all.n()), (0, 1));
    assert_eq!(listed(Some(false)).await, 0);
    assert_eq!((listed(Some(true)).await, listed(None).await), (5, 5));
    // A machine that comes afterwards holds nobody back.
    let value = shown(&stage, &opened).await;
    let post = tap(&opened, value, [7; 16], 1, Grade::Suspect, after(3_000));
    send(&stage, post).await;
    assert_eq!(total(&stage).await.suspect, 0);
    check(&stage).await;

    let released = stage.sent(stage.trigger()).await;
    let value = shown(&stage, &released).await;
    let post = tap(&released, value, [1; 16], 2, Grade::Suspect, after(4_000));
    send(&stage, post).await;
    assert_eq!(total(&stage).await.suspect, 1);
    stage.store.fold(100).await.unwrap();
    let list = stage
        .store
        .held_answers(stage.desk, Some(false), None, 50)
        .await;
    let (answer, _) = &list.unwrap()[0];
    let done = stage
        .store
        .release_held(stage.desk, answer.id, note("a person"), 0)
        .await;
    assert!(matches!(done.unwrap(), Some(Release::Done(_))));
    for _ in 0..2 {
        let all = total(&stage).await;
        assert_eq!((all.suspect, all.n()), (0, 2));
        check(&stage).await;
        stage.store.fold(100).await.unwrap();
    }
}

async fn an_agent_is_forgotten_in_sums_too(stage: Arc<Stage>) {
    let mut dice = Dice(5);
    for round in 0..40 {
        something(&stage, &mut dice).await;
        if round % 9 == 0 {
            stage.store.fold(30).await.unwrap();
        }
    }
    let late = after(5 * DAY_MS);
    stage.store.expire(late, late, 100).await.unwrap();
    let by_agent = Question {
        by: vec![Dimension::Agent],
        ..Question::default()
    };
    let agents = async || {
        let groups: Groups = groups(&stage, &by_agent).await;
        let names: Vec<String> = groups.keys().map(|(by, _)| by[0].clone()).collect();
        for counts in groups.values() {
            assert!(counts.numbers().iter().all(|n| *n >= 0), "{counts:?}");
        }
        names
    };
    assert_eq!(agents().await, ["Sam", "a-1", "a-2"]);
    let before = total(&stage).await;
    let retention = Retention {
        rating_days: 31,
        ..Retention::default()
    };
    // Two days of the three are old enough; what is still pending is among them.
    let now = after(33 * DAY_MS);
    let retain = async |now| {
        while stage
            .store
            .retain(stage.desk, &retention, now, 7)
            .await
            .unwrap()
            .more
        {}
    };
    retain(now).await;
    assert_eq!(agents().await, ["", "Sam", "a-1", "a-2"]);
    assert_eq!(total(&stage).await, before);
    retain(after(40 * DAY_MS)).await;
    assert_eq!(agents().await, [""]);
    assert_eq!(total(&stage).await, before);
    // What still comes to them goes where they are now.
    by_hand(&stage, EXCLUDE).await;
    assert_eq!(agents().await, [""]);
    while stage.store.fold(11).await.unwrap() > 0 {}
    assert_eq!(agents().await, [""]);
    let all = total(&stage).await;
    assert!(all.excluded > 0 && all.n() + all.excluded == before.n());
    check(&stage).await;
}
