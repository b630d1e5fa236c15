//! Scanners and a person at one link, in every order that we could think of: only the person's rating counts.

use crate::story;
use crate::support::database::Database;
use crate::support::stage::Stage;
use crate::support::surfer::{BROWSER, DISGUISE, Page, Surfer};
use onefive::domain::token::LinkLength;

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The scanner opens all five links, worst first.
    Up,
    /// The same, best first.
    Down,
    /// The scanner asks for the headers of all five.
    Heads,
    /// The scanner follows the link that nobody sees.
    Trap,
    /// The scanner posts the form of each page that it opened.
    PostAll,
    /// The scanner posts the form of the page that it opened last.
    PostLast,
    /// The same as its script would say it after an event.
    TapLast,
    /// The person opens the link.
    Open,
    /// The person presses the button: 4.
    Press,
    /// So many seconds pass.
    Wait(i64),
}

use Step::{Down, Heads, Open, PostAll, PostLast, Press, TapLast, Trap, Up, Wait};

const ORDERS: &[&[Step]] = &[
    // Before the person.
    &[Up, Wait(12), PostAll, Wait(600), Open, Wait(5), Press],
    &[Down, Wait(12), PostAll, Wait(600), Open, Wait(5), Press],
    &[Up, Wait(12), PostLast, Wait(600), Open, Wait(5), Press],
    &[Down, TapLast, Wait(600), Open, Wait(5), Press],
    &[
        Heads,
        Up,
        Wait(12),
        PostAll,
        Wait(600),
        Open,
        Wait(5),
        Press,
    ],
    &[
        Up,
        Trap,
        Wait(30),
        PostLast,
        Wait(600),
        Open,
        Wait(5),
        Press,
    ],
    // After the person.
    &[Up, Wait(600), Open, Wait(5), Press, Wait(1), PostAll],
    &[
        Down,
        Wait(600),
        Open,
        Wait(5),
        Press,
        Wait(60),
        PostAll,
        Up,
        PostAll,
    ],
    &[Open, Wait(5), Press, Up, Wait(5), PostAll],
    &[Open, Wait(5), Press, Heads, Down, Trap, TapLast],
    &[Up, Wait(600), Open, Wait(5), Press, Wait(1), TapLast],
    // Between the person's opening and pressing.
    &[Open, Up, Wait(5), PostAll, Press],
    &[Open, Wait(2), Down, Wait(2), PostLast, Wait(2), Press],
    &[Up, Open, Wait(5), TapLast, Press, PostAll],
    &[
        Heads,
        Open,
        Wait(3),
        Up,
        Trap,
        Wait(3),
        PostAll,
        Press,
        PostAll,
    ],
    // At the same moment, and again and again.
    &[
        Up,
        Open,
        Down,
        Wait(5),
        Press,
        PostAll,
        Wait(60),
        Up,
        PostAll,
    ],
    &[
        Up,
        PostAll,
        Down,
        PostAll,
        Up,
        PostAll,
        Wait(120),
        Open,
        Wait(3),
        Press,
        PostAll,
    ],
    // A scanner that takes one link only, once by the trap and once by what it asks for.
    &[Trap, Wait(100), Open, Wait(5), Press, TapLast],
];

struct Scene<'a> {
    stage: &'a Stage,
    url: String,
    scanner: Surfer,
    person: Surfer,
    scanned: Vec<(String, Page)>,
    page: Option<Page>,
}

impl Scene<'_> {
    async fn scan(&mut self, scores: impl IntoIterator<Item = u8>) {
        for score in scores {
            let page = self.scanner.open(&format!("{}?s={score}", self.url)).await;
            self.scanned.push((score.to_string(), page));
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Up => self.scan(1..=5).await,
            Down => self.scan((1..=5).rev()).await,
            Heads => {
                for score in 1..=5 {
                    let url = format!("{}?s={score}", self.url);
                    assert_eq!(self.scanner.head(&url).await.status, 200);
                }
            }
            Trap => {
                let page = self.scanner.open(&format!("{}?s=1", self.url)).await;
                let hidden = page
                    .answer
                    .body
                    .split("rel=\"nofollow\" hidden")
                    .next()
                    .unwrap();
                let path = hidden
                    .rsplit_once("href=\"")
                    .unwrap()
                    .1
                    .trim_end()
                    .trim_end_matches('"');
                let trapped = self
                    .scanner
                    .open(&format!("{}{path}", self.stage.url))
                    .await;
                assert_eq!(trapped.answer.status, 404);
                self.scanned.push(("1".to_owned(), page));
            }
            PostAll => {
                for (score, page) in &self.scanned {
                    self.scanner.press(page, score).await;
                }
            }
            PostLast => {
                let (score, page) = self.scanned.last().unwrap();
                self.scanner.press(page, score).await;
            }
            TapLast => {
                let (score, page) = self.scanned.last().unwrap();
                self.scanner.tap(page, score, "pointer").await;
            }
            Open => self.page = Some(self.person.open(&format!("{}?s=4", self.url)).await),
            Press => {
                let page = self.page.as_ref().unwrap();
                assert!(self.person.press(page, "4").await, "the person is thanked");
            }
            Wait(seconds) => self.stage.pass(seconds),
        }
    }
}

story!(
    in_every_order_only_the_persons_rating_counts,
    async |database: Database| {
        let stage = Stage::start(database).await;
        for (n, order) in ORDERS.iter().enumerate() {
            // Each order once with a scanner that keeps cookies and once with one that does not.
            for keeps in [true, false] {
                let to = format!("ana{n}{keeps}@example.com");
                let id = stage.ask("email", &to, &format!("T-{n}-{keeps}")).await;
                stage.deliver().await;
                stage.pass(15);
                let token = stage
                    .app
                    .journey
                    .mint
                    .link(id.parse().unwrap(), LinkLength::Full);
                let mut scene = Scene {
                    stage: &stage,
                    url: format!("{}/r/{token}", stage.url),
                    scanner: if keeps {
                        Surfer::new(DISGUISE)
                    } else {
                        Surfer::without_cookies(DISGUISE)
                    },
                    person: Surfer::new(BROWSER),
                    scanned: Vec::new(),
                    page: None,
                };
                for step in *order {
                    scene.step(*step).await;
                }
                let rating = &stage.request(&id).await["rating"];
                assert_eq!(
                    (rating["score"].as_i64(), rating["grade"].as_str()),
                    (Some(4), Some("tap")),
                    "{order:?}, cookies {keeps}: {rating}"
                );
            }
        }
        let orders = i64::try_from(ORDERS.len()).unwrap() * 2;
        assert_eq!(stage.ratings("email").await, [orders; 3]);
        assert_eq!(
            stage
                .database
                .number("select count(*) from events where kind = 'rating.changed'")
                .await,
            0
        );
        stage.finish().await;
    }
);
