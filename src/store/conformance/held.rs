//! Posts of the rating page that race, and what managers do to answers.

use std::sync::Arc;

use super::stage::{NOW, Stage, WINDOW_MS, after, link, parallel, score};
use crate::clock::{SystemEntropy, random};
use crate::domain::id::{RatingId, ReplyId, ViewId};
use crate::domain::rating::{Grade, Rating};
use crate::domain::reply::{Effect, Reply, ReplyKind, Understood};
use crate::domain::request::{Request, State};
use crate::domain::time::Timestamp;
use crate::domain::view::{ClientKey, View, ViewKind, ViewValue};
use crate::store::{
    Find, HeldAnswers as _, NewReply, NewView, Note, Release, Replied, Store as _, Tap, Views as _,
};

stories!(
    migrated: a_value_is_used_once_whatever_races, the_first_person_wins_and_the_others_are_kept,
    a_release_and_a_person_make_one_rating, another_desk_sees_and_changes_nothing,
    a_person_who_comes_too_late_does_not_take_a_machines_place,
);

const PERSON: ClientKey = [1; 16];
const STRANGER: ClientKey = [2; 16];

/// A showing of the page.
pub(super) async fn shown(stage: &Stage, request: &Request) -> ViewValue {
    let id = ViewId::new(NOW, random(&SystemEntropy));
    let view = View {
        id,
        at: NOW,
        kind: ViewKind::Page,
        score: None,
        network: PERSON,
        cookie: PERSON,
        more: 0,
    };
    let new = NewView {
        desk: request.desk,
        request: request.id,
        view,
        brought: false,
    };
    stage.store.record_view(new).await.unwrap();
    ViewValue { view: id, post: 0 }
}

pub(super) fn tap(
    request: &Request,
    value: ViewValue,
    client: ClientKey,
    n: i64,
    grade: Grade,
    at: Timestamp,
) -> (NewReply, Tap) {
    let reply = Reply {
        kind: ReplyKind::Click,
        provider_id: value.name(),
        raw: format!("{n} words"),
        grade,
        at,
    };
    let new = NewReply {
        find: Find::Link(link(request.id)),
        reply,
        understood: Understood::Rating(score(n), "words".to_owned()),
        window_ms: WINDOW_MS,
        sent_at: None,
    };
    let signs = String::new();
    let tap = Tap {
        value,
        client,
        signs,
    };
    (new, tap)
}

pub(super) async fn send(stage: &Stage, (new, tap): (NewReply, Tap)) -> Replied {
    stage.store.record_tap(new, tap).await.unwrap().unwrap()
}

async fn rating(stage: &Stage, request: &Request) -> Option<Rating> {
    let found = stage.store.request(request.desk, request.id).await;
    found.unwrap().unwrap().1
}

pub(super) fn note(reason: &str) -> Note {
    Note {
        at: after(60_000),
        by: "Kim".to_owned(),
        reason: reason.to_owned(),
    }
}

async fn held(stage: &Stage) -> Vec<ReplyId> {
    let list = stage
        .store
        .held_answers(stage.desk, None, None, 10)
        .await
        .unwrap();
    list.iter().map(|(answer, _)| answer.id).collect()
}

async fn a_value_is_used_once_whatever_races(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    let value = shown(&stage, &request).await;
    let all = parallel(20, |at| {
        let (stage, request) = (Arc::clone(&stage), request.clone());
        async move {
            let n = i64::try_from(at % 5).unwrap() + 1;
            let post = tap(&request, value, PERSON, n, Grade::Tap, after(5_000));
            send(&stage, post).await
        }
    })
    .await;
    let used = all.iter().filter(|replied| !replied.repeated).count();
    assert_eq!(used, 1);
    assert_eq!(stage.events(&request, "rating.created").await, 1);
    assert_eq!(stage.events(&request, "rating.changed").await, 0);
    // The next value of the same page is good, for whoever has the page.
    let post = tap(&request, value.next(), PERSON, 5, Grade::Tap, after(6_000));
    assert!(!send(&stage, post).await.repeated);
    assert_eq!(rating(&stage, &request).await.unwrap().score, score(5));
    let again = tap(&request, value.next(), PERSON, 1, Grade::Tap, after(7_000));
    assert!(send(&stage, again).await.repeated);
    // One that was never recorded is known by the reply that it made.
    let unseen = ViewValue {
        view: ViewId::new(NOW, [9; 10]),
        post: 0,
    };
    for (n, repeated) in [(2, false), (3, true)] {
        let post = tap(&request, unseen, PERSON, n, Grade::Tap, after(8_000));
        assert_eq!(send(&stage, post).await.repeated, repeated);
    }
    assert_eq!(rating(&stage, &request).await.unwrap().score, score(2));
}

async fn the_first_person_wins_and_the_others_are_kept(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    let mut values = Vec::new();
    for _ in 0..8 {
        values.push(shown(&stage, &request).await);
    }
    let all = parallel(8, |at| {
        let (stage, request, value) = (Arc::clone(&stage), request.clone(), values[at]);
        let client = [u8::try_from(at).unwrap() + 1; 16];
        async move {
            let n = i64::try_from(at % 5).unwrap() + 1;
            let post = tap(&request, value, client, n, Grade::Tap, after(5_000));
            send(&stage, post).await
        }
    })
    .await;
    let rated = all
        .iter()
        .filter(|replied| matches!(replied.effect, Effect::Rated(..)));
    assert_eq!(rated.count(), 1);
    assert_eq!(stage.events(&request, "rating.suspect").await, 7);
    assert_eq!(held(&stage).await.len(), 7);
    assert_eq!(stage.events(&request, "rating.changed").await, 0);
}

async fn a_release_and_a_person_make_one_rating(stage: Arc<Stage>) {
    for _ in 0..5 {
        let request = stage.sent(stage.trigger()).await;
        let value = shown(&stage, &request).await;
        let suspect = tap(&request, value, STRANGER, 1, Grade::Suspect, after(1_000));
        assert_eq!(send(&stage, suspect).await.effect, Effect::Nothing);
        let answer = held(&stage).await[0];
        let person = shown(&stage, &request).await;
        let post = tap(&request, person, PERSON, 4, Grade::Tap, after(2_000));
        let (released, _) = tokio::join!(
            stage
                .store
                .release_held(stage.desk, answer, note("said so"), WINDOW_MS),
            send(&stage, post),
        );
        assert!(matches!(
            released.unwrap().unwrap(),
            Release::Done(_) | Release::Rated
        ));
        let rating = rating(&stage, &request).await.unwrap();
        assert_eq!((rating.score, rating.grade), (score(4), Grade::Tap));
        assert_eq!(stage.events(&request, "rating.created").await, 1);
        // Whichever was first, nothing is held that could still be released.
        for left in held(&stage).await {
            let again = stage
                .store
                .release_held(stage.desk, left, note("x"), WINDOW_MS);
            assert!(matches!(again.await.unwrap(), Some(Release::Rated)));
            stage
                .execute(crate::store::dialect::Sql::both(
                    "update replies set effect = 'released' where grade = 'suspect'",
                ))
                .await;
        }
    }
}

async fn another_desk_sees_and_changes_nothing(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    let value = shown(&stage, &request).await;
    let suspect = tap(&request, value, STRANGER, 1, Grade::Suspect, after(1_000));
    send(&stage, suspect).await;
    let answer = held(&stage).await[0];
    let other = stage.add_desk("other").await;
    let store = &stage.store;
    assert!(
        store
            .held_answers(other, None, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.views(other, request.id).await.unwrap().is_empty());
    let released = store
        .release_held(other, answer, note("x"), WINDOW_MS)
        .await;
    assert!(released.unwrap().is_none());
    let released = store
        .release_held(stage.desk, answer, note("x"), WINDOW_MS)
        .await;
    let Some(Release::Done(noted)) = released.unwrap() else {
        panic!("its own desk releases it");
    };
    assert_eq!(noted.rating.answered_at, after(1_000));
    let id: RatingId = noted.rating.id;
    let excluded = store.note_rating(other, id, true, note("x")).await.unwrap();
    assert!(excluded.is_none());
    assert_eq!(rating(&stage, &request).await.unwrap().excluded, None);
    let excluded = store.note_rating(stage.desk, id, true, note("why")).await;
    let excluded = excluded.unwrap().unwrap().rating.excluded.unwrap();
    assert_eq!(
        (excluded.by.as_str(), excluded.reason.as_str()),
        ("Kim", "why")
    );
    assert_eq!(
        rating(&stage, &request).await.unwrap().excluded,
        Some(excluded)
    );
}

async fn a_person_who_comes_too_late_does_not_take_a_machines_place(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    let value = shown(&stage, &request).await;
    let suspect = tap(&request, value, STRANGER, 1, Grade::Suspect, after(1_000));
    send(&stage, suspect).await;
    let answer = held(&stage).await[0];
    let released = stage
        .store
        .release_held(stage.desk, answer, note("x"), WINDOW_MS);
    assert!(matches!(released.await.unwrap(), Some(Release::Done(_))));
    let late = Timestamp::from_millis(request.expires_at.as_millis() + 1);
    let value = shown(&stage, &request).await;
    let post = tap(&request, value, PERSON, 5, Grade::Tap, late);
    assert_eq!(send(&stage, post).await.effect, Effect::Nothing);
    let value = shown(&stage, &request).await;
    let post = tap(&request, value, PERSON, 5, Grade::Tap, request.expires_at);
    assert!(matches!(
        send(&stage, post).await.effect,
        Effect::Changed(..)
    ));
    let stands = rating(&stage, &request).await.unwrap();
    assert_eq!((stands.score, stands.grade), (score(5), Grade::Tap));
    assert_eq!(stage.look(&request).await.state, State::Answered);
}
