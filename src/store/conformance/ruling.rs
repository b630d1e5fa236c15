//! What decisions know of the past: the asks of a contact, the asks of a day, and that none of it is wrong when many decide at once.

use std::sync::Arc;

use super::stage::{NOW, Stage, after, parallel};
use crate::domain::contact::Address;
use crate::domain::id::RequestId;
use crate::domain::policy::{Cap, Given, Rules, Suppression};
use crate::domain::request::State;
use crate::store::write::{Write, Written};
use crate::store::{Accepted, Again, Dispatch, NewRequest, Permission, Rulings as _, Store as _};

stories!(migrated:
    a_contact_is_the_same_by_address_or_by_id,
    what_never_went_out_does_not_count,
    of_a_batch_about_one_contact_a_cap_lets_through_what_it_says,
    of_many_at_once_a_day_has_as_many_asks_as_it_says,
    what_waited_is_decided_again_without_itself,
    a_postponed_ask_waits_as_long_for_its_answer,
    past_triggers_come_in_order_with_older_asks,
);

const DAY: i64 = 86_400_000;

fn weekly(count: u32) -> Arc<Rules> {
    Arc::new(Rules {
        caps: vec![Cap { count, days: 7 }],
        ..Rules::permissive()
    })
}

/// A trigger for this number and the contact with this id.
fn to(stage: &Stage, number: u32, id: &str, rules: &Arc<Rules>) -> NewRequest {
    let mut new = stage.trigger();
    new.contact.address = Address::phone(&format!("+1415555{number:04}")).unwrap();
    id.clone_into(&mut new.contact.id);
    new.rules = Arc::clone(rules);
    new
}

async fn reason(stage: &Stage, new: NewRequest) -> Option<Suppression> {
    stage.accept(new).await.reason
}

async fn a_contact_is_the_same_by_address_or_by_id(stage: Arc<Stage>) {
    let rules = weekly(1);
    let capped = Some(Suppression::CapContact);
    assert_eq!(reason(&stage, to(&stage, 1, "ana", &rules)).await, None);
    assert_eq!(reason(&stage, to(&stage, 2, "ana", &rules)).await, capped);
    assert_eq!(reason(&stage, to(&stage, 3, "ben", &rules)).await, None);
    // The same number over another sender of ours: another pair, and the same person.
    let by_another_sender = |id: &str| NewRequest {
        sender: "+15005550007".to_owned(),
        ..to(&stage, 1, id, &rules)
    };
    for id in ["", "cat", "ana"] {
        assert_eq!(reason(&stage, by_another_sender(id)).await, capped, "{id}");
    }
    // Another desk has its own caps.
    let desk = stage.add_desk("beta").await;
    let theirs = NewRequest {
        desk,
        ..by_another_sender("ana")
    };
    assert_eq!(reason(&stage, theirs).await, None);
}

async fn what_never_went_out_does_not_count(stage: Arc<Stage>) {
    let rules = weekly(1);
    let withdrawn = stage.accept(to(&stage, 1, "ana", &rules)).await;
    let cancelled = stage.store.cancel(stage.desk, withdrawn.id, NOW).await;
    assert!(cancelled.unwrap().is_some());
    let mut held = to(&stage, 1, "ana", &rules);
    held.given = Given {
        context_hold: true,
        ..Given::default()
    };
    stage.accept(held).await;
    assert_eq!(reason(&stage, to(&stage, 1, "ana", &rules)).await, None);
    // Once it is out, it counts for its days, answered or not.
    stage.carry("SM1", NOW).await;
    let sent = |days: i64| NewRequest {
        sender: "+15005550007".to_owned(),
        due_at: after(days * DAY),
        ..to(&stage, 1, "", &rules)
    };
    assert_eq!(reason(&stage, sent(6)).await, Some(Suppression::CapContact));
    assert_eq!(reason(&stage, sent(7)).await, None);
}

async fn of_a_batch_about_one_contact_a_cap_lets_through_what_it_says(stage: Arc<Stage>) {
    let rules = weekly(2);
    let writes: Vec<Write> = (0..40)
        .map(|n| {
            // Every other one is somebody else.
            let id = if n % 2 == 0 {
                "ana".to_owned()
            } else {
                format!("c-{n}")
            };
            stage.accepting(to(&stage, n, &id, &rules))
        })
        .collect();
    let batch: Vec<&Write> = writes.iter().collect();
    let inner = &stage.store.inner;
    let mut tx = inner.database.begin().await.unwrap();
    let written = inner.apply_all(&mut tx, &batch).await.unwrap();
    tx.commit().await.unwrap();
    let asked = |offset: usize| {
        let own = written.iter().skip(offset).step_by(2);
        own.filter(|written| {
            let Written::Accepted(Accepted::New(request)) = written else {
                panic!("{written:?}");
            };
            request.reason.is_none()
        })
        .count()
    };
    assert_eq!((asked(0), asked(1)), (2, 20));
}

async fn of_many_at_once_a_day_has_as_many_asks_as_it_says(stage: Arc<Stage>) {
    let rules = Arc::new(Rules {
        daily_cap: 7,
        ..Rules::permissive()
    });
    let another = Arc::new(stage.another(60_000).await);
    let decided = parallel(40, |n| {
        let (stage, another) = (Arc::clone(&stage), Arc::clone(&another));
        let new = NewRequest {
            day: i64::from(n % 4 == 0),
            ..to(&stage, u32::try_from(n).unwrap(), "", &rules)
        };
        async move {
            let day = new.day;
            let store = if n % 2 == 0 {
                &stage.store
            } else {
                another.as_ref()
            };
            let accepted = store.accept(new).await.unwrap();
            let Accepted::New(request) = accepted else {
                panic!("{accepted:?}");
            };
            (day, request.reason)
        }
    })
    .await;
    for day in [0, 1] {
        let asked = decided
            .iter()
            .filter(|(on, reason)| *on == day && reason.is_none());
        assert_eq!(asked.count(), 7, "{decided:?}");
    }
    let full = Some(Suppression::CapDesk);
    assert!(
        decided
            .iter()
            .all(|(_, reason)| reason.is_none() || *reason == full)
    );
    another.close().await;
}

fn again(claim: &crate::store::Claim, rules: &Rules, given: Given) -> Dispatch {
    Dispatch {
        again: Some(Box::new(Again {
            rules: Arc::new(rules.clone()),
            given,
        })),
        ..super::stage::dispatch(claim, NOW)
    }
}

async fn what_waited_is_decided_again_without_itself(stage: Arc<Stage>) {
    let permissive = Arc::new(Rules::permissive());
    stage.accept(to(&stage, 1, "ana", &permissive)).await;
    let claim = stage.claim(NOW).await;
    let dispatch = again(&claim, &weekly(1), Given::default());
    let granted = Permission::Granted { send_at: None };
    assert_eq!(stage.store.dispatch(dispatch).await.unwrap(), granted);
    assert!(stage.report(&claim, super::stage::taken("SM1"), NOW).await);
    // Asked elsewhere meanwhile.
    stage.accept(to(&stage, 2, "ana", &permissive)).await;
    let claim = stage.claim(NOW).await;
    let suppressed = Permission::Suppressed(Suppression::CapContact);
    let dispatch = again(&claim, &weekly(1), Given::default());
    assert_eq!(stage.store.dispatch(dispatch).await.unwrap(), suppressed);
    let request = stage.look(&claim.request).await;
    assert_eq!(
        (request.state, request.reason),
        (State::Suppressed, Some(Suppression::CapContact))
    );
    assert_eq!(stage.events(&request, "request.suppressed").await, 1);
}

async fn a_postponed_ask_waits_as_long_for_its_answer(stage: Arc<Stage>) {
    let request = stage.accept(stage.trigger()).await;
    let claim = stage.claim(NOW).await;
    let morning = after(3_600_000);
    let given = Given {
        wait_until: Some(morning),
        ..Given::default()
    };
    let dispatch = again(&claim, &Rules::permissive(), given);
    let postponed = Permission::Postponed(morning);
    assert_eq!(
        stage.store.dispatch(dispatch.clone()).await.unwrap(),
        postponed
    );
    let moved = stage.look(&request).await;
    assert_eq!((moved.due_at, moved.planned_at), (morning, Some(NOW)));
    assert_eq!(moved.expires_at, request.expires_at.plus_millis(3_600_000));
    // The claim is over; it is claimed again when it is due, and not before.
    assert_eq!(
        stage.store.dispatch(dispatch).await.unwrap(),
        Permission::Withdrawn
    );
    let early = stage
        .store
        .claim_deliveries("w", &["sms"], 9, after(3_599_999));
    assert!(early.await.unwrap().is_empty());
    stage.carry("SM1", morning).await;
}

async fn past_triggers_come_in_order_with_older_asks(stage: Arc<Stage>) {
    let permissive = Arc::new(Rules::permissive());
    let at = |minutes: i64, mut new: NewRequest| {
        new.now = after(minutes * 60_000);
        new.due_at = new.now;
        let id = RequestId::new(new.now, [u8::try_from(minutes).unwrap(); 10]);
        new.link = Some(super::stage::link(id));
        NewRequest { id, ..new }
    };
    let mut ids = Vec::new();
    for (minutes, number) in [(1, 1), (2, 2), (3, 3), (4, 1)] {
        let mut new = at(
            minutes,
            to(
                &stage,
                number,
                if number < 3 { "ana" } else { "" },
                &permissive,
            ),
        );
        new.sender = format!("+1500555000{minutes}");
        ids.push(stage.accept(new).await.id);
    }
    let (nil, max) = (uuid::Uuid::nil(), uuid::Uuid::max());
    let past = async |first: uuid::Uuid, reach| {
        let between = (first, first, max);
        let page = stage
            .store
            .past_triggers(stage.desk, between, 10, reach)
            .await;
        let page = page.unwrap();
        let found = page
            .iter()
            .map(|past| (past.request.id, past.earlier.len()));
        found.collect::<Vec<_>>()
    };
    let all: Vec<_> = ids.iter().map(|id| (*id, 0)).collect();
    assert_eq!(past(nil, DAY).await, all);
    // From the third on: of the fourth's contact, two asks are older, one at another address.
    let rest = past(ids[1].uuid(), DAY).await;
    assert_eq!(rest, [(ids[2], 0), (ids[3], 2)]);
    assert_eq!(past(ids[1].uuid(), 0).await, [(ids[2], 0), (ids[3], 0)]);
    let others = stage.add_desk("beta").await;
    let page = stage
        .store
        .past_triggers(others, (nil, nil, max), 10, DAY)
        .await;
    assert!(page.unwrap().is_empty());
}
