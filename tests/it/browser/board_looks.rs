//! How the board looks on a phone, a tablet, a desktop and a wall, in light and dark: axe finds nothing, nothing sticks out or
//! jumps. Pictures of them all are left in `target/screenshots`.

use serde_json::json;

use super::board_desk::Desk;
use crate::support::browser::{Browser, Look};

const DAY: i64 = 86_400;
/// Who served whom where.
const PLACES: [(&str, &str, &str); 4] = [
    ("network", "vpn", "incident.resolved"),
    ("workplace", "printers", "hardware.swap"),
    ("identity", "accounts", "request.fulfilled"),
    ("workplace", "onboarding", "onboarding.day-one"),
];

/// Two weeks of a small desk.
async fn busy() -> Desk {
    let desk = Desk::start().await;
    for day in 0_usize..14 {
        for n in 0..(3 + day * 5 % 7) {
            let score = [5, 4, 5, 4, 5, 3, 5, 2, 4, 5, 1][(day * 3 + n) % 11];
            desk.chatted(PLACES[(day + n) % 4], score, "").await;
        }
        desk.sandbox.pass(DAY);
    }
    let said = [
        (
            5,
            "Sam stayed on the line until the VPN was up again. Thank you!",
        ),
        (
            2,
            "Third time this month that the printer on floor 2 is down. <b>Please</b> replace it.",
        ),
        (4, "Quick and friendly."),
        (5, "شكراً جزيلاً، حُلّت المشكلة بسرعة"),
        (3, "It works now, but I had to explain it to three people."),
        (1, "Nobody called back."),
        (5, ""),
        (4, ""),
    ];
    for (n, (score, words)) in said.into_iter().enumerate() {
        // The clock stands still here: a jump while a message is on its way would leave its sending in doubt.
        desk.texted(n, PLACES[n % 3], score, words).await;
    }
    for (n, score) in [5, 4, 5, 5, 2, 4, 5].into_iter().enumerate() {
        desk.called(PLACES[n % 4], score).await;
    }
    for n in 0..9 {
        desk.chatted(PLACES[n % 4], [5, 5, 4, 5, 3][n % 5], "")
            .await;
        let mail = format!("ana{n}@example.com");
        desk.tell("email", &mail, PLACES[n % 3]).await;
    }
    desk.tell("sms", "", PLACES[0]).await;
    for _ in 0..2 {
        desk.tell("sms", "+14155550900", PLACES[0]).await;
    }
    desk
}

/// How much the page has moved by itself (web.dev, cumulative layout shift).
const SHIFTED: &str = "(() => { const seen = new PerformanceObserver(() => {}); seen.observe({ type: 'layout-shift', buffered: true }); return seen.takeRecords().filter((one) => !one.hadRecentInput).reduce((sum, one) => sum + one.value, 0); })()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_worth_looking_at() {
    let desk = busy().await;
    for (width, height) in [(360, 740), (768, 1024), (1280, 900), (1920, 1080)] {
        for dark in [false, true] {
            let look = Look {
                width,
                height,
                dark,
                ..Look::DESKTOP
            };
            let browser = Browser::open(look).await;
            browser.goto(&format!("{}/board", desk.sandbox.url)).await;
            browser.until("document.activeElement.id === 'key'").await;
            browser.assert_colours().await;
            browser.assert_fits().await;
            browser.assert_accessible().await;
            browser.shot("board-door").await;
            desk.signed_in(&browser, "").await;
            // Once more: without a click before, everything that moves by itself counts.
            browser.client.refresh().await.unwrap();
            browser
                .until("document.querySelector('#live').dataset.live === 'live' && document.querySelector('#chart canvas')")
                .await;
            browser.idle().await;
            browser.assert_colours().await;
            browser.assert_fits().await;
            let shifted = browser.value(SHIFTED).await.as_f64().unwrap();
            assert!(shifted < 0.02, "{look:?} moved by {shifted}");
            browser.shot("board").await;
            browser.click("#trend-table summary").await;
            browser.assert_accessible().await;
            browser.assert_quiet_console().await;
        }
    }
    desk.sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_shows_all_of_it_without_scrolling() {
    let desk = busy().await;
    for dark in [false, true] {
        let look = Look {
            width: 1920,
            height: 1080,
            dark,
            ..Look::DESKTOP
        };
        let browser = Browser::open(look).await;
        let screen =
            json!({"width": 1920, "height": 1080, "deviceScaleFactor": 1, "mobile": false});
        browser
            .cdp("Emulation.setDeviceMetricsOverride", screen)
            .await;
        desk.signed_in(&browser, "?display=wall&period=7d").await;
        browser
            .until("document.querySelector('#chart canvas')")
            .await;
        let fits = "[document.documentElement.scrollHeight <= innerHeight, getComputedStyle(document.querySelector('#filters')).display, document.querySelectorAll('.card:not([hidden], .door)').length]";
        assert_eq!(browser.value(fits).await, json!([true, "none", 9]));
        // No card is cut off: each ends above the end of the screen.
        let cut = "Array.from(document.querySelectorAll('.board .card')).filter((card) => card.getBoundingClientRect().bottom > innerHeight).length";
        assert_eq!(browser.value(cut).await, 0);
        browser.assert_accessible().await;
        browser.shot("board-wall").await;
    }
    desk.sandbox.app.stop().await;
}
