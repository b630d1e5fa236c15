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
/// traffic beyond that.
pub const LEVELS: [Level; 8] = [
    // What a board shows all day.
    level(1, DAY_MS, BOARD),
    // The days of other time zones.
    level(2, SLOT_MS, CHANNEL_TEAM),
    level(3, SLOT_MS, BOARD),
    level(4, DAY_MS, COARSE),
    level(5, DAY_MS, CHANNEL_TEAM | Dimension::Agent.bit()),
    level(6, DAY_MS, CHANNEL_TEAM | Dimension::Topic.bit()),
    level(7, DAY_MS, COARSE | Dimension::Agent.bit()),
    // Nearly one for each request where topics are many: whatever else is asked.
    level(
        8,
        DAY_MS,
        COARSE | Dimension::Agent.bit() | Dimension::Topic.bit() | Dimension::Wording.bit(),
    ),
];

impl Level {
    /// Where a request of this place and time is counted.
    pub fn key(&self, created_at: i64, place: &Place) -> (i64, Place) {
        let mut kept = Place::default();
        for dimension in Dimension::ALL {
            if self.dimensions & dimension.bit() != 0 {
                kept[dimension.place()].clone_from(&place[dimension.place()]);
            }
        }
        (created_at - created_at.rem_euclid(self.span_ms), kept)
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
    /// Whether it is grouped by time as well, and the groups' borders may be no days of UTC.
    pub slots: Slots,
    /// What it is limited to.
    pub only: BTreeMap<Dimension, String>,
    /// Conversations that ended at or after this.
    pub from: Option<Timestamp>,
    /// Conversations that ended before this.
    pub to: Option<Timestamp>,
}

/// How the answer is divided in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slots {
    /// Not at all.
    #[default]
    None,
    /// By days of UTC.
    Days,
    /// By half hours, to be put together to somebody's days.
    Halves,
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
}

/// The question cannot be answered from what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaysOnly;

impl Question {
    /// Whether an answer would be about single agents.
    pub fn names_agents(&self) -> bool {
        self.by.contains(&Dimension::Agent) || self.only.contains_key(&Dimension::Agent)
    }

    fn dimensions(&self) -> u16 {
        let all = self.by.iter().chain(self.only.keys());
        all.fold(0, |set, dimension| set | dimension.bit())
    }

    /// Widens the time to what sums are kept by: half hours as long as nothing but channel, team, touchpoint and phase is named,
    /// otherwise whole days of UTC.
    pub fn widen(&mut self) {
        let halves = Level::knowing(self.dimensions(), SLOT_MS).is_some();
        let step = if halves { SLOT_MS } else { DAY_MS };
        let down = |at: Timestamp| {
            let ms = at.as_millis();
            Timestamp::from_millis(ms - ms.rem_euclid(step))
        };
        self.from = self.from.map(down);
        self.to = self.to.map(|to| down(to.plus_millis(step - 1)));
    }

    /// Where the answer lies, at most three parts: half hours up to the first day's border, days, half hours again. The time must have
    /// been widened.
    pub fn stretches(&self) -> Result<Vec<Stretch>, DaysOnly> {
        let (from, to) = (
            self.from.map_or(i64::MIN, Timestamp::as_millis),
            self.to.map_or(i64::MAX, Timestamp::as_millis),
        );
        let halves = Level::knowing(self.dimensions(), SLOT_MS);
        let mut parts = Vec::new();
        let mut put = |level: Option<Level>, from: i64, to: i64| match level {
            _ if from >= to => Ok(()),
            Some(level) => {
                let level = level.code;
                parts.push(Stretch { level, from, to });
                Ok(())
            }
            None => Err(DaysOnly),
        };
        if self.slots == Slots::Halves {
            put(halves, from, to)?;
            return Ok(parts);
        }
        let first = match self.from {
            Some(_) => from
                .saturating_add(DAY_MS - 1)
                .div_euclid(DAY_MS)
                .saturating_mul(DAY_MS),
            None => from,
        };
        let last = match self.to {
            Some(_) => to - to.rem_euclid(DAY_MS),
            None => to,
        };
        if first > last {
            put(halves, from, to)?;
        } else {
            put(halves, from, first)?;
            put(Level::knowing(self.dimensions(), DAY_MS), first, last)?;
            put(halves, last, to)?;
        }
        Ok(parts)
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
            for part in question(from, to).stretches().unwrap() {
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
        let open = Question::default().stretches().unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].from, open[0].to), (i64::MIN, i64::MAX));
    }

    #[test]
    fn agents_are_asked_about_by_whole_days() {
        let mut question = question(DAY_MS + 5, DAY_MS + 7);
        question.by.push(Dimension::Agent);
        assert_eq!(question.stretches(), Err(DaysOnly));
        question.widen();
        let part = Stretch {
            level: 5,
            from: DAY_MS,
            to: 2 * DAY_MS,
        };
        assert_eq!(question.stretches(), Ok(vec![part]));
        question.only.insert(Dimension::Topic, "vpn".to_owned());
        assert_eq!(question.stretches().unwrap()[0].level, 8);
        question.slots = Slots::Halves;
        assert_eq!(question.stretches(), Err(DaysOnly));
    }

    #[test]
    fn every_dimension_reads_back_and_is_known_by_a_level() {
        for (at, dimension) in Dimension::ALL.into_iter().enumerate() {
            assert_eq!(Dimension::parse(dimension.as_str()), Some(dimension));
            assert_eq!(dimension.place(), at);
            assert!(Level::knowing(dimension.bit(), DAY_MS).is_some());
        }
    }
}
