//! What names a person is nowhere on the disk in clear.

use std::sync::Arc;

use super::stage::{SMS, Stage, after, digit, words};
use crate::domain::contact::{Address, Contact};
use crate::domain::request::{Channel, Request};
use crate::store::dialect::Sql;
use crate::store::{NewRequest, Store as _};

stories!(migrated: no_person_is_stored_in_clear, an_erased_contact_leaves_the_request_readable);

const PHONE: &str = "+14155551234";
const MAIL: &str = "canary.person@example.com";
const NAME: &str = "Canary Personname";
const ID: &str = "canary-customer-id";
const RAW: &str = "canary words of a reply";
const KEY: &str = "canary-idempotency-key";

async fn no_person_is_stored_in_clear(stage: Arc<Stage>) {
    let contact = |address| Contact {
        address,
        id: ID.to_owned(),
        name: NAME.to_owned(),
        phone: None,
    };
    let by_phone = NewRequest {
        contact: contact(Address::phone(PHONE).unwrap()),
        idempotency_key: KEY.to_owned(),
        ..stage.trigger()
    };
    let request = stage.sent(by_phone).await;
    let by_mail = NewRequest {
        contact: contact(Address::mail(MAIL).unwrap()),
        channel: Channel::named("email"),
        ..stage.trigger()
    };
    stage.sent(by_mail).await;
    stage
        .store
        .record_reply(words(&request, "SM2", RAW, after(1)))
        .await
        .unwrap()
        .unwrap();
    stage
        .store
        .record_reply(digit(&request, "SM3", 5, after(2)))
        .await
        .unwrap()
        .unwrap();
    stage
        .store
        .opt_out(&SMS, &request.contact.address, after(3))
        .await
        .unwrap();
    stage.store.fold(100).await.unwrap();
    let stored = everything(&stage).await;
    assert!(holds(&stored, "INC-"), "the search finds what is there");
    for secret in [PHONE, &PHONE[1..], MAIL, NAME, ID, RAW, KEY] {
        assert!(!holds(&stored, secret), "{secret} is stored in clear");
    }
}

fn holds(stored: &[u8], text: &str) -> bool {
    stored
        .windows(text.len())
        .any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
}

/// Every byte of SQLite's files; every row of PostgreSQL as text, where bytes that are text stand in clear.
async fn everything(stage: &Stage) -> Vec<u8> {
    const ROWS: Sql = Sql::both(
        "select concat_ws(' ', r::text, encode(contact, 'escape'), \
         encode(idempotency_key, 'escape'), encode(address_hash, 'escape'), encode(contact_hash, 'escape')) as line \
         from requests r union all select concat_ws(' ', p::text, encode(raw, 'escape')) from replies p \
         union all select o::text from opt_outs o union all select a::text from attempts a \
         union all select e::text from events e union all select t::text from totals t \
         union all select g::text from ratings g",
    );
    let Some(folder) = stage.folder() else {
        return stage
            .rows(ROWS, &[])
            .await
            .iter()
            .flat_map(|row| row.text("line").unwrap().into_bytes())
            .collect();
    };
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    bytes
}

async fn an_erased_contact_leaves_the_request_readable(stage: Arc<Stage>) {
    let request: Request = stage.sent(stage.trigger()).await;
    stage
        .execute(Sql::each(
            "update requests set contact = x''",
            "update requests set contact = '\\x'",
        ))
        .await;
    let read = stage.look(&request).await;
    assert_eq!(
        (read.contact.address, read.conversation),
        (Address::none(), request.conversation)
    );
}
