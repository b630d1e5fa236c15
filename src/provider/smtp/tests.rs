//! Each step of a mail against a server that follows a script.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::channel::{Mail, Message};
use crate::clock::{ManualClock, SystemEntropy};
use crate::domain::request::Channel;
use crate::domain::time::Timestamp;

pub(super) fn table(port: u16) -> toml::Table {
    let text = format!(
        "host = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"service@example.com\"\nhello_name = \"us.example\""
    );
    text.parse().unwrap()
}

pub(super) fn settings(port: u16) -> settings::Settings {
    table(port).try_into().unwrap()
}

pub(super) fn parcel() -> Parcel {
    Parcel {
        channel: Channel::named("email"),
        from: String::new(),
        to: Address::mail("ana@example.org").unwrap(),
        to_name: "Ana".into(),
        desk: "Acme IT".into(),
        message: Message::Mail(Mail {
            subject: "Re: VPN ausgefallen für alle".into(),
            text: "Grüße".into(),
            html: "<p>Grüße</p>".into(),
            in_reply_to: Some("<t1@example.com>".into()),
            opt_out_url: "https://r.example.com/some/longer/path/below/the/public/base/address/u/0123456789ABCDEFGHIJKL".into(),
        }),
        attempt_token: "ATTEMPT".into(),
        request: "req_1".into(),
        valid_seconds: 600,
        send_at: None,
    }
}

fn provider(table: toml::Table, clock: &Arc<ManualClock>) -> Arc<dyn Provider> {
    let clock: Arc<dyn crate::clock::Clock> = Arc::<ManualClock>::clone(clock);
    build(Built {
        settings: table,
        public_url: "https://feedback.example.com".to_owned(),
        clock,
        entropy: Arc::new(SystemEntropy),
    })
    .unwrap()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)))
}

/// What the server says to the commands of one connection: the start of the command, and the answer. An empty answer hangs
/// up; `.` is the end of the message.
type Script<'a> = &'a [(&'a str, &'a str)];

const HELLO: (&str, &str) = ("EHLO us.example", "250-server\r\n250 AUTH PLAIN LOGIN");
const FROM: (&str, &str) = ("MAIL FROM:<service@example.com>", "250 ok");
const TO: (&str, &str) = ("RCPT TO:<ana@example.org>", "250 ok");
const DATA: (&str, &str) = ("DATA", "354 go on");
const END: (&str, &str) = (".", "250 taken");

/// Plays one script after the other, each on a connection of its own.
async fn serve(listener: &TcpListener, scripts: &[Script<'_>]) {
    for script in scripts {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 server\r\n").await.unwrap();
        for (expected, answer) in *script {
            let mut line = String::new();
            loop {
                line.clear();
                assert!(
                    stream.read_line(&mut line).await.unwrap() > 0,
                    "the connection ended before {expected}"
                );
                if *expected != "." || line == ".\r\n" {
                    break;
                }
            }
            assert!(line.starts_with(expected), "{line:?} is not {expected:?}");
            if answer.is_empty() {
                break;
            }
            stream
                .write_all(format!("{answer}\r\n").as_bytes())
                .await
                .unwrap();
        }
    }
}

async fn send(provider: &dyn Provider) -> Outcome {
    match provider.open(&parcel()).await {
        Ok(line) => line.send(&parcel()).await,
        Err(outcome) => outcome,
    }
}

/// What one mail comes to when the server follows the script.
async fn outcome(script: Script<'_>, more: &str) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut table = table(listener.local_addr().unwrap().port());
    table.extend(more.parse::<toml::Table>().unwrap());
    let provider = provider(table, &clock());
    let scripts = [script];
    tokio::join!(serve(&listener, &scripts), send(provider.as_ref())).1
}

fn not_processed(code: &str) -> Outcome {
    Outcome::NotProcessed {
        code: code.into(),
        retry_after_ms: None,
    }
}

fn rejected(code: &str) -> Outcome {
    Outcome::Rejected {
        code: code.into(),
        opted_out: false,
    }
}

fn accepted() -> Outcome {
    Outcome::Accepted {
        provider_id: "<req_1@example.com>".into(),
    }
}

#[tokio::test]
async fn a_mail_that_is_taken_is_accepted_under_its_message_id() {
    assert_eq!(outcome(&[HELLO, FROM, TO, DATA, END], "").await, accepted());
}

#[tokio::test]
async fn a_no_for_now_may_be_sent_again_and_a_no_for_good_may_not() {
    let later = ("", "451 later");
    let never = ("", "550 never");
    let codes = |answer: (&'static str, &'static str)| async move {
        [
            outcome(&[HELLO, (FROM.0, answer.1)], "").await,
            outcome(&[HELLO, FROM, (TO.0, answer.1)], "").await,
            outcome(&[HELLO, FROM, TO, (DATA.0, answer.1)], "").await,
            outcome(&[HELLO, FROM, TO, DATA, (END.0, answer.1)], "").await,
        ]
    };
    assert!(
        codes(later)
            .await
            .iter()
            .all(|outcome| *outcome == not_processed("smtp_451"))
    );
    assert!(
        codes(never)
            .await
            .iter()
            .all(|outcome| *outcome == rejected("smtp_550"))
    );
}

#[tokio::test]
async fn a_lost_connection_is_a_doubt_only_after_the_message() {
    assert_eq!(
        outcome(&[HELLO, (FROM.0, "")], "").await,
        not_processed("connection")
    );
    assert_eq!(
        outcome(&[HELLO, FROM, (TO.0, "")], "").await,
        not_processed("connection")
    );
    assert_eq!(
        outcome(&[HELLO, FROM, TO, (DATA.0, "")], "").await,
        not_processed("connection")
    );
    let unknown = Outcome::Unknown {
        code: "connection".into(),
    };
    assert_eq!(
        outcome(&[HELLO, FROM, TO, DATA, (END.0, "")], "").await,
        unknown
    );
    assert_eq!(
        outcome(&[HELLO, FROM, TO, DATA, (END.0, "nonsense")], "").await,
        unknown
    );
}

#[tokio::test]
async fn a_message_whose_end_was_never_written_was_not_sent() {
    // More than the system's buffers take while nobody reads, so that the end is still to be written when we give up.
    let mut big = parcel();
    let Message::Mail(mail) = &mut big.message else {
        unreachable!()
    };
    mail.text = "all that was said. ".repeat(1_500_000);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut table = table(listener.local_addr().unwrap().port());
    table.insert("timeout_seconds".into(), 1.into());
    let provider = provider(table, &clock());
    let (closed, close) = tokio::sync::oneshot::channel::<()>();
    let unread = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        for answer in ["220 server", HELLO.1, FROM.1, TO.1, DATA.1] {
            stream
                .write_all(format!("{answer}\r\n").as_bytes())
                .await
                .unwrap();
            let mut line = String::new();
            if answer != DATA.1 {
                stream.read_line(&mut line).await.unwrap();
            }
        }
        close.await.unwrap();
    };
    let sending = async {
        let outcome = provider.open(&big).await.unwrap().send(&big).await;
        closed.send(()).unwrap();
        outcome
    };
    assert_eq!(tokio::join!(unread, sending).1, not_processed("timeout"));
}

#[tokio::test]
async fn the_exact_code_goes_before_the_plain_one_unless_they_contradict() {
    assert_eq!(
        outcome_at_rcpt("550 5.1.1 no such user").await,
        rejected("5.1.1")
    );
    assert_eq!(
        outcome_at_rcpt("550-first line\r\n550 5.7.1 second").await,
        rejected("5.7.1")
    );
    assert_eq!(
        outcome_at_rcpt("550 4.2.2 what now").await,
        rejected("smtp_550")
    );
    assert_eq!(
        outcome_at_rcpt("451 4.7.1 greylisted").await,
        not_processed("4.7.1")
    );
    assert_eq!(
        outcome_at_rcpt("451 see 192.0.2.1").await,
        not_processed("smtp_451")
    );
}

async fn outcome_at_rcpt(answer: &'static str) -> Outcome {
    outcome(&[HELLO, FROM, (TO.0, answer)], "").await
}

#[tokio::test]
async fn an_answer_that_is_no_answer_is_a_doubt_after_the_message_and_none_before() {
    assert_eq!(
        outcome(&[HELLO, FROM, TO, (DATA.0, "250 what")], "").await,
        not_processed("protocol")
    );
    let doubt = Outcome::Unknown {
        code: "smtp_354".into(),
    };
    assert_eq!(
        outcome(&[HELLO, FROM, TO, DATA, (END.0, "354 more")], "").await,
        doubt
    );
}

#[tokio::test]
async fn nothing_is_sent_without_the_protection_and_the_sign_in_that_were_asked_for() {
    assert_eq!(
        outcome(&[HELLO], "tls = \"starttls\"").await,
        not_processed("tls")
    );
    assert_eq!(
        outcome(&[], "tls = \"implicit\"").await,
        not_processed("tls")
    );
    let sign_in = "username = \"u\"\npassword = \"p\"";
    assert_eq!(
        outcome(&[HELLO, ("AUTH PLAIN", "535 no")], sign_in).await,
        not_processed("auth")
    );
    assert_eq!(
        outcome(&[("EHLO", "250 server")], sign_in).await,
        not_processed("auth")
    );
    assert_eq!(
        outcome(
            &[HELLO, ("AUTH PLAIN", "235 yes"), FROM, TO, DATA, END],
            sign_in
        )
        .await,
        accepted()
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_proof_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert_eq!(
        send(provider(table(port), &clock()).as_ref()).await,
        not_processed("connect")
    );
}

#[tokio::test]
async fn a_connection_is_used_again_while_it_is_young_and_alive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock = clock();
    let provider = provider(table(listener.local_addr().unwrap().port()), &clock);
    let noop = ("NOOP", "250 here");
    let one: Script<'_> = &[
        HELLO,
        FROM,
        TO,
        DATA,
        END,
        noop,
        FROM,
        TO,
        DATA,
        END,
        ("NOOP", ""),
    ];
    let two: Script<'_> = &[HELLO, FROM, TO, DATA, END];
    let scripts = [one, two, two];
    let mails = async {
        assert_eq!(send(provider.as_ref()).await, accepted());
        assert_eq!(send(provider.as_ref()).await, accepted());
        // The server hangs up at the third mail's NOOP: it goes over a new connection.
        assert_eq!(send(provider.as_ref()).await, accepted());
        // A kept connection that is too old is not even asked.
        clock.advance(31_000);
        assert_eq!(send(provider.as_ref()).await, accepted());
    };
    tokio::join!(serve(&listener, &scripts), mails);
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut table = table(listener.local_addr().unwrap().port());
    table.insert("timeout_seconds".into(), 1.into());
    assert_eq!(
        send(provider(table, &clock()).as_ref()).await,
        not_processed("timeout")
    );
}

#[test]
fn only_mail_is_carried() {
    let smtp = provider(table(25), &clock());
    assert!(smtp.carries("email") && !smtp.carries("sms"));
    assert_eq!(
        (smtp.sender("email"), smtp.sender("sms")),
        ("service@example.com", "")
    );
    assert!(
        smtp.reaches("email", &Address::mail("ana@example.org").unwrap())
            .is_ok()
    );
    assert!(
        smtp.reaches("email", &Address::phone("+14155550123").unwrap())
            .is_err()
    );
}
