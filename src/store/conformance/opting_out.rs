//! Who does not want to be asked is not asked.

use std::sync::Arc;

use super::stage::{NOW, SMS, Stage, after, link, text};
use crate::domain::delivery::{DeliveryState, Outcome};
use crate::domain::opt_out::{EVERY_CHANNEL, NewOptOut, Origin, PAGE};
use crate::domain::policy::Suppression;
use crate::domain::reply::{Effect, ReplyKind, Understood};
use crate::domain::request::{Channel, State};
use crate::store::dialect::{Sql, Value};
use crate::store::{Find, NewRequest, People as _, Permission, Store as _};

stories!(
    migrated: an_opt_out_holds_for_every_desk_until_it_is_lifted, stop_between_two_addresses_holds_for_every_desk,
    start_between_two_addresses_is_heard_by_every_desk_that_was_told_stop,
    an_opt_out_after_the_trigger_stops_the_sending, a_provider_may_say_that_the_contact_opted_out,
);

async fn an_opt_out_holds_for_every_desk_until_it_is_lifted(stage: Arc<Stage>) {
    let beta = stage.add_desk("beta").await;
    let first = stage.trigger();
    let address = &first.contact.address;
    stage.store.opt_out(&SMS, address, NOW).await.unwrap();
    stage.store.opt_out(&SMS, address, after(1)).await.unwrap();
    assert_eq!(
        stage.accept(first.clone()).await.reason,
        Some(Suppression::OptedOut)
    );
    let theirs = stage
        .accept(NewRequest {
            desk: beta,
            ..stage.same_person(&first)
        })
        .await;
    assert_eq!(theirs.reason, Some(Suppression::OptedOut));
    let mut by_mail = stage.same_person(&first);
    by_mail.channel = Channel::named("email");
    assert_eq!(
        stage.accept(by_mail).await.reason,
        Some(Suppression::OptedOut),
        "an opt-out holds over all channels"
    );
    assert!(
        stage
            .store
            .opt_in(address, after(2), after(2))
            .await
            .unwrap()
    );
    assert!(
        !stage
            .store
            .opt_in(address, after(2), after(2))
            .await
            .unwrap()
    );
    assert_eq!(
        stage.accept(stage.same_person(&first)).await.state,
        State::Scheduled
    );
}

async fn stop_between_two_addresses_holds_for_every_desk(stage: Arc<Stage>) {
    let beta = stage.add_desk("beta").await;
    let first = stage.trigger();
    let request = stage.sent(first.clone()).await;
    let replied = stage
        .store
        .record_reply(text(&request, "SM2", Understood::Stop, after(1)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (replied.effect, replied.request.state),
        (Effect::OptedOut, State::Cancelled)
    );
    assert_eq!(stage.events(&request, "contact.opted_out").await, 1);
    assert_eq!(
        stage.accept(stage.same_person(&first)).await.reason,
        Some(Suppression::OptedOut)
    );
    assert_eq!(
        stage
            .accept(NewRequest {
                desk: beta,
                ..stage.same_person(&first)
            })
            .await
            .reason,
        Some(Suppression::OptedOut)
    );
    assert!(
        stage
            .store
            .opt_in(&first.contact.address, after(1_000_000), after(1_000_000))
            .await
            .unwrap()
    );
}

async fn start_between_two_addresses_is_heard_by_every_desk_that_was_told_stop(stage: Arc<Stage>) {
    const TOLD: Sql = Sql::both(
        "select count(*) as n from events where desk_id = $1 and kind = 'contact.opted_in'",
    );
    let beta = stage.add_desk("beta").await;
    let first = stage.trigger();
    let to_beta = NewRequest {
        desk: beta,
        ..stage.same_person(&first)
    };
    let theirs = stage.sent(to_beta).await;
    let mut stop = text(&theirs, PAGE, Understood::Stop, after(1));
    stop.find = Find::Link(link(theirs.id));
    stop.reply.kind = ReplyKind::Click;
    let stopped = stage.store.record_reply(stop).await.unwrap().unwrap();
    assert_eq!(stopped.effect, Effect::OptedOut);
    let address = first.contact.address.clone();
    let own = NewOptOut {
        channel: EVERY_CHANNEL,
        address: address.clone(),
        origin: Origin::Api,
        reason: String::new(),
    };
    stage
        .store
        .add_opt_outs(beta, &[own], after(2))
        .await
        .unwrap();

    // The other desk was told nothing, and its request listens.
    let ours = stage.accept(first).await;
    let start = text(&ours, "SM2", Understood::Start, after(3));
    let started = stage.store.record_reply(start).await.unwrap().unwrap();
    assert_eq!(started.effect, Effect::OptedIn);
    let left = stage.store.opt_outs_of(beta, &address).await.unwrap();
    let left: Vec<Origin> = left.iter().map(|entry| entry.origin).collect();
    assert_eq!(left, [Origin::Api], "what the desk itself said stays");
    for (desk, told) in [(beta, 1), (ours.desk, 0)] {
        let desk = Value::Id(desk.uuid());
        assert_eq!(stage.count(TOLD, &[desk]).await, told);
    }
}

async fn an_opt_out_after_the_trigger_stops_the_sending(stage: Arc<Stage>) {
    let request = stage.accept(stage.trigger()).await;
    let claim = stage.claim(NOW).await;
    stage
        .store
        .opt_out(&SMS, &request.contact.address, after(1))
        .await
        .unwrap();
    assert_eq!(
        stage.dispatch(&claim, after(2)).await,
        Permission::Suppressed(Suppression::OptedOut)
    );
    let read = stage.look(&request).await;
    assert_eq!(
        (read.state, read.reason),
        (State::Suppressed, Some(Suppression::OptedOut))
    );
    assert_eq!((read.delivery, read.attempts), (DeliveryState::Dropped, 0));
    assert_eq!(stage.events(&request, "request.suppressed").await, 1);
    assert_eq!(
        stage.dispatch(&claim, after(3)).await,
        Permission::Withdrawn
    );
}

async fn a_provider_may_say_that_the_contact_opted_out(stage: Arc<Stage>) {
    let claim = stage.on_the_wire().await;
    let refused = Outcome::Rejected {
        code: "21610".to_owned(),
        opted_out: true,
    };
    assert!(stage.report(&claim, refused, after(1)).await);
    let read = stage.look(&claim.request).await;
    assert_eq!(
        (read.state, read.delivery, read.delivery_code.as_str()),
        (State::Failed, DeliveryState::Rejected, "21610")
    );
    assert_eq!(stage.events(&read, "contact.opted_out").await, 1);
    let next = NewRequest {
        contact: read.contact,
        ..stage.trigger()
    };
    assert_eq!(stage.accept(next).await.reason, Some(Suppression::OptedOut));
}
