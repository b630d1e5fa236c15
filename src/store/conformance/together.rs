//! Many at once: each gets its own answer, and what must happen once happens once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::stage::{EVERY, NOW, Stage, WINDOW_MS, after, link, parallel, score};
use crate::domain::rating::Grade;
use crate::domain::reply::{Reply, ReplyKind, Understood};
use crate::domain::request::Request;
use crate::store::dialect::Sql;
use crate::store::{Accepted, Find, NewReply, NewRequest, Store as _, StoreError};

stories!(
    migrated plainly: the_same_trigger_at_the_same_time_makes_one_request, different_triggers_at_the_same_time_are_all_stored,
    a_write_that_fails_does_not_take_others_with_it, many_answers_at_once_make_one_rating,
    each_due_request_is_claimed_by_one_worker,
);

async fn the_same_trigger_at_the_same_time_makes_one_request(stage: Arc<Stage>) {
    for _ in 0..10 {
        let first = stage.trigger();
        let answers = parallel(8, |_| {
            let (stage, new) = (Arc::clone(&stage), Stage::again(&first));
            async move { stage.store.accept(new).await.unwrap() }
        })
        .await;
        let id = |accepted: &Accepted| match accepted {
            Accepted::New(request) | Accepted::Replayed(request) => request.id,
            other @ (Accepted::KeyReused | Accepted::Considered(_)) => panic!("{other:?}"),
        };
        assert_eq!(
            answers
                .iter()
                .filter(|answer| matches!(answer, Accepted::New(_)))
                .count(),
            1
        );
        assert_eq!(answers.iter().map(id).collect::<BTreeSet<_>>().len(), 1);
    }
    assert_eq!(
        stage
            .count(Sql::both("select count(*) as n from requests"), &[])
            .await,
        10
    );
    assert_eq!(
        stage
            .count(Sql::both("select count(*) as n from events"), &[])
            .await,
        10
    );
}

async fn different_triggers_at_the_same_time_are_all_stored(stage: Arc<Stage>) {
    let requests: Vec<Request> = parallel(200, |_| {
        let (stage, new) = (Arc::clone(&stage), stage.trigger());
        async move { stage.accept(new).await }
    })
    .await;
    for request in &requests {
        assert_eq!(stage.look(request).await.conversation, request.conversation);
    }
    assert_eq!(
        stage
            .count(Sql::both("select count(*) as n from requests"), &[])
            .await,
        200
    );
}

async fn a_write_that_fails_does_not_take_others_with_it(stage: Arc<Stage>) {
    let first = stage.accept(stage.trigger()).await;
    let answers = parallel(40, |n| {
        // Every fourth one names an identifier that is taken.
        let new = stage.trigger();
        let new = if n % 4 == 0 {
            NewRequest {
                id: first.id,
                ..new
            }
        } else {
            new
        };
        let stage = Arc::clone(&stage);
        async move { (n, stage.store.accept(new).await) }
    })
    .await;
    for (n, answer) in answers {
        match answer {
            Ok(Accepted::New(_)) => assert_ne!(n % 4, 0),
            Err(StoreError::Conflict) => assert_eq!(n % 4, 0),
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(
        stage
            .count(Sql::both("select count(*) as n from requests"), &[])
            .await,
        31
    );
}

async fn many_answers_at_once_make_one_rating(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    let id = request.id;
    parallel(50, |n| {
        let score = score(i64::try_from(n).unwrap() % 5 + 1);
        let reply = NewReply {
            find: Find::Link(link(id)),
            reply: Reply {
                kind: ReplyKind::Click,
                provider_id: format!("click-{n}"),
                raw: score.get().to_string(),
                grade: Grade::Tap,
                at: after(1_000),
            },
            understood: Understood::Rating(score, String::new()),
            window_ms: WINDOW_MS,
            sent_at: None,
        };
        let stage = Arc::clone(&stage);
        async move { stage.store.record_reply(reply).await.unwrap().unwrap() }
    })
    .await;
    assert_eq!(
        stage
            .count(Sql::both("select count(*) as n from ratings"), &[])
            .await,
        1
    );
    assert_eq!(stage.events(&request, "rating.created").await, 1);
    let changed = stage
        .count(
            Sql::both("select count(*) as n from replies where effect = 'changed'"),
            &[],
        )
        .await;
    assert_eq!(stage.events(&request, "rating.changed").await, changed);
}

async fn each_due_request_is_claimed_by_one_worker(stage: Arc<Stage>) {
    parallel(300, |_| {
        let (stage, new) = (Arc::clone(&stage), stage.trigger());
        async move { stage.accept(new).await }
    })
    .await;
    let claimed = parallel(12, |n| {
        let stage = Arc::clone(&stage);
        async move {
            let mut claimed = Vec::new();
            loop {
                let claims = stage
                    .store
                    .claim_deliveries(&format!("w{n}"), EVERY, 7, NOW)
                    .await
                    .unwrap();
                assert!(claims.len() <= 7, "a claim has a limit");
                if claims.is_empty() {
                    return claimed;
                }
                claimed.extend(
                    claims
                        .into_iter()
                        .map(|claim| (claim.request.id, claim.fence)),
                );
            }
        }
    })
    .await
    .concat();
    assert_eq!(claimed.len(), 300);
    assert!(claimed.iter().all(|(_, fence)| *fence == 1));
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 300);
}
