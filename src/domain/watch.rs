//! The conversion watch: text messages and calls that nobody answers, to numbers that look made up, are somebody else earning on
//! them (toll fraud, "SMS pumping"). Pure: what was sent and answered goes in, an alarm comes out.
//!
//! Both have to be seen: replies that collapse against the desk's own usual ones, and numbers that look pumped. A night in which
//! people sleep has the first, a desk that asks one company's staff the second.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::contact::Address;
use super::policy::{Share, region};
use super::trigger::FieldError;

/// When sending is paused by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WatchSettings {
    /// Whether the watch may pause sending.
    pub enabled: bool,
    /// Text messages and calls that have to be sent within two hours before anything is concluded, and within the week before:
    /// 20 to 100,000; 100 by default.
    #[schema(minimum = 20, maximum = 100_000)]
    pub min_sends: u32,
    /// Replies have collapsed when they are surely fewer than this part of the usual ones, 0.01 to 0.9; 0.25 by default.
    pub collapse: Share,
    /// Numbers look pumped when at least this share of them is in one block, equal but for the last four digits, or in countries
    /// that the desk did not write to in the week before: 0.1 to 1; 0.3 by default.
    pub pumped: Share,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            min_sends: 100,
            collapse: Share::percent(25),
            pumped: Share::percent(30),
        }
    }
}

impl WatchSettings {
    /// Checks every bound. The error's field begins with `prefix`, which ends with a dot.
    pub fn check(&self, prefix: &str) -> Result<(), FieldError> {
        let wrong =
            |field: &str, message: &str| Err(FieldError::new(&format!("{prefix}{field}"), message));
        if !(20..=100_000).contains(&self.min_sends) {
            return wrong("min_sends", "must be from 20 to 100000");
        }
        if !(Share::percent(1)..=Share::percent(90)).contains(&self.collapse) {
            return wrong("collapse", "must be from 0.01 to 0.9");
        }
        if self.pumped < Share::percent(10) {
            return wrong("pumped", "must be from 0.1 to 1");
        }
        Ok(())
    }
}

/// An ask that was sent to a number, long enough ago for a quick answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Where to.
    pub to: Address,
    /// It was answered soon.
    pub answered: bool,
}

/// What was sent in an hour, or in many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usual {
    /// How many.
    pub sent: u64,
    /// Of these, answered soon.
    pub answered: u64,
    /// The countries they went to.
    pub countries: BTreeSet<String>,
}

impl Usual {
    /// The sum over asks.
    pub fn of(sent: &[Sent]) -> Self {
        let countries = sent.iter().map(|one| region(&one.to));
        Self {
            sent: sent.len() as u64,
            answered: sent.iter().filter(|one| one.answered).count() as u64,
            countries: countries.filter(|region| !region.is_empty()).collect(),
        }
    }

    /// Adds another hour.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.countries.extend(other.countries);
    }
}

/// Why sending is paused, if it has to be: one sentence without any number that was called.
pub fn judge(settings: &WatchSettings, usual: &Usual, lately: &[Sent]) -> Option<String> {
    let enough = u64::from(settings.min_sends);
    let now = Usual::of(lately);
    if !settings.enabled || now.sent < enough || usual.sent < enough {
        return None;
    }
    let usual_rate = share(usual.answered, usual.sent);
    let bound = usual_rate * f64::from(settings.collapse);
    if highest(now.answered, now.sent) >= bound {
        return None;
    }
    let pumped = pumped(settings.pumped.into(), usual, lately)?;
    Some(format!(
        "{} of the last {} text messages and calls were answered within half an hour, where {:.0} of 100 usually are, and {pumped}",
        now.answered,
        now.sent,
        usual_rate * 100.0
    ))
}

/// How the numbers look pumped, if they do.
fn pumped(bound: f64, usual: &Usual, lately: &[Sent]) -> Option<String> {
    let all = lately.len() as u64;
    let mut blocks: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut strange = 0;
    for one in lately {
        let number = one.to.expose();
        if let Some((block, last)) = number.split_at_checked(number.len().saturating_sub(4)) {
            blocks.entry(block).or_default().insert(last);
        }
        strange += u64::from(!usual.countries.contains(&region(&one.to)));
    }
    // Different numbers: one person who is asked again and again is no block.
    let largest = blocks.values().map(BTreeSet::len).max().unwrap_or_default() as u64;
    if share(largest, all) >= bound {
        return Some(format!(
            "{largest} went to numbers that differ only in their last four digits"
        ));
    }
    if share(strange, all) >= bound {
        return Some(format!(
            "{strange} went to countries that were not written to before"
        ));
    }
    None
}

/// Exact far beyond what a desk can send.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn share(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        part as f64 / of as f64
    }
}

/// The highest share that these counts leave likely: the upper end of Wilson's 95 % interval.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn highest(part: u64, of: u64) -> f64 {
    const Z: f64 = 1.959_964;
    let (n, p) = (of.max(1) as f64, share(part, of));
    let middle = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    (middle + spread) / (1.0 + Z * Z / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(numbers: impl Iterator<Item = String>, answered_every: usize) -> Vec<Sent> {
        let one = |(n, number): (usize, String)| Sent {
            to: Address::phone(&number).unwrap(),
            answered: answered_every > 0 && n % answered_every == 0,
        };
        numbers.enumerate().map(one).collect()
    }

    /// Numbers all over one country.
    fn spread(count: u64) -> impl Iterator<Item = String> {
        (0..count).map(|n| format!("+1415{:07}", 2_000_000 + (n * 7_919) % 7_000_000))
    }

    /// Numbers of one block.
    fn block(count: u64) -> impl Iterator<Item = String> {
        (0..count).map(|n| format!("+1415555{:04}", n * 7))
    }

    /// A week in which three of ten answer.
    fn usual() -> Usual {
        Usual {
            sent: 1_000,
            answered: 300,
            countries: ["US".to_owned()].into(),
        }
    }

    fn alarm(usual: &Usual, lately: &[Sent]) -> Option<String> {
        judge(&WatchSettings::default(), usual, lately)
    }

    #[test]
    fn unanswered_messages_to_one_block_are_an_alarm() {
        let reason = alarm(&usual(), &sent(block(120), 0)).unwrap();
        assert!(reason.contains("0 of the last 120") && reason.contains("last four digits"));
        assert!(!reason.contains("+1"), "{reason}");
        // Half of them to people, who answer as usual, and half of them pumped.
        let mixed = [sent(spread(60), 0), sent(block(60), 0)].concat();
        assert!(alarm(&usual(), &mixed).is_some());
    }

    #[test]
    fn unanswered_messages_to_a_new_country_are_an_alarm() {
        let jamaica =
            (0..150).map(|n: u64| format!("+1876{:07}", 2_000_000 + (n * 7_919) % 7_000_000));
        let lately = sent(jamaica, 0);
        let reason = alarm(&usual(), &lately).unwrap();
        assert!(reason.contains("countries"), "{reason}");
        let known = Usual {
            countries: ["US".to_owned(), "JM".to_owned()].into(),
            ..usual()
        };
        assert_eq!(alarm(&known, &lately), None);
    }

    #[test]
    fn a_quiet_night_a_company_that_answers_and_a_small_desk_are_none() {
        assert_eq!(
            alarm(&usual(), &sent(spread(500), 0)),
            None,
            "a quiet night"
        );
        assert_eq!(
            alarm(&usual(), &sent(block(200), 4)),
            None,
            "a company's own block"
        );
        assert_eq!(alarm(&usual(), &sent(block(99), 0)), None, "few lately");
        let few = Usual {
            sent: 99,
            answered: 30,
            ..usual()
        };
        assert_eq!(
            alarm(&few, &sent(block(200), 0)),
            None,
            "nothing to compare with"
        );
        let silent = Usual {
            answered: 20,
            ..usual()
        };
        assert_eq!(
            alarm(&silent, &sent(block(200), 0)),
            None,
            "nobody ever answers much"
        );
        let one_person = std::iter::repeat_n("+14155550123".to_owned(), 200);
        assert_eq!(
            alarm(&usual(), &sent(one_person, 0)),
            None,
            "one number again and again"
        );
    }

    #[test]
    fn a_desk_may_switch_it_off() {
        let off = WatchSettings {
            enabled: false,
            ..WatchSettings::default()
        };
        assert_eq!(judge(&off, &usual(), &sent(block(200), 0)), None);
    }

    #[test]
    fn bounds_are_named() {
        for (json, field) in [
            (serde_json::json!({"min_sends": 19}), "watch.min_sends"),
            (serde_json::json!({"collapse": 0.95}), "watch.collapse"),
            (serde_json::json!({"pumped": 0.05}), "watch.pumped"),
        ] {
            let settings: WatchSettings = serde_json::from_value(json).unwrap();
            assert_eq!(settings.check("watch.").unwrap_err().field, field);
        }
        assert_eq!(WatchSettings::default().check("watch."), Ok(()));
    }

    #[test]
    fn the_interval_is_wilsons() {
        // Reference values: statsmodels, proportion_confint(method="wilson").
        for (part, of, upper) in [
            (0, 100, 0.036_994),
            (3, 100, 0.084_520),
            (50, 100, 0.596_168),
        ] {
            assert!(
                (highest(part, of) - upper).abs() < 1e-4,
                "{part}/{of}: {}",
                highest(part, of)
            );
        }
    }
}
