//! What customers wrote: newest first, of one desk, without what was taken out.

use std::sync::Arc;

use super::stage::{Stage, after, digit, words};
use crate::domain::id::RatingId;
use crate::store::{CommentFilter, Comments as _, HeldAnswers as _, Note, Store as _};

stories!(migrated: comments_come_newest_first_and_only_those_that_count);

/// An answer, perhaps with words.
async fn answered(stage: &Stage, team: &str, n: i64, said: &str) -> RatingId {
    let mut new = stage.trigger();
    team.clone_into(&mut new.attribution.team);
    let request = stage.sent(new).await;
    let at = after(n * 1_000);
    let reply = digit(&request, "SM2", n % 5 + 1, at);
    let first = stage.store.record_reply(reply).await.unwrap().unwrap();
    if !said.is_empty() {
        let more = words(&request, "SM3", said, at);
        stage.store.record_reply(more).await.unwrap().unwrap();
    }
    first.rating.unwrap().id
}

async fn comments_come_newest_first_and_only_those_that_count(stage: Arc<Stage>) {
    let beta = stage.add_desk("beta").await;
    let first = answered(&stage, "network", 0, "kind").await;
    answered(&stage, "network", 1, "").await;
    let third = answered(&stage, "printers", 2, "slow").await;
    let fourth = answered(&stage, "network", 3, "quick").await;
    let of = |team: &str, from: i64, limit: i64| CommentFilter {
        team: team.to_owned(),
        from: after(from),
        limit,
        ..CommentFilter::default()
    };
    let found = async |filter: CommentFilter| {
        let found = stage.store.comments(stage.desk, &filter).await.unwrap();
        let shown = found
            .into_iter()
            .map(|(rating, _)| (rating.id, rating.comment));
        shown.collect::<Vec<_>>()
    };
    let said = |id: RatingId, words: &str| (id, words.to_owned());
    assert_eq!(
        found(of("", 0, 10)).await,
        [
            said(fourth, "quick"),
            said(third, "slow"),
            said(first, "kind")
        ]
    );
    assert_eq!(found(of("", 0, 1)).await, [said(fourth, "quick")]);
    assert_eq!(
        found(of("network", 0, 10)).await,
        [said(fourth, "quick"), said(first, "kind")]
    );
    assert_eq!(found(of("printers", 2_500, 10)).await, []);
    let other = stage.store.comments(beta, &of("", 0, 10)).await.unwrap();
    assert!(other.is_empty());

    let note = Note {
        by: "Sam".to_owned(),
        reason: "a test".to_owned(),
        at: after(9_000),
    };
    let noted = stage.store.note_rating(stage.desk, fourth, true, note);
    assert!(noted.await.unwrap().is_some());
    assert_eq!(found(of("network", 0, 10)).await, [said(first, "kind")]);
}
