//! Lists: forwards by cursor, each row once.

use std::sync::Arc;

use super::stage::{Stage, after, digit};
use crate::domain::request::{Channel, State};
use crate::store::{Filter, NewRequest, Store as _};

stories!(migrated: requests_are_paged_forwards_each_once, filters_choose_requests, ratings_are_listed_with_their_requests);

/// Everything, so many at a time.
pub(super) fn any(limit: i64) -> Filter {
    Filter {
        limit,
        ..Filter::default()
    }
}

async fn requests_are_paged_forwards_each_once(stage: Arc<Stage>) {
    let mut made = Vec::new();
    for _ in 0..23 {
        made.push(stage.accept(stage.trigger()).await.id);
    }
    made.sort();
    let (mut seen, mut filter) = (Vec::new(), any(5));
    loop {
        let page = stage.store.requests(stage.desk, &filter).await.unwrap();
        assert!(page.len() <= 5);
        let Some(last) = page.last() else { break };
        filter.after = Some(last.id.uuid());
        seen.extend(page.into_iter().map(|request| request.id));
    }
    assert_eq!(seen, made);
}

async fn filters_choose_requests(stage: Arc<Stage>) {
    let early = stage.accept(stage.trigger()).await;
    let late = stage
        .accept(NewRequest {
            now: after(10),
            ..stage.trigger()
        })
        .await;
    let mail = stage
        .accept(NewRequest {
            channel: Channel::named("email"),
            now: after(20),
            ..stage.trigger()
        })
        .await;
    stage
        .store
        .cancel(stage.desk, late.id, after(30))
        .await
        .unwrap();
    let ids = async |filter: Filter| {
        let mut ids: Vec<_> = stage
            .store
            .requests(stage.desk, &filter)
            .await
            .unwrap()
            .iter()
            .map(|r| r.id)
            .collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<_>| {
        ids.sort();
        ids
    };
    assert_eq!(ids(any(10)).await, sorted(vec![early.id, late.id, mail.id]));
    assert_eq!(
        ids(Filter {
            state: Some(State::Cancelled),
            ..any(10)
        })
        .await,
        [late.id]
    );
    assert_eq!(
        ids(Filter {
            channel: Some("email".to_owned()),
            ..any(10)
        })
        .await,
        [mail.id]
    );
    assert_eq!(
        ids(Filter {
            conversation: Some(early.conversation.clone()),
            ..any(10)
        })
        .await,
        [early.id]
    );
    assert_eq!(
        ids(Filter {
            from: Some(after(10)),
            to: Some(after(20)),
            ..any(10)
        })
        .await,
        [late.id]
    );
    let none = Filter {
        conversation: Some(early.conversation),
        state: Some(State::Cancelled),
        ..any(10)
    };
    assert!(ids(none).await.is_empty());
}

async fn ratings_are_listed_with_their_requests(stage: Arc<Stage>) {
    let beta = stage.add_desk("beta").await;
    let mut made = Vec::new();
    for n in 0..7 {
        let request = stage.sent(stage.trigger()).await;
        let reply = digit(&request, "SM2", n % 5 + 1, after(n * 1_000));
        made.push((
            stage
                .store
                .record_reply(reply)
                .await
                .unwrap()
                .unwrap()
                .rating
                .unwrap()
                .id,
            request.id,
        ));
    }
    let (mut seen, mut filter) = (Vec::new(), any(3));
    loop {
        let page = stage.store.ratings(stage.desk, &filter).await.unwrap();
        assert!(page.len() <= 3);
        let Some((last, _)) = page.last() else { break };
        filter.after = Some(last.id.uuid());
        seen.extend(
            page.into_iter()
                .map(|(rating, request)| (rating.id, request.id)),
        );
    }
    assert_eq!(seen, made);
    let span = Filter {
        from: Some(after(2_000)),
        to: Some(after(4_000)),
        ..any(10)
    };
    let found = stage.store.ratings(stage.desk, &span).await.unwrap();
    assert_eq!(
        found
            .iter()
            .map(|(rating, _)| rating.id)
            .collect::<Vec<_>>(),
        [made[2].0, made[3].0]
    );
    let of = Filter {
        conversation: Some(found[0].1.conversation.clone()),
        ..any(10)
    };
    assert_eq!(stage.store.ratings(stage.desk, &of).await.unwrap().len(), 1);
    let by_mail = Filter {
        channel: Some("email".to_owned()),
        ..any(10)
    };
    assert!(
        stage
            .store
            .ratings(stage.desk, &by_mail)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        stage
            .store
            .ratings(beta, &any(10))
            .await
            .unwrap()
            .is_empty()
    );
}
