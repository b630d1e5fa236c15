//! Chromium as a link scanner, with and without the page's scripts, and then a person: only the person's rating counts.

use crate::support::browser::{Browser, Look};
use crate::support::sandbox::Sandbox;

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The scanner opens all five links, worst first.
    Up,
    /// The same, best first.
    Down,
    /// The scanner opens one link.
    One,
    /// The scanner fetches every link of its page.
    Follow,
    /// The scanner submits the form of its page by a script.
    Submit,
    /// The scanner clicks the page's button by a script.
    Script,
    /// The scanner presses the page's button as its driver lets it: for the page a trusted event.
    Press,
    /// The person opens the link with 4 chosen.
    Open,
    /// The person touches the page.
    Touch,
    /// So many seconds pass.
    Wait(i64),
}

use Step::{Down, Follow, One, Open, Press, Script, Submit, Touch, Up, Wait};

const ORDERS: &[&[Step]] = &[
    &[Up, Wait(12), Submit, Wait(600), Open, Wait(3), Touch],
    &[Down, Wait(12), Submit, Wait(600), Open, Wait(3), Touch],
    &[Up, Wait(12), Script, Wait(600), Open, Wait(3), Touch],
    &[Down, Wait(12), Press, Wait(600), Open, Wait(3), Touch],
    &[
        One,
        Follow,
        Wait(12),
        Submit,
        Wait(600),
        Open,
        Wait(3),
        Touch,
    ],
    &[One, Wait(12), Press, Wait(600), Open, Wait(3), Touch],
    &[Up, Wait(600), Open, Wait(3), Touch, Wait(1), Submit],
    &[Down, Wait(600), Open, Wait(3), Touch, Wait(1), Press],
    &[One, Wait(600), Open, Wait(3), Touch, Wait(1), Submit],
    &[Open, Wait(3), Touch, Down, Wait(1), Press],
    &[Open, Up, Wait(3), Submit, Touch],
    &[Open, Wait(3), Down, Follow, Press, Touch],
    &[Up, Open, Wait(3), Script, Touch, Up, Wait(3), Press],
    &[
        One,
        Submit,
        One,
        Wait(5),
        Press,
        Open,
        Wait(3),
        Touch,
        Down,
        Press,
    ],
];

struct Scene<'a> {
    sandbox: &'a Sandbox,
    scanner: &'a Browser,
    person: &'a Browser,
    page: String,
}

impl Scene<'_> {
    async fn step(&self, step: Step) {
        let scan = async |score: i64| self.scanner.goto(&format!("{}?s={score}", self.page)).await;
        // A form that is posted is answered by a page, unless the page's script took it.
        let run = async |script: &str| {
            let script = format!(
                "(() => {{ const form = document.getElementById('rating'); if (form) {script}; return true; }})()"
            );
            self.scanner.value(&script).await;
            self.scanner
                .until("document.readyState === 'complete'")
                .await;
        };
        match step {
            Up => {
                for score in 1..=5 {
                    scan(score).await;
                }
            }
            Down => {
                for score in (1..=5).rev() {
                    scan(score).await;
                }
            }
            One => scan(1).await,
            Follow => {
                let fetched = "const done = arguments[0]; Promise.all(Array.from(document.links, (link) => fetch(link.href))).then((all) => done(all.length))";
                let links = self.scanner.client.execute_async(fetched, vec![]).await;
                assert!(links.unwrap().as_i64().unwrap() >= 2);
            }
            Submit => run("HTMLFormElement.prototype.submit.call(form)").await,
            Script => run("form.querySelector('button').click()").await,
            Press => {
                if self
                    .scanner
                    .value("document.querySelectorAll('#rating button').length")
                    .await
                    == 1
                {
                    self.scanner.click("#rating button").await;
                    self.scanner
                        .until("document.readyState === 'complete'")
                        .await;
                }
            }
            Open => self.person.goto(&format!("{}?s=4", self.page)).await,
            Touch => {
                self.person.click(".question").await;
                self.person
                    .until("document.querySelector('#note[data-kind=ok] strong')")
                    .await;
            }
            Wait(seconds) => self.sandbox.pass(seconds),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_order_only_the_persons_rating_counts() {
    let sandbox = Sandbox::start().await;
    let mut told = 0;
    for scripts in [true, false] {
        let look = Look::DESKTOP.driven();
        let scanner = Browser::open(if scripts {
            look
        } else {
            look.without_javascript()
        });
        let scanner = scanner.await;
        let person = Browser::open(Look::PHONE).await;
        for order in ORDERS {
            let scene = Scene {
                sandbox: &sandbox,
                scanner: &scanner,
                person: &person,
                page: sandbox.rating_page().await,
            };
            for step in *order {
                scene.step(*step).await;
            }
            told += 1;
            let right = "select count(*) from ratings where score = 4 and grade = 'tap'";
            let count = sandbox.database.number(right).await;
            let all = sandbox
                .database
                .number("select count(*) from ratings")
                .await;
            assert_eq!((count, all), (told, told), "{order:?}, scripts {scripts}");
        }
    }
    let changed = "select count(*) from events where kind = 'rating.changed'";
    assert_eq!(sandbox.database.number(changed).await, 0);
    let held = "select count(*) from replies where grade in ('auto', 'suspect')";
    assert!(
        sandbox.database.number(held).await >= 12,
        "the scanners did post"
    );
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_cookies_blocked_a_person_answers_and_corrects() {
    let sandbox = Sandbox::start().await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(Look::DESKTOP.without_cookies()).await;
    browser.goto(&format!("{page}?s=2")).await;
    let kept = browser.client.get_all_cookies().await.unwrap();
    assert!(kept.is_empty(), "{kept:?}");
    sandbox.pass(3);
    browser.click(".question").await;
    browser
        .until("document.querySelector('#note[data-kind=ok] strong')")
        .await;
    browser.goto(&format!("{page}?s=5")).await;
    sandbox.pass(3);
    browser.click("input[value='5']").await;
    browser
        .until("document.querySelector('#note').textContent.includes('5 (excellent)') || document.querySelector('#note').textContent.includes('5 excellent')")
        .await;
    let right = (5, "tap".to_owned(), String::new());
    assert_eq!(sandbox.rating().await, Some(right));
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_shown_and_not_touched_says_so_and_a_touch_still_answers() {
    let sandbox = Sandbox::start().await;
    let set = "update desks set settings = '{\"answers\":{\"auto_seconds\":5}}' returning 1";
    sandbox.database.number(set).await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(Look::PHONE).await;
    browser.goto(&format!("{page}?s=4")).await;
    sandbox.pass(6);
    let before = browser
        .value("document.querySelector('[name=view]').value")
        .await;
    browser
        .until(&format!(
            "document.querySelector('[name=view]').value !== {before}"
        ))
        .await;
    let kept = "select count(*) from replies where grade = 'auto' and score = 4";
    assert_eq!(sandbox.database.number(kept).await, 1);
    assert_eq!(sandbox.rating().await, None);
    assert_eq!(browser.text("#note").await, "", "nobody is disturbed");
    browser.click(".question").await;
    browser
        .until("document.querySelector('#note[data-kind=ok] strong')")
        .await;
    let right = (4, "tap".to_owned(), String::new());
    assert_eq!(sandbox.rating().await, Some(right));
    browser.assert_quiet_console().await;
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_that_submits_the_opt_out_page_opts_nobody_out() {
    let sandbox = Sandbox::start().await;
    let page = Sandbox::opt_out_page(&sandbox.rating_page().await);
    let browser = Browser::open(Look::DESKTOP).await;
    let opted = "select count(*) from opt_outs";
    // Nothing gives this browser away but that no person pressed.
    for script in [
        "form.submit()",
        "form.querySelector('button').click()",
        "form.requestSubmit()",
    ] {
        browser.goto(&page).await;
        sandbox.pass(5);
        let run = format!(
            "(() => {{ const form = document.getElementById('opt-out'); window.stays = 1; {script}; return true; }})()"
        );
        browser.value(&run).await;
        browser
            .until("!window.stays && document.readyState === 'complete' && document.getElementById('opt-out')")
            .await;
        assert_eq!(sandbox.database.number(opted).await, 0, "{script}");
    }
    // A trusted press of a driven browser does not count either.
    drop(browser);
    let driven = Browser::open(Look::DESKTOP.driven()).await;
    driven.goto(&page).await;
    sandbox.pass(5);
    driven.value("window.stays = 1").await;
    driven.click("main button").await;
    driven
        .until("!window.stays && document.readyState === 'complete' && document.getElementById('opt-out')")
        .await;
    assert_eq!(sandbox.database.number(opted).await, 0);
    driven.assert_quiet_console().await;
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driven_browser_in_disguise_is_told_by_its_own_word() {
    let sandbox = Sandbox::start().await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(Look::DESKTOP.driven().disguised()).await;
    browser.goto(&format!("{page}?s=4")).await;
    sandbox.pass(5);
    browser.click(".question").await;
    browser
        .until("document.querySelector('#note[data-kind=ok] strong')")
        .await;
    let kept = "select count(*) from replies where grade = 'suspect' and signs = 'webdriver'";
    assert_eq!(sandbox.database.number(kept).await, 1);
    assert_eq!(sandbox.rating().await, None);
    sandbox.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_the_trap_or_reaches_it_by_keyboard() {
    let sandbox = Sandbox::start().await;
    let page = sandbox.rating_page().await;
    let browser = Browser::open(Look::DESKTOP).await;
    browser.goto(&page).await;
    let trap = "document.querySelector('a[rel=nofollow]')";
    let place = format!("{trap}.getClientRects().length + {trap}.textContent.length");
    assert_eq!(browser.value(&place).await, 0);
    let tab = char::from(fantoccini::key::Key::Tab);
    let mut reached = Vec::new();
    for _ in 0..8 {
        browser.keys(&[tab]).await;
        let focus =
            browser.value("document.activeElement.tagName + (document.activeElement.rel || '')");
        reached.push(focus.await);
    }
    assert!(reached.iter().any(|name| name == "BUTTON"), "{reached:?}");
    assert!(
        !reached.iter().any(|name| name == "Anofollow"),
        "{reached:?}"
    );
    let trapped = "select count(*) from views where kind = 'trap'";
    assert_eq!(sandbox.database.number(trapped).await, 0);
    sandbox.app.stop().await;
}
