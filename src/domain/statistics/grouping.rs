//! By what results are grouped and limited, and in which of the kept sums they are found.
//!
//! Sums by everything at once would be as many as the requests; so the store keeps a few levels of them, from coarse to fine, and a
//! question is answered from the first that knows what it asks for.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::tz::TimeZone;

use crate::domain::time::Timestamp;

/// Milliseconds of the finest time that sums are kept by: every time zone in use but three begins its day on such a border.
pub const SLOT_MS: i64 = 1_800_000;
/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// The most dimensions of one answer.
pub const GROUPINGS_MAX: usize = 3;

macro_rules! dimensions {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a request has from its trigger, by which results may be grouped or limited.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Dimension {
            $($(#[$doc])* $name,)*
        }

        impl Dimension {
            /// Every dimension, in the order in which the store keeps them.
            pub const ALL: [Self; 9] = [$(Self::$name),*];

            /// The word used in the API, and the column of the store.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// Reads the word back.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.as_str() == word)
            }

            /// Its place in [`Self::ALL`].
            pub const fn place(self) -> usize {
                self as usize
            }

            const fn bit(self) -> u16 {
                1 << self.place()
            }
        }
    };
}

dimensions! {
    /// The channel.
    Channel = "channel",
    /// The group that served.
    Team = "team",
    /// The line that it came in on.
    Queue = "queue",
    /// The named place in the journey.
    Touchpoint = "touchpoint",
    /// When in the journey.
    Phase = "phase",
    /// The contact's language.
    Language = "language",
    /// Who served: the desk's id of the agent, or the name if it gave no id.
    Agent = "agent",
    /// The issue.
    Topic = "topic",
    /// What the words of the ask are called: the language, and whose they are if they are the desk's own.
    Wording = "wording",
}

/// What a request has of each dimension, in the order of [`Dimension::ALL`].
pub type Place = [String; Dimension::ALL.len()];

/// Sums of one fineness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// How the store names it. Never reused for something else.
    pub code: i64,
    /// Milliseconds of its time.
    pub span_ms: i64,
    dimensions: u16,
}

const CHANNEL_TEAM: u16 = Dimension::Channel.bit() | Dimension::Team.bit();
const BOARD: u16 = CHANNEL_TEAM | Dimension::Touchpoint.bit() | Dimension::Phase.bit();
const COARSE: u16 = BOARD | Dimension::Queue.bit() | Dimension::Language.bit();

const fn level(code: i64, span_ms: i64, dimensions: u16) -> Level {
    Level {
        code,
        span_ms,
        dimensions,
    }
}

/// Every level, from coarse to fine. All but the last are as large as the desk's own organisation allows and do not grow with the
/// traffic beyond that; the last has at most one row for each request, or a few where it is suppressed.
pub const LEVELS: [Level; 8] = [
    // What a board shows all day.
    level(1, DAY_MS, BOARD),
    // The days of other time zones, and parts of days: without a choice, and with what a board can choose.
    level(2, SLOT_MS, CHANNEL_TEAM),
    level(3, SLOT_MS, BOARD | Dimension::Queue.bit()),
    level(4, DAY_MS, COARSE),
    level(5, DAY_MS, CHANNEL_TEAM | Dimension::Agent.bit()),
    level(6, DAY_MS, CHANNEL_TEAM | Dimension::Topic.bit()),
    level(7, DAY_MS, COARSE | Dimension::Agent.bit()),
    // Nearly one for each request where topics are many: whatever else is asked, in whatever time zone.
    level(
        8,
        SLOT_MS,
        COARSE | Dimension::Agent.bit() | Dimension::Topic.bit() | Dimension::Wording.bit(),
    ),
];

impl Level {
    /// Where a request of this place and time is counted.
    pub fn key(&self, created_at: i64, place: &Place) -> (i64, Place) {
        let mut kept = Place::default();
        for dimension in Dimension::ALL {
            if self.knows(dimension) {
                kept[dimension.place()].clone_from(&place[dimension.place()]);
            }
        }
        (created_at - created_at.rem_euclid(self.span_ms), kept)
    }

    /// Whether its sums are divided by this.
    pub const fn knows(&self, dimension: Dimension) -> bool {
        self.dimensions & dimension.bit() != 0
    }

    /// The first level of this length that knows all of these.
    fn knowing(dimensions: u16, span_ms: i64) -> Option<Self> {
        LEVELS
            .into_iter()
            .find(|level| level.span_ms == span_ms && level.dimensions & dimensions == dimensions)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// By what it is grouped; at most [`GROUPINGS_MAX`] together with `slots`.
    pub by: Vec<Dimension>,
    /// Whether it is grouped by time as well.
    pub slots: Slots,
    /// What it is limited to.
    pub only: BTreeMap<Dimension, String>,
    /// Conversations that ended at or after this.
    pub from: Option<Timestamp>,
    /// Conversations that ended before this.
    pub to: Option<Timestamp>,
}

/// How the answer is divided in time. A group is named by its first day, counted from 1970-01-01.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Slots {
    /// Not at all.
    #[default]
    None,
    /// By the days of a time zone.
    Days(TimeZone),
    /// By its weeks, from Monday to Sunday.
    Weeks(TimeZone),
}

/// Days of a week.
const WEEK: i64 = 7;
/// 1970-01-01 was a Thursday.
const AFTER_MONDAY: i64 = 3;

impl Slots {
    /// The length of a group, in milliseconds; longer than all time if it is not divided.
    pub const fn length_ms(&self) -> i64 {
        match self {
            Self::None => i64::MAX,
            Self::Days(_) => DAY_MS,
            Self::Weeks(_) => WEEK * DAY_MS,
        }
    }

    /// The first day of the group with this number: how many lengths lie between the zone's own 1970 and it.
    pub const fn first_day(&self, number: i64) -> i64 {
        match self {
            Self::None => 0,
            Self::Days(_) => number,
            Self::Weeks(_) => number * WEEK - AFTER_MONDAY,
        }
    }

    /// The first day of the group that an instant belongs to. As exact as what is kept, so that it does not change with folding.
    pub fn day_of(&self, at: i64) -> i64 {
        let slot = at - at.rem_euclid(SLOT_MS);
        let number = (slot + self.shift_ms(slot)).div_euclid(self.length_ms());
        self.first_day(number)
    }

    /// What has to be added to an instant so that groups begin at multiples of their length.
    fn shift_ms(&self, at: i64) -> i64 {
        match self {
            Self::None => 0,
            Self::Days(zone) => offset_ms(zone, at),
            Self::Weeks(zone) => offset_ms(zone, at) + AFTER_MONDAY * DAY_MS,
        }
    }

    const fn zone(&self) -> Option<&TimeZone> {
        match self {
            Self::None => None,
            Self::Days(zone) | Self::Weeks(zone) => Some(zone),
        }
    }
}

/// How far a zone's clocks are ahead of UTC.
fn offset_ms(zone: &TimeZone, at: i64) -> i64 {
    jiff::Timestamp::from_millisecond(at)
        .map_or(0, |at| i64::from(zone.to_offset(at).seconds()) * 1000)
}

/// When a zone's clocks are next changed.
fn next_change(zone: &TimeZone, at: i64) -> Option<i64> {
    let at = jiff::Timestamp::from_millisecond(at).ok()?;
    let change = zone.following(at).next()?;
    Some(change.timestamp().as_millisecond())
}

/// A part of the kept sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The level's code.
    pub level: i64,
    /// From this instant, in milliseconds.
    pub from: i64,
    /// Up to this instant.
    pub to: i64,
    /// What has to be added to an instant here, so that its groups in time begin at multiples of [`Slots::length_ms`].
    pub shift: i64,
}

impl Question {
    /// Whether an answer would be about single agents.
    pub fn names_agents(&self) -> bool {
        self.by.contains(&Dimension::Agent) || self.only.contains_key(&Dimension::Agent)
    }

    fn dimensions(&self) -> u16 {
        let all = self.by.iter().chain(self.only.keys());
        all.fold(0, |set, dimension| set | dimension.bit())
    }

    /// Widens the time to what sums are kept by: half hours.
    pub fn widen(&mut self) {
        let down = |at: Timestamp| {
            let ms = at.as_millis();
            Timestamp::from_millis(ms - ms.rem_euclid(SLOT_MS))
        };
        self.from = self.from.map(down);
        self.to = self.to.map(|to| down(to.plus_millis(SLOT_MS - 1)));
    }

    /// Where the answer lies. The time must have been widened; `kept` is the time of which anything is kept, on borders of half
    /// hours. Whole days of UTC are read as such where the answer's groups end with them, half hours elsewhere.
    pub fn stretches(&self, kept: Range<i64>) -> Vec<Stretch> {
        let from = self.from.map_or(i64::MIN, Timestamp::as_millis);
        let to = self.to.map_or(i64::MAX, Timestamp::as_millis);
        let mut parts = Vec::new();
        let Some(zone) = self.slots.zone() else {
            self.split(&mut parts, from..to, 0);
            return parts;
        };
        let (mut begin, to) = (from.max(kept.start), to.min(kept.end));
        while begin < to {
            // A group's place is plain arithmetic for as long as nobody changes the clocks.
            let change = next_change(zone, begin).map_or(to, |at| {
                let slots = at.saturating_add(SLOT_MS - 1).div_euclid(SLOT_MS);
                slots.saturating_mul(SLOT_MS)
            });
            let end = change.max(begin + SLOT_MS).min(to);
            let shift = self.slots.shift_ms(begin);
            if offset_ms(zone, begin) == 0 {
                self.split(&mut parts, begin..end, shift);
            } else {
                put(&mut parts, self.halves(), begin..end, shift);
            }
            begin = end;
        }
        parts
    }

    /// Half hours up to the first day's border, days, half hours again.
    fn split(&self, parts: &mut Vec<Stretch>, time: Range<i64>, shift: i64) {
        let (from, to) = (time.start, time.end);
        let up = |at: i64| {
            let days = at.saturating_add(DAY_MS - 1).div_euclid(DAY_MS);
            days.saturating_mul(DAY_MS)
        };
        let first = if from == i64::MIN { from } else { up(from) };
        let last = if to == i64::MAX {
            to
        } else {
            to - to.rem_euclid(DAY_MS)
        };
        if first > last {
            put(parts, self.halves(), time, shift);
        } else {
            let days = Level::knowing(self.dimensions(), DAY_MS).unwrap_or_else(|| self.halves());
            put(parts, self.halves(), from..first, shift);
            put(parts, days, first..last, shift);
            put(parts, self.halves(), last..to, shift);
        }
    }

    fn halves(&self) -> Level {
        Level::knowing(self.dimensions(), SLOT_MS).unwrap_or(LEVELS[LEVELS.len() - 1])
    }

    /// Whether a request belongs to the answer.
    pub fn takes(&self, created_at: i64, place: &Place) -> bool {
        self.from.is_none_or(|from| created_at >= from.as_millis())
            && self.to.is_none_or(|to| created_at < to.as_millis())
            && self
                .only
                .iter()
                .all(|(dimension, wanted)| place[dimension.place()] == *wanted)
    }
}

fn put(parts: &mut Vec<Stretch>, level: Level, time: Range<i64>, shift: i64) {
    if time.start < time.end {
        parts.push(Stretch {
            level: level.code,
            from: time.start,
            to: time.end,
            shift,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_TIME: Range<i64> = 0..100_000 * DAY_MS;

    fn question(from: i64, to: i64) -> Question {
        Question {
            from: Some(Timestamp::from_millis(from)),
            to: Some(Timestamp::from_millis(to)),
            ..Question::default()
        }
    }

    #[test]
    fn a_time_is_covered_once() {
        for (from, to) in [
            (0, DAY_MS),
            (0, SLOT_MS),
            (SLOT_MS, 2 * SLOT_MS),
            (DAY_MS - SLOT_MS, DAY_MS + SLOT_MS),
            (SLOT_MS, 5 * DAY_MS),
            (-3 * DAY_MS - SLOT_MS, DAY_MS),
            (DAY_MS, DAY_MS),
        ] {
            let mut at = from;
            for part in question(from, to).stretches(ALL_TIME) {
                assert_eq!(part.from, at);
                let level = LEVELS.iter().find(|level| level.code == part.level);
                let span = level.unwrap().span_ms;
                assert_eq!(
                    (part.from.rem_euclid(span), part.to.rem_euclid(span)),
                    (0, 0)
                );
                at = part.to;
            }
            assert_eq!(at, to);
        }
        let open = Question::default().stretches(ALL_TIME);
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].from, open[0].to), (i64::MIN, i64::MAX));
    }

    #[test]
    fn parts_of_days_are_known_for_everything() {
        let mut question = question(DAY_MS + 5, 3 * DAY_MS + 7);
        question.by.push(Dimension::Agent);
        question.widen();
        let levels = |question: &Question| {
            let parts = question.stretches(ALL_TIME);
            parts
                .into_iter()
                .map(|part| (part.level, part.from, part.to))
                .collect::<Vec<_>>()
        };
        let end = 3 * DAY_MS + SLOT_MS;
        let parts = [(5, DAY_MS, 3 * DAY_MS), (8, 3 * DAY_MS, end)];
        assert_eq!(levels(&question), parts);
        question.only.insert(Dimension::Wording, "b".to_owned());
        assert_eq!(levels(&question)[0].0, 8, "no day knows of wordings");
        for dimension in Dimension::ALL {
            let question = Question {
                by: vec![dimension],
                slots: Slots::Days(TimeZone::get("Asia/Kolkata").unwrap()),
                ..question.clone()
            };
            let mut at = question.from.unwrap().as_millis();
            for part in question.stretches(ALL_TIME) {
                let level = LEVELS.iter().find(|level| level.code == part.level);
                assert_eq!(level.unwrap().span_ms, SLOT_MS);
                assert_eq!(part.from, at);
                at = part.to;
            }
            assert_eq!(at, end);
        }
    }

    #[test]
    fn a_day_is_the_same_by_arithmetic_and_by_the_calendar() {
        // Over a change of summer time in each of these, and the midnight of a leap year's end.
        let from = 1_709_164_800_000 - 5 * SLOT_MS;
        for zone in [
            "UTC",
            "America/New_York",
            "Europe/Madrid",
            "Asia/Kolkata",
            "Australia/Lord_Howe",
            "Pacific/Auckland",
            "America/St_Johns",
        ] {
            let zone = TimeZone::get(zone).unwrap();
            for slots in [Slots::Days(zone.clone()), Slots::Weeks(zone.clone())] {
                let mut question = question(from, from + 320 * DAY_MS);
                question.slots = slots.clone();
                let mut at = from;
                for part in question.stretches(ALL_TIME) {
                    assert_eq!(part.from, at);
                    while at < part.to {
                        let number = (at + part.shift).div_euclid(slots.length_ms());
                        assert_eq!(slots.first_day(number), slots.day_of(at));
                        let date = zone
                            .to_datetime(jiff::Timestamp::from_millisecond(at).unwrap())
                            .date();
                        let back = match slots {
                            Slots::Weeks(_) => i64::from(date.weekday().to_monday_zero_offset()),
                            Slots::None | Slots::Days(_) => 0,
                        };
                        let epoch = jiff::civil::date(1970, 1, 1);
                        let days = i64::from(epoch.until(date).unwrap().get_days());
                        assert_eq!(slots.day_of(at), days - back, "{zone:?} {at}");
                        at += SLOT_MS;
                    }
                }
                assert_eq!(at, from + 320 * DAY_MS);
            }
        }
    }

    #[test]
    fn every_dimension_reads_back_and_is_known_by_a_level() {
        for (at, dimension) in Dimension::ALL.into_iter().enumerate() {
            assert_eq!(Dimension::parse(dimension.as_str()), Some(dimension));
            assert_eq!(dimension.place(), at);
            assert!(Level::knowing(dimension.bit(), SLOT_MS).is_some());
        }
    }
}
