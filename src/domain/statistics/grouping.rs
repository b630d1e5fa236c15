//! By what results are grouped and limited, and in which of the kept sums they are found.
//!
//! Sums by everything at once would be as many as the requests; so the store keeps a few levels of them, from coarse to fine, and a
//! question is answered from the first that knows what it asks for.

use std::collections::BTreeMap;

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
    /// The wording of the ask.
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

const CHANNEL: u16 = Dimension::Channel.bit();
const CHANNEL_TEAM: u16 = CHANNEL | Dimension::Team.bit();
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
/// traffic beyond that; the last has at most one row for each request, or a few where it is suppressed. An event is added to each, so
/// a level must earn its place: what people ask all day is read from few rows. Each knows the channel, because what can be known of a
/// request depends on it.
pub const LEVELS: [Level; 12] = [
    // What a board shows all day.
    level(1, DAY_MS, BOARD),
    // One thing alone, which is what most people ask.
    level(9, DAY_MS, CHANNEL | Dimension::Agent.bit()),
    level(10, DAY_MS, CHANNEL | Dimension::Topic.bit()),
    level(
        11,
        DAY_MS,
        CHANNEL | Dimension::Queue.bit() | Dimension::Language.bit() | Dimension::Wording.bit(),
    ),
    // Where the days of other time zones begin and end: without a choice, and with what a board can choose.
    level(12, SLOT_MS, CHANNEL | Dimension::Touchpoint.bit()),
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
    /// By what it is grouped; at most [`GROUPINGS_MAX`] together with the time.
    pub by: Vec<Dimension>,
    /// Where it is divided in time: the beginning of each group in milliseconds, ascending, on half hours and before `to`. Empty if it
    /// is not divided. The first group also has what is before it, up to `from`.
    pub borders: Vec<i64>,
    /// What it is limited to.
    pub only: BTreeMap<Dimension, String>,
    /// Conversations that ended at or after this.
    pub from: Option<Timestamp>,
    /// Conversations that ended before this.
    pub to: Option<Timestamp>,
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
    /// The group in time that it belongs to, by its border; 0 if the question is not divided.
    pub slot: i64,
    /// Taken away from the group: it is a part of a day that is read whole, and belongs to another.
    pub less: bool,
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

    /// Where the answer lies: days, and half hours where a group begins or ends within a day. The time must have been widened.
    pub fn stretches(&self) -> Vec<Stretch> {
        let (from, to) = (
            self.from.map_or(i64::MIN, Timestamp::as_millis),
            self.to.map_or(i64::MAX, Timestamp::as_millis),
        );
        let mut parts = Vec::new();
        let mut begin = from;
        for next in self.borders.iter().skip(1).chain([&to]) {
            let slot = self.slot_of(begin);
            self.cover(begin, *next, slot, &mut parts);
            begin = *next;
        }
        parts
    }

    /// Adds the parts from `from` to `to`. A day of which more than half is wanted is read whole, less the half hours that are not.
    fn cover(&self, from: i64, to: i64, slot: i64, parts: &mut Vec<Stretch>) {
        let known = self.dimensions();
        let halves = Level::knowing(known, SLOT_MS).unwrap_or(LEVELS[LEVELS.len() - 1]);
        let days = Level::knowing(known, DAY_MS).unwrap_or(halves);
        let mut put = |level: Level, from: i64, to: i64, less: bool| {
            if from < to {
                parts.push(Stretch {
                    level: level.code,
                    from,
                    to,
                    slot,
                    less,
                });
            }
        };
        // What has no beginning or no end has no half hours there.
        let (begins, ends) = (
            if from == i64::MIN { None } else { Some(from) },
            if to == i64::MAX { None } else { Some(to) },
        );
        let (early, first) = begins.map_or((0, from), nearest_day);
        let (late, last) = ends.map_or((0, to), nearest_day);
        // What only the half hours know is read as it is.
        if days == halves || to.saturating_sub(from) <= early.abs() + late.abs() {
            put(halves, from, to, false);
            return;
        }
        put(halves, first, from, true);
        put(halves, from, first, false);
        put(days, first, last, false);
        put(halves, last, to, false);
        put(halves, to, last, true);
    }

    /// The group in time that an instant belongs to, by its border; 0 if the question is not divided.
    pub fn slot_of(&self, at: i64) -> i64 {
        let after = self.borders.partition_point(|border| *border <= at);
        let mine = self.borders.get(after.saturating_sub(1));
        mine.copied().unwrap_or(0)
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

/// How far the nearest border of a day of UTC is before an instant (or after it, if negative), and where it is.
fn nearest_day(at: i64) -> (i64, i64) {
    let past = at.rem_euclid(DAY_MS);
    let apart = if past > DAY_MS / 2 {
        past - DAY_MS
    } else {
        past
    };
    (apart, at - apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(from: i64, to: i64) -> Question {
        Question {
            from: Some(Timestamp::from_millis(from)),
            to: Some(Timestamp::from_millis(to)),
            ..Question::default()
        }
    }

    /// How often each half hour around these days is in the parts of each group.
    fn covered(question: &Question) -> BTreeMap<(i64, i64), i64> {
        let mut covered = BTreeMap::new();
        for part in question.stretches() {
            let level = LEVELS.iter().find(|level| level.code == part.level);
            let span = level.unwrap().span_ms;
            let (from, to) = (part.from.max(-20 * DAY_MS), part.to.min(20 * DAY_MS));
            assert!(from < to, "{part:?}");
            assert_eq!((from.rem_euclid(span), to.rem_euclid(span)), (0, 0));
            for at in (from..to).step_by(usize::try_from(SLOT_MS).unwrap()) {
                *covered.entry((part.slot, at)).or_default() += if part.less { -1 } else { 1 };
            }
        }
        covered.retain(|_, times| *times != 0);
        covered
    }

    fn once(question: &Question) {
        let all = (-20 * DAY_MS..20 * DAY_MS).step_by(usize::try_from(SLOT_MS).unwrap());
        let place = Place::default();
        let wanted = all.filter(|at| question.takes(*at, &place));
        let wanted = wanted.map(|at| ((question.slot_of(at), at), 1)).collect();
        assert_eq!(covered(question), wanted, "{question:?}");
    }

    #[test]
    fn a_time_is_covered_once() {
        for (from, to) in [
            (0, DAY_MS),
            (0, SLOT_MS),
            (SLOT_MS, 2 * SLOT_MS),
            (DAY_MS - SLOT_MS, DAY_MS + SLOT_MS),
            (DAY_MS / 4, 3 * DAY_MS / 4),
            (SLOT_MS, DAY_MS - SLOT_MS),
            (SLOT_MS, 5 * DAY_MS),
            (-3 * DAY_MS - SLOT_MS, DAY_MS),
            (DAY_MS, DAY_MS),
        ] {
            once(&question(from, to));
        }
        once(&Question::default());
        let open = Question::default().stretches();
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].from, open[0].to), (i64::MIN, i64::MAX));
    }

    #[test]
    fn groups_in_time_are_covered_once_wherever_their_days_begin() {
        for hours in -14..=14 {
            let borders = |every: i64| {
                let begins = (-2..6).map(|n| n * every * DAY_MS + hours * 2 * SLOT_MS);
                begins.collect::<Vec<_>>()
            };
            for borders in [borders(1), borders(2)] {
                let open = Question {
                    borders,
                    ..Question::default()
                };
                once(&open);
                let (from, to) = (-3 * SLOT_MS, 2 * DAY_MS + 7 * SLOT_MS);
                let within = open.borders.iter().copied();
                let halves = Question {
                    borders: within.filter(|at| *at > 0 && *at < to).collect(),
                    ..question(from, to)
                };
                once(&halves);
            }
        }
    }

    #[test]
    fn a_day_elsewhere_is_a_day_of_utc_but_for_its_ends() {
        let mut question = question(5 * DAY_MS, 8 * DAY_MS);
        // Midnight in New York in winter.
        question.borders = (5..8).map(|day| day * DAY_MS + 10 * SLOT_MS).collect();
        let parts = question.stretches();
        let halves = parts.iter().filter(|part| part.to - part.from < DAY_MS);
        let read: i64 = halves.map(|part| (part.to - part.from) / SLOT_MS).sum();
        // Ten at each of two midnights, for the day before and less for the day after.
        assert_eq!(read, 40, "{parts:?}");
    }

    #[test]
    fn parts_of_days_are_known_for_everything() {
        let mut asked = question(DAY_MS + 5, 3 * DAY_MS + 7);
        asked.by.push(Dimension::Agent);
        asked.widen();
        let levels = |question: &Question| {
            let parts = question.stretches();
            let parts = parts.iter().map(|part| (part.level, part.from, part.to));
            parts.collect::<Vec<_>>()
        };
        let end = 3 * DAY_MS + SLOT_MS;
        let parts = [(9, DAY_MS, 3 * DAY_MS), (8, 3 * DAY_MS, end)];
        assert_eq!(levels(&asked), parts);
        asked.only.insert(Dimension::Team, "network".to_owned());
        assert_eq!(levels(&asked)[0].0, 5);
        asked.only.insert(Dimension::Wording, "b".to_owned());
        assert_eq!(levels(&asked), [(8, DAY_MS, end)], "no day knows of both");
        for dimension in Dimension::ALL {
            let mut asked = question(DAY_MS, 4 * DAY_MS);
            asked.by.push(dimension);
            asked.borders = (1..4).map(|day| day * DAY_MS + 11 * SLOT_MS).collect();
            once(&asked);
        }
    }

    #[test]
    fn every_dimension_reads_back_and_every_level_knows_the_channel() {
        for (at, dimension) in Dimension::ALL.into_iter().enumerate() {
            assert_eq!(Dimension::parse(dimension.as_str()), Some(dimension));
            assert_eq!(dimension.place(), at);
            assert!(Level::knowing(dimension.bit(), SLOT_MS).is_some());
        }
        for level in LEVELS {
            assert!(level.knows(Dimension::Channel), "{}", level.code);
        }
    }
}
