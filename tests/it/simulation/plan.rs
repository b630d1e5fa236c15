//! What kind of world a seed makes: the rules that hold in it, and how much goes wrong.

use onefive::domain::settling::{GUARD_MS, Policy, Recovery, Rules};

use super::dice::Dice;
use super::mutation::Mutation;

/// What lies between an assumption and its limit: calls, leases and the steps of looking take their time too.
const MARGIN_MS: i64 = 150_000;

/// How a world settles what is in doubt, and what is promised in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Never two messages, whatever the provider hides and however long anybody sleeps.
    Strict,
    /// Never two messages that go out, as long as the time for which the provider hides a message and the time for which a
    /// worker sleeps between its last check and the first byte are together shorter than the window.
    Guarded,
    /// The same where the list is later than that by less than the second message waits, and nothing else goes wrong.
    GuardedLate,
    /// At most two with the same identity, as for mail.
    Repeat,
    /// Never two, by waiting alone.
    Wait,
}

/// A world's rules and troubles; chances are in thousandths.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) promise: Promise,
    pub(super) rules: Rules,
    pub(super) recovery: Recovery,
    pub(super) mutation: Option<Mutation>,
    pub(super) replicas: usize,
    pub(super) requests: usize,
    /// How far the replicas' clocks are from the store's.
    pub(super) skew_ms: i64,
    /// A worker dies, or sleeps, before or after a step.
    pub(super) crash: i64,
    pub(super) sleep: i64,
    pub(super) sleep_ms: i64,
    /// A transaction fails; the outcome of one is not known.
    pub(super) failed_commit: i64,
    pub(super) unknown_commit: i64,
    /// The provider answers badly; lists late; callbacks get lost.
    pub(super) trouble: i64,
    pub(super) late_lists: i64,
    pub(super) hidden_ms: (i64, i64),
    pub(super) no_list: i64,
    pub(super) lost_callbacks: i64,
    /// The database, and the provider's list, are away for a while.
    pub(super) outages: bool,
}

impl Plan {
    /// The world of a seed.
    pub(super) fn draw(dice: &mut Dice, mutation: Option<Mutation>) -> Self {
        let promise = match dice.below(100) {
            0..40 => Promise::Strict,
            40..65 => Promise::Guarded,
            65..80 => Promise::GuardedLate,
            80..92 => Promise::Repeat,
            _ => Promise::Wait,
        };
        let usual = Rules::usual();
        let window_ms = usual.window_ms;
        let last_look = usual.looks_ms.last().copied().unwrap_or(window_ms);
        let guarded = matches!(promise, Promise::Guarded | Promise::GuardedLate);
        let calm = promise == Promise::GuardedLate;
        let rough = |dice: &mut Dice, most| if calm { 0 } else { dice.below(most) };
        // The longest anybody sleeps, and the longest a message is hidden: guarded, both together are shorter than the window.
        let strained = dice.below(window_ms - MARGIN_MS);
        let (sleep_ms, hidden_ms) = match promise {
            Promise::Guarded => (strained, (0, window_ms - MARGIN_MS - strained)),
            // It shows up while the second message waits, early enough for looks that come every minute.
            Promise::GuardedLate => (1, (window_ms, last_look + GUARD_MS - MARGIN_MS)),
            Promise::Strict | Promise::Repeat | Promise::Wait => (2_400_000, (0, 7_200_000)),
        };
        let revocable = guarded || dice.chance(300);
        Self {
            promise,
            rules: Rules {
                policy: if guarded {
                    Policy::Guarded
                } else {
                    Policy::Strict
                },
                ..usual
            },
            recovery: match promise {
                Promise::Repeat => Recovery::Repeat,
                Promise::Wait => Recovery::Wait,
                Promise::Strict | Promise::Guarded | Promise::GuardedLate => {
                    Recovery::Listing { revocable }
                }
            },
            mutation,
            replicas: 1 + dice.index(3),
            requests: 6,
            skew_ms: if guarded { 2_000 } else { 1_800_000 },
            crash: rough(dice, 40),
            sleep: rough(dice, 40),
            sleep_ms,
            failed_commit: rough(dice, 60),
            unknown_commit: rough(dice, 60),
            trouble: dice.between(300, 950),
            late_lists: if calm { 900 } else { dice.below(700) },
            hidden_ms,
            no_list: rough(dice, 400),
            lost_callbacks: dice.between(300, 1_001),
            outages: !calm && dice.chance(600),
        }
    }
}
