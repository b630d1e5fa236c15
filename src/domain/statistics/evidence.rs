//! What a channel tells of an ask before it is answered. An answer proves that the ask arrived and was seen; so where nothing else
//! ever does, "answered of reached" would be all of them, whoever did not answer.

use std::collections::BTreeMap;

use super::counts::Counts;

/// What one channel tells of an ask, answered or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tells {
    /// That it arrived.
    pub delivered: bool,
    /// That the contact has it in front of them.
    pub reached: bool,
}

/// What every channel tells.
#[derive(Debug, Clone, Default)]
pub struct Evidence(BTreeMap<&'static str, Tells>);

impl Evidence {
    /// From the channels by name.
    pub fn of(channels: impl IntoIterator<Item = (&'static str, Tells)>) -> Self {
        Self(channels.into_iter().collect())
    }

    /// Of one channel; nothing is known of one that does not exist any more.
    pub fn of_channel(&self, channel: &str) -> Tells {
        self.0.get(channel).copied().unwrap_or(Tells {
            delivered: false,
            reached: false,
        })
    }
}

/// A group's counts, by channel.
pub type ByChannel = BTreeMap<String, Counts>;

/// All channels together.
pub fn together(channels: &ByChannel) -> Counts {
    let mut all = Counts::default();
    for counts in channels.values() {
        all.add(counts);
    }
    all
}

/// Adds another group's counts to this one's.
pub fn add(to: &mut ByChannel, from: &ByChannel) {
    for (channel, counts) in from {
        to.entry(channel.clone()).or_default().add(counts);
    }
}
