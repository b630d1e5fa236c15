//! Many sends in one transaction: each has its own permission and its own report, and the ceilings count what was permitted.

use std::sync::Arc;

use super::stage::{
    EVERY, NOW, SMS, Stage, after, dispatch, not_processed, parallel, report, taken,
};
use crate::domain::contact::Address;
use crate::domain::delivery::DeliveryState;
use crate::domain::request::State;
use crate::store::dialect::Sql;
use crate::store::{Ceiling, Ceilings, Claim, Dispatch, Permission, SqlStore, Store as _};

stories!(
    migrated: each_of_many_sends_has_its_own_permission, many_sends_pass_no_ceiling, each_of_many_reports_is_its_own,
    of_all_channels_those_that_waited_longest_are_claimed,
);

/// Sends counted for desks, and for addresses.
const OF_DESKS: Sql = Sql::each(
    "select cast(coalesce(sum(n), 0) as integer) as n from ceilings where length(subject) = 0",
    "select cast(coalesce(sum(n), 0) as bigint) as n from ceilings where length(subject) = 0",
);
const OF_ADDRESSES: Sql = Sql::each(
    "select cast(coalesce(sum(n), 0) as integer) as n from ceilings where length(subject) > 0",
    "select cast(coalesce(sum(n), 0) as bigint) as n from ceilings where length(subject) > 0",
);
const ATTEMPTS: Sql = Sql::both("select count(*) as n from attempts");

async fn claimed(stage: &Stage, count: i64) -> Vec<Claim> {
    for _ in 0..count {
        stage.accept(stage.trigger()).await;
    }
    let claims = stage.store.claim_deliveries("w", EVERY, count, NOW).await;
    claims.unwrap()
}

/// Asks for all permissions at once: those that come while the first is committed share a transaction.
async fn permissions(store: &SqlStore, dispatches: Vec<Dispatch>) -> Vec<Permission> {
    let dispatches: Vec<_> = dispatches
        .into_iter()
        .map(|dispatch| store.dispatch(dispatch))
        .collect();
    let mut permissions = Vec::new();
    for permission in futures_util::future::join_all(dispatches).await {
        permissions.push(permission.unwrap());
    }
    permissions
}

const GRANTED: Permission = Permission::Granted { send_at: None };

async fn each_of_many_sends_has_its_own_permission(stage: Arc<Stage>) {
    let claims = claimed(&stage, 40).await;
    let mut dispatches = Vec::new();
    for (n, claim) in claims.iter().enumerate() {
        let mut one = dispatch(claim, NOW);
        match n % 5 {
            1 => {
                let address = &claim.request.contact.address;
                stage.store.opt_out(&SMS, address, NOW).await.unwrap();
            }
            2 => one.fence += 1,
            3 => {
                let cancelled = stage.store.cancel(stage.desk, claim.request.id, NOW).await;
                cancelled.unwrap().unwrap();
            }
            4 => one.now = claim.request.expires_at,
            _ => {}
        }
        dispatches.push(one);
    }
    let permissions = permissions(&stage.store, dispatches).await;
    for (n, (claim, permission)) in claims.iter().zip(permissions).enumerate() {
        let read = stage.look(&claim.request).await;
        let came = (permission, read.delivery, read.state);
        match n % 5 {
            0 => assert_eq!(
                came,
                (GRANTED, DeliveryState::Dispatching, State::Scheduled)
            ),
            1 => assert!(matches!(permission, Permission::Suppressed(_)), "{came:?}"),
            3 => assert_eq!(
                came,
                (
                    Permission::Withdrawn,
                    DeliveryState::Dropped,
                    State::Cancelled
                )
            ),
            _ => assert_eq!(
                came,
                (
                    Permission::Withdrawn,
                    DeliveryState::Claimed,
                    State::Scheduled
                )
            ),
        }
        assert_eq!(read.attempts, i64::from(n % 5 == 0));
    }
    assert_eq!(stage.count(ATTEMPTS, &[]).await, 8);
    assert_eq!(stage.count(OF_DESKS, &[]).await, 8);
    assert_eq!(stage.count(OF_ADDRESSES, &[]).await, 8);
}

async fn many_sends_pass_no_ceiling(stage: Arc<Stage>) {
    let bounded = stage
        .bounded(Ceilings {
            address: 3,
            desk: 20,
        })
        .await;
    // Every second one to the same person, whose ceiling is met first.
    for n in 0..20 {
        let mut trigger = stage.trigger();
        if n % 2 == 0 {
            trigger.contact.address = Address::phone("+14155550123").unwrap();
            trigger.sender = format!("+1500555{n:04}");
        }
        stage.accept(trigger).await;
    }
    let claims = stage.store.claim_deliveries("w", EVERY, 100, NOW).await;
    let claims = claims.unwrap();
    let dispatches = claims.iter().map(|claim| dispatch(claim, NOW));
    let first = permissions(&bounded, dispatches.collect()).await;
    let count = |all: &[Permission], wanted| all.iter().filter(|one| **one == wanted).count();
    assert_eq!(count(&first, GRANTED), 13);
    assert_eq!(count(&first, Permission::Ceiling(Ceiling::Address)), 7);
    assert_eq!(stage.count(OF_DESKS, &[]).await, 13);
    assert_eq!(stage.count(OF_ADDRESSES, &[]).await, 13);
    let claims = claimed(&stage, 30).await;
    let dispatches = claims.iter().map(|claim| dispatch(claim, NOW));
    let second = permissions(&bounded, dispatches.collect()).await;
    assert_eq!(count(&second, GRANTED), 7);
    assert_eq!(count(&second, Permission::Ceiling(Ceiling::Desk)), 23);
    assert_eq!(stage.count(OF_DESKS, &[]).await, 20);
    assert_eq!(stage.count(OF_ADDRESSES, &[]).await, 20);
    bounded.close().await;
}

async fn each_of_many_reports_is_its_own(stage: Arc<Stage>) {
    let claims = claimed(&stage, 24).await;
    let dispatches = claims.iter().map(|claim| dispatch(claim, NOW));
    permissions(&stage.store, dispatches.collect()).await;
    let claims = Arc::new(claims);
    let mut recorded = parallel(claims.len(), |n| {
        let (stage, claims) = (Arc::clone(&stage), Arc::clone(&claims));
        async move {
            let at = after(i64::try_from(n).unwrap());
            let mut told = match n % 3 {
                1 => report(&claims[n], not_processed(), at),
                _ => report(&claims[n], taken(&format!("SM{n}")), at),
            };
            told.fence += i64::from(n % 3 == 2);
            (n, stage.store.report(told).await.unwrap())
        }
    })
    .await;
    recorded.sort_unstable();
    for (n, claim) in claims.iter().enumerate() {
        let read = stage.look(&claim.request).await;
        let (word, _, provider_id) = stage.attempt(&claim.request, 1).await;
        let came = (recorded[n].1, read.delivery, word.as_str());
        match n % 3 {
            0 => {
                assert_eq!(came, (true, DeliveryState::Accepted, "accepted"));
                assert_eq!(provider_id, format!("SM{n}"));
                let at = after(i64::try_from(n).unwrap());
                assert_eq!((read.state, read.history.sent_at), (State::Sent, Some(at)));
                assert_eq!(stage.events(&read, "request.sent").await, 1);
            }
            1 => assert_eq!(came, (true, DeliveryState::Queued, "not_processed")),
            _ => assert_eq!(came, (false, DeliveryState::Dispatching, "dispatching")),
        }
    }
    assert_eq!(stage.count(OF_DESKS, &[]).await, 16);
}

async fn of_all_channels_those_that_waited_longest_are_claimed(stage: Arc<Stage>) {
    let mut due = Vec::new();
    for n in 0..12 {
        let mut trigger = stage.trigger();
        trigger.due_at = after(n);
        if n % 3 == 0 {
            trigger.channel = crate::domain::request::Channel::named("voice");
        }
        due.push(stage.accept(trigger).await.id);
    }
    let mut all = Vec::new();
    for _ in 0..3 {
        let claims = stage
            .store
            .claim_deliveries("w", EVERY, 4, after(100))
            .await;
        let mut ids: Vec<_> = claims
            .unwrap()
            .iter()
            .map(|claim| claim.request.id)
            .collect();
        ids.sort_by_key(|id| due.iter().position(|known| known == id));
        all.extend(ids);
    }
    assert_eq!(all, due);
}
