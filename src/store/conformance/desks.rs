//! Desks and their keys.

use std::sync::Arc;

use super::stage::{NOW, Stage, after};
use crate::clock::{SystemEntropy, random};
use crate::domain::desk::{ApiKey, DeskSettings, Scope};
use crate::domain::id::{DeskId, KeyId};
use crate::store::Store as _;

stories!(migrated: a_short_name_belongs_to_one_desk, a_revoked_key_is_not_found, one_desk_cannot_revoke_anothers_key);

fn key(desk: DeskId, handle: &str) -> ApiKey {
    ApiKey {
        id: KeyId::new(NOW, random(&SystemEntropy)),
        desk,
        handle: handle.to_owned(),
        hash: [7; 32],
        scopes: vec![Scope::Send, Scope::Read],
        created_at: NOW,
    }
}

async fn a_short_name_belongs_to_one_desk(stage: Arc<Stage>) {
    let settings = DeskSettings {
        senders: [("sms".to_owned(), "+15005550001".to_owned())].into(),
        language: "de".to_owned(),
        ..DeskSettings::default()
    };
    let added = stage
        .store
        .add_desk("beta", "Beta \"B\"", &settings, after(5))
        .await
        .unwrap()
        .unwrap();
    assert!(
        stage
            .store
            .add_desk("beta", "Other", &DeskSettings::default(), after(6))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        stage.store.find_desk("beta").await.unwrap(),
        Some(added.clone())
    );
    assert_eq!(
        stage.store.desk(added.id).await.unwrap(),
        Some(added.clone())
    );
    assert_eq!(stage.store.find_desk("gamma").await.unwrap(), None);
    let slugs: Vec<String> = stage
        .store
        .desks()
        .await
        .unwrap()
        .into_iter()
        .map(|desk| desk.slug)
        .collect();
    assert_eq!(slugs, ["acme", "beta"]);
}

async fn a_revoked_key_is_not_found(stage: Arc<Stage>) {
    let key = key(stage.desk, "handle01");
    stage.store.add_key(&key).await.unwrap();
    assert_eq!(
        stage.store.find_key("handle01").await.unwrap(),
        Some(key.clone())
    );
    assert_eq!(stage.store.find_key("handle02").await.unwrap(), None);
    assert_eq!(
        stage
            .store
            .revoke_key(stage.desk, "handle01", after(1))
            .await
            .unwrap(),
        Some(key.id)
    );
    assert_eq!(stage.store.find_key("handle01").await.unwrap(), None);
    assert_eq!(
        stage
            .store
            .revoke_key(stage.desk, "handle01", after(2))
            .await
            .unwrap(),
        None
    );
}

async fn one_desk_cannot_revoke_anothers_key(stage: Arc<Stage>) {
    let other = stage.add_desk("beta").await;
    stage
        .store
        .add_key(&key(stage.desk, "handle01"))
        .await
        .unwrap();
    assert_eq!(
        stage
            .store
            .revoke_key(other, "handle01", NOW)
            .await
            .unwrap(),
        None
    );
    assert!(stage.store.find_key("handle01").await.unwrap().is_some());
}
