//! What each sort of mail is read as; the whole way is told by the stories.

use proptest::prelude::*;

use super::*;
use crate::domain::delivery::Status;

/// A bounce, in which `ID` stands for our Message-ID.
const POSTFIX: &str = include_str!("../../../../tests/mail/postfix.eml");
const NAME: &str = "0192d3f4a5b6c7d8e9f0a1b2c3d4e5f6-0192d3f4a5b6c7d8e9f0a1b2c3d4e5f7-0123456789abcdef0123@acme.example";

fn sample(text: &str) -> Read {
    read(text.replace("ID>", &format!("{NAME}>")).as_bytes()).expect("a mail")
}

fn failed(code: &str) -> Returned {
    Returned::News(Status::Failed {
        code: code.to_owned(),
        opted_out: false,
    })
}

fn mail(headers: &str, body: &str) -> String {
    format!(
        "From: Ben <ben@example.com>\nTo: feedback@acme.example\nMessage-ID: <m1@example.com>\nIn-Reply-To: <ID>\n{headers}\n{body}"
    )
}

fn answer(words: &str) -> Returned {
    Returned::Answer {
        from: Address::mail("ben@example.com").unwrap(),
        words: words.to_owned(),
    }
}

#[test]
fn a_report_of_failure_gives_its_code_and_names_our_mail() {
    for ends in ["\n", "\r\n"] {
        let read = sample(&POSTFIX.replace('\n', ends));
        assert_eq!(read.returned, failed("5.1.1"));
        assert_eq!(read.refers_to, [NAME]);
    }
}

#[test]
fn the_action_of_a_report_decides_and_the_server_s_words_are_more_exact() {
    let with = |from: &str, to: &str| sample(&POSTFIX.replace(from, to)).returned;
    for (action, news) in [
        ("delayed", Status::Taken),
        ("relayed", Status::Taken),
        ("expanded (to a list)", Status::Taken),
        ("Delivered", Status::Delivered),
    ] {
        assert_eq!(
            with("Action: failed", &format!("Action: {action}")),
            Returned::News(news),
            "{action}"
        );
    }
    assert_eq!(
        with("Status: 5.1.1", "Status: 4.4.7"),
        failed("4.4.7"),
        "given up after days"
    );
    assert_eq!(
        with("Status: 5.1.1", "Status: 5.0.0"),
        failed("5.1.1"),
        "the other server was more exact"
    );
    assert_eq!(with("Action: failed\n", ""), failed("5.1.1"));
    assert_eq!(
        with("Action: failed\nStatus: 5.1.1", "Status: 4.2.2"),
        Returned::News(Status::Taken)
    );
    // A report that does not say what happened changes nothing.
    let nothing = with("Action: failed\nStatus: 5.1.1", "Action: perhaps");
    assert_eq!(nothing, Returned::Automatic);
}

#[test]
fn only_an_answer_names_just_what_it_answers() {
    let thread = mail(
        "References: <t1@desk.example> <ID>\n <later@desk.example>\n",
        "5",
    );
    let direct = sample(&thread);
    assert_eq!(
        (direct.refers_to, direct.returned),
        (vec![NAME.to_owned()], answer("5"))
    );
    // Without "In-Reply-To", the last of the thread is what is answered: a later mail of an agent's is not ours.
    let later = sample(&thread.replace("In-Reply-To: <ID>\n", "")).refers_to;
    assert!(!later.contains(&NAME.to_owned()), "{later:?}");
    let last = thread
        .replace("In-Reply-To: <ID>\n", "")
        .replace("\n <later@desk.example>", "");
    assert_eq!(sample(&last).refers_to, [NAME]);
    // And without a thread, what is quoted.
    let quoted = mail("", "5\n\n> Message-ID: <ID>").replace("In-Reply-To: <ID>\n", "");
    assert_eq!(sample(&quoted).refers_to, [NAME]);
}

#[test]
fn what_a_machine_may_have_written_is_no_answer() {
    assert_eq!(
        sample(&mail("Auto-Submitted: no\n", "5")).returned,
        answer("5")
    );
    for header in [
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: auto-generated; owner=x",
        "X-Autoreply: yes",
        "X-Autorespond: x",
        "X-Auto-Response-Suppress: All",
        "Precedence: auto_reply",
        "Precedence: bulk",
        "Precedence: junk",
        "List-Id: <all.example.com>",
        "List-Unsubscribe: <mailto:x@example.com>",
        "Return-Path: <>",
        "Subject: Automatic reply: Re: VPN",
        "Subject: Out of Office: back on 5 December",
        "Subject: Abwesenheitsnotiz: Re: VPN",
        "Subject: =?utf-8?Q?Respuesta_autom=C3=A1tica?= Re: VPN",
        "Subject: =?utf-8?B?UsOpcG9uc2UgYXV0b21hdGlxdWU=?=: VPN",
        "From: second@example.com",
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b",
    ] {
        assert_eq!(
            sample(&mail(&format!("{header}\n"), "5")).returned,
            Returned::Automatic,
            "{header}"
        );
    }
    // A person who writes about such a note is a person.
    let about = "Subject: Re: Out of Office does not switch on\n";
    assert_eq!(sample(&mail(about, "5")).returned, answer("5"));
    let nobody = mail("", "5").replace("Ben <ben@example.com>", "Ben");
    assert_eq!(sample(&nobody).returned, Returned::Automatic);
    let several =
        mail("", "5").replace("Ben <ben@example.com>", "ben@example.com, ana@example.com");
    assert_eq!(sample(&several).returned, Returned::Automatic);
}

#[test]
fn the_same_mail_has_the_same_id() {
    assert_eq!(sample(&mail("", "5")).id, "m1@example.com");
    let bare = mail("", "5").replace("Message-ID: <m1@example.com>\n", "");
    let (first, other) = (sample(&bare).id, sample(&bare.replace("\n5", "\n4")).id);
    assert!(first.starts_with("sha256-") && first != other);
    // Servers on the way add headers at the top.
    assert_eq!(
        sample(&format!("Received: by mx.example.com\n{bare}")).id,
        first
    );
}

#[test]
fn the_line_that_a_mail_server_puts_first_is_left_out() {
    let read = sample(&format!(
        "From ben@example.com Sat Nov 21 18:00:02 2026\n{}",
        mail("", "5")
    ));
    assert_eq!(read.returned, answer("5"));
}

#[test]
fn mails_in_mails_are_not_opened() {
    // Deep enough to overflow the stack of a thread if each were opened and closed inside the other.
    let deep = "Content-Type: message/rfc822\n\n".repeat(100_000);
    let deep = format!("From: ben@example.com\n{deep}");
    assert_eq!(read(deep.as_bytes()).unwrap().returned, answer(""));
    for odd in [
        "Message/RFC822",
        "message/ (c) global",
        "message/ \"rfc822",
        "message/\\global",
        "multipart/digest; boundary=x",
    ] {
        let mail = format!(
            "From: ben@example.com\nContent-Type: {odd}\n\n--x\n\nSubject: inner\n\n5\n--x--\n"
        );
        let flat = flat(mail.as_bytes());
        let parsed = MessageParser::default().parse(&flat).unwrap();
        assert!(
            !parsed
                .parts
                .iter()
                .any(mail_parser::MessagePart::is_message),
            "{odd}"
        );
    }
    // The words of a person stay as they are.
    let words = sample(&mail(
        "",
        "5 the global (new) global digest/report and rfc822 work",
    ));
    assert_eq!(
        words.returned,
        answer("5 the global (new) global digest/report and rfc822 work")
    );
}

#[test]
fn only_some_parts_have_parts() {
    // Each of these parts would be searched to its end for parts of its own.
    let part = "\n--b\nContent-Type: multipart/mixed; boundary=q\n\n";
    let many = format!(
        "From: ben@example.com\nContent-Type: multipart/mixed; boundary=b\n\n{}",
        part.repeat(5_000)
    );
    let flat = String::from_utf8(flat(many.as_bytes())).unwrap();
    assert_eq!(flat.matches("multipart/").count(), MULTIPARTS_MAX);
    assert_eq!(flat.matches("multiparx/").count(), 5_001 - MULTIPARTS_MAX);
    assert_eq!(read(many.as_bytes()).unwrap().returned, answer(""));
}

#[test]
fn a_big_mail_is_read_from_its_start() {
    let big = mail("", &format!("5 fine\n-- \n{}", "x".repeat(3_000_000)));
    assert_eq!(sample(&big).returned, answer("5 fine"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_are_something(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        if let Some(read) = read(&bytes) {
            prop_assert!(!read.id.is_empty() && read.refers_to.len() <= NAMES_MAX);
        }
    }

    /// Pieces of real mails in any order and cut anywhere.
    #[test]
    fn any_pieces_of_mails_are_something(picked in proptest::collection::vec((0..PIECES.len(), 0..200_usize), 0..60)) {
        let text: String = picked.iter().flat_map(|(piece, cut)| {
            let piece = PIECES[*piece];
            piece.chars().take(if *cut < 20 { *cut } else { usize::MAX })
        }).collect();
        if let Some(read) = read(text.as_bytes()) {
            prop_assert!(!read.id.is_empty());
            if let Returned::Answer { words, .. } = read.returned {
                prop_assert!(words.chars().count() <= 4_000);
            }
        }
    }
}

const PIECES: &[&str] = &[
    "From: ben@example.com\n",
    "From: ben@example.com, x@example.com\n",
    "Subject: =?utf-8?Q?=?=\n",
    "Message-ID: <a@b>\n",
    "In-Reply-To: <",
    "Content-Type: multipart/report; boundary=b\n",
    "Content-Type: multipart/alternative; boundary=\"c\"\n",
    "\n--b\n",
    "\n--c\n",
    "\n--b--\n",
    "Content-Type: message/delivery-status\n\n",
    "Content-Type: message/feedback-report\n\n",
    "Content-Type: message/rfc822\n\n",
    "Content-Type: text/html\n\n",
    "Content-Transfer-Encoding: base64\n",
    "Content-Transfer-Encoding: quoted-printable\n",
    "Action: failed\n",
    "Status: 5.1.1\n",
    "Diagnostic-Code: smtp; 5.\n 1.1\n",
    "\n\n",
    "\r\n",
    "> ",
    "<blockquote",
    "On 1 wrote:\n",
    "-- \n",
    "é",
    "\u{0}",
    "From:\nSent:\n",
    "=3D=",
    "4oCL",
    "Content-Type: multipart/digest; boundary=b\n",
    "X-Failed-Recipients: a\n",
    "From: MAILER-DAEMON@x.example\n",
    "\t",
];
