//! Who calls too often waits; who tries links or keys learns nothing and is soon refused; who has the right one gets in.

use http::Method;
use serde_json::json;

use crate::story;
use crate::support::database::Database;
use crate::support::http::{Answer, get, post_form, send};
use crate::support::stage::{Stage, desk};

async fn list(stage: &Stage, key: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let url = format!("{}/v1/requests", stage.url);
    send(Method::GET, &url, &[("authorization", &bearer)], "").await
}

/// What somebody sees who is told to be behind a balancer.
async fn forwarded(url: &str, addresses: &str) -> Answer {
    send(Method::GET, url, &[("x-forwarded-for", addresses)], "").await
}

/// A request that Ben has in his mailbox, and its page.
async fn page(stage: &Stage) -> String {
    stage.ask("email", "ben@example.com", "T-1").await;
    assert_eq!(stage.deliver().await, 1);
    let mail = stage.mail.wait_for(1).await.remove(0);
    let link = mail
        .header("list-unsubscribe")
        .trim_matches(['<', '>'])
        .to_owned();
    stage.real(&link).replace("/u/", "/r/")
}

story!(
    a_key_is_told_its_limit_and_refused_above_it,
    async |database: Database| {
        let limits = [
            ("LIMITS__CALLS_PER_SECOND", "2"),
            ("LIMITS__CALLS_BURST", "3"),
        ];
        let stage = Stage::with(database, &limits).await;
        for left in [2, 1, 0] {
            let answer = list(&stage, &stage.key).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=3;w=2");
            let rest = format!("\"key\";r={left};t=");
            assert!(answer.header("ratelimit").starts_with(&rest), "{answer:?}");
        }
        let refused = list(&stage, &stage.key).await;
        assert_eq!(refused.status, 429, "{refused:?}");
        assert_eq!(refused.json()["code"], "rate_limited");
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        // Another key has its own, and a wrong secret uses up nobody's.
        let (_, other) = desk(&stage.app, "beta", "Beta Clinic").await;
        for _ in 0..5 {
            let guess = onefive::domain::desk::KeyText::new([7; 48]);
            let answer = list(&stage, guess.expose()).await;
            assert_eq!((answer.status, answer.header("ratelimit")), (401, ""));
        }
        assert_eq!(list(&stage, &other).await.status, 200);
        stage.pass(1);
        assert_eq!(list(&stage, &stage.key).await.status, 200);
        let own = get(&format!("{}/metrics", stage.url)).await.body;
        assert!(own.contains("onefive_api_calls_limited_total 1"));
        stage.finish().await;
    }
);

story!(
    a_miss_tells_nothing_and_too_many_are_refused_while_hits_go_through,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let page = page(&stage).await;
        let strangers = [
            "AAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAA",
            "x",
            "%FF",
            "a%2Fb",
            "%00",
        ];
        let mut first: Option<Answer> = None;
        for n in 0..20 {
            let (door, stranger) = (["r", "u"][n % 2], strangers[n % strangers.len()]);
            let answer = get(&format!("{}/{door}/{stranger}", stage.url)).await;
            let first = first.get_or_insert(answer.clone());
            assert_eq!(
                (answer.status, &answer.body),
                (404, &first.body),
                "{stranger}"
            );
            let unlike = answer.headers.iter().filter(|(name, _)| *name != "date");
            let alike = first.headers.iter().filter(|(name, _)| *name != "date");
            assert!(unlike.eq(alike), "{answer:?} {first:?}");
        }
        for stranger in strangers {
            let answer = get(&format!("{}/r/{stranger}", stage.url)).await;
            assert_eq!(answer.status, 429, "{stranger}");
            assert_eq!(answer.header("retry-after"), "31");
        }
        assert_eq!(get(&page).await.status, 200, "a hit from the same network");
        // A chat, a callback and a key are other doors.
        for n in 0..21 {
            let chat = get(&format!("{}/w/AAAAAAAAAAAAAAAAAAAAAA", stage.url)).await;
            assert_eq!(chat.status, if n < 20 { 404 } else { 429 });
            assert_eq!(chat.header("access-control-allow-origin"), "*");
            let hook = format!("{}/hooks/twilio/status/AAAA", stage.url);
            let hook = post_form(&hook, &[("MessageStatus", "delivered")], "*/*").await;
            assert_eq!(hook.status, if n < 20 { 403 } else { 429 });
            let key = list(&stage, &format!("o5_{n}")).await;
            assert_eq!(key.status, if n < 20 { 401 } else { 429 });
        }
        assert_eq!(list(&stage, &stage.key).await.status, 200);
        let own = get(&format!("{}/metrics", stage.url)).await.body;
        for (door, misses, limited) in [
            ("page", 26, 6),
            ("chat", 21, 1),
            ("hook", 21, 1),
            ("key", 21, 1),
        ] {
            for (name, n) in [("misses", misses), ("misses_limited", limited)] {
                let line = format!("onefive_{name}_total{{door=\"{door}\"}} {n}\n");
                assert!(own.contains(&line), "{line}");
            }
        }
        stage.pass(600);
        assert_eq!(get(&format!("{}/r/x", stage.url)).await.status, 404);
        stage.finish().await;
    }
);

story!(
    who_is_no_balancer_of_ours_cannot_say_who_it_is,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let url = format!("{}/r/x", stage.url);
        for n in 0..20 {
            let made_up = format!("198.51.{n}.1");
            assert_eq!(forwarded(&url, &made_up).await.status, 404);
        }
        assert_eq!(forwarded(&url, "203.0.113.5").await.status, 429);
        stage.finish().await;
    }
);

story!(
    behind_a_balancer_each_network_has_its_own_misses,
    async |database: Database| {
        let trusted = [("SERVER__TRUSTED_PROXIES", "127.0.0.0/8, ::1/128")];
        let stage = Stage::with(database, &trusted).await;
        let url = format!("{}/r/x", stage.url);
        for n in 0..20 {
            // What stands further left was written by the client.
            let addresses = format!("203.0.113.{n}, 198.51.100.{n}");
            assert_eq!(forwarded(&url, &addresses).await.status, 404);
        }
        assert_eq!(forwarded(&url, "198.51.100.77").await.status, 429);
        assert_eq!(
            forwarded(&url, "198.51.100.77, 127.0.0.9").await.status,
            429
        );
        assert_eq!(forwarded(&url, "203.0.113.5").await.status, 404);
        stage.finish().await;
    }
);

story!(
    a_link_wears_out_and_then_says_nothing_of_anybody,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let page = page(&stage).await;
        let view = |page: &Answer| {
            let after = page.body.split_once("name=\"view\" value=\"").unwrap().1;
            after.split_once('"').unwrap().0.to_owned()
        };
        stage.pass(60);
        let opened = get(&page).await;
        stage.pass(10);
        let rated = [
            ("view", view(&opened)),
            ("score", "4".to_owned()),
            ("comment", "words of Ben".to_owned()),
            ("event", "button".to_owned()),
        ];
        let rated: Vec<(&str, &str)> = rated
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = post_form(&page, &rated, "application/json").await;
        assert_eq!(answer.json()["state"], "answered");
        stage.pass(30 * 86_400);
        assert!(get(&page).await.body.contains("words of Ben"));
        stage.pass(900 + 1);
        let closed = get(&page).await;
        assert_eq!(closed.status, 200);
        assert!(!closed.body.contains("<form") && !closed.body.contains("words of Ben"));
        assert!(!closed.body.contains("Sam"), "{}", closed.body);
        let token = page.rsplit_once('/').unwrap().1;
        let late = stage.app.journey.mint.view(token, stage.now(), [1; 8]);
        let again = [("view", late.as_str()), ("score", "1"), ("event", "button")];
        let answer = post_form(&page, &again, "application/json").await;
        assert_eq!(
            (answer.status, &answer.json()["state"]),
            (200, &json!("closed"))
        );
        let opt_out = page.replace("/r/", "/u/");
        assert_eq!(
            post_form(&opt_out, &[("List-Unsubscribe", "One-Click")], "*/*")
                .await
                .status,
            200,
            "a wish may come late"
        );
        assert_eq!(
            stage.database.number("select count(*) from opt_outs").await,
            1
        );
        // Once the person is forgotten the link is like any that is none of ours.
        stage.app.journey.tidy().await.unwrap();
        stage.pass(90 * 86_400);
        stage.app.journey.retain().await.unwrap();
        let unknown = get(&format!("{}/r/x", stage.url)).await;
        let gone = get(&page).await;
        assert_eq!((gone.status, gone.body), (404, unknown.body));
        stage.finish().await;
    }
);
