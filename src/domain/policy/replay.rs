//! Past triggers decided once more with other rules, one after the other in the order in which they came. Pure: who walks them
//! hands them in.
//!
//! What cannot be known again is taken from what was decided at the time: that a trigger was a duplicate, that the contact had
//! opted out, that a request was open, that nothing carried the channel, and that the address was the agent's own.

use std::collections::{BTreeMap, HashMap};

use super::{Case, Decision, Known, Past, Suppression, decide};
use crate::domain::desk::DeskSettings;
use crate::domain::time::Timestamp;

/// How the store finds a contact of a desk again: by the address, and by the desk's own id of the contact if it gave one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// By the address.
    pub address: [u8; 32],
    /// By the desk's own id.
    pub person: Option<[u8; 32]>,
}

/// What was decided about a trigger when it came, or when it was decided again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Why it was not asked, if it was not.
    pub reason: Option<Suppression>,
    /// It was delayed by quiet hours.
    pub delayed: bool,
}

/// One trigger with what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Why it was not asked, if it was not.
    pub before: Option<Suppression>,
    /// Why it would not be asked, if it would not.
    pub after: Option<Suppression>,
}

/// How often each decision was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By its word: `asked`, or the reason.
    pub decisions: BTreeMap<&'static str, u64>,
    /// Of those that were asked: how many were delayed by quiet hours.
    pub delayed: u64,
}

impl Tally {
    fn count(&mut self, reason: Option<Suppression>, delayed: bool) {
        *self.decisions.entry(word(reason)).or_default() += 1;
        self.delayed += u64::from(delayed && reason.is_none());
    }
}

/// The word of a decision.
pub const fn word(reason: Option<Suppression>) -> &'static str {
    match reason {
        None => "asked",
        Some(reason) => reason.as_str(),
    }
}

/// A walk over past triggers.
#[derive(Debug)]
pub struct Replay {
    now: DeskSettings,
    then: DeskSettings,
    by_address: HashMap<[u8; 32], Vec<Timestamp>>,
    by_person: HashMap<[u8; 32], Vec<([u8; 32], Timestamp)>>,
    days: HashMap<i64, u32>,
    /// What was decided.
    pub before: Tally,
    /// What would be decided.
    pub after: Tally,
}

impl Replay {
    /// Begins a walk: the settings as they are now, and as they would be.
    pub fn new(now: DeskSettings, then: DeskSettings) -> Self {
        Self {
            now,
            then,
            by_address: HashMap::new(),
            by_person: HashMap::new(),
            days: HashMap::new(),
            before: Tally::default(),
            after: Tally::default(),
        }
    }

    /// Decides about the next trigger. `earlier` are the asks of its contact from before the walk.
    pub fn step(
        &mut self,
        case: &Case<'_>,
        who: Who,
        recorded: Recorded,
        earlier: Vec<Past>,
    ) -> Compared {
        let mut plan = case.plan(&self.then);
        plan.given.channel_not_configured =
            recorded.reason == Some(Suppression::ChannelNotConfigured);
        if recorded.reason == Some(Suppression::AddressInternal) {
            // Not by the rules of now: it was the agent's own address, which is not kept.
            plan.given.address_internal |= !case.plan(&self.now).given.address_internal;
        }
        let rules = &self.then.rules;
        let full = rules.daily_cap > 0
            && self.days.get(&plan.day).copied().unwrap_or_default() >= rules.daily_cap;
        let known = Known {
            duplicate: recorded.reason == Some(Suppression::Duplicate),
            open_request: recorded.reason == Some(Suppression::OpenRequestExists),
            opted_out: recorded.reason == Some(Suppression::OptedOut),
            asks: self.asks(who, earlier),
            desk_full: full,
        };
        // The person was erased since, and nothing can be said of them any more.
        let erased = plan.given.no_address && recorded.reason != Some(Suppression::NoAddress);
        let decision = if erased {
            recorded.reason.map_or(Decision::Ask, Decision::Suppress)
        } else {
            decide(rules, &plan.given, &known, plan.due_at)
        };
        let after = decision.reason();
        if after.is_none() {
            *self.days.entry(plan.day).or_default() += 1;
            self.by_address
                .entry(who.address)
                .or_default()
                .push(plan.due_at);
            if let Some(person) = who.person {
                let asks = self.by_person.entry(person).or_default();
                asks.push((who.address, plan.due_at));
            }
        }
        self.before.count(recorded.reason, recorded.delayed);
        self.after
            .count(after, matches!(decision, Decision::Wait(_)));
        Compared {
            before: recorded.reason,
            after,
        }
    }

    /// The other asks of a contact: those from before the walk, and those that the walk decided for.
    fn asks(&self, who: Who, mut asks: Vec<Past>) -> Vec<Past> {
        let same = self.by_address.get(&who.address).into_iter().flatten();
        asks.extend(same.map(|&due_at| Past {
            due_at,
            same_address: true,
        }));
        let person = who.person.and_then(|person| self.by_person.get(&person));
        let elsewhere = person.into_iter().flatten();
        asks.extend(
            elsewhere
                .filter(|(address, _)| *address != who.address)
                .map(|&(_, due_at)| Past {
                    due_at,
                    same_address: false,
                }),
        );
        asks
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::contact::Address;
    use crate::domain::id::DeskId;
    use crate::domain::policy::{Cap, Rules};
    use crate::domain::trigger::Context;

    const NOON: Timestamp = Timestamp::from_millis(1_795_284_000_000);
    const DAY: i64 = 86_400_000;

    fn settings(rules: Rules) -> DeskSettings {
        DeskSettings {
            rules: Arc::new(rules),
            ..DeskSettings::default()
        }
    }

    fn weekly() -> Rules {
        Rules {
            caps: vec![Cap { count: 1, days: 7 }],
            ..Rules::permissive()
        }
    }

    /// Triggers about one person, at these days and addresses, with what was decided.
    fn walk(replay: &mut Replay, triggers: &[(i64, u8, Option<Suppression>)]) -> Vec<&'static str> {
        let context = Context::default();
        let address = Address::phone("+14155550123").unwrap();
        let decided = triggers.iter().map(|&(days, at, reason)| {
            let case = Case {
                desk: DeskId::from_uuid(uuid::Uuid::nil()),
                channel: "sms",
                live: false,
                reachable: true,
                sender: "",
                address: &address,
                contact: "c-1",
                agent: "",
                timezone: "",
                conversation: "INC",
                resolution: "",
                context: &context,
                came_at: NOON.plus_millis(days * DAY),
                due_at: NOON.plus_millis(days * DAY),
            };
            let who = Who {
                address: [at; 32],
                person: Some([9; 32]),
            };
            let recorded = Recorded {
                reason,
                delayed: false,
            };
            word(replay.step(&case, who, recorded, Vec::new()).after)
        });
        decided.collect()
    }

    #[test]
    fn a_new_cap_holds_over_all_addresses_of_a_person() {
        let mut replay = Replay::new(settings(Rules::permissive()), settings(weekly()));
        let decided = walk(
            &mut replay,
            &[(0, 1, None), (3, 2, None), (7, 1, None), (8, 1, None)],
        );
        assert_eq!(decided, ["asked", "cap_contact", "asked", "cap_contact"]);
        assert_eq!(replay.before.decisions, [("asked", 4)].into());
        assert_eq!(
            replay.after.decisions,
            [("asked", 2), ("cap_contact", 2)].into()
        );
    }

    #[test]
    fn what_a_cap_held_back_is_asked_once_the_cap_is_gone() {
        let mut replay = Replay::new(settings(weekly()), settings(Rules::permissive()));
        let capped = Some(Suppression::CapContact);
        assert_eq!(
            walk(&mut replay, &[(0, 1, None), (1, 1, capped)]),
            ["asked", "asked"]
        );
    }

    #[test]
    fn what_cannot_be_known_again_stays_as_it_was() {
        let kept = [
            Suppression::Duplicate,
            Suppression::OpenRequestExists,
            Suppression::OptedOut,
            Suppression::ChannelNotConfigured,
            Suppression::AddressInternal,
        ];
        for reason in kept {
            let mut replay = Replay::new(settings(weekly()), settings(Rules::permissive()));
            assert_eq!(
                walk(&mut replay, &[(0, 1, Some(reason))]),
                [reason.as_str()]
            );
        }
    }

    #[test]
    fn a_daily_cap_is_counted_by_day() {
        let rules = Rules {
            daily_cap: 1,
            ..Rules::permissive()
        };
        let mut replay = Replay::new(settings(Rules::permissive()), settings(rules));
        let decided = walk(&mut replay, &[(0, 1, None), (0, 2, None), (1, 3, None)]);
        assert_eq!(decided, ["asked", "cap_desk", "asked"]);
    }
}
