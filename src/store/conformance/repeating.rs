//! A connection that ends during a commit leaves its outcome unknown, and whoever was waiting repeats the call as it was. Here it
//! was committed: every write is made twice, and the second time changes nothing.

use std::sync::Arc;

use super::stage::{NOW, Stage, after, digit, dispatch, report, taken, token, words};
use crate::domain::contact::Address;
use crate::domain::delivery::Status;
use crate::domain::request::Request;
use crate::store::dialect::Sql;
use crate::store::{Carriage, Find, NewRequest, Permission, Store as _};

stories!(
    migrated: a_trigger_that_is_repeated_changes_nothing, an_attempt_that_is_repeated_is_not_sent_and_changes_nothing,
    a_report_that_is_repeated_changes_nothing, news_that_are_repeated_change_nothing, a_reply_that_is_repeated_changes_nothing,
    an_end_that_is_repeated_changes_nothing,
);

/// Everything that a repetition could change: the rows of every table, and what is in those of a request.
async fn seen(stage: &Stage, request: &Request) -> String {
    const INSIDE: Sql = Sql::both(
        "select cast(coalesce(sum(fence + attempts + listening + next_at + lease_until), 0) as bigint) as n from requests",
    );
    format!(
        "{:?} {:?} {}",
        stage.sizes().await,
        stage.look(request).await,
        stage.count(INSIDE, &[]).await
    )
}

async fn a_trigger_that_is_repeated_changes_nothing(stage: Arc<Stage>) {
    let call = |id: &NewRequest| Carriage::Call {
        attempt: token(id.id, 1),
        provider: "sandbox",
    };
    for carriage in [Some(Carriage::Queue), Some(Carriage::Answer), None] {
        for key in ["", "key"] {
            let new = stage.trigger();
            let new = NewRequest {
                carriage: carriage.clone().unwrap_or_else(|| call(&new)),
                idempotency_key: if key.is_empty() {
                    String::new()
                } else {
                    new.conversation.clone()
                },
                ..new
            };
            let request = stage.accept(new.clone()).await;
            let before = seen(&stage, &request).await;
            // Once more with a new identifier, as a repeated call has, and once as it was, as a repeated write is.
            let again = stage.replay(Stage::again(&new)).await;
            let same = stage.replay(new).await;
            assert_eq!((again.id, same.id), (request.id, request.id));
            assert_eq!(seen(&stage, &request).await, before);
        }
    }
}

async fn an_attempt_that_is_repeated_is_not_sent_and_changes_nothing(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    let before = seen(&stage, &claim.request).await;
    let again = stage.store.dispatch(dispatch(&claim, NOW)).await.unwrap();
    assert_eq!(again, Permission::Withdrawn);
    assert_eq!(seen(&stage, &claim.request).await, before);
}

async fn a_report_that_is_repeated_changes_nothing(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    let report = report(&claim, taken("SM1"), NOW);
    assert!(stage.store.report(report.clone()).await.unwrap());
    let before = seen(&stage, &claim.request).await;
    assert!(!stage.store.report(report).await.unwrap());
    assert_eq!(seen(&stage, &claim.request).await, before);
}

async fn news_that_are_repeated_change_nothing(stage: Arc<Stage>) {
    let failed = Status::Failed {
        code: "30005".to_owned(),
        opted_out: true,
    };
    for status in [Status::Taken, Status::Delivered, failed] {
        let claim = stage.on_the_wire().await;
        let tell = || async {
            let token = token(claim.request.id, 1);
            let told = stage
                .store
                .record_status(token, "SM1", status.clone(), after(1));
            assert!(told.await.unwrap().is_some());
        };
        tell().await;
        let before = seen(&stage, &claim.request).await;
        tell().await;
        assert_eq!(seen(&stage, &claim.request).await, before, "{status:?}");
    }
    let request = stage.sent(stage.trigger()).await;
    let find = Find::Attempt(token(request.id, 1));
    let reached = || stage.store.record_reached(find.clone(), after(2));
    reached().await.unwrap().unwrap();
    let before = seen(&stage, &request).await;
    reached().await.unwrap().unwrap();
    assert_eq!(seen(&stage, &request).await, before);
}

async fn a_reply_that_is_repeated_changes_nothing(stage: Arc<Stage>) {
    let request = stage.sent(stage.trigger()).await;
    for reply in [
        digit(&request, "SM10", 4, after(1)),
        digit(&request, "SM11", 2, after(2)),
        words(&request, "SM12", "thank you", after(3)),
    ] {
        let first = stage.store.record_reply(reply.clone()).await.unwrap();
        let before = seen(&stage, &request).await;
        let second = stage.store.record_reply(reply).await.unwrap().unwrap();
        assert!(second.repeated);
        assert_eq!(second.rating, first.unwrap().rating);
        assert_eq!(seen(&stage, &request).await, before);
    }
    assert_eq!(stage.events(&request, "rating.created").await, 1);
}

async fn an_end_that_is_repeated_changes_nothing(stage: Arc<Stage>) {
    let request = stage.accept(stage.trigger()).await;
    let address = Address::phone("+14155550177").unwrap();
    for _ in 0..2 {
        stage
            .store
            .cancel(request.desk, request.id, after(1))
            .await
            .unwrap()
            .unwrap();
        stage
            .store
            .opt_out(&request.channel, &address, after(1))
            .await
            .unwrap();
    }
    assert_eq!(stage.events(&request, "request.cancelled").await, 1);
    let listed = Sql::both("select count(*) as n from opt_outs");
    assert_eq!(stage.count(listed, &[]).await, 1);
}
