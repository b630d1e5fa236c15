//! F26: what an SMTP server may do to a mail on its way, and what we make of it. The server here follows a script and keeps the
//! mails that it has; the double's ledger is what "never twice" is measured on.

use std::collections::BTreeMap;

use serde_json::json;

use crate::story;
use crate::support::database::Database;
use crate::support::faults;
use crate::support::mail::{Scripted, Turn, sample};
use crate::support::returned::{KEY, brought};
use crate::support::stage::Stage;

/// A service that sends mail to this server.
async fn sending_to(server: &Scripted, database: Database) -> Stage {
    let port = server.port.to_string();
    let more = [
        ("PROVIDERS__SMTP__PORT", port.as_str()),
        ("PROVIDERS__SMTP__TIMEOUT_SECONDS", "1"),
        ("PROVIDERS__SMTP__IDLE_CONNECTIONS", "0"),
        ("PROVIDERS__SMTP__INBOUND_KEY", KEY),
        // What nobody knows about is left alone: each mail that the server gets is one that we decided to send.
        ("PROVIDERS__SMTP__RESEND", "false"),
    ];
    Stage::with(database, &more).await
}

fn database_name(stage: &Stage) -> &'static str {
    match stage.database {
        Database::Sqlite(_) => "SQLite",
        Database::Postgres { .. } => "PostgreSQL",
    }
}

/// Where a request's delivery stands: state, delivery, code.
async fn stands(stage: &Stage, id: &str) -> [String; 3] {
    let request = stage.request(id).await;
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let delivery = &request["delivery"];
    [
        word(&request["state"]),
        word(&delivery["state"]),
        word(&delivery["code"]),
    ]
}

/// A fault: what the server does, and what the delivery must come to at first.
struct Fault {
    name: &'static str,
    turn: Turn,
    delivery: &'static str,
    code: &'static str,
}

const fn fault(
    name: &'static str,
    turn: Turn,
    delivery: &'static str,
    code: &'static str,
) -> Fault {
    Fault {
        name,
        turn,
        delivery,
        code,
    }
}

/// Every fault and its class: before the final dot nothing was sent, a clear no is a no, and after the dot only silence is a doubt.
const FAULTS: &[Fault] = &[
    fault("slow banner", Turn::silent("CONNECT"), "queued", "timeout"),
    fault(
        "closed at the banner",
        Turn::drop("CONNECT"),
        "queued",
        "connect",
    ),
    fault(
        "421 at the banner",
        Turn::say("CONNECT", "421 4.3.2 too busy"),
        "queued",
        "connect",
    ),
    fault("drop at EHLO", Turn::drop("EHLO"), "queued", "connect"),
    fault(
        "451 at MAIL",
        Turn::say("MAIL", "451 4.3.0 later"),
        "queued",
        "4.3.0",
    ),
    fault("drop at MAIL", Turn::drop("MAIL"), "queued", "connection"),
    fault(
        "greylist at RCPT",
        Turn::say("RCPT", "450 4.2.0 greylisted, come back"),
        "queued",
        "4.2.0",
    ),
    fault(
        "plain 450 at RCPT",
        Turn::say("RCPT", "450 mailbox busy"),
        "queued",
        "smtp_450",
    ),
    fault(
        "5xx at RCPT",
        Turn::say("RCPT", "550 5.1.1 no such user"),
        "rejected",
        "5.1.1",
    ),
    fault(
        "plain 5xx at RCPT",
        Turn::say("RCPT", "550 no"),
        "rejected",
        "smtp_550",
    ),
    fault("drop at RCPT", Turn::drop("RCPT"), "queued", "connection"),
    fault("silence at RCPT", Turn::silent("RCPT"), "queued", "timeout"),
    fault(
        "421 at DATA",
        Turn::say("DATA", "421 4.3.2 going down"),
        "queued",
        "4.3.2",
    ),
    fault(
        "5xx at DATA",
        Turn::say("DATA", "554 5.7.1 no valid recipients"),
        "rejected",
        "5.7.1",
    ),
    fault("drop at DATA", Turn::drop("DATA"), "queued", "connection"),
    fault(
        "4xx after the dot",
        Turn::say(".", "451 4.7.1 greylisted"),
        "queued",
        "4.7.1",
    ),
    fault(
        "5xx after the dot",
        Turn::say(".", "552 5.2.2 mailbox full"),
        "rejected",
        "5.2.2",
    ),
    fault(
        "drop in the message",
        Turn::drop("BODY"),
        "unknown",
        "connection",
    ),
    fault(
        "drop after the dot, not taken",
        Turn::drop("."),
        "unknown",
        "connection",
    ),
    fault(
        "drop after the dot, taken",
        Turn::take_and_drop(),
        "unknown",
        "connection",
    ),
    fault(
        "silence after the dot, taken",
        Turn::take_and_silent(),
        "unknown",
        "timeout",
    ),
    fault(
        "nonsense after the dot, taken",
        Turn::take_and_say("hello?"),
        "unknown",
        "connection",
    ),
];

story!(
    every_fault_of_a_mail_server_has_its_class_and_no_mail_is_sent_twice,
    async |database: Database| {
        let server = Scripted::start().await;
        let stage = sending_to(&server, database).await;
        let rounds = faults::count(1, 10);
        let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
        for round in 0..rounds {
            for (number, fault) in FAULTS.iter().enumerate() {
                let to = format!("c{round}-{number}@example.com");
                server.next(fault.turn);
                let id = stage.ask("email", &to, &format!("{round}-{number}")).await;
                assert_eq!(stage.deliver().await, 1, "{}", fault.name);
                let [stood, delivery, code] = stands(&stage, &id).await;
                assert_eq!(
                    (delivery.as_str(), code.as_str()),
                    (fault.delivery, fault.code),
                    "{}",
                    fault.name
                );
                let failed = fault.delivery == "rejected";
                assert_eq!(
                    stood,
                    if failed { "failed" } else { "scheduled" },
                    "{}",
                    fault.name
                );
                // The server is well again. What it certainly does not have goes out after the back-off, and what it may have
                // is left alone.
                stage.pass(10);
                let again = stage.deliver().await;
                assert_eq!(
                    again,
                    usize::from(fault.delivery == "queued"),
                    "{}",
                    fault.name
                );
                if again == 1 {
                    assert_eq!(
                        stands(&stage, &id).await[..2],
                        ["sent", "accepted"],
                        "{}",
                        fault.name
                    );
                }
                assert!(server.taken(&to).len() <= 1, "{}: sent twice", fault.name);
                *classes.entry(fault.delivery).or_default() += 1;
            }
        }
        let total = rounds * FAULTS.len();
        faults::record(
            "F26",
            &format!(
                "SMTP: {} ways to fail, {}",
                FAULTS.len(),
                database_name(&stage)
            ),
            total,
            &format!("{classes:?}, no mail twice"),
        );
        stage.app.stop().await;
    }
);

story!(
    a_greylisted_mail_is_retried_with_back_off_and_each_attempt_is_the_same_mail,
    async |database: Database| {
        let server = Scripted::start().await;
        let stage = sending_to(&server, database).await;
        let attempts = faults::count(4, 7);
        let id = stage.ask("email", "ana@example.com", "T-1").await;
        for attempt in 1..=attempts {
            // Refused after the dot, so that the server sees the whole mail of each attempt.
            server.next(Turn::say(".", "451 4.7.1 greylisted"));
            assert_eq!(stage.deliver().await, 1, "{attempt}");
            assert_eq!(stands(&stage, &id).await, ["scheduled", "queued", "4.7.1"]);
            // Not before its time: 5 s doubled each time, spread by a fifth.
            let wait = 5_000 << (attempt - 1);
            stage.clock.advance(wait * 3 / 4);
            assert_eq!(stage.deliver().await, 0, "{attempt}: too early");
            stage.clock.advance(wait / 2);
        }
        assert_eq!(stage.deliver().await, 1);
        assert_eq!(stands(&stage, &id).await, ["sent", "accepted", ""]);
        let seen = server.seen("ana@example.com");
        assert_eq!(seen.len(), attempts + 1);
        let marks = |mail: &str| -> Vec<String> {
            let lines = mail.lines().filter(|line| {
                line.starts_with("Message-ID:") || line.contains("/r/") || line.contains("/u/")
            });
            lines.map(str::to_owned).collect()
        };
        let first = marks(&seen[0]);
        assert!(first.len() > 6, "{first:?}");
        assert!(
            seen.iter().all(|mail| marks(mail) == first),
            "an attempt is another mail"
        );
        assert_eq!(server.taken("ana@example.com").len(), 1);
        faults::record(
            "F26",
            &format!("greylisting, {}", database_name(&stage)),
            attempts,
            "taken once, by the attempt after them",
        );
        assert_eq!(
            json!(stage.request(&id).await["delivery"]["attempts"]),
            json!(attempts + 1)
        );
        stage.finish().await;
    }
);

story!(
    a_mail_of_which_nobody_knows_is_settled_by_what_comes_back,
    async |database: Database| {
        let server = Scripted::start().await;
        let stage = sending_to(&server, database).await;
        let faults = [Turn::take_and_drop(), Turn::take_and_silent()];
        let rounds = faults::count(1, 10);
        let mut settled = 0;
        for round in 0..rounds {
            for (number, turn) in faults.into_iter().enumerate() {
                for (name, expected) in [
                    ("postfix_delivered", ["delivered", "accepted", ""]),
                    ("postfix_delayed", ["sent", "accepted", ""]),
                    ("postfix", ["failed", "rejected", "5.1.1"]),
                    ("answer_iphone", ["answered", "accepted", ""]),
                ] {
                    let to = format!("{name}-{round}-{number}@example.com");
                    server.next(turn);
                    let id = stage.ask("email", &to, &to).await;
                    assert_eq!(stage.deliver().await, 1);
                    assert_eq!(stands(&stage, &id).await[..2], ["scheduled", "unknown"]);
                    let mail = server.taken(&to).remove(0);
                    let message_id = mail
                        .lines()
                        .find_map(|line| line.strip_prefix("Message-ID: "));
                    let news = sample(name, message_id.unwrap()).replace("ben@example.com", &to);
                    brought(&stage, &news).await;
                    assert_eq!(stands(&stage, &id).await, expected, "{name}");
                    assert_eq!(stage.deliver().await, 0);
                    assert_eq!(server.taken(&to).len(), 1, "{name}");
                    settled += 1;
                }
            }
        }
        let fault = format!("SMTP: answer to the dot lost, {}", database_name(&stage));
        faults::record(
            "F26",
            &fault,
            settled,
            "each settled by a report, a bounce or the answer",
        );
        stage.finish().await;
    }
);
