//! How we know that a person posted the page: a table of signs, each a question to what is known of the post, of its showing
//! and of the other showings to the same client. Pure, so that every sign is tested by itself.
//!
//! Mail scanners open links (often all of them within seconds, often again when the person clicks), run scripts, wait, let the
//! page's own posts out, and some submit forms. No single sign tells them from people for ever; so strong signs are those that
//! people do not give, and weak ones count together, or where nothing else speaks for a person.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rating::{Grade, Score};
use super::time::Timestamp;
use super::trigger::FieldError;
use super::view::{Client, View, ViewKind};

/// What a desk sets about answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerSettings {
    /// Minutes after the first answer in which the contact may correct it or add words: 0 to 1440. Absent: the service's own
    /// setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1440)]
    pub correction_minutes: Option<u16>,
    /// Whether an answer of the grade `auto` (the page was shown with a score chosen, and nobody touched it) is counted until a
    /// person's answer takes its place.
    pub count_auto: bool,
    /// Seconds for which the page has to be shown untouched before it says so: 5 to 600.
    #[schema(minimum = 5, maximum = 600)]
    pub auto_seconds: u16,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        Self {
            correction_minutes: None,
            count_auto: false,
            auto_seconds: 10,
        }
    }
}

impl AnswerSettings {
    /// Refuses values out of bounds; `prefix` stands before the field's name.
    pub fn check(&self, prefix: &str) -> Result<(), FieldError> {
        if self
            .correction_minutes
            .is_some_and(|minutes| minutes > 1440)
        {
            let field = format!("{prefix}correction_minutes");
            return Err(FieldError::new(&field, "must be from 0 to 1440"));
        }
        if !(5..=600).contains(&self.auto_seconds) {
            let field = format!("{prefix}auto_seconds");
            return Err(FieldError::new(&field, "must be from 5 to 600"));
        }
        Ok(())
    }

    /// The time for corrections in milliseconds, where the service's own is `usual_ms`.
    pub fn window_ms(&self, usual_ms: i64) -> i64 {
        self.correction_minutes
            .map_or(usual_ms, |minutes| i64::from(minutes) * 60_000)
    }
}

/// What speaks for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Our script saw a trusted pointer, touch, key or wheel event.
    Event,
    /// The form was sent by its button without our script.
    Form,
    /// Nothing: the page posted by itself, or something else than a person submitted the form.
    Nothing,
}

impl Proof {
    /// Reads the field `event` of a post. The form itself says `button`; our script replaces that by what it saw.
    pub fn parse(word: &str) -> Self {
        match word {
            "pointer" | "touch" | "key" | "scroll" => Self::Event,
            "button" => Self::Form,
            _ => Self::Nothing,
        }
    }
}

/// What is known when a page is posted.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The showings of the request that are recorded.
    pub views: &'a [View],
    /// Who posts.
    pub client: Client,
    /// The showing that is posted from; `None` if it has no row.
    pub view: Option<&'a View>,
    /// When that was.
    pub opened_at: Timestamp,
    /// When the ask is known to have arrived: when it was sent, and when it was reported as delivered.
    pub arrived_at: &'a [Timestamp],
    /// The user agent of the post.
    pub agent: &'a str,
    /// What our script noticed about the browser: words with blanks between them.
    pub noticed: &'a str,
    /// Now.
    pub posted_at: Timestamp,
}

impl Facts<'_> {
    /// The showings to whoever posts, the one that is posted from among them.
    fn own(&self) -> impl Iterator<Item = &View> {
        let posted = self.view.map(|view| view.id);
        self.views
            .iter()
            .filter(move |view| Some(view.id) == posted || self.client.saw(view))
    }

    /// How many different scores were opened by whoever posts, within `span_ms` around the showing.
    fn scores(&self, span_ms: i64) -> usize {
        let near = |at: Timestamp| (at.as_millis() - self.opened_at.as_millis()).abs() <= span_ms;
        let pages = self
            .own()
            .filter(|view| view.kind == ViewKind::Page && near(view.at));
        pages
            .filter_map(|view| view.score)
            .collect::<BTreeSet<Score>>()
            .len()
    }

    fn opened(&self, kind: ViewKind) -> bool {
        self.own().any(|view| view.kind == kind)
    }

    fn agent_has(&self, words: &[&str]) -> bool {
        let agent = self.agent.to_ascii_lowercase();
        words.iter().any(|word| agent.contains(word))
    }
}

/// How much a sign says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Enough by itself: people do not do this.
    Strong,
    /// Two of them are enough; one is, where no trusted event speaks for a person.
    Weak,
}

/// One sign of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Sign {
    /// Its name, as the API shows it.
    pub name: &'static str,
    /// How much it says.
    pub weight: Weight,
    seen: fn(&Facts<'_>) -> bool,
}

/// Showings within this time of each other are one look at the mail: link scanners open what they open within about five
/// seconds of delivery (check.live-direct-marketing.online, "Bot clicks from security scanners").
const TOGETHER_MS: i64 = 10_000;
/// Nobody is that fast at reading a mail.
const EARLY_MS: i64 = 10_000;
/// Nobody is that fast at reading a page.
const FAST_MS: i64 = 1_000;
/// Showings to one client that are no person's.
const STORM: i64 = 20;

/// Browsers without a window, by what they call themselves.
const HEADLESS: &[&str] = &[
    "headless",
    "phantomjs",
    "puppeteer",
    "playwright",
    "electron",
];
/// Programs that fetch links, by what they call themselves. Security gateways and previewers after the lists in suped.com,
/// "How can I identify bot user agents in my email click data", and check.live-direct-marketing.online, "Bot clicks from
/// security scanners"; the rest are HTTP libraries by their own documentation. Kept small: scanners that say who they are
/// are the lesser trouble.
const PROGRAMS: &[&str] = &[
    "barracuda",
    "proofpoint",
    "mimecast",
    "ciscosecureemail",
    "ironport",
    "fortimail",
    "sophos",
    "skypeuripreview",
    "slackbot",
    "facebookexternal",
    "url preview",
    "googleimageproxy",
    "bot/",
    "crawler",
    "spider",
    "curl/",
    "wget/",
    "python-",
    "aiohttp",
    "go-http-client",
    "apache-httpclient",
    "java/",
    "jetty/",
    "libwww-perl",
    "lua-resty-http",
    "node-fetch",
    "axios/",
];

/// Every sign. To add one: a row here and a case in the test below.
pub const SIGNS: &[Sign] = &[
    Sign {
        name: "several_scores",
        weight: Weight::Strong,
        seen: |facts| facts.scores(TOGETHER_MS) >= 3 || facts.scores(i64::MAX / 2) >= 4,
    },
    Sign {
        name: "two_scores",
        weight: Weight::Weak,
        seen: |facts| facts.scores(TOGETHER_MS) == 2,
    },
    Sign {
        name: "trap",
        weight: Weight::Strong,
        seen: |facts| facts.opened(ViewKind::Trap),
    },
    Sign {
        name: "storm",
        weight: Weight::Strong,
        seen: |facts| facts.own().map(|view| 1 + view.more).sum::<i64>() >= STORM,
    },
    Sign {
        name: "head",
        weight: Weight::Weak,
        seen: |facts| facts.opened(ViewKind::Head),
    },
    Sign {
        name: "webdriver",
        weight: Weight::Strong,
        seen: |facts| facts.noticed.split(' ').any(|word| word == "webdriver"),
    },
    Sign {
        name: "headless",
        weight: Weight::Strong,
        seen: |facts| facts.agent_has(HEADLESS),
    },
    Sign {
        name: "program",
        weight: Weight::Strong,
        seen: |facts| facts.agent_has(PROGRAMS),
    },
    Sign {
        name: "blind",
        weight: Weight::Weak,
        seen: |facts| facts.noticed.split(' ').any(|word| word == "blind"),
    },
    Sign {
        name: "early",
        weight: Weight::Weak,
        seen: |facts| {
            let opened = facts.opened_at.as_millis();
            // A gateway opens a mail before its server has said that it took it.
            let near = (1 - EARLY_MS)..EARLY_MS;
            let after = |at: &Timestamp| near.contains(&(opened - at.as_millis()));
            facts.arrived_at.iter().any(after)
        },
    },
    Sign {
        name: "fast",
        weight: Weight::Weak,
        seen: |facts| facts.posted_at.millis_since(facts.opened_at) < FAST_MS,
    },
    Sign {
        name: "unrecorded",
        weight: Weight::Weak,
        seen: |facts| facts.view.is_none(),
    },
];

/// Every sign that these facts give.
pub fn signs(facts: &Facts<'_>) -> Vec<&'static Sign> {
    SIGNS.iter().filter(|sign| (sign.seen)(facts)).collect()
}

/// The grade of a post.
pub fn grade(proof: Proof, signs: &[&Sign]) -> Grade {
    let strong = signs.iter().any(|sign| sign.weight == Weight::Strong);
    let enough = match proof {
        Proof::Event => 2,
        Proof::Form | Proof::Nothing => 1,
    };
    if strong || signs.len() >= enough {
        return Grade::Suspect;
    }
    match proof {
        Proof::Event | Proof::Form => Grade::Tap,
        Proof::Nothing => Grade::Auto,
    }
}

/// Signs of the browser itself, and not of what it did.
const BROWSERS: [&str; 3] = ["webdriver", "headless", "program"];

/// Whether a post of the opt-out page is taken as the contact's wish. A wish to be left alone that is not heard is worse than one
/// that nobody had: weak signs do not count here, and where our script saw a person press, only a driven browser does.
pub fn is_wish(proof: Proof, signs: &[&Sign]) -> bool {
    match proof {
        Proof::Event => !signs.iter().any(|sign| BROWSERS.contains(&sign.name)),
        Proof::Form => !signs.iter().any(|sign| sign.weight == Weight::Strong),
        Proof::Nothing => false,
    }
}

/// Names with blanks between them, as they are stored.
pub fn names(signs: &[&Sign]) -> String {
    let names: Vec<&str> = signs.iter().map(|sign| sign.name).collect();
    names.join(" ")
}

#[cfg(test)]
#[path = "grade_tests.rs"]
mod tests;
