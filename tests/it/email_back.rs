//! Mails that answer ours, and the door that they are brought to. The samples in `tests/mail` have the forms of the usual programs;
//! `ID` in them stands for our Message-ID.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::story;
use crate::support::database::Database;
use crate::support::http::{get, post_form, send};
use crate::support::mail::sample;
use crate::support::returned::{
    BEN, KEY, about, answer, bring, brought, finish, mailed, rating, rows, stage,
};
use crate::support::stage::Stage;

story!(
    a_mail_is_answered_by_replying_and_what_is_quoted_says_nothing,
    async |database: Database| {
        let stage = stage(database).await;
        let samples = [
            ("answer_gmail", 5, "great help"),
            ("answer_outlook", 2, "Es hat lange gedauert, für 3 Zeilen."),
            ("answer_iphone", 4, ""),
            ("answer_thunderbird", 3, "geht so"),
        ];
        for (number, (name, score, comment)) in (1..).zip(samples) {
            let (id, mail) = mailed(&stage, name).await;
            stage.pass(60);
            // Twice, as a mail server brings it that did not hear our answer; with its line ends or those of the wire.
            assert_eq!(
                brought(&stage, &about(name, &mail)).await,
                "answer",
                "{name}"
            );
            let again = about(name, &mail).replace('\n', "\r\n");
            assert_eq!(brought(&stage, &again).await, "repeated", "{name}");
            let request = stage.request(&id).await;
            let expected = json!([score, "channel", comment]);
            assert_eq!(
                (&request["state"], rating(&request)),
                (&json!("answered"), expected),
                "{name}"
            );
            assert_eq!(stage.ratings("email").await, [number; 3], "{name}");
            let kept = stage
                .database
                .number("select count(*) from replies where kind = 'mail'")
                .await;
            assert_eq!(kept, number, "{name}");
        }
        finish(stage, 4).await;
    }
);

story!(
    the_same_mail_brought_many_times_at_once_counts_once,
    async |database: Database| {
        let stage = stage(database).await;
        let (id, mail) = mailed(&stage, "T-1").await;
        let text = about("answer_gmail", &mail);
        let url = format!("{}/hooks/smtp/mail", stage.url);
        let mut bringing = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (url, text) = (url.clone(), text.clone());
            bringing.spawn(async move {
                let bearer = format!("Bearer {KEY}");
                let headers = [
                    ("content-type", "message/rfc822"),
                    ("authorization", bearer.as_str()),
                ];
                send(Method::POST, &url, &headers, text).await.status
            });
        }
        assert_eq!(bringing.join_all().await, [200; 20]);
        assert_eq!(stage.request(&id).await["rating"]["score"], 5);
        assert_eq!(stage.ratings("email").await, [1, 1, 1]);
        assert_eq!(
            stage.database.number("select count(*) from replies").await,
            1
        );
        finish(stage, 1).await;
    }
);

story!(
    a_second_mail_corrects_or_comments_and_words_alone_are_kept_for_the_desk,
    async |database: Database| {
        let stage = stage(database).await;
        let (id, mail) = mailed(&stage, "T-1").await;
        let words = answer(
            &mail,
            "w1@example.com",
            BEN,
            "The printer in room 4 burns since 5 days.",
        );
        assert_eq!(brought(&stage, &words).await, "answer");
        assert_eq!(stage.request(&id).await["state"], "sent");
        let unclear = "select count(*) from events where kind = 'reply.unrecognized'";
        assert_eq!(stage.database.number(unclear).await, 1);
        for (at, words, expected) in [
            ("a1", "2", json!([2, "channel", ""])),
            (
                "a2",
                "found it, thank you",
                json!([2, "channel", "found it, thank you"]),
            ),
            ("a3", "5", json!([5, "channel", "found it, thank you"])),
        ] {
            let mail = answer(
                &mail,
                &format!("{at}@example.com"),
                "Ben <BEN@example.com>",
                words,
            );
            assert_eq!(brought(&stage, &mail).await, "answer", "{words}");
            assert_eq!(rating(&stage.request(&id).await), expected, "{words}");
        }
        assert_eq!(stage.ratings("email").await, [1, 1, 1]);
        finish(stage, 1).await;
    }
);

story!(
    only_the_contact_answers_and_only_what_we_sent,
    async |database: Database| {
        let stage = stage(database).await;
        let (id, mail) = mailed(&stage, "T-1").await;
        let before = rows(&stage).await;
        for from in [
            "eve@example.net",
            "ben@example.com.evil.example",
            "Ben@Example.Com <eve@example.net>",
        ] {
            let other = answer(&mail, "e1@example.net", from, "1");
            assert_eq!(brought(&stage, &other).await, "not_the_contact", "{from}");
        }
        let good = mail
            .header("message-id")
            .trim_matches(['<', '>'])
            .to_owned();
        let request = &id["req_".len()..];
        let changed = if good.contains("a@") {
            good.replace("a@", "b@")
        } else {
            good.replace('@', "0@")
        };
        for forged in [
            changed.as_str(),
            &good[33..],
            &format!("{request}@acme.example"),
            "x@acme.example",
            "",
        ] {
            let text = answer(&mail, "e2@example.net", BEN, "1").replace(&good, forged);
            assert_eq!(brought(&stage, &text).await, "unmatched", "{forged}");
            let bounce = sample("postfix", &format!("<{forged}>"));
            assert_eq!(brought(&stage, &bounce).await, "unmatched", "{forged}");
        }
        assert_eq!(
            brought(&stage, &answer(&mail, "e3@example.com", BEN, "> 1")).await,
            "empty"
        );
        assert_eq!(
            (
                stage.request(&id).await["state"].clone(),
                rows(&stage).await
            ),
            (json!("sent"), before)
        );
        // Systems that write a Message-ID in capitals mean the same one.
        let loud = answer(&mail, "e4@example.com", BEN, "4").replace(&good, &good.to_uppercase());
        assert_eq!(brought(&stage, &loud).await, "answer");
        assert_eq!(stage.request(&id).await["rating"]["score"], 4);
        finish(stage, 1).await;
    }
);

story!(
    a_mail_with_big_attachments_is_taken_and_read_from_its_start,
    async |database: Database| {
        let stage = stage(database).await;
        let (id, mail) = mailed(&stage, "T-1").await;
        let picture = "QUJD".repeat(19) + "\n";
        let big = about("answer_outlook", &mail).replace("iVBORw0KGgo=\n", &picture.repeat(60_000));
        assert!(big.len() > 4_000_000);
        assert_eq!(brought(&stage, &big).await, "answer");
        assert_eq!(stage.request(&id).await["rating"]["score"], 2);
        finish(stage, 1).await;
    }
);

story!(
    the_door_opens_to_its_key_alone,
    async |database: Database| {
        let stage = stage(database).await;
        let (id, mail) = mailed(&stage, "T-1").await;
        let before = rows(&stage).await;
        let text = about("answer_gmail", &mail);
        for wrong in [
            "",
            "wrong",
            "a-key-of-the-mail-serve",
            "a-key-of-the-mail-server2",
            stage.key.as_str(),
        ] {
            let refused = bring(&stage, wrong, text.clone()).await;
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (403, &json!("forged")),
                "{wrong}"
            );
        }
        let url = format!("{}/hooks/smtp/mail", stage.url);
        let unsigned = post_form(&url, &[("mail", &text)], "*/*").await;
        assert_eq!(unsigned.status, 403);
        let bearer = format!("Bearer {KEY}");
        let json = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        let refused = send(Method::POST, &url, &json, text.clone()).await;
        assert_eq!(
            (refused.status, &refused.json()["field"]),
            (400, &json!("content-type"))
        );
        for nothing in ["", "\r\n", "no header at all"] {
            let refused = bring(&stage, KEY, nothing).await;
            assert_eq!(
                (refused.status, &refused.json()["field"]),
                (400, &json!("body")),
                "{nothing:?}"
            );
        }
        assert_eq!(get(&url).await.status, 404);
        // Who has no key is told so before the mail is read: this one would never end.
        let mut slow = tokio::net::TcpStream::connect(stage.app.public)
            .await
            .unwrap();
        let head = "POST /hooks/smtp/mail HTTP/1.1\r\nHost: x\r\nContent-Type: message/rfc822\r\nContent-Length: 200000\r\n\r\nFrom:";
        slow.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        let told = timeout(Duration::from_secs(5), slow.read_exact(&mut status)).await;
        told.expect("an answer before the body's deadline").unwrap();
        assert_eq!(&status, b"HTTP/1.1 403");
        assert_eq!(
            (
                rows(&stage).await,
                stage.request(&id).await["state"].clone()
            ),
            (before, json!("sent"))
        );
        finish(stage, 1).await;
    }
);

story!(
    without_a_key_there_is_no_door,
    async |database: Database| {
        let stage = Stage::start(database).await;
        let (_, mail) = mailed(&stage, "T-1").await;
        let before = rows(&stage).await;
        for key in ["", KEY] {
            assert_eq!(
                bring(&stage, key, about("answer_gmail", &mail))
                    .await
                    .status,
                404
            );
        }
        assert_eq!(rows(&stage).await, before);
        finish(stage, 1).await;
    }
);
