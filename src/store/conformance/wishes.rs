//! A cap holds in the same instant too, and a wish follows the person: to other addresses, past the end of a request, past erasure.

use std::sync::Arc;

use super::stage::{NOW, SMS, Stage, after, link, parallel, text};
use crate::domain::contact::Address;
use crate::domain::id::RequestId;
use crate::domain::opt_out::Origin;
use crate::domain::policy::{Cap, Decision, Rules, Suppression};
use crate::domain::reply::{Effect, ReplyKind, Understood};
use crate::domain::request::{Channel, Request, State};
use crate::domain::retention::Retention;
use crate::store::dialect::Sql;
use crate::store::{
    Accepted, Find, NewRequest, Pair, People as _, Permission, Store as _, Wish, Wishes as _,
};

stories!(
    migrated: of_two_asks_of_a_person_in_the_same_instant_one_passes, a_wish_holds_at_the_other_addresses_of_the_person,
    start_is_heard_for_the_person_at_whichever_address, a_wish_that_no_request_waits_for_is_new_once,
    a_link_outlives_the_person_whom_it_named, what_is_forgotten_after_its_time_leaves_its_link,
);

const OPTED_OUT: Sql =
    Sql::both("select count(*) as n from events where kind = 'contact.opted_out'");

/// A trigger for a mail address, about the contact with this id.
fn by_mail(stage: &Stage, address: &str, id: &str) -> NewRequest {
    let mut new = stage.trigger();
    new.channel = Channel::named("email");
    new.contact.address = Address::mail(address).unwrap();
    id.clone_into(&mut new.contact.id);
    new
}

async fn of_two_asks_of_a_person_in_the_same_instant_one_passes(stage: Arc<Stage>) {
    const PAIRS: usize = 150;
    let rules = Arc::new(Rules {
        caps: vec![Cap { count: 1, days: 7 }],
        ..Rules::permissive()
    });
    let other = Arc::new(stage.another(60_000).await);
    let asked: Vec<(usize, Option<Suppression>)> = parallel(2 * PAIRS, |n| {
        let (pair, by_text) = (n / 2, n % 2 == 0);
        let id = format!("c-{pair}");
        let mut new = if by_text {
            stage.trigger()
        } else {
            by_mail(&stage, &format!("c{pair}@example.com"), &id)
        };
        new.contact.id = id;
        new.rules = Arc::clone(&rules);
        let (stage, other) = (Arc::clone(&stage), Arc::clone(&other));
        async move {
            let store = if by_text { &stage.store } else { &*other };
            match store.accept(new).await.unwrap() {
                Accepted::New(request) => (pair, request.reason),
                answer
                @ (Accepted::Replayed(_) | Accepted::KeyReused | Accepted::Considered(_)) => {
                    panic!("{answer:?}")
                }
            }
        }
    })
    .await;
    other.close().await;
    for pair in 0..PAIRS {
        let of_pair = |passed: bool| {
            let reason = (!passed).then_some(Suppression::CapContact);
            let same = asked.iter().filter(|asked| **asked == (pair, reason));
            same.count()
        };
        assert_eq!((of_pair(true), of_pair(false)), (1, 1), "pair {pair}");
    }
}

/// Whether a trigger is kept back because of a wish, looked at in both ways.
async fn is_kept_back(stage: &Stage, new: NewRequest) -> bool {
    let considered = NewRequest {
        dry_run: true,
        ..new.clone()
    };
    let considered = stage.store.accept(considered).await.unwrap();
    let alone = match considered {
        Accepted::Considered(decision) => decision == Decision::Suppress(Suppression::OptedOut),
        answer @ (Accepted::New(_) | Accepted::Replayed(_) | Accepted::KeyReused) => {
            panic!("{answer:?}")
        }
    };
    let kept_back = stage.accept(new).await.reason == Some(Suppression::OptedOut);
    assert_eq!(alone, kept_back);
    kept_back
}

/// The contact c-901 was asked by text.
async fn asked_by_text(stage: &Stage) -> Request {
    let mut first = stage.trigger();
    "c-901".clone_into(&mut first.contact.id);
    stage.sent(first).await
}

async fn a_wish_holds_at_the_other_addresses_of_the_person(stage: Arc<Stage>) {
    let request = asked_by_text(&stage).await;
    stage
        .accept(by_mail(&stage, "a@example.com", "c-901"))
        .await;
    let waits = stage.claim(NOW).await;
    let stop = text(&request, "SM2", Understood::Stop, after(1));
    stage.store.record_reply(stop).await.unwrap().unwrap();

    assert_eq!(
        stage.dispatch(&waits, after(2)).await,
        Permission::Suppressed(Suppression::OptedOut)
    );
    assert!(is_kept_back(&stage, by_mail(&stage, "b@example.com", "c-901")).await);
    assert!(!is_kept_back(&stage, by_mail(&stage, "c@example.com", "c-902")).await);
    let beta = stage.add_desk("beta").await;
    let theirs = NewRequest {
        desk: beta,
        ..by_mail(&stage, "d@example.com", "c-901")
    };
    assert!(
        !is_kept_back(&stage, theirs).await,
        "their own id of somebody"
    );
    let listed = stage.store.opt_outs(stage.desk, None, 10).await.unwrap();
    assert_eq!(listed.items.len(), 1, "one person is listed once");

    let address = &request.contact.address;
    stage
        .store
        .erase(stage.desk, address, after(3), 100)
        .await
        .unwrap();
    assert!(is_kept_back(&stage, by_mail(&stage, "e@example.com", "c-901")).await);
    stage
        .store
        .opt_in(address, after(4), after(4))
        .await
        .unwrap();
    assert!(!is_kept_back(&stage, by_mail(&stage, "f@example.com", "c-901")).await);
}

async fn start_is_heard_for_the_person_at_whichever_address(stage: Arc<Stage>) {
    let request = asked_by_text(&stage).await;
    let mail = stage.sent(by_mail(&stage, "a@example.com", "c-901")).await;
    let stop = text(&request, "SM2", Understood::Stop, after(1));
    stage.store.record_reply(stop).await.unwrap().unwrap();
    let mut start = text(&mail, "M1", Understood::Start, after(2));
    start.find = Find::Request(mail.desk, mail.id);
    start.reply.kind = ReplyKind::Mail;
    let started = stage.store.record_reply(start).await.unwrap().unwrap();
    assert_eq!(started.effect, Effect::OptedIn);
    assert_eq!(stage.events(&mail, "contact.opted_in").await, 1);
    assert!(!is_kept_back(&stage, by_mail(&stage, "b@example.com", "c-901")).await);
    let mut by_text = stage.trigger();
    by_text.contact = request.contact.clone();
    assert!(is_kept_back(&stage, by_text).await, "that number said STOP");
}

fn wish(request: &Request, understood: Understood, at: i64) -> Wish {
    let pair = Pair {
        channel: SMS,
        ours: request.sender.clone(),
        theirs: request.contact.address.clone(),
    };
    let unused = Pair {
        ours: "MG1".to_owned(),
        ..pair.clone()
    };
    Wish {
        pairs: vec![unused, pair],
        understood,
        said_at: after(at),
        now: after(at),
    }
}

async fn effect(stage: &Stage, wish: &Wish) -> Effect {
    stage.store.hear(wish).await.unwrap().unwrap().effect
}

async fn a_wish_that_no_request_waits_for_is_new_once(stage: Arc<Stage>) {
    let request = asked_by_text(&stage).await;
    let stopped = parallel(8, |_| {
        let (stage, wish) = (Arc::clone(&stage), wish(&request, Understood::Stop, 1));
        async move { stage.store.hear(&wish).await.unwrap().unwrap() }
    })
    .await;
    let first = stopped.iter().filter(|heard| !heard.repeated);
    assert_eq!(first.count(), 1);
    assert!(stopped.iter().all(|heard| heard.request.id == request.id));
    assert_eq!(stage.events(&request, "contact.opted_out").await, 1);
    assert!(is_kept_back(&stage, by_mail(&stage, "a@example.com", "c-901")).await);

    let started = wish(&request, Understood::Start, 2);
    assert_eq!(effect(&stage, &started).await, Effect::OptedIn);
    assert_eq!(effect(&stage, &started).await, Effect::Nothing);
    assert_eq!(stage.events(&request, "contact.opted_in").await, 1);
    let help = wish(&request, Understood::Help, 3);
    assert_eq!(effect(&stage, &help).await, Effect::Helped);

    // Whoever was never asked is answered by nobody, and not asked either.
    let waits = stage.accept(stage.trigger()).await;
    let heard = stage.store.hear(&wish(&waits, Understood::Stop, 4)).await;
    assert!(heard.unwrap().is_none());
    let mut next = stage.trigger();
    next.contact = waits.contact;
    assert!(is_kept_back(&stage, next).await);
}

/// The link of a person who is erased says that they want no more.
async fn is_a_way_out(stage: &Stage, id: RequestId, address: &str) {
    let link = link(id);
    let find = Find::Link(link);
    assert!(stage.store.find(&find).await.unwrap().is_none());
    let store = &stage.store;
    assert_eq!(store.kept_link(link).await.unwrap(), Some(stage.desk));
    for at in [10, 20] {
        let told = store.opt_out_by_kept_link(link, Origin::Page, after(at));
        assert_eq!(told.await.unwrap(), Some(stage.desk));
    }
    assert_eq!(
        stage.count(OPTED_OUT, &[]).await,
        1,
        "the desk is told once"
    );
    assert!(is_kept_back(stage, by_mail(stage, address, "")).await);
    assert!(is_kept_back(stage, by_mail(stage, "x@example.com", "c-901")).await);
    let listed = store.opt_outs(stage.desk, None, 10).await.unwrap().items;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0].address, listed[0].origin),
        (&None, Origin::Page)
    );
}

async fn a_link_outlives_the_person_whom_it_named(stage: Arc<Stage>) {
    let mail = stage.sent(by_mail(&stage, "a@example.com", "c-901")).await;
    let waits = stage
        .accept(by_mail(&stage, "a@example.com", "c-901"))
        .await;
    let address = &mail.contact.address;
    let store = &stage.store;
    assert_eq!(store.kept_link(link(mail.id)).await.unwrap(), None);
    store
        .erase(stage.desk, address, after(1), 100)
        .await
        .unwrap();
    assert_eq!(
        store.kept_link(link(waits.id)).await.unwrap(),
        None,
        "nobody was given that link"
    );
    is_a_way_out(&stage, mail.id, "a@example.com").await;
    store.forget(after(731 * 86_400_000)).await.unwrap();
    assert_eq!(store.kept_link(link(mail.id)).await.unwrap(), None);
}

async fn what_is_forgotten_after_its_time_leaves_its_link(stage: Arc<Stage>) {
    const DAY: i64 = 86_400_000;
    let mail = stage.sent(by_mail(&stage, "a@example.com", "c-901")).await;
    let store = &stage.store;
    store
        .expire(after(3 * DAY), after(3 * DAY), 100)
        .await
        .unwrap();
    assert_eq!(stage.look(&mail).await.state, State::Expired);
    let retention = Retention {
        address_days: 40,
        ..Retention::default()
    };
    let forgotten = store.retain(stage.desk, &retention, after(41 * DAY), 100);
    assert_eq!(forgotten.await.unwrap().addresses, 1);
    is_a_way_out(&stage, mail.id, "a@example.com").await;
}
