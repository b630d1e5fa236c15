//! Who may call: keys and their scopes, and the walls between desks.

use onefive::clock::{SystemEntropy, random};
use onefive::domain::desk::{ApiKey, KeyText, Scope};
use onefive::domain::id::KeyId;
use serde_json::{Value, json};

use crate::api::{Api, ROUTES, chat, code, press, refusal, text};
use crate::story;
use crate::support::database::Database;
use crate::support::stage::{self, ANA, Stage};

/// A key of the desk, made from these bytes.
async fn key(stage: &Stage, scopes: &[Scope], bytes: [u8; 48]) -> String {
    let text = KeyText::new(bytes);
    let key = ApiKey {
        id: KeyId::new(stage.now(), random(&SystemEntropy)),
        desk: stage.desk.id,
        handle: text.handle().to_owned(),
        hash: text.hash(),
        scopes: scopes.to_vec(),
        created_at: stage.now(),
    };
    stage.app.journey.store.add_key(&key).await.unwrap();
    text.expose().to_owned()
}

story!(
    without_a_good_key_nothing_opens,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let api = Api::of(&stage).await;
        let id = stage.ask("sms", ANA, "INC-1").await;
        let before = stage.database.rows().await;
        let mut bytes: [u8; 48] = random(&SystemEntropy);
        let known = key(&stage, &Scope::ALL, bytes).await;
        bytes[47] ^= 1;
        let same_handle = KeyText::new(bytes).expose().to_owned();
        assert_eq!(known[..11], same_handle[..11]);
        let unknown = KeyText::new(random(&SystemEntropy)).expose().to_owned();
        let revoked = key(&stage, &Scope::ALL, random(&SystemEntropy)).await;
        let store = &stage.app.journey.store;
        let gone = store
            .revoke_key(stage.desk.id, &revoked[3..11], stage.now())
            .await;
        assert!(gone.unwrap().is_some());
        let sender = key(&stage, &[Scope::Send], random(&SystemEntropy)).await;
        let reader = key(&stage, &[Scope::Read], random(&SystemEntropy)).await;
        let scraper = key(
            &stage,
            &[Scope::Metrics, Scope::Admin],
            random(&SystemEntropy),
        )
        .await;
        for (method, route) in ROUTES {
            // Wrong keys are limited; this is about each of them by itself.
            stage.pass(600);
            let target = route.replace("{id}", &id);
            let body = if *method == "post" {
                chat("INC-2")
            } else {
                Value::Null
            };
            let unauthorized = refusal(401, "unauthorized");
            for presented in [
                "",
                "x",
                "o5_",
                &known[..49],
                &same_handle,
                &unknown,
                &revoked,
            ] {
                let answer = api.call(presented, method, &target, &body).await;
                assert_eq!(code(&answer), unauthorized, "{presented}");
                assert_eq!(answer.header("www-authenticate"), "Bearer");
            }
            let basic = format!("Basic {known}");
            for headers in [
                vec![],
                vec![("authorization", basic.as_str())],
                vec![("x-api-key", known.as_str())],
            ] {
                assert_eq!(
                    code(&api.send(method, &target, &headers, &body).await),
                    unauthorized
                );
            }
            let lacking = if route.starts_with("/v1/de") {
                // The desk and its decisions are the administrator's.
                [&reader, &sender]
            } else if *method == "post" {
                [&reader, &scraper]
            } else {
                [&sender, &scraper]
            };
            for key in lacking {
                let answer = api.call(key, method, &target, &body).await;
                assert_eq!(code(&answer), refusal(403, "forbidden"), "{method} {route}");
            }
        }
        let mut after = stage.database.rows().await;
        after.retain(|(table, _)| *table != "api_keys");
        assert!(
            after.iter().all(|row| before.contains(row)),
            "{before:?} {after:?}"
        );
        assert_eq!(
            api.call(&sender, "post", "/v1/requests", &chat("INC-2"))
                .await
                .status,
            202
        );
        assert_eq!(
            api.call(&reader, "get", "/v1/requests", &Value::Null)
                .await
                .status,
            200
        );
        let lower = format!("bearer {reader}");
        let answer = api
            .send(
                "get",
                "/v1/ratings",
                &[("authorization", &lower)],
                &Value::Null,
            )
            .await;
        assert_eq!(answer.status, 200);
        stage.deliver().await;
        stage.finish().await;
    }
);

story!(desks_are_walls, async |database: Database| {
    let stage = Stage::start(database).await;
    let api = Api::of(&stage).await;
    let (_, other) = stage::desk(&stage.app, "other", "Other").await;
    let mine = api
        .call(&stage.key, "post", "/v1/requests", &chat("INC-1"))
        .await
        .json();
    press(&stage, &text(&mine["token"]), 4).await;
    let open = api
        .call(&stage.key, "post", "/v1/requests", &chat("INC-2"))
        .await
        .json();
    for id in [text(&mine["id"]), text(&open["id"])] {
        let target = format!("/v1/requests/{id}");
        let answer = api.call(&other, "get", &target, &Value::Null).await;
        assert_eq!(code(&answer), refusal(404, "not_found"));
        let answer = api
            .call(&other, "post", &format!("{target}/cancel"), &Value::Null)
            .await;
        assert_eq!(code(&answer), refusal(404, "not_found"));
    }
    for target in [
        "/v1/requests",
        "/v1/ratings",
        "/v1/requests?conversation=INC-1",
        "/v1/requests?state=answered",
        "/v1/ratings?channel=chat&conversation=INC-1",
        "/v1/requests?cursor=00000000000000000000000000000000",
    ] {
        let answer = api.call(&other, "get", target, &Value::Null).await;
        assert_eq!(answer.json(), json!({"items": []}), "{target}");
    }
    assert_eq!(
        api.get(&format!("/v1/requests/{}", text(&open["id"])))
            .await["state"],
        open["state"]
    );
    // The same names and the same idempotency key mean something else behind the wall.
    let third = json!({"channel": "chat", "to": "visitor-8", "conversation": "INC-3"});
    for key in [&stage.key, &other] {
        let bearer = format!("Bearer {key}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("idempotency-key", "k-1"),
        ];
        let answer = api.send("post", "/v1/requests", &headers, &third).await;
        assert_eq!(
            (answer.status, answer.header("idempotent-replayed")),
            (202, ""),
            "{answer:?}"
        );
    }
    let listed = api
        .call(&other, "get", "/v1/requests", &Value::Null)
        .await
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    stage.finish().await;
});
