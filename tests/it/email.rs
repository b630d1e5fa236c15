//! Mail: five links that only open a page, one tap on that page, and one click to be left alone.

use http::Method;
use serde_json::{Value, json};

use crate::story;
use crate::support::database::Database;
use crate::support::http::{Answer, get, post_form, post_json, send};
use crate::support::mail::Received;
use crate::support::stage::{PUBLIC_URL, Stage};

const BEN: &str = "ben@example.com";
const WORDS: [&str; 5] = ["very poor", "poor", "okay", "good", "excellent"];

/// A request that Ben has in his mailbox, and the mail.
async fn mailed(stage: &Stage) -> (String, Received) {
    let id = stage.ask("email", BEN, "T-1").await;
    assert_eq!(stage.deliver().await, 1);
    let mail = stage.mail.wait_for(1).await.remove(0);
    // Nobody reads a mail in the second in which it comes.
    stage.pass(60);
    (id, mail)
}

/// The addresses of the mail's links to the rating page, as they stand in the HTML part.
fn links(mail: &Received) -> Vec<String> {
    let parts = mail.html.split("href=\"").skip(1);
    let urls = parts.map(|part| part.split_once('"').unwrap().0.to_owned());
    urls.filter(|url| url.starts_with(&format!("{PUBLIC_URL}/r/")))
        .collect()
}

/// The real address of the page that the links open, without a score.
fn page_url(stage: &Stage, mail: &Received) -> String {
    stage.real(links(mail)[0].split_once('?').unwrap().0)
}

/// The one-time value in the page's form.
fn view(page: &Answer) -> String {
    let after = page
        .body
        .split_once("name=\"view\" value=\"")
        .expect("a form")
        .1;
    after.split_once('"').unwrap().0.to_owned()
}

/// Presses the button of the page's form. The answer as the page's script would get it.
async fn submit(url: &str, view: &str, score: &str, comment: &str) -> Answer {
    let fields = [
        ("view", view),
        ("event", "button"),
        ("score", score),
        ("comment", comment),
    ];
    post_form(url, &fields, "application/json").await
}

/// How many rows each table has.
async fn rows(database: &Database) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in [
        "select count(*) from desks",
        "select count(*) from api_keys",
        "select count(*) from requests",
        "select count(*) from attempts",
        "select count(*) from replies",
        "select count(*) from ratings",
        "select count(*) from opt_outs",
        "select count(*) from events",
        "select count(*) from totals",
    ] {
        rows.push(database.number(table).await);
    }
    rows
}

async fn decision(stage: &Stage, conversation: &str) -> Value {
    let body = json!({"channel": "email", "to": BEN, "conversation": conversation});
    let answer = stage.trigger(&body).await.json();
    json!([answer["state"], answer["reason"]])
}

story!(
    a_mail_has_all_that_a_person_and_a_mail_program_need,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let body = json!({
            "channel": "email", "to": BEN, "conversation": "T-1", "agent": {"name": "Sam"}, "contact": {"name": "Ben"},
            "mail": {"message_id": "<ticket-1@desk.example>", "subject": "VPN is down"}
        });
        let answer = stage.trigger(&body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(stage.deliver().await, 1);
        assert_eq!(stage.deliver().await, 0);
        let mails = stage.mail.wait_for(1).await;
        assert_eq!(mails.len(), 1);
        let mail = &mails[0];
        assert_eq!(stage.request(&id).await["state"], "sent");

        assert_eq!(mail.subject, "Re: VPN is down");
        assert!(mail.header("to").contains(BEN));
        assert!(mail.header("from").contains("feedback@acme.example"));
        // Made from the request, so that a second copy could be recognised and an answer finds back.
        let message_id = mail.header("message-id");
        assert!(message_id.contains(&id["req_".len()..]), "{message_id}");
        assert!(message_id.ends_with("@acme.example>"), "{message_id}");
        for thread in ["in-reply-to", "references"] {
            assert_eq!(mail.header(thread), "<ticket-1@desk.example>", "{thread}");
        }
        assert_eq!(mail.header("auto-submitted"), "auto-generated");
        assert_eq!(
            mail.header("list-unsubscribe-post"),
            "List-Unsubscribe=One-Click"
        );
        let opt_out = mail.header("list-unsubscribe");
        assert!(opt_out.starts_with(&format!("<{PUBLIC_URL}/u/")) && opt_out.ends_with('>'));

        let links = links(mail);
        assert_eq!(links.len(), 5);
        for ((score, word), link) in (1..).zip(WORDS).zip(&links) {
            assert!(link.ends_with(&format!("?s={score}")), "{link}");
            assert!(mail.html.contains(&format!("</span>{word}</a>")), "{word}");
            assert!(mail.text.contains(&format!("{score} - {word}")), "{word}");
            assert!(
                mail.text
                    .replace("\r\n", "\n")
                    .contains(&format!("{link}\n")),
                "{link}"
            );
        }
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("Hello Ben,") && part.contains("Sam from Acme IT"));
            assert!(part.contains(opt_out.trim_matches(['<', '>'])));
        }
        stage.finish().await;
    }
);

story!(
    a_mail_without_a_thread_starts_its_own,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (_, mail) = mailed(&stage).await;
        assert_eq!(mail.subject, "Acme IT: how was our service?");
        assert_eq!(
            (mail.header("in-reply-to"), mail.header("references")),
            ("", "")
        );
        stage.finish().await;
    }
);

story!(opening_links_writes_nothing, async |database: Database| {
    let stage = Stage::start(database).await;
    let (id, mail) = mailed(&stage).await;
    let opt_out = mail
        .header("list-unsubscribe")
        .trim_matches(['<', '>'])
        .to_owned();
    let mut urls = links(&mail);
    urls.push(opt_out);
    let before = (rows(&stage.database).await, stage.request(&id).await);
    for url in urls.iter().map(|url| stage.real(url)) {
        for method in [Method::GET, Method::HEAD] {
            let answer = send(method.clone(), &url, &[], "").await;
            assert_eq!(answer.status, 200, "{method} {url}");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("referrer-policy"), "no-referrer");
            assert_eq!(answer.body.is_empty(), method == Method::HEAD);
        }
    }
    let after = (rows(&stage.database).await, stage.request(&id).await);
    assert_eq!(before, after);
    assert_eq!(
        decision(&stage, "T-2").await[1],
        "open_request_exists",
        "nobody opted out"
    );
    stage.finish().await;
});

story!(
    a_mail_is_answered_with_a_tap_on_its_page,
    async |database: Database| {
        let stage = Stage::start(database).await;
        assert_eq!(stage.ratings("email").await, [0, 0, 0]);
        let (id, mail) = mailed(&stage).await;
        let url = page_url(&stage, &mail);
        let page = get(&format!("{url}?s=4")).await;
        assert!(
            page.body.contains("value=\"4\" required checked"),
            "{}",
            page.body
        );

        stage.pass(30);
        // As the form is sent without JavaScript: a redirect to the page, which says thank you.
        let fields = [
            ("view", &*view(&page)),
            ("event", "button"),
            ("score", "4"),
            ("comment", "<b>quick</b>"),
        ];
        let posted = post_form(&url, &fields, "text/html").await;
        assert_eq!(posted.status, 303, "{posted:?}");
        let thanks = get(&format!("{}{}", stage.url, posted.header("location"))).await;
        assert!(
            thanks.body.contains("Thank you for your rating: 4 (good)."),
            "{}",
            thanks.body
        );
        assert!(!thanks.body.contains("<b>quick</b>"), "words are text");
        let expected = json!({"score": 4, "grade": "tap", "comment": "<b>quick</b>"});
        assert_eq!(stage.request(&id).await["rating"], expected);

        // The same page posts twice: nothing more happens.
        assert_eq!(post_form(&url, &fields, "text/html").await.status, 303);
        assert_eq!(
            stage.database.number("select count(*) from replies").await,
            1
        );
        assert_eq!(stage.ratings("email").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    an_answer_may_be_corrected_inside_the_window,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, mail) = mailed(&stage).await;
        let url = page_url(&stage, &mail);
        let view = view(&get(&url).await);
        stage.pass(5);
        let answer = submit(&url, &view, "2", "").await.json();
        assert_eq!(answer["state"], "answered");
        stage.pass(15 * 60);
        // Each value is good for one post, and its answer brings the next.
        let used = submit(&url, &view, "5", "found it").await.json();
        assert_eq!(
            json!([used["score"], used["repeated"], used["view"]]),
            json!([2, true, answer["view"]])
        );
        let next = answer["view"].as_str().unwrap();
        let answer = submit(&url, next, "5", "found it").await.json();
        assert_eq!(
            json!([answer["state"], answer["score"], answer["comment"]]),
            json!(["answered", 5, "found it"])
        );
        stage.pass(1);
        let next = answer["view"].as_str().unwrap();
        assert_eq!(submit(&url, next, "1", "").await.json()["state"], "closed");
        assert!(
            !get(&url).await.body.contains("<form"),
            "the page takes no more answers"
        );
        let expected = json!({"score": 5, "grade": "tap", "comment": "found it"});
        assert_eq!(stage.request(&id).await["rating"], expected);
        assert_eq!(stage.ratings("email").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    what_no_person_sent_is_not_counted,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, mail) = mailed(&stage).await;
        let url = page_url(&stage, &mail);
        let page = get(&format!("{url}?s=1")).await;
        let good = view(&page);
        let forged = format!("{good}x");
        for wrong in ["", "x", "1.2.3", forged.as_str()] {
            let answer = submit(&url, wrong, "1", "").await;
            assert_eq!(
                (answer.status, &answer.json()["field"]),
                (400, &json!("view")),
                "{wrong}"
            );
        }
        let absent = post_form(&url, &[("score", "1")], "text/html").await;
        assert_eq!(absent.status, 400);
        for score in ["0", "6", "", "five"] {
            let answer = submit(&url, &good, score, "").await;
            assert_eq!(
                (answer.status, &answer.json()["field"]),
                (400, &json!("score")),
                "{score}"
            );
        }
        // A page that posts by itself says so; it is kept, and moves nothing.
        stage.pass(5);
        let auto = [("view", good.as_str()), ("event", "none"), ("score", "1")];
        assert_eq!(post_form(&url, &auto, "text/html").await.status, 303);
        assert_eq!(stage.request(&id).await["state"], "sent");
        assert_eq!(stage.ratings("email").await, [0, 0, 0]);
        let kept = stage
            .database
            .number("select count(*) from replies where grade = 'auto'")
            .await;
        assert_eq!(kept, 1);

        // A page that was left open for more than a day is asked to be opened again.
        stage.pass(86_401);
        assert_eq!(submit(&url, &good, "5", "").await.status, 400);
        let fresh = view(&get(&url).await);
        stage.pass(5);
        assert_eq!(
            submit(&url, &fresh, "5", "").await.json()["state"],
            "answered"
        );
        assert_eq!(stage.ratings("email").await, [1, 1, 1]);
        stage.finish().await;
    }
);

story!(
    one_click_opts_out_and_opening_its_link_does_not,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, mail) = mailed(&stage).await;
        let url = stage.real(mail.header("list-unsubscribe").trim_matches(['<', '>']));
        let page = get(&url).await;
        assert!(
            page.body.contains("Shall Acme IT stop asking you"),
            "{}",
            page.body
        );
        assert_eq!(
            stage.database.number("select count(*) from opt_outs").await,
            0
        );
        // What a mail program posts, with no cookie and no page before it; twice, as some do.
        for _ in 0..2 {
            let answer = post_form(&url, &[("List-Unsubscribe", "One-Click")], "*/*").await;
            assert_eq!(answer.status, 200);
            assert!(
                answer.body.contains("Acme IT will not ask you"),
                "{}",
                answer.body
            );
        }
        assert_eq!(
            stage.database.number("select count(*) from opt_outs").await,
            1
        );
        assert_eq!(stage.request(&id).await["state"], "cancelled");
        assert_eq!(
            decision(&stage, "T-2").await,
            json!(["suppressed", "opted_out"])
        );
        // The rating page takes no answer any more.
        let rating = page_url(&stage, &mail);
        assert!(!get(&rating).await.body.contains("<form"));
        assert_eq!(stage.ratings("email").await, [0, 0, 0]);
        stage.finish().await;
    }
);

story!(
    a_link_that_is_not_ours_is_not_found,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for path in ["/r/AAAAAAAAAAAAAAAAAAAAAA", "/u/AAAAAAAAAAAAAAAAAAAAAA"] {
            let url = format!("{}{path}", stage.url);
            let posted = post_form(&url, &[("view", "x"), ("score", "5")], "text/html").await;
            assert!(matches!(posted.status, 400 | 404), "{path}: {posted:?}");
            assert_eq!(get(&url).await.status, 404, "{path}");
        }
        assert_eq!(
            stage.database.number("select count(*) from replies").await,
            0
        );
        stage.finish().await;
    }
);

story!(
    a_mails_link_is_no_token_of_a_chat,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (id, mail) = mailed(&stage).await;
        let door = page_url(&stage, &mail).replace("/r/", "/w/");
        let before = rows(&stage.database).await;
        let pressed = post_json(&door, &[], &json!({"score": 1})).await;
        assert_eq!(pressed.status, 404, "{pressed:?}");
        let shown = post_json(&format!("{door}/shown"), &[], &json!({})).await;
        assert_eq!(shown.status, 404);
        assert_eq!(rows(&stage.database).await, before);
        assert_eq!(stage.request(&id).await["state"], "sent");
        stage.finish().await;
    }
);
