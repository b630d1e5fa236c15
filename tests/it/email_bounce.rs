//! What mail servers and machines send back: bounces, news, notes and complaints. The samples in `tests/mail` have the forms of the
//! usual servers; `ID` in them stands for our Message-ID.

use serde_json::json;

use crate::story;
use crate::support::database::Database;
use crate::support::returned::{BEN, about, answer, brought, finish, mailed, rows, stage, stands};

story!(
    a_mail_that_bounces_fails_its_request_and_says_why,
    async |database: Database| {
        let stage = stage(database).await;
        let samples = [
            ("postfix", "5.1.1"),
            ("postfix_refused", "5.7.1"),
            ("exim", "5.2.2"),
            ("exim_plain", "5.1.1"),
            ("qmail", "5.1.1"),
            ("exchange", "5.1.10"),
            ("gmail", "5.2.2"),
        ];
        for (name, code) in samples {
            let (id, mail) = mailed(&stage, name).await;
            assert_eq!(
                brought(&stage, &about(name, &mail)).await,
                "bounced",
                "{name}"
            );
            let expected = json!(["failed", "rejected", code]);
            assert_eq!(stands(&stage, &id).await, expected, "{name}");
            // The same bounce again, as a mail server brings it that did not hear our answer.
            let before = rows(&stage).await;
            brought(&stage, &about(name, &mail)).await;
            assert_eq!(
                (stands(&stage, &id).await, rows(&stage).await),
                (expected, before),
                "{name}"
            );
        }
        let attempts = "select count(*) from attempts where state = 'rejected' and code <> ''";
        assert_eq!(stage.database.number(attempts).await, 7);
        finish(stage, 7).await;
    }
);

story!(
    news_of_a_mail_that_is_late_or_arrived_is_no_bounce,
    async |database: Database| {
        let stage = stage(database).await;
        let (id, mail) = mailed(&stage, "T-1").await;
        let sent = json!(["sent", "accepted", ""]);
        assert_eq!(
            brought(&stage, &about("postfix_delayed", &mail)).await,
            "on_its_way"
        );
        assert_eq!(stands(&stage, &id).await, sent);
        assert_eq!(
            brought(&stage, &about("exim_warning", &mail)).await,
            "automatic"
        );
        assert_eq!(stands(&stage, &id).await, sent);
        assert_eq!(
            brought(&stage, &about("postfix_delivered", &mail)).await,
            "delivered"
        );
        assert_eq!(stands(&stage, &id).await[0], "delivered");
        // Late lower news, in whatever order.
        for (name, result) in [("postfix_delayed", "on_its_way"), ("postfix", "too_late")] {
            assert_eq!(brought(&stage, &about(name, &mail)).await, result, "{name}");
            assert_eq!(stands(&stage, &id).await[0], "delivered", "{name}");
        }
        finish(stage, 1).await;
    }
);

story!(
    a_machines_note_is_no_answer_whatever_digits_it_holds,
    async |database: Database| {
        let stage = stage(database).await;
        let (id, mail) = mailed(&stage, "T-1").await;
        let before = rows(&stage).await;
        for name in ["out_of_office_exchange", "out_of_office_gmail"] {
            assert_eq!(
                brought(&stage, &about(name, &mail)).await,
                "automatic",
                "{name}"
            );
        }
        assert_eq!(stage.request(&id).await["state"], "sent");
        assert_eq!(
            (stage.ratings("email").await, rows(&stage).await),
            ([0, 0, 0], before)
        );
        finish(stage, 1).await;
    }
);

story!(
    a_bounce_after_the_answer_changes_nothing_and_an_answer_after_a_bounce_counts,
    async |database: Database| {
        let stage = stage(database).await;
        let (id, mail) = mailed(&stage, "T-1").await;
        assert_eq!(
            brought(&stage, &about("answer_gmail", &mail)).await,
            "answer"
        );
        let (request, before) = (stage.request(&id).await, rows(&stage).await);
        for name in ["postfix", "exim_plain", "exchange"] {
            assert_eq!(
                brought(&stage, &about(name, &mail)).await,
                "too_late",
                "{name}"
            );
        }
        assert_eq!(
            (stage.request(&id).await, rows(&stage).await),
            (request, before)
        );
        let rejected = "select count(*) from attempts where state = 'rejected'";
        assert_eq!(stage.database.number(rejected).await, 0);

        let (id, mail) = mailed(&stage, "T-2").await;
        assert_eq!(brought(&stage, &about("postfix", &mail)).await, "bounced");
        assert_eq!(
            brought(&stage, &about("answer_iphone", &mail)).await,
            "answer"
        );
        assert_eq!(
            stands(&stage, &id).await,
            json!(["answered", "accepted", ""])
        );
        assert_eq!(stage.ratings("email").await, [2, 2, 2]);
        finish(stage, 2).await;
    }
);

story!(
    a_wish_to_be_left_alone_is_heard_from_a_reply_and_from_a_complaint,
    async |database: Database| {
        let stage = stage(database).await;
        let opt_outs = "select count(*) from opt_outs";
        for (number, name) in (1..).zip(["stop", "complaint"]) {
            let (id, mail) = mailed(&stage, name).await;
            let text = match name {
                "stop" => answer(
                    &mail,
                    "s1@example.com",
                    BEN,
                    "STOP\r\n\r\n-- \r\nBen, floor 5",
                ),
                other => about(other, &mail),
            };
            let expected = if name == "stop" {
                "answer"
            } else {
                "complaint"
            };
            assert_eq!(brought(&stage, &text).await, expected);
            assert_eq!(stage.request(&id).await["state"], "cancelled", "{name}");
            assert_eq!(stage.database.number(opt_outs).await, 1, "{name}");
            let body =
                json!({"channel": "email", "to": BEN, "conversation": format!("after-{name}")});
            assert_eq!(
                stage.trigger(&body).await.json()["reason"],
                "opted_out",
                "{name}"
            );
            // Wished back, so that the next one is asked at all.
            let start = answer(&mail, &format!("s2-{number}@example.com"), BEN, "START");
            assert_eq!(brought(&stage, &start).await, "answer");
            assert_eq!(stage.database.number(opt_outs).await, 0, "{name}");
        }
        // The same form about something else is no complaint.
        let (id, mail) = mailed(&stage, "T-3").await;
        let other =
            about("complaint", &mail).replace("Feedback-Type: abuse", "Feedback-Type: not-spam");
        assert_eq!(brought(&stage, &other).await, "automatic");
        assert_eq!(stage.request(&id).await["state"], "sent");
        assert_eq!(stage.database.number(opt_outs).await, 0);
        finish(stage, 3).await;
    }
);
