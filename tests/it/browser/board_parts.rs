//! The parts of the board: each filter gives its figures wherever the day begins, one part that fails takes no other with it, and of
//! many low scores the newest are seen.

use onefive::clock::Clock as _;
use onefive::domain::time::Timestamp;
use serde_json::{Value, json};

use super::board::{PRINTER, VPN, assert_same};
use super::board_desk::Desk;
use crate::support::browser::{Browser, Look};

const HOUR: i64 = 3600;

fn counted(n: usize) -> String {
    format!("document.querySelector('#counts-n').textContent === 'n = {n}'")
}

async fn in_zone(zone: &str) -> Browser {
    let browser = Browser::open(Look::DESKTOP).await;
    let zone = json!({ "timezoneId": zone });
    browser.cdp("Emulation.setTimezoneOverride", zone).await;
    browser
}

/// Chooses in one of the lists, once it is offered there.
async fn pick(browser: &Browser, select: &str, value: &str) {
    let option = format!("#{select} option[value='{value}']");
    browser
        .until(&format!("document.querySelector({option:?})"))
        .await;
    browser.click(&option).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_filter_shows_its_figures_where_the_day_begins_later() {
    let desk = Desk::start().await;
    // It is 13:00 in New York. What is said now and until midnight there is yesterday's, also where it is today's in UTC.
    let midnight = desk.sandbox.clock.now().as_millis() + 11 * HOUR * 1000;
    desk.chatted(VPN, 1, "").await;
    desk.sandbox.pass(21 * HOUR / 2);
    desk.chatted(PRINTER, 1, "").await;
    desk.sandbox.pass(HOUR);
    for (n, score) in [5, 4, 2].into_iter().enumerate() {
        desk.texted(n, VPN, score, "").await;
    }
    desk.chatted(PRINTER, 3, "").await;
    desk.chatted(PRINTER, 5, "").await;
    desk.called(VPN, 4).await;

    let browser = in_zone("America/New_York").await;
    desk.signed_in(&browser, "").await;
    browser.until(&counted(6)).await;
    let scope = browser.text("#scope").await;
    assert!(scope.contains("America/New York"), "{scope}");
    let day = format!(
        "&timezone=America/New_York&from={}",
        Timestamp::from_millis(midnight).to_rfc3339()
    );
    assert_same(&desk, &browser, &day).await;
    for (select, value, n) in [
        ("channel", "sms", 3),
        ("team", "workplace", 2),
        ("queue", "vpn", 4),
        ("touchpoint", "hardware.swap", 2),
    ] {
        pick(&browser, select, value).await;
        browser.until(&counted(n)).await;
        assert_same(&desk, &browser, &format!("{day}&{select}={value}")).await;
        if select == "channel" {
            let reached = browser.text("#response [data-rate=of_reached]").await;
            assert_eq!(reached, "not known", "a text message is never seen read");
        }
        let notes = browser
            .value("document.querySelectorAll('.trouble').length")
            .await;
        assert_eq!(notes, 0, "{select}");
        let days = "document.querySelector('#trend-table tbody tr')";
        browser.until(days).await;
        browser.click("#clear").await;
        browser.until(&counted(6)).await;
    }
    browser.assert_quiet_console().await;
    desk.sandbox.app.stop().await;
}

/// Lets calls fail whose path matches `window.failing`, as the service answers when its database is away.
const FAILING: &str = "(() => { const real = window.fetch; window.fetch = (path, how) => window.failing?.test(path) ? Promise.resolve(new Response(JSON.stringify({ detail: 'Try again later.' }), { status: 503 })) : real(path, how); return true; })()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_fails_takes_no_other_with_it() {
    let desk = Desk::start().await;
    desk.chatted(VPN, 2, "Still broken.").await;
    let browser = Browser::open(Look::DESKTOP).await;
    desk.signed_in(&browser, "").await;
    browser.until(&counted(1)).await;
    browser.value(FAILING).await;
    let noted = "Array.from(document.querySelectorAll('.trouble'), (note) => [note.closest('.card').className, note.textContent])";
    let note = |part: &str, text: &str| json!([format!("card {part}"), text]);
    let (missing, old) = (
        "This part cannot be shown. Try again later.",
        "Not up to date. Try again later.",
    );
    let figures = ["score", "counts", "response", "funnel", "reasons"];
    for (path, parts) in [
        ("^v1.comments", &["words"][..]),
        ("^v1.follow-ups", &["low"]),
        ("group_by=day", &["trend"]),
        ("group_by=touchpoint%2Cchannel", &["matrix"]),
        ("group_by=channel&", &figures),
    ] {
        browser
            .value(&format!("(window.failing = /{path}/, true)"))
            .await;
        // What was not seen before is not shown; what was seen stays, and is said to be old.
        for (period, n, text) in [("Last 7 days", 2, missing), ("Today", 1, old)] {
            browser
                .click(&format!(".period label:nth-of-type({n})"))
                .await;
            browser
                .until(&format!(
                    "document.querySelector('#title').textContent === {period:?} && document.querySelector('.trouble')?.textContent === {text:?}"
                ))
                .await;
            let mut found: Vec<Value> = serde_json::from_value(browser.value(noted).await).unwrap();
            let mut expected: Vec<Value> = parts.iter().map(|part| note(part, text)).collect();
            for list in [&mut found, &mut expected] {
                list.sort_by_key(ToString::to_string);
            }
            assert_eq!(found, expected, "{path}");
            let live = browser
                .value("document.querySelector('#live').dataset.live")
                .await;
            assert_eq!(live, "live", "{path}");
            if text == missing {
                browser.assert_accessible().await;
                browser.shot("board-trouble").await;
            }
        }
        browser.value("(window.failing = null, true)").await;
        browser.click(".period label:nth-of-type(2)").await;
        browser
            .until("!document.querySelector('.trouble') && document.querySelector('#title').textContent === 'Last 7 days' && document.querySelector('#words blockquote') && document.querySelector('#low li')")
            .await;
        browser.until(&counted(1)).await;
        browser.click(".period label:nth-of-type(1)").await;
        browser
            .until("document.querySelector('#title').textContent === 'Today' && !document.querySelector('.trouble')")
            .await;
        // The next period is one that was not seen last.
        browser.idle().await;
    }

    // All of it away: the numbers stay.
    browser.value("(window.failing = /^v1/, true)").await;
    browser.click(".period label:nth-of-type(2)").await;
    browser
        .until("document.querySelector('#live-text').textContent === 'Service in trouble'")
        .await;
    browser.until(&counted(1)).await;
    browser.assert_quiet_console().await;
    desk.sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_low_scores_the_newest_are_seen() {
    let desk = Desk::start().await;
    desk.chatted(PRINTER, 2, "The oldest.").await;
    desk.sandbox.pass(HOUR);
    for _ in 0..200 {
        desk.chatted(VPN, 1, "").await;
    }
    desk.sandbox.pass(HOUR);
    desk.chatted(VPN, 1, "The newest.").await;
    let browser = in_zone("UTC").await;
    desk.signed_in(&browser, "").await;
    browser
        .until("document.querySelector('#low li blockquote')?.textContent === 'The newest.'")
        .await;
    let clock = desk.sandbox.clock.now().as_millis() - 2 * HOUR * 1000;
    let oldest = &Timestamp::from_millis(clock).to_rfc3339()[11..16];
    assert_eq!(
        browser.text("#low-n").await,
        format!("200 and more open, the oldest since {oldest}")
    );
    // The part that is chosen is looked for among all of them.
    pick(&browser, "team", "workplace").await;
    browser
        .until("document.querySelectorAll('#low li').length === 1 && document.querySelector('#low blockquote')?.textContent === 'The oldest.'")
        .await;
    assert_eq!(
        browser.text("#low-n").await,
        format!("1 open, the oldest since {oldest}")
    );
    desk.sandbox.app.stop().await;
}
