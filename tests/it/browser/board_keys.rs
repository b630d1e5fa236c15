//! The live board by the keyboard alone: signing in, walking over it, following a low score up, choosing a period.

use fantoccini::key::Key;
use serde_json::json;

use super::board_desk::Desk;
use crate::support::browser::{Browser, Look};

const PRINTER: (&str, &str, &str) = ("workplace", "printers", "hardware.swap");
/// What has the focus: its id, or its words. Nothing if nobody can see it.
const FOCUSED: &str = "(() => { const node = document.activeElement; if (node === document.body) return 'page'; const style = getComputedStyle(node.matches('input[type=radio]') ? node.nextElementSibling : node); return style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2 ? `unseen ${node.outerHTML}` : node.id || node.value || node.textContent; })()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_alone_is_enough() {
    let desk = Desk::start().await;
    desk.chatted(PRINTER, 2, "Third time this month.").await;
    let browser = Browser::open(Look::DESKTOP).await;
    browser.goto(&format!("{}/board", desk.sandbox.url)).await;
    let (tab, enter, right) = (
        char::from(Key::Tab),
        char::from(Key::Enter),
        char::from(Key::Right),
    );
    browser.until("document.activeElement.id === 'key'").await;
    let typed: Vec<char> = desk.sandbox.key.chars().chain([enter]).collect();
    browser.keys(&typed).await;
    browser
        .until("document.querySelectorAll('#low .steps button').length === 2")
        .await;

    let mut walked = Vec::new();
    for _ in 0..24 {
        browser.keys(&[tab]).await;
        let at = browser.value(FOCUSED).await.as_str().unwrap().to_owned();
        assert!(!at.starts_with("unseen"), "{at}");
        let end = at == "sign-out";
        walked.push(at);
        if end {
            break;
        }
    }
    let take = walked.iter().position(|at| at.starts_with("Take")).unwrap();
    for stop in [
        "sign-out",
        "today",
        "channel",
        "team",
        "queue",
        "touchpoint",
        "days",
        "funnel",
        "matrix",
    ] {
        // A closed table is passed by; its summary is not.
        let stop = if stop == "days" { "As a table" } else { stop };
        assert!(
            walked.iter().any(|at| at == stop),
            "{stop} is not among {walked:?}"
        );
    }
    assert!(
        walked[take].contains("2 of 5"),
        "which one is taken is said: {}",
        walked[take]
    );

    // Back to the step, and make it: who takes it, that the customer was told, what came of it.
    browser
        .value("document.querySelector('#low .steps button').focus()")
        .await;
    browser.keys(&[enter]).await;
    browser
        .until("document.activeElement.matches('.steps input')")
        .await;
    browser.keys(&['A', 'n', 'a', enter]).await;
    browser
        .until("document.querySelector('#low .flag').textContent === 'Ana has it'")
        .await;
    for (step, words) in [("Customer told", "We called"), ("Close", "New toner")] {
        let button = format!(
            "Array.from(document.querySelectorAll('#low .steps button')).find((one) => one.textContent.startsWith({step:?}))"
        );
        browser.until(&button).await;
        browser.value(&format!("{button}.focus()")).await;
        browser.keys(&[enter]).await;
        browser
            .until("document.activeElement.matches('.steps input')")
            .await;
        let typed: Vec<char> = words.chars().chain([enter]).collect();
        browser.keys(&typed).await;
    }
    browser
        .until("!document.querySelector('#low-none').hidden")
        .await;
    let done = desk.get("/v1/follow-ups?state=closed").await;
    let done = &done["items"][0];
    assert_eq!(
        json!([done["owner"], done["told_note"], done["close_note"]]),
        json!(["Ana", "We called", "New toner"])
    );

    // The arrows choose the period.
    browser
        .value("document.querySelector('[name=period]:checked').focus()")
        .await;
    browser.keys(&[right]).await;
    browser.until("location.search === '?period=7d'").await;
    browser.assert_quiet_console().await;
    desk.sandbox.app.stop().await;
}
