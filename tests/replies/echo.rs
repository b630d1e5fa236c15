//! Our own texts come back: quoted by a phone that says "liked", copied, or forwarded. No text of ours, in any language, may read as
//! a wish or as a rating.

use std::fmt::Write as _;

use onefive::channel::reading;
use onefive::channel::wording::{self, Wording};
use onefive::domain::reply::Understood;

/// How phones tell of a reaction, the message in place of `{}`.
const REACTIONS: &[&str] = &[
    "Liked “{}”",
    "Loved “{}”",
    "Disliked “{}”",
    "Laughed at “{}”",
    "Emphasized “{}”",
    "Questioned “{}”",
    "Reacted 👍 to “{}”",
    "Removed a like from “{}”",
    "👍 to “{}”",
    "\u{200a}❤️\u{200a} to “{}”",
    "Gefällt „{}“",
    "Hat „{}“ geliebt",
    "A aimé « {} »",
    "Le gustó “{}”",
    "Curtiu “{}”",
    "Vond “{}” leuk",
    "Ha messo Mi piace a “{}”",
    // Long messages are cut.
    "Liked “{}…",
];

/// Every text that is sent as a message, for each score.
fn messages(words: &Wording) -> Vec<String> {
    let sms = &words.sms;
    let plain = [
        &sms.ask_agent,
        &sms.ask_agent_short,
        &sms.ask_desk,
        &sms.ask_short,
        &sms.thanks_comment,
        &sms.thanks_full,
        &sms.clarify,
        &sms.stopped,
        &sms.started,
        &sms.help,
        &words.email.subject,
        &words.email.greeting,
        &words.email.greeting_name,
        &words.email.instruction,
        &words.email.footer,
        &words.email.opt_out,
        &words.chat.comment_label,
        &words.chat.thanks,
    ];
    let names = [("desk", "Acme IT"), ("agent", "Sam"), ("contact", "Ana")];
    let mut all: Vec<String> = plain
        .into_iter()
        .map(|text| wording::fill(text, &names))
        .collect();
    for score in 1..=5 {
        for text in [&sms.thanks_invite, &sms.thanks_correction] {
            all.push(words.with_score(text, score));
        }
    }
    for question in [&words.email.question, &words.chat.question] {
        all.extend(["", "Sam"].map(|agent| question.about(agent, "Acme IT")));
    }
    all
}

#[test]
fn no_text_of_ours_reads_as_a_wish_or_a_rating() {
    let mut wrong = String::new();
    for words in wording::all() {
        for text in messages(words) {
            for reply in [
                text.clone(),
                format!("\"{text}\""),
                format!("“{text}”"),
                format!("> {text}"),
                format!("Fwd: {text}"),
            ] {
                let read = reading::text(&reply);
                if !matches!(read, Understood::Words(_)) {
                    let _ = writeln!(wrong, "{}: {reply:?} is {read:?}", words.tag);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_reaction_to_a_text_of_ours_says_nothing() {
    let mut wrong = String::new();
    for words in wording::all() {
        for text in messages(words) {
            for reaction in REACTIONS {
                let reply = reaction.replace("{}", &text);
                let read = reading::text(&reply);
                if read != Understood::Reaction {
                    let _ = writeln!(wrong, "{}: {reply:?} is {read:?}", words.tag);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn words_beside_a_quotation_are_not_lost() {
    for reply in [
        "Loved “Sam”, 5",
        "I liked “your service” and Sam",
        "“Press 4” does not work",
        "Liked it",
        "👍 “great” 4",
        "You wrote “STOP” but nothing happened",
    ] {
        assert_ne!(reading::text(reply), Understood::Reaction, "{reply}");
    }
}
