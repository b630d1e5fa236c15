//! Machines at a link: what they leave behind, and people who must not be taken for them.

use http::Method;
use onefive::domain::token::LinkLength;
use serde_json::json;

use crate::story;
use crate::support::database::Database;
use crate::support::http::{post_form, send};
use crate::support::stage::Stage;
use crate::support::surfer::{BROWSER, DISGUISE, Surfer};

/// A request by mail, and the address of its page. The mail has just come.
async fn asked(stage: &Stage, conversation: &str) -> (String, String) {
    let to = format!("{}@example.com", conversation.to_lowercase());
    let id = stage.ask("email", &to, conversation).await;
    assert_eq!(stage.deliver().await, 1);
    let token = stage
        .app
        .journey
        .mint
        .link(id.parse().unwrap(), LinkLength::Full);
    (id, format!("{}/r/{token}", stage.url))
}

/// Score and grade of a request's rating.
async fn rating(stage: &Stage, id: &str) -> serde_json::Value {
    let rating = &stage.request(id).await["rating"];
    json!([rating["score"], rating["grade"]])
}

const HELD: &str = "select count(*) from replies where grade = 'suspect' and effect = 'nothing'";

story!(
    a_scanner_that_opens_all_links_and_posts_each_form_rates_nothing,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage, "T-1").await;
        stage.pass(60);
        let scanner = Surfer::without_cookies(DISGUISE);
        let mut pages = Vec::new();
        for score in 1..=5 {
            pages.push(scanner.open(&format!("{url}?s={score}")).await);
        }
        stage.pass(12);
        for (score, page) in (1..).zip(&pages) {
            scanner.press(page, &format!("{score}")).await;
        }
        assert_eq!(stage.request(&id).await["state"], "sent");
        assert_eq!(stage.database.number(HELD).await, 5);
        assert_eq!(stage.ratings("email").await, [0, 0, 0]);
        let series = r#"onefive_held_answers_total{desk="acme",channel="email",grade="suspect"}"#;
        assert!((stage.metric(series).await - 5.0).abs() < f64::EPSILON);
        // It is thanked like anybody, and told nothing.
        let again = scanner.open(&format!("{url}?s=1")).await;
        stage.pass(60);
        let answer = scanner.tap(&again, "1", "pointer").await.json();
        assert_eq!(answer["state"], "answered", "{answer}");
        stage.finish().await;
    }
);

story!(
    each_value_of_a_page_is_good_for_one_post,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage, "T-1").await;
        stage.pass(60);
        let person = Surfer::new(BROWSER);
        let page = person.open(&format!("{url}?s=4")).await;
        stage.pass(5);
        let first = person.tap(&page, "4", "touch").await.json();
        assert_eq!(
            json!([first["state"], first["score"], first["repeated"]]),
            json!(["answered", 4, false])
        );
        // The same again, as of a double tap; and another score with the value that is used up.
        for score in ["4", "1"] {
            let again = person.tap(&page, score, "touch").await.json();
            assert_eq!(
                json!([again["state"], again["score"], again["repeated"]]),
                json!(["answered", 4, true]),
                "{score}"
            );
        }
        assert_eq!(rating(&stage, &id).await, json!([4, "tap"]));
        let count = "select count(*) from replies";
        assert_eq!(stage.database.number(count).await, 1);
        let uses = "select uses from views";
        assert_eq!(stage.database.number(uses).await, 1);
        stage.finish().await;
    }
);

story!(
    a_storm_of_opening_fills_no_table_and_keeps_nobody_out,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage, "T-1").await;
        stage.pass(60);
        for n in 0..120 {
            let agent = format!("Mozilla/5.0 Browser/{}", n % 12);
            let method = if n % 2 == 0 {
                Method::GET
            } else {
                Method::HEAD
            };
            let score = n % 5 + 1;
            let headers = [("user-agent", agent.as_str())];
            send(method, &format!("{url}?s={score}"), &headers, "").await;
        }
        let rows = "select count(*) from views";
        assert_eq!(stage.database.number(rows).await, 60);
        let more = "select cast(sum(more) as bigint) from views";
        assert_eq!(stage.database.number(more).await, 0, "on nobody else's row");
        // Who comes now has no row, and the sign of a person counts all the same.
        let person = Surfer::new(BROWSER);
        let page = person.open(&format!("{url}?s=5")).await;
        stage.pass(5);
        person.tap(&page, "5", "pointer").await;
        assert_eq!(rating(&stage, &id).await, json!([5, "tap"]));
        assert_eq!(stage.database.number(rows).await, 60);
        // Nothing is needed after three days.
        stage.pass(3 * 86_400 + 1);
        let forgotten = stage.app.journey.store.forget(stage.now()).await.unwrap();
        assert!(forgotten >= 60);
        assert_eq!(stage.database.number(rows).await, 0);
        stage.finish().await;
    }
);

story!(
    one_client_that_storms_has_few_rows_and_is_no_person,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage, "T-1").await;
        stage.pass(60);
        let scanner = Surfer::without_cookies(DISGUISE);
        for _ in 0..25 {
            scanner.open(&format!("{url}?s=3")).await;
        }
        let rows = "select count(*) from views";
        assert_eq!(stage.database.number(rows).await, 11);
        let shown = "select cast(sum(1 + more) as bigint) from views";
        assert_eq!(stage.database.number(shown).await, 25);
        let page = scanner.open(&format!("{url}?s=3")).await;
        stage.pass(5);
        scanner.tap(&page, "3", "pointer").await;
        assert_eq!(rating(&stage, &id).await, json!([null, null]));
        assert_eq!(stage.database.number(HELD).await, 1);
        stage.finish().await;
    }
);

story!(
    people_are_not_taken_for_machines,
    async |database: Database| {
        let stage = Stage::start(database).await;
        // Without JavaScript, by the button.
        let (id, url) = asked(&stage, "T-1").await;
        stage.pass(60);
        let person = Surfer::new(BROWSER);
        let page = person.open(&format!("{url}?s=4")).await;
        stage.pass(3);
        assert!(person.press(&page, "4").await);
        assert_eq!(rating(&stage, &id).await, json!([4, "tap"]));

        // With cookies blocked, and coming back to correct.
        let (id, url) = asked(&stage, "T-2").await;
        stage.pass(60);
        let person = Surfer::without_cookies(BROWSER);
        let page = person.open(&format!("{url}?s=2")).await;
        stage.pass(3);
        assert!(person.press(&page, "2").await);
        stage.pass(120);
        let page = person.open(&format!("{url}?s=5")).await;
        stage.pass(3);
        assert!(person.press(&page, "5").await);
        assert_eq!(rating(&stage, &id).await, json!([5, "tap"]));

        // In the office of the scanner, with the very same browser, at the same moment.
        let (id, url) = asked(&stage, "T-3").await;
        stage.pass(60);
        let scanner = Surfer::without_cookies(BROWSER);
        let person = Surfer::new(BROWSER);
        for score in 1..=5 {
            scanner.open(&format!("{url}?s={score}")).await;
        }
        let page = person.open(&format!("{url}?s=3")).await;
        stage.pass(4);
        person.tap(&page, "3", "pointer").await;
        assert_eq!(rating(&stage, &id).await, json!([3, "tap"]));

        // Two links by mistake, a minute apart.
        let (id, url) = asked(&stage, "T-4").await;
        stage.pass(60);
        let person = Surfer::new(BROWSER);
        person.open(&format!("{url}?s=1")).await;
        stage.pass(60);
        let page = person.open(&format!("{url}?s=5")).await;
        stage.pass(3);
        assert!(person.press(&page, "5").await);
        assert_eq!(rating(&stage, &id).await, json!([5, "tap"]));

        // Within seconds of the mail's coming.
        let (id, url) = asked(&stage, "T-5").await;
        stage.pass(4);
        let person = Surfer::new(BROWSER);
        let page = person.open(&format!("{url}?s=4")).await;
        stage.pass(4);
        person.tap(&page, "4", "touch").await;
        assert_eq!(rating(&stage, &id).await, json!([4, "tap"]));

        // Taken for a machine once (the button without a script, at once): the next press counts.
        let (id, url) = asked(&stage, "T-6").await;
        stage.pass(60);
        let person = Surfer::new(BROWSER);
        let page = person.open(&format!("{url}?s=4")).await;
        assert!(!person.press(&page, "4").await);
        let page = person.open(&format!("{url}?s=4")).await;
        stage.pass(3);
        assert!(person.press(&page, "4").await);
        assert_eq!(rating(&stage, &id).await, json!([4, "tap"]));
        stage.finish().await;
    }
);

story!(
    what_a_person_gave_no_other_client_changes,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, url) = asked(&stage, "T-1").await;
        stage.pass(60);
        let gateway = Surfer::without_cookies(DISGUISE);
        let waiting = gateway.open(&format!("{url}?s=1")).await;
        stage.pass(60);
        let person = Surfer::new(BROWSER);
        let page = person.open(&format!("{url}?s=4")).await;
        stage.pass(3);
        person.tap(&page, "4", "touch").await;
        stage.pass(2);
        // Nothing about this post is suspicious but that somebody else has answered.
        let answer = gateway.tap(&waiting, "1", "pointer").await.json();
        assert_eq!(answer["state"], "closed", "{answer}");
        assert_eq!(rating(&stage, &id).await, json!([4, "tap"]));
        let signs = "select count(*) from replies where signs = 'another_client' and score = 1";
        assert_eq!(stage.database.number(signs).await, 1);
        // And its page has no form any more, nor the person's words.
        let page = person.open(&url).await;
        stage.pass(3);
        let fields = [
            ("view", page.view.as_str()),
            ("event", "key"),
            ("score", "4"),
            ("comment", "between us"),
        ];
        person.post(&url, &fields, "application/json").await;
        assert!(person.open(&url).await.answer.body.contains("between us"));
        let other = gateway.open(&url).await;
        assert!(other.view.is_empty() && !other.answer.body.contains("between us"));
        stage.finish().await;
    }
);

story!(
    a_scanner_opts_nobody_out_and_the_button_and_the_mail_program_do,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let opted = "select count(*) from opt_outs";
        let (_, url) = asked(&stage, "T-1").await;
        stage.pass(60);
        let scanner = Surfer::without_cookies(DISGUISE);
        for score in 1..=5 {
            scanner.open(&format!("{url}?s={score}")).await;
        }
        let door = url.replace("/r/", "/u/");
        let page = scanner.open(&door).await;
        stage.pass(5);
        let form = [
            ("view", page.view.as_str()),
            ("event", "button"),
            ("signs", ""),
        ];
        let answer = scanner.post(&door, &form, "text/html").await;
        assert!(answer.body.contains("<form"), "asked again: {answer:?}");
        // Posting without the page, or as a script does that submits the form.
        for fields in [
            vec![],
            vec![("view", "x"), ("event", "button")],
            vec![("view", page.view.as_str()), ("event", "none")],
        ] {
            let answer = post_form(&door, &fields, "text/html").await;
            assert_eq!(answer.status, 200);
        }
        assert_eq!(stage.database.number(opted).await, 0);

        let person = Surfer::new(BROWSER);
        let page = person.open(&door).await;
        let form = [
            ("view", page.view.as_str()),
            ("event", "button"),
            ("signs", ""),
        ];
        let answer = person.post(&door, &form, "text/html").await;
        assert!(answer.body.contains("Done."), "{answer:?}");
        assert_eq!(stage.database.number(opted).await, 1);

        let (id, url) = asked(&stage, "T-2").await;
        let parts = "--b\r\ncontent-disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
        let headers = [("content-type", "multipart/form-data; boundary=b")];
        let door = url.replace("/r/", "/u/");
        let answer = send(Method::POST, &door, &headers, parts).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(stage.database.number(opted).await, 2);
        assert_eq!(stage.request(&id).await["state"], "cancelled");
        stage.finish().await;
    }
);

story!(
    nothing_stored_about_a_visitor_names_one,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (_, url) = asked(&stage, "T-1").await;
        let (_, other) = asked(&stage, "T-2").await;
        let person = Surfer::without_cookies(BROWSER);
        person.open(&url).await;
        person.open(&url).await;
        person.open(&other).await;
        // The same client at another link is another one, and each hash is 16 bytes.
        let clients = "select count(distinct network) from views";
        assert_eq!(stage.database.number(clients).await, 2);
        let sizes = "select count(*) from views where length(network) = 16 and length(cookie) = 16";
        assert_eq!(stage.database.number(sizes).await, 3);
        let cookie = person
            .open(&url)
            .await
            .answer
            .header("set-cookie")
            .to_owned();
        let path = url.strip_prefix(&stage.url).unwrap();
        for part in [
            &format!("Path={path};"),
            "HttpOnly",
            "SameSite=Lax",
            "Secure",
            "Max-Age=900;",
        ] {
            assert!(cookie.contains(part), "{part} in {cookie}");
        }
        assert_eq!(person.head(&url).await.header("set-cookie"), "");
        stage.finish().await;
    }
);

story!(
    behind_a_balancer_a_scanner_elsewhere_is_not_the_person,
    async |database: Database| {
        let trusted = [("SERVER__TRUSTED_PROXIES", "127.0.0.0/8, ::1/128")];
        let stage = Stage::with(database, &trusted).await;
        let (id, url) = asked(&stage, "T-1").await;
        stage.pass(60);
        // The same browser, and neither keeps cookies: only their networks tell them apart.
        let scanner = Surfer::without_cookies(BROWSER).behind_balancer("198.51.100.7");
        let person = Surfer::without_cookies(BROWSER).behind_balancer("203.0.113.9");
        for score in 1..=5 {
            scanner.open(&format!("{url}?s={score}")).await;
        }
        let page = person.open(&format!("{url}?s=3")).await;
        stage.pass(5);
        person.tap(&page, "3", "pointer").await;
        assert_eq!(rating(&stage, &id).await, json!([3, "tap"]));
        stage.finish().await;
    }
);

story!(
    somebody_elses_storm_is_not_the_persons,
    async |database: Database| {
        let stage = Stage::start(database).await;
        // In the same office with the same browser, before and after the person.
        let (id, url) = asked(&stage, "T-1").await;
        stage.pass(60);
        let scanner = Surfer::without_cookies(BROWSER);
        let person = Surfer::new(BROWSER);
        for _ in 0..9 {
            scanner.open(&format!("{url}?s=1")).await;
        }
        let page = person.open(&format!("{url}?s=4")).await;
        for _ in 0..30 {
            scanner.open(&format!("{url}?s=1")).await;
        }
        stage.pass(5);
        person.tap(&page, "4", "pointer").await;
        assert_eq!(rating(&stage, &id).await, json!([4, "tap"]));

        // Where the request has no room for more showings, and the person's is the newest.
        let (id, url) = asked(&stage, "T-2").await;
        stage.pass(60);
        let open = async |n: u32| {
            let agent = format!("Mozilla/5.0 Browser/{n}");
            let headers = [("user-agent", agent.as_str())];
            send(Method::GET, &format!("{url}?s=2"), &headers, "").await;
        };
        for n in 0..59 {
            open(n % 12).await;
        }
        let person = Surfer::new(BROWSER);
        let page = person.open(&format!("{url}?s=5")).await;
        for _ in 0..30 {
            open(99).await;
        }
        stage.pass(5);
        person.tap(&page, "5", "pointer").await;
        assert_eq!(rating(&stage, &id).await, json!([5, "tap"]));
        stage.finish().await;
    }
);
