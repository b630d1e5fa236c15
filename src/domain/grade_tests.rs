//! Each sign by itself: seen where it should be, not where it should not, and missed once it is gone from the table.

use super::*;
use crate::domain::id::ViewId;

const PERSON: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const SENT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A showing of a score so many milliseconds after sending.
fn view(n: u8, kind: ViewKind, score: i64, after_ms: i64) -> View {
    let at = SENT.plus_millis(after_ms);
    View {
        id: ViewId::new(at, [n; 10]),
        at,
        kind,
        score: Score::try_from(score).ok(),
        network: [1; 16],
        cookie: [n; 16],
        more: 0,
    }
}

/// What a lone person gives: one showing an hour after the mail, posted ten seconds later.
struct Case {
    views: Vec<View>,
    recorded: bool,
    client: Client,
    agent: &'static str,
    noticed: &'static str,
    posted_ms: i64,
}

const HOUR: i64 = 3_600_000;

fn person() -> Case {
    Case {
        views: vec![view(1, ViewKind::Page, 4, HOUR)],
        recorded: true,
        client: Client {
            network: [1; 16],
            cookie: None,
        },
        agent: PERSON,
        noticed: "",
        posted_ms: 10_000,
    }
}

impl Case {
    fn seen(&self) -> Vec<&'static Sign> {
        let view = self.recorded.then(|| &self.views[0]);
        let opened_at = self.views[0].at;
        signs(&Facts {
            views: if self.recorded { &self.views } else { &[] },
            client: self.client,
            view,
            opened_at,
            arrived_at: &[SENT],
            agent: self.agent,
            noticed: self.noticed,
            posted_at: opened_at.plus_millis(self.posted_ms),
        })
    }

    fn names(&self) -> String {
        names(&self.seen())
    }

    fn with(mut self, more: impl IntoIterator<Item = View>) -> Self {
        self.views.extend(more);
        self
    }
}

#[test]
fn a_lone_person_gives_no_sign() {
    let case = person();
    assert_eq!(case.names(), "");
    assert_eq!(grade(Proof::Event, &case.seen()), Grade::Tap);
    assert_eq!(grade(Proof::Form, &case.seen()), Grade::Tap);
    assert_eq!(grade(Proof::Nothing, &case.seen()), Grade::Auto);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, one row a sign")]
fn every_sign_is_seen_in_its_case_and_only_there() {
    let page = |n, score, after| view(n, ViewKind::Page, score, after);
    let cases: Vec<(&str, Case)> = vec![
        (
            "several_scores",
            person().with([page(2, 1, HOUR - 9_000), page(3, 5, HOUR + 9_000)]),
        ),
        (
            "several_scores",
            person().with((1..4).map(|n| page(n + 1, i64::from(n), HOUR - 20_000 * i64::from(n)))),
        ),
        ("two_scores", person().with([page(2, 1, HOUR - 9_000)])),
        (
            "trap",
            person().with([view(2, ViewKind::Trap, 0, HOUR + 1)]),
        ),
        (
            "storm",
            person().with([View {
                more: 18,
                ..page(2, 4, 60_000)
            }]),
        ),
        (
            "head",
            person().with([view(2, ViewKind::Head, 4, HOUR - 1)]),
        ),
        (
            "webdriver",
            Case {
                noticed: "webdriver",
                ..person()
            },
        ),
        (
            "headless",
            Case {
                agent: "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/140.0.0.0",
                ..person()
            },
        ),
        (
            "program",
            Case {
                agent: "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
                ..person()
            },
        ),
        (
            "blind",
            Case {
                noticed: "blind",
                ..person()
            },
        ),
        (
            "early",
            Case {
                views: vec![page(1, 4, 9_999)],
                ..person()
            },
        ),
        (
            "fast",
            Case {
                posted_ms: 999,
                ..person()
            },
        ),
        (
            "unrecorded",
            Case {
                recorded: false,
                ..person()
            },
        ),
    ];
    for (name, case) in &cases {
        assert_eq!(case.names(), *name);
        let weight = case.seen()[0].weight;
        let expected = match weight {
            Weight::Strong => Grade::Suspect,
            Weight::Weak => Grade::Tap,
        };
        assert_eq!(grade(Proof::Event, &case.seen()), expected, "{name}");
        for proof in [Proof::Form, Proof::Nothing] {
            assert_eq!(grade(proof, &case.seen()), Grade::Suspect, "{name}");
        }
        assert_eq!(
            is_wish(Proof::Form, &case.seen()),
            weight == Weight::Weak,
            "{name}"
        );
        let of_browser = ["webdriver", "headless", "program"].contains(name);
        assert_eq!(is_wish(Proof::Event, &case.seen()), !of_browser, "{name}");
    }
    for sign in SIGNS {
        assert!(
            cases.iter().any(|(name, _)| *name == sign.name),
            "{} has no case",
            sign.name
        );
    }
}

#[test]
fn two_weak_signs_outweigh_an_event() {
    let case = Case {
        noticed: "blind",
        posted_ms: 0,
        ..person()
    };
    assert_eq!(grade(Proof::Event, &case.seen()), Grade::Suspect);
    assert!(is_wish(Proof::Form, &case.seen()));
    assert!(!is_wish(Proof::Nothing, &[]));
}

#[test]
fn what_others_did_is_no_sign_against_a_person() {
    let scanner = |n: u8| View {
        network: [9; 16],
        ..view(n, ViewKind::Page, i64::from(n - 1), HOUR + i64::from(n))
    };
    let case = person().with((2..7).map(scanner));
    assert_eq!(case.names(), "");
    // In the same office with the same browser: the cookie tells them apart.
    let office = |n: u8| View {
        network: [1; 16],
        ..scanner(n)
    };
    let mut case = person().with((2..7).map(office));
    assert_eq!(case.names(), "several_scores");
    case.client.cookie = Some([1; 16]);
    assert_eq!(case.names(), "");
    // A mistake a minute ago is none.
    let case = person().with([view(2, ViewKind::Page, 1, HOUR - 60_000)]);
    assert_eq!(case.names(), "");
}

#[test]
fn the_forms_own_word_is_weaker_than_an_event() {
    for (word, proof) in [
        ("pointer", Proof::Event),
        ("touch", Proof::Event),
        ("key", Proof::Event),
        ("scroll", Proof::Event),
        ("button", Proof::Form),
        ("none", Proof::Nothing),
        ("", Proof::Nothing),
        ("POINTER", Proof::Nothing),
    ] {
        assert_eq!(Proof::parse(word), proof, "{word}");
    }
}

#[test]
fn settings_have_bounds() {
    let good = AnswerSettings::default();
    assert!(good.check("answers.").is_ok());
    assert_eq!(good.window_ms(7), 7);
    let long = AnswerSettings {
        correction_minutes: Some(1441),
        ..good.clone()
    };
    assert_eq!(
        long.check("answers.").unwrap_err().field,
        "answers.correction_minutes"
    );
    let fast = AnswerSettings {
        auto_seconds: 4,
        ..good.clone()
    };
    assert_eq!(
        fast.check("answers.").unwrap_err().field,
        "answers.auto_seconds"
    );
    let short = AnswerSettings {
        correction_minutes: Some(0),
        ..good
    };
    assert_eq!(short.window_ms(7), 0);
}
