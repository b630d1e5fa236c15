//! What desks read: pages of requests and ratings, a document that tells the truth, and nothing that names a person.

use ::http::Method;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http;
use crate::support::stage::{ANA, Stage};

fn column(page: &Value, name: &str) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item[name].as_str().unwrap().to_owned())
        .collect()
}

/// Every entry of a list, read in pages of `limit`.
async fn pages(stage: &Stage, list: &str, query: &str, limit: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = stage
            .api(&format!("/v1/{list}?limit={limit}{query}{cursor}"))
            .await;
        let found = column(&page, "conversation");
        assert!(found.len() <= limit);
        all.extend(found);
        match page["next"].as_str() {
            Some(next) => {
                assert_eq!(
                    page["items"].as_array().unwrap().len(),
                    limit,
                    "only the last page is short"
                );
                cursor = format!("&cursor={next}");
            }
            None => return all,
        }
    }
}

story!(
    lists_are_read_in_pages_each_entry_once,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let start = stage.now().to_rfc3339();
        let mut names: Vec<String> = (0..7).map(|n| format!("INC-{n}")).collect();
        for (at, name) in names.iter().enumerate() {
            let body =
                json!({"channel": "chat", "to": format!("visitor-{at}"), "conversation": name});
            let token = stage.trigger(&body).await.json()["token"]
                .as_str()
                .unwrap()
                .to_owned();
            if at < 5 {
                let url = format!("{}/w/{token}", stage.url);
                http::post_json(&url, &[], &json!({"score": 5})).await;
            }
            stage.pass(10);
        }
        let later = stage.now().to_rfc3339();
        stage.ask("sms", ANA, "INC-7").await;
        stage.deliver().await;
        names.push("INC-7".to_owned());
        for limit in [1, 2, 4, 7, 8, 200] {
            assert_eq!(pages(&stage, "requests", "", limit).await, names);
            assert_eq!(pages(&stage, "ratings", "", limit).await, names[..5]);
        }
        for (list, query, expected) in [
            ("requests", "&state=answered", &names[..5]),
            ("requests", "&state=sent&channel=sms", &names[7..]),
            ("requests", "&state=expired", &[]),
            ("requests", "&channel=chat", &names[..7]),
            ("requests", "&channel=fax", &[]),
            ("requests", "&conversation=INC-3", &names[3..4]),
            ("requests", &format!("&from={later}"), &names[7..]),
            ("requests", &format!("&to={later}"), &names[..7]),
            ("requests", &format!("&to={start}"), &[]),
            (
                "requests",
                &format!("&from={start}&to={later}&state=answered&channel=chat"),
                &names[..5],
            ),
            ("ratings", "&conversation=INC-3", &names[3..4]),
            ("ratings", "&channel=sms", &[]),
            ("ratings", "&channel=chat", &names[..5]),
            ("ratings", &format!("&from={later}"), &[]),
            ("ratings", &format!("&from={start}&to={later}"), &names[..5]),
        ] {
            for limit in [2, 200] {
                assert_eq!(
                    pages(&stage, list, query, limit).await,
                    expected,
                    "{list} {query}"
                );
            }
        }
        let default = stage.api("/v1/requests").await;
        assert_eq!(
            (column(&default, "conversation"), &default["next"]),
            (names, &Value::Null)
        );
        let rating = &stage.api("/v1/ratings?limit=1").await["items"][0];
        let request = stage.request(rating["request"].as_str().unwrap()).await;
        assert_eq!(
            (&rating["score"], &request["rating"]["score"]),
            (&json!(5), &json!(5))
        );
        stage.finish().await;
    }
);

story!(
    the_document_lists_exactly_the_routes_that_exist,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let document = http::get(&format!("{}/openapi.json", stage.url)).await;
        assert_eq!(document.header("content-type"), "application/json");
        let document = document.json();
        assert!(document["openapi"].as_str().unwrap().starts_with("3."));
        let mut listed = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            let real = path.replace("{id}", "req_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01");
            for verb in ["get", "post", "put", "patch", "delete"] {
                let method = Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap();
                let answer = http::send(method, &format!("{}{real}", stage.url), &[], "").await;
                if methods[verb].is_object() {
                    listed.push(format!("{verb} {path}"));
                    assert_eq!(answer.status, 401, "{verb} {path} asks for a key");
                    let of_401 = &methods[verb]["responses"]["401"]["content"];
                    assert!(of_401.is_object(), "{verb} {path}");
                } else {
                    assert_eq!(
                        (answer.status, &answer.json()["code"]),
                        (405, &json!("method_not_allowed")),
                        "{verb} {path}"
                    );
                }
            }
        }
        assert_eq!(
            listed,
            [
                "get /v1/comments",
                "get /v1/contacts/{address}",
                "delete /v1/contacts/{address}",
                "post /v1/decisions/replay",
                "get /v1/desk",
                "put /v1/desk",
                "post /v1/desk/resume",
                "get /v1/events",
                "get /v1/follow-ups",
                "post /v1/follow-ups/{id}/close",
                "post /v1/follow-ups/{id}/take",
                "post /v1/follow-ups/{id}/told",
                "get /v1/held-answers",
                "post /v1/held-answers/{id}/release",
                "get /v1/key",
                "get /v1/opt-outs",
                "post /v1/opt-outs/import",
                "get /v1/opt-outs/{address}",
                "put /v1/opt-outs/{address}",
                "delete /v1/opt-outs/{address}",
                "get /v1/ratings",
                "post /v1/ratings/{id}/exclude",
                "post /v1/ratings/{id}/restore",
                "get /v1/requests",
                "post /v1/requests",
                "get /v1/requests/{id}",
                "post /v1/requests/{id}/cancel",
                "get /v1/summary",
                "get /v1/summary/agents",
                "get /v1/summary/compare",
                "get /v1/webhooks",
                "post /v1/webhooks",
                "get /v1/webhooks/{id}",
                "put /v1/webhooks/{id}",
                "delete /v1/webhooks/{id}",
                "get /v1/webhooks/{id}/deliveries",
                "post /v1/webhooks/{id}/replay",
                "post /v1/webhooks/{id}/rotate",
                "post /v1/webhooks/{id}/test",
            ]
        );
        // Everything that is referred to is there, and every code is explained.
        let whole = document.to_string();
        for part in whole.split("\"$ref\":\"#").skip(1) {
            let pointer = &part[..part.find('"').unwrap()];
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        for code in [
            "unauthorized",
            "forged",
            "invalid_field",
            "idempotency_key_reused",
            "overloaded",
        ] {
            assert!(
                document["info"]["description"]
                    .as_str()
                    .unwrap()
                    .contains(&format!("`{code}`")),
                "{code}"
            );
        }
        stage.finish().await;
    }
);

story!(
    what_is_not_there_is_a_problem_and_head_is_get_without_its_body,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let bearer = format!("Bearer {}", stage.key);
        let headers = [("authorization", bearer.as_str())];
        let send = async |method: Method, target: &str| {
            http::send(method, &format!("{}{target}", stage.url), &headers, "").await
        };
        for target in [
            "/v1",
            "/v1/",
            "/v1/requests/",
            "/v2/requests",
            "/nothing",
            "//",
            "/v1/../livez",
            "/.env",
        ] {
            let answer = send(Method::GET, target).await;
            let kind = answer.header("content-type");
            assert_eq!(
                (answer.status, kind),
                (404, "application/problem+json"),
                "{target}"
            );
            assert_eq!(answer.json()["code"], "not_found", "{target}");
        }
        for (method, target) in [
            (Method::DELETE, "/v1/requests"),
            (Method::GET, "/v1/requests/req_x/cancel"),
            (Method::POST, "/v1/ratings"),
            (Method::POST, "/livez"),
            (Method::PUT, "/r/x"),
            (Method::PATCH, "/w/x"),
            (Method::POST, "/openapi.json"),
            (Method::TRACE, "/metrics"),
        ] {
            let answer = send(method, target).await;
            let kind = answer.header("content-type");
            assert_eq!(
                (answer.status, kind),
                (405, "application/problem+json"),
                "{target}"
            );
            assert_eq!(answer.json()["code"], "method_not_allowed", "{target}");
            assert!(!answer.header("allow").is_empty(), "{target}");
        }
        for target in [
            "/v1/requests",
            "/v1/ratings",
            "/livez",
            "/readyz",
            "/metrics",
            "/metrics/totals",
            "/openapi.json",
            "/docs",
            "/widget.js",
        ] {
            let (get, head) = (
                send(Method::GET, target).await,
                send(Method::HEAD, target).await,
            );
            assert_eq!(
                (get.status, head.status, head.body.as_str()),
                (200, 200, ""),
                "{target}"
            );
            assert_eq!(
                get.header("content-type"),
                head.header("content-type"),
                "{target}"
            );
            assert_eq!(get.header("x-content-type-options"), "nosniff", "{target}");
        }
        stage.finish().await;
    }
);

story!(
    no_answer_shows_an_address_and_only_the_chat_is_given_its_token,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let call = "CA00000000000000000000000000000007";
        let asks = [
            ("sms", ANA),
            ("voice", call),
            ("email", "ana.secret@example.com"),
            ("chat", "visitor-secret"),
        ];
        let (mut shown, mut ids) = (Vec::new(), Vec::new());
        for (channel, to) in asks {
            let body = json!({"channel": channel, "to": to, "conversation": format!("INC-{channel}"), "contact": {"name": "Ana Secretname"}});
            let answer = stage.trigger(&body).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            let given = answer.json();
            let id = given["id"].as_str().unwrap().to_owned();
            let link = stage.app.journey.mint.link(
                id.parse().unwrap(),
                onefive::domain::token::LinkLength::Full,
            );
            if channel == "chat" {
                assert_eq!(given["token"], json!(link));
                assert!(
                    given["ask"]["url"]
                        .as_str()
                        .unwrap()
                        .ends_with(&format!("/w/{link}"))
                );
                http::post_json(
                    &format!("{}/w/{link}", stage.url),
                    &[],
                    &json!({"score": 5}),
                )
                .await;
            } else {
                assert!(!answer.body.contains(&link), "{channel}");
                assert_eq!(
                    (&given["token"], &given["ask"]),
                    (&Value::Null, &Value::Null),
                    "{channel}"
                );
                shown.push(answer.body);
            }
            ids.push((id, link));
        }
        stage.deliver().await;
        let token = &stage.app.journey.mint;
        for path in ["/v1/requests", "/v1/ratings"] {
            shown.push(stage.api(path).await.to_string());
        }
        for (id, _) in &ids {
            shown.push(stage.request(id).await.to_string());
            let url = format!("{}/v1/requests/{id}/cancel", stage.url);
            let bearer = format!("Bearer {}", stage.key);
            shown.push(
                http::send(Method::POST, &url, &[("authorization", &bearer)], "")
                    .await
                    .body,
            );
        }
        for path in ["/metrics", "/metrics/totals", "/readyz"] {
            shown.push(http::get(&format!("{}{path}", stage.url)).await.body);
        }
        for text in &shown {
            for (_, address) in asks {
                assert!(
                    !text.contains(address) && !text.contains("ana.secret"),
                    "{address} in {text}"
                );
            }
            for (id, link) in &ids {
                let attempt = token.attempt(id.parse().unwrap(), 1);
                assert!(
                    !text.contains(link) && !text.contains(&attempt),
                    "a token in {text}"
                );
            }
            assert!(
                !text.contains("Secretname") && !text.contains(&stage.key),
                "{text}"
            );
        }
        stage.finish().await;
    }
);
