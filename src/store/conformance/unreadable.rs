//! A row that cannot be read stops nobody but itself. Here it is the oldest each time, so that it comes first.

use std::sync::Arc;

use super::stage::{EVERY, NOW, Stage, WAIT_MS, after};
use crate::domain::delivery::{DeliveryState, Outcome};
use crate::domain::request::State;
use crate::store::dialect::Sql;
use crate::store::{Store as _, StoreError};

stories!(
    migrated: what_can_be_read_is_claimed, what_can_be_read_is_swept, what_can_be_read_is_looked_after,
    what_can_be_read_expires,
);

/// Spoils what there is so far.
async fn spoil(stage: &Stage) {
    stage
        .execute(Sql::both("update requests set metadata = 'no json'"))
        .await;
}

async fn what_can_be_read_is_claimed(stage: Arc<Stage>) {
    let spoiled = stage.accept(stage.trigger()).await;
    spoil(&stage).await;
    let request = stage.accept(stage.trigger()).await;
    let claims = stage.store.claim_deliveries("w", EVERY, 10, NOW).await;
    let claimed: Vec<_> = claims.unwrap().iter().map(|c| c.request.id).collect();
    assert_eq!(claimed, [request.id]);
    let again = stage.store.claim_deliveries("w", EVERY, 10, NOW).await;
    assert!(again.unwrap().is_empty(), "it stays claimed");
    // Whoever asks for it is told.
    let read = stage.store.request(spoiled.desk, spoiled.id).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
}

async fn what_can_be_read_is_swept(stage: Arc<Stage>) {
    stage.on_the_wire().await;
    spoil(&stage).await;
    let request = stage.on_the_wire().await.request;
    stage
        .execute(Sql::both("update requests set lease_until = 0"))
        .await;
    assert_eq!(stage.store.sweep(after(1)).await.unwrap(), 1);
    assert_eq!(stage.look(&request).await.delivery, DeliveryState::Unknown);
}

async fn what_can_be_read_is_looked_after(stage: Arc<Stage>) {
    let mut request = None;
    for _ in 0..2 {
        spoil(&stage).await;
        let claim = stage.on_the_wire().await;
        let timeout = Outcome::Unknown {
            code: "timeout".to_owned(),
        };
        assert!(stage.report(&claim, timeout, after(1)).await);
        request = Some(claim.request.id);
    }
    let checks = stage.store.claim_checks(10, after(2)).await.unwrap();
    let checked: Vec<_> = checks.iter().map(|check| Some(check.request.id)).collect();
    assert_eq!(checked, [request]);
}

async fn what_can_be_read_expires(stage: Arc<Stage>) {
    stage.sent(stage.trigger()).await;
    spoil(&stage).await;
    let request = stage.sent(stage.trigger()).await;
    assert_eq!(
        stage
            .store
            .expire(after(WAIT_MS), after(WAIT_MS), 10)
            .await
            .unwrap(),
        1
    );
    assert_eq!(stage.look(&request).await.state, State::Expired);
}
