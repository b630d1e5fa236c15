//! Who has series of its own. Their number is bounded: beyond a number of places further ones share the label `_other`; who came first
//! keeps its own, so a series never changes its meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Labels;
use crate::domain::opt_out::EVERY_CHANNEL;
use crate::domain::statistics::{Total, Totals};

/// Places (a desk's touchpoint in a channel) with series of their own. A place has at most 43 series, and its desk's channel 8; 10,000 are
/// what one scrape may have, together with those of the process.
pub(super) const PLACES_MAX: usize = 130;
/// So many of them are whosever comes first. Of the others a desk gets one as long as it has fewer than this, so that a desk that
/// names a touchpoint for every ticket leaves room for those that come after it.
pub(super) const FIRST_COME: usize = 75;
const OF_DESK: usize = 15;
/// Desks' channels whose further touchpoints share the label `_other`; beyond that desks share one too.
pub(super) const SHARED_MAX: usize = 20;
pub(super) const OTHER: &str = "_other";
/// Desks with series of their own; further ones share the label `_other`.
const DESKS_MAX: usize = 20;

/// Totals by the place whose series they belong to.
pub(in crate::http) type Placed<'a> = BTreeMap<Place<'a>, Vec<&'a Totals>>;

/// Where something is counted: a desk's touchpoint in a channel, or what shares its series with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::http) struct Place<'a> {
    desk: &'a str,
    channel: &'a str,
    touchpoint: &'a str,
}

impl Place<'_> {
    /// Its labels.
    pub(in crate::http) fn labels(&self) -> Labels {
        let mut labels = self.short();
        labels.push(("touchpoint", self.touchpoint.to_owned()));
        labels
    }

    /// Desk and channel alone.
    pub(in crate::http) fn short(&self) -> Labels {
        vec![
            ("desk", self.desk.to_owned()),
            ("channel", self.channel.to_owned()),
        ]
    }
}

/// Totals by the place whose series they belong to, but for what happened at no place. The places of the first events have series of
/// their own, so this is stable: who has one keeps it.
pub(in crate::http) fn by_place(totals: &[Arc<Totals>]) -> Placed<'_> {
    let at_places = totals
        .iter()
        .filter(|totals| totals.channel != EVERY_CHANNEL);
    let mut places: Vec<&Totals> = at_places.map(Arc::as_ref).collect();
    places.sort_by_key(|totals| totals.first_at);
    let (mut own, mut shared) = (0, BTreeSet::new());
    let mut of_desk: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_label = Placed::new();
    for totals in places {
        let mut place = Place {
            desk: &totals.desk,
            channel: totals.channel.as_str(),
            touchpoint: &totals.touchpoint,
        };
        let has = of_desk.entry(place.desk).or_default();
        if own < FIRST_COME || (own < PLACES_MAX && *has < OF_DESK) {
            own += 1;
            *has += 1;
        } else {
            place.touchpoint = OTHER;
            let share = (place.desk, place.channel);
            if shared.contains(&share) || shared.len() < SHARED_MAX {
                shared.insert(share);
            } else {
                place.desk = OTHER;
            }
        }
        by_label.entry(place).or_default().push(totals);
    }
    by_label
}

/// Every sum of some places.
pub(in crate::http) fn sums<'a>(totals: &[&'a Totals]) -> impl Iterator<Item = &'a Total> {
    totals.iter().flat_map(|totals| &totals.sums)
}

/// The desks with series of their own: those whose first event was earlier, so who has a series keeps it.
pub(in crate::http) struct OwnDesks<'a>(BTreeSet<&'a str>);

impl<'a> OwnDesks<'a> {
    pub(in crate::http) fn of(totals: &'a [Arc<Totals>]) -> Self {
        let mut first: BTreeMap<&str, i64> = BTreeMap::new();
        for totals in totals {
            let first_at = first.entry(&totals.desk).or_insert(totals.first_at);
            *first_at = totals.first_at.min(*first_at);
        }
        let mut desks: Vec<(&str, i64)> = first.into_iter().collect();
        desks.sort_by_key(|(_, first_at)| *first_at);
        let own = desks.into_iter().take(DESKS_MAX);
        Self(own.map(|(desk, _)| desk).collect())
    }

    /// What a desk's series are labelled with.
    pub(in crate::http) fn label(&self, desk: &str) -> &'a str {
        self.0.get(desk).copied().unwrap_or(OTHER)
    }

    pub(in crate::http) fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().copied()
    }
}
