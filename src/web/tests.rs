//! The pages render, keep foreign texts harmless, and need nothing that a strict content security policy forbids.

use askama::Template;

use super::*;

const TEMPLATES: &[&str] = &[
    include_str!("customer.html"),
    include_str!("docs.html"),
    include_str!("message.html"),
    include_str!("opt_out.html"),
    include_str!("rating.html"),
    include_str!("sandbox.html"),
];

fn page<'a>(title: &'a str, desk: &'a str) -> Page<'a> {
    Page {
        base: "/rate",
        lang: "en",
        dir: "ltr",
        title,
        desk,
    }
}

fn texts() -> PageTexts<'static> {
    PageTexts {
        comment_label: "Anything to add? (optional)",
        send: "Send",
        sending: "Sending…",
        thanks: "Thank you!",
        your_answer: "Your answer:",
        change: "You can still change it or add a few words.",
        closed: "This question is closed",
        error: "Your answer could not be saved.",
        offline: "You are offline.",
        retry: "Try again",
        opt_out: "Stop these questions",
    }
}

fn rating(state: RatingState<'_>, chosen: Option<u8>) -> String {
    let page = RatingPage {
        page: page("Your rating", "Northwind <script>alert(1)</script>"),
        agent: "Sam \"the fix\" <b>",
        question: "How was it?",
        scale: ["Very poor", "Poor", "Fair", "Good", "Excellent"],
        token: "tok",
        view: "once",
        auto_seconds: 10,
        chosen,
        state,
        opt_out: "/u/tok",
        texts: texts(),
    };
    page.render().unwrap()
}

fn every_page() -> Vec<String> {
    let texts = OptOutTexts {
        explain: "We will not ask again.",
        confirm: "Stop asking",
        done: "Done.",
    };
    vec![
        rating(RatingState::Open, None),
        rating(
            RatingState::Answered {
                score: 4,
                comment: "Quick",
                can_correct: true,
            },
            None,
        ),
        rating(
            RatingState::Answered {
                score: 4,
                comment: "Quick",
                can_correct: false,
            },
            None,
        ),
        rating(RatingState::Closed, None),
        MessagePage {
            page: page("Not found", ""),
            body: "The link may be old.",
        }
        .render()
        .unwrap(),
        OptOutPage {
            page: page("Stop?", "Northwind"),
            token: "tok",
            view: "once",
            done: false,
            texts,
        }
        .render()
        .unwrap(),
        OptOutPage {
            page: page("Stop?", "Northwind"),
            token: "tok",
            view: "",
            done: true,
            texts,
        }
        .render()
        .unwrap(),
        SandboxPage { base: "/rate" }.render().unwrap(),
        DocsPage.render().unwrap(),
    ]
}

/// The tags of a page, each without its brackets.
fn tags(html: &str) -> Vec<String> {
    html.split('<')
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
        .map(|(tag, _)| tag.to_ascii_lowercase())
        .collect()
}

/// The names of the attributes of a tag.
fn attributes(tag: &str) -> Vec<String> {
    let outside_quotes: String = tag.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    outside_quotes
        .split_whitespace()
        .skip(1)
        .map(|name| name.trim_end_matches('=').to_owned())
        .collect()
}

#[test]
fn foreign_texts_cannot_become_html() {
    let html = rating(
        RatingState::Answered {
            score: 2,
            comment: "</textarea><script>",
            can_correct: true,
        },
        None,
    );
    assert!(
        !html.contains("<script>") && !html.contains("</textarea><") && !html.contains("<b>\"")
    );
    assert_eq!(html.matches("</textarea>").count(), 1);
    assert_eq!(
        tags(&html)
            .iter()
            .filter(|tag| tag.starts_with("script"))
            .count(),
        1
    );
}

#[test]
fn pages_hold_no_inline_script_style_or_handler() {
    for html in every_page() {
        for tag in tags(&html) {
            assert!(!tag.starts_with("style"), "{tag}");
            assert!(!tag.starts_with("script") || tag.contains("src="), "{tag}");
            for name in attributes(&tag) {
                assert!(
                    name != "style" && !name.starts_with("on") && name != "srcdoc",
                    "{name} in {tag}"
                );
            }
        }
    }
}

#[test]
fn pages_and_styles_load_nothing_from_elsewhere() {
    for text in TEMPLATES.iter().copied().chain(
        ASSETS
            .iter()
            .filter(|a| a.content_type == CSS)
            .map(|a| a.body),
    ) {
        assert!(
            !text.contains("http://")
                && !text.contains("https://")
                && !text.contains("=\"//")
                && !text.contains("@import")
        );
    }
}

#[test]
fn every_asset_is_there_and_every_reference_to_one_holds() {
    assert!(ASSETS.iter().all(|asset| !asset.body.trim().is_empty()));
    for html in every_page() {
        let references: Vec<&str> = ["\"/rate/assets/", "\"docs/"]
            .iter()
            .flat_map(|folder| html.split(folder).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!references.is_empty());
        for reference in references {
            let (name, version) = reference.split_once("?v=").unwrap();
            assert_eq!(asset_version(name), Some(version), "{reference}");
            assert_eq!(version.len(), 16);
        }
    }
    assert!(asset("base.css").is_some() && asset("../Cargo.toml").is_none());
}

#[test]
fn every_address_of_a_page_starts_with_the_base() {
    for html in every_page() {
        for tag in tags(&html) {
            for part in ["href=\"/", "src=\"/", "action=\"/"] {
                if let Some((_, address)) = tag.split_once(part) {
                    assert!(address.starts_with("rate/"), "{tag}");
                }
            }
        }
    }
}

#[test]
fn the_chosen_score_is_checked_and_no_other() {
    let checked = |html: &str| {
        tags(html)
            .into_iter()
            .filter(|tag| tag.ends_with(" checked"))
            .collect::<Vec<_>>()
    };
    assert!(checked(&rating(RatingState::Open, None)).is_empty());
    let four = checked(&rating(RatingState::Open, Some(4)));
    assert!(four.len() == 1 && four[0].contains("value=\"4\""));
    let answered = checked(&rating(
        RatingState::Answered {
            score: 2,
            comment: "",
            can_correct: true,
        },
        Some(5),
    ));
    assert!(answered.len() == 1 && answered[0].contains("value=\"2\""));
}

#[test]
fn only_a_page_that_takes_answers_has_a_form() {
    let open = rating(RatingState::Open, None);
    assert!(
        open.contains("method=\"post\" action=\"/rate/r/tok\"")
            && open.contains("name=\"view\" value=\"once\"")
    );
    assert_eq!(
        tags(&open)
            .iter()
            .filter(|tag| tag.contains("type=\"radio\""))
            .count(),
        5
    );
    for state in [
        RatingState::Closed,
        RatingState::Answered {
            score: 4,
            comment: "Quick",
            can_correct: false,
        },
    ] {
        assert!(!rating(state, Some(4)).contains("<form"));
    }
}

#[test]
fn customer_pages_are_not_indexed_and_give_no_referrer() {
    for html in every_page().iter().take(7) {
        assert!(
            html.contains("content=\"noindex, nofollow\"")
                && html.contains("name=\"referrer\" content=\"no-referrer\"")
        );
    }
}
