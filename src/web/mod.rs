//! What people see in a browser: pages as templates, their styles and scripts, and the chat widget.
//!
//! Everything here is pure: a page is a struct of texts that renders to HTML, an asset is a constant. The pages hold no
//! inline script and no inline style, so the strictest content security policy fits them, and they load nothing from
//! elsewhere. The `http` folder fills the structs, serves [`ASSETS`] and sets the headers.
//!
//! `base` is everywhere the path part of the public address, such as `/rate`, without a slash at its end; usually empty.

use std::sync::LazyLock;

use askama::Template;
use sha2::{Digest, Sha256};

mod board;
#[cfg(test)]
mod tests;

pub use board::BoardPage;

/// A file that pages load. It is served at `/assets/{name}`, and `widget.js` at `/widget.js` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Its file name.
    pub name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its content.
    pub body: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr,)*) => {
        /// Every file that pages load.
        pub const ASSETS: &[Asset] = &[$(Asset { name: $name, content_type: $kind, body: include_str!($name) }),*];
    };
}

assets! {
    "base.css": CSS,
    "board.css": CSS,
    "board.js": JS,
    "board_chart.js": JS,
    "board_draw.js": JS,
    "board_lists.css": CSS,
    "board_lists.js": JS,
    "board_live.js": JS,
    "board_parts.css": CSS,
    "board_wall.css": CSS,
    "board_words.js": JS,
    "customer.css": CSS,
    "docs.css": CSS,
    "docs.js": JS,
    "favicon.svg": "image/svg+xml",
    "opt_out.js": JS,
    "rating.js": JS,
    "sandbox.css": CSS,
    "sandbox.js": JS,
    "sandbox_devices.css": CSS,
    "uplot.css": CSS,
    "uplot.js": JS,
    "uplot.license.txt": "text/plain; charset=utf-8",
    "widget.js": JS,
}

/// The versions of [`ASSETS`], in their order.
static VERSIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    ASSETS
        .iter()
        .map(|asset| hex::encode(&Sha256::digest(asset.body)[..8]))
        .collect()
});

/// The asset of that name.
#[must_use]
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// The version of an asset: it changes with the content, so an address with the version may be cached for ever.
pub fn asset_version(name: &str) -> Option<&'static str> {
    ASSETS
        .iter()
        .zip(VERSIONS.iter())
        .find(|(asset, _)| asset.name == name)
        .map(|(_, version)| version.as_str())
}

/// The address of an asset, with its version.
#[must_use]
pub fn asset_url(base: &str, name: &str) -> String {
    format!(
        "{base}/assets/{name}?v={}",
        asset_version(name).unwrap_or_default()
    )
}

/// The address of an asset with its version, from a page for desks whose files stand below it: that listener may be known by
/// another name and path than the public one, so it is relative.
fn beside(page: &str, name: &str) -> String {
    format!(
        "{page}/{name}?v={}",
        asset_version(name).unwrap_or_default()
    )
}

/// What every page for customers has.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The path part of the public address.
    pub base: &'a str,
    /// The language tag of the texts.
    pub lang: &'a str,
    /// The direction of the texts: `ltr` or `rtl`.
    pub dir: &'a str,
    /// The title of the window, and the heading of pages that have no question.
    pub title: &'a str,
    /// The desk's name; empty to show none.
    pub desk: &'a str,
}

/// The words of the rating page besides the question, in the contact's language.
#[derive(Debug, Clone, Copy)]
pub struct PageTexts<'a> {
    /// Above the field for words: that a comment is welcome and optional.
    pub comment_label: &'a str,
    /// On the button.
    pub send: &'a str,
    /// While it is under way.
    pub sending: &'a str,
    /// After an answer.
    pub thanks: &'a str,
    /// Before the score and its word: `Your answer:`.
    pub your_answer: &'a str,
    /// That the answer may be changed and words may be added. A whole sentence.
    pub change: &'a str,
    /// When no answer is taken any more.
    pub closed: &'a str,
    /// When an answer could not be saved.
    pub error: &'a str,
    /// When the device has no connection.
    pub offline: &'a str,
    /// On the button that tries again.
    pub retry: &'a str,
    /// The link to the opt-out page.
    pub opt_out: &'a str,
}

/// Where the request stands, as the rating page tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RatingState<'a> {
    /// No answer yet.
    Open,
    /// There is an answer.
    Answered {
        /// The score, from 1 to 5.
        score: u8,
        /// The words; empty if none.
        comment: &'a str,
        /// Whether the window for corrections is open.
        can_correct: bool,
    },
    /// No answer was given in time, or the desk took the request back.
    Closed,
}

/// The rating page, `GET /r/{token}`.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "rating.html", config = "src/web/askama.toml")]
pub struct RatingPage<'a> {
    /// What every page has.
    pub page: Page<'a>,
    /// The name of who served; empty to show none.
    pub agent: &'a str,
    /// The question.
    pub question: &'a str,
    /// The words of the scores, worst first.
    pub scale: [&'a str; 5],
    /// The link token, for the form's address.
    pub token: &'a str,
    /// The one-time value that a post must bring back.
    pub view: &'a str,
    /// Seconds for which the page is shown untouched before it says so.
    pub auto_seconds: u16,
    /// The score that the link chose, from 1 to 5.
    pub chosen: Option<u8>,
    /// Where the request stands.
    pub state: RatingState<'a>,
    /// The path of the opt-out page below `base`; empty to show no link.
    pub opt_out: &'a str,
    /// The other words.
    pub texts: PageTexts<'a>,
}

/// One of the five choices.
struct Choice<'a> {
    score: u8,
    word: &'a str,
    chosen: bool,
}

impl<'a> RatingPage<'a> {
    fn choices(&self) -> impl Iterator<Item = Choice<'a>> + use<'a> {
        let chosen = self.answered().or(self.chosen);
        (1..).zip(self.scale).map(move |(score, word)| Choice {
            score,
            word,
            chosen: chosen == Some(score),
        })
    }

    fn answered(&self) -> Option<u8> {
        match self.state {
            RatingState::Answered { score, .. } => Some(score),
            RatingState::Open | RatingState::Closed => None,
        }
    }

    fn comment(&self) -> &'a str {
        match self.state {
            RatingState::Answered { comment, .. } => comment,
            RatingState::Open | RatingState::Closed => "",
        }
    }
}

/// A page that only says something: not found, expired, an error.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "message.html", config = "src/web/askama.toml")]
pub struct MessagePage<'a> {
    /// What every page has; its title is the heading.
    pub page: Page<'a>,
    /// A sentence below the heading; empty for none.
    pub body: &'a str,
}

/// The words of the opt-out page; its heading is the page's title.
#[derive(Debug, Clone, Copy)]
pub struct OptOutTexts<'a> {
    /// What pressing the button does.
    pub explain: &'a str,
    /// On the button.
    pub confirm: &'a str,
    /// After it.
    pub done: &'a str,
}

/// The opt-out page, `GET /u/{token}`. Opening it changes nothing; its button posts to the same address.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "opt_out.html", config = "src/web/askama.toml")]
pub struct OptOutPage<'a> {
    /// What every page has; its title is the heading.
    pub page: Page<'a>,
    /// The link token, for the form's address.
    pub token: &'a str,
    /// The one-time value that a post must bring back.
    pub view: &'a str,
    /// Whether the contact has opted out.
    pub done: bool,
    /// The words.
    pub texts: OptOutTexts<'a>,
}

/// The sandbox: devices of a pretended customer, `GET /sandbox`.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "sandbox.html", config = "src/web/askama.toml")]
pub struct SandboxPage<'a> {
    /// The path part of the public address.
    pub base: &'a str,
}

/// The reference of the API, `GET /docs`. It shows what `/openapi.json` says, and stands where the API is, as the board does.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "docs.html", config = "src/web/askama.toml")]
pub struct DocsPage;

impl DocsPage {
    /// The address of a file of the page, from the page.
    #[expect(clippy::unused_self, reason = "the template calls it as a method")]
    fn file(self, name: &str) -> String {
        beside("docs", name)
    }
}
