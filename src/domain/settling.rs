//! What is done about an attempt of which nobody knows whether it happened: when it is looked for, and when that ends.
//!
//! Pure: the rules, what is known of one attempt, and what the last look saw go in; the next thing to do comes out. The
//! provider's signed callback and the contact's answer settle an attempt at any time and need no plan.

use sha2::{Digest, Sha256};

use super::time::Timestamp;

/// What is done with an attempt that stays in doubt to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It is given up as lost: counted, shown to the desk, and turned around by late evidence.
    Strict,
    /// Where the provider can hold a message back and take it back, a second one is made that waits there for its time.
    Guarded,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 2] = [Self::Strict, Self::Guarded];

    /// The word used in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Guarded => "guarded",
        }
    }
}

/// How an attempt in doubt can be settled on a channel, as far as the provider goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The provider lists what it has sent.
    Listing {
        /// It can also hold a message back until a given time, and take it back before.
        revocable: bool,
    },
    /// Sending once more is no harm, because both carry the same identity: a mail with the same Message-ID.
    Repeat,
    /// Nothing but waiting.
    Wait,
}

/// The rules of looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What is done at the end.
    pub policy: Policy,
    /// Milliseconds after the start of the attempt at which it is looked for, ascending.
    pub looks_ms: Vec<i64>,
    /// Milliseconds that the looks which found nothing must span.
    pub window_ms: i64,
}

/// Looks that must have found nothing before an attempt is given up.
const ABSENT_MIN: i64 = 3;
/// After the list could not be read, the next look is this much later at the earliest.
const NO_ANSWER_MS: i64 = 30_000;
/// How often the first attempt is looked for while a second one waits at the provider.
const GUARD_LOOK_MS: i64 = 60_000;
/// How far ahead a second message is scheduled. Twilio wants at least five minutes; two more are for getting it there.
pub const GUARD_MS: i64 = 420_000;

impl Rules {
    /// The rules that hold unless the settings say otherwise.
    pub fn usual() -> Self {
        Self {
            policy: Policy::Strict,
            looks_ms: vec![10_000, 30_000, 120_000, 300_000, 900_000],
            window_ms: 600_000,
        }
    }
}

/// What is known of an attempt in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// When it started.
    pub started_at: Timestamp,
    /// Looks that were answered.
    pub looks: i64,
    /// Of these, those that found nothing.
    pub absent: i64,
    /// When nothing was found for the first time.
    pub absent_since: Option<Timestamp>,
    /// Attempts of the request that are in doubt, this one included.
    pub doubts: i64,
    /// A second attempt is on its way, or waits at the provider.
    pub guarded: bool,
    /// When the request stops waiting for an answer.
    pub expires_at: Timestamp,
}

/// What a look saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A complete list without the message.
    Absent,
    /// A complete list that does not tell, such as one whose texts are redacted.
    Unclear,
    /// No list.
    NoAnswer {
        /// The provider asked not to come back earlier than this many milliseconds from now.
        retry_after_ms: Option<i64>,
    },
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask the provider now.
    Look,
    /// Come back at this time.
    Wait(Timestamp),
    /// A second attempt.
    Second,
    /// Nobody will ever know.
    GiveUp,
}

impl Doubt {
    /// What to do now that it is its turn, before anything is looked at.
    pub fn turn(&self, rules: &Rules, recovery: Recovery, now: Timestamp) -> Next {
        let first = rules.looks_ms.first().copied().unwrap_or(0);
        match recovery {
            Recovery::Listing { .. } => {
                let first = self.started_at.plus_millis(first);
                if self.looks == 0 && now < first {
                    Next::Wait(first)
                } else {
                    Next::Look
                }
            }
            Recovery::Repeat if self.doubts == 1 && !self.guarded && now < self.expires_at => {
                let at = self.started_at.plus_millis(first);
                if now < at {
                    Next::Wait(at)
                } else {
                    Next::Second
                }
            }
            // The second is on its way, for as long as the request waits.
            Recovery::Repeat if self.guarded && now < self.expires_at => {
                Next::Wait(now.plus_millis(GUARD_LOOK_MS))
            }
            Recovery::Repeat | Recovery::Wait => {
                let end = self.started_at.plus_millis(rules.window_ms);
                if now < end {
                    Next::Wait(end)
                } else {
                    Next::GiveUp
                }
            }
        }
    }

    /// This with what a look saw.
    #[must_use]
    pub fn having(self, seen: Seen, now: Timestamp) -> Self {
        match seen {
            Seen::Absent => Self {
                looks: self.looks + 1,
                absent: self.absent + 1,
                absent_since: self.absent_since.or(Some(now)),
                ..self
            },
            Seen::Unclear => Self {
                looks: self.looks + 1,
                ..self
            },
            Seen::NoAnswer { .. } => self,
        }
    }

    /// What to do after a look; `self` is [`Self::having`] it. `jitter` is from 0 to 999.
    pub fn after(
        &self,
        rules: &Rules,
        recovery: Recovery,
        seen: Seen,
        now: Timestamp,
        jitter: u16,
    ) -> Next {
        if let Seen::NoAnswer { retry_after_ms } = seen {
            // Without a list there is no evidence: an outage of the provider alone must not make anything lost.
            let wait = retry_after_ms.unwrap_or(0).clamp(NO_ANSWER_MS, 3_600_000);
            return if now < self.expires_at {
                Next::Wait(now.plus_millis(spread(wait, jitter)))
            } else {
                Next::GiveUp
            };
        }
        if self.guarded {
            return Next::Wait(now.plus_millis(GUARD_LOOK_MS));
        }
        let enough = self.absent >= ABSENT_MIN
            && self
                .absent_since
                .is_some_and(|since| now.millis_since(since) >= rules.window_ms);
        let looks = usize::try_from(self.looks).unwrap_or(usize::MAX);
        if enough {
            let revocable = recovery == Recovery::Listing { revocable: true };
            // A message that would go out after its time is none.
            let useful = now.plus_millis(2 * GUARD_MS) < self.expires_at;
            return if rules.policy == Policy::Guarded && revocable && self.doubts == 1 && useful {
                Next::Second
            } else {
                Next::GiveUp
            };
        }
        // Twice as many looks as planned, and still no clear picture: it will not become one.
        if looks >= 2 * rules.looks_ms.len().max(3) {
            return Next::GiveUp;
        }
        Next::Wait(now.plus_millis(spread(Self::gap_ms(rules, looks), jitter)))
    }

    /// From one look to the next: the planned pause, even if the last look came late.
    fn gap_ms(rules: &Rules, looks: usize) -> i64 {
        let planned = |look: usize| rules.looks_ms.get(look).copied();
        match (looks.checked_sub(1).and_then(planned), planned(looks)) {
            (Some(last), Some(next)) => (next - last).max(1_000),
            // The plan is over and the window is not.
            _ => (rules.window_ms / 8).max(1_000),
        }
    }
}

/// Spread by a tenth, so that what came to doubt together is not looked for together.
fn spread(ms: i64, jitter: u16) -> i64 {
    ms * (1000 + i64::from(jitter.min(999)) / 10) / 1000
}

/// What a text is known by in a provider's list. Providers replace typographic signs on the way (Twilio's smart encoding), so
/// only the letters and digits of ASCII count.
pub fn body_hash(text: &str) -> [u8; 32] {
    let core: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    Sha256::digest(core.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: Recovery = Recovery::Listing { revocable: true };

    fn start() -> Timestamp {
        Timestamp::from_millis(1_000_000)
    }

    fn doubt() -> Doubt {
        Doubt {
            started_at: start(),
            looks: 0,
            absent: 0,
            absent_since: None,
            doubts: 1,
            guarded: false,
            expires_at: start().plus_millis(86_400_000),
        }
    }

    /// Looks that all see the same: the times of the looks in seconds, and how it ends.
    fn looks(rules: &Rules, recovery: Recovery, seen: Seen, mut doubt: Doubt) -> (Vec<i64>, Next) {
        let (mut now, mut times) = (start(), Vec::new());
        for _ in 0..10_000 {
            match doubt.turn(rules, recovery, now) {
                Next::Wait(at) => {
                    now = at;
                    continue;
                }
                Next::Look => {}
                end @ (Next::Second | Next::GiveUp) => return (times, end),
            }
            times.push(now.millis_since(start()) / 1000);
            doubt = doubt.having(seen, now);
            match doubt.after(rules, recovery, seen, now, 0) {
                Next::Wait(at) => {
                    assert!(at > now);
                    now = at;
                }
                end @ (Next::Second | Next::GiveUp | Next::Look) => return (times, end),
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn it_is_looked_for_five_times_over_a_quarter_of_an_hour_and_then_given_up() {
        let (times, end) = looks(&Rules::usual(), LISTING, Seen::Absent, doubt());
        assert_eq!(times, [10, 30, 120, 300, 900]);
        assert_eq!(end, Next::GiveUp);
    }

    #[test]
    fn guarded_makes_one_second_attempt_where_it_can_be_taken_back() {
        let rules = Rules {
            policy: Policy::Guarded,
            ..Rules::usual()
        };
        let end = |recovery, doubt| looks(&rules, recovery, Seen::Absent, doubt).1;
        assert_eq!(end(LISTING, doubt()), Next::Second);
        assert_eq!(
            end(Recovery::Listing { revocable: false }, doubt()),
            Next::GiveUp
        );
        let both = Doubt {
            doubts: 2,
            ..doubt()
        };
        assert_eq!(end(LISTING, both), Next::GiveUp, "there is no third");
        let late = Doubt {
            expires_at: start().plus_millis(1_000_000),
            ..doubt()
        };
        assert_eq!(end(LISTING, late), Next::GiveUp, "it would come too late");
    }

    #[test]
    fn nothing_is_given_up_by_looks_that_follow_each_other_at_once() {
        // The process was down for an hour: every planned look is overdue.
        let rules = Rules::usual();
        let mut doubt = doubt();
        let mut now = start().plus_millis(3_600_000);
        let first = now;
        loop {
            assert_eq!(doubt.turn(&rules, LISTING, now), Next::Look);
            doubt = doubt.having(Seen::Absent, now);
            match doubt.after(&rules, LISTING, Seen::Absent, now, 0) {
                Next::Wait(at) => now = at,
                end @ (Next::Look | Next::Second | Next::GiveUp) => {
                    assert_eq!(end, Next::GiveUp);
                    break;
                }
            }
        }
        assert!(doubt.absent >= 3 && now.millis_since(first) >= rules.window_ms);
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_evidence() {
        let no_answer = Seen::NoAnswer {
            retry_after_ms: None,
        };
        let (times, end) = looks(&Rules::usual(), LISTING, no_answer, doubt());
        assert_eq!(end, Next::GiveUp);
        assert!(times.last().is_some_and(|last| *last >= 86_400));
    }

    #[test]
    fn a_list_that_does_not_tell_ends_in_no_second_attempt() {
        let rules = Rules {
            policy: Policy::Guarded,
            ..Rules::usual()
        };
        let (times, end) = looks(&rules, LISTING, Seen::Unclear, doubt());
        assert_eq!((times.len(), end), (10, Next::GiveUp));
    }

    #[test]
    fn a_mail_is_repeated_once_and_what_can_only_wait_waits() {
        let rules = Rules::usual();
        let at = |seconds: i64| start().plus_millis(seconds * 1000);
        let turn = |recovery, doubt: Doubt, now| doubt.turn(&rules, recovery, now);
        assert_eq!(turn(Recovery::Repeat, doubt(), at(0)), Next::Wait(at(10)));
        assert_eq!(turn(Recovery::Repeat, doubt(), at(10)), Next::Second);
        let again = Doubt {
            doubts: 2,
            ..doubt()
        };
        assert_eq!(turn(Recovery::Repeat, again, at(10)), Next::Wait(at(600)));
        assert_eq!(turn(Recovery::Repeat, again, at(600)), Next::GiveUp);
        let queued = Doubt {
            guarded: true,
            ..doubt()
        };
        let later = turn(Recovery::Repeat, queued, at(3_000));
        assert_eq!(
            later,
            Next::Wait(at(3_060)),
            "an outage outlasts the window"
        );
        assert_eq!(turn(Recovery::Wait, doubt(), at(599)), Next::Wait(at(600)));
        assert_eq!(turn(Recovery::Wait, doubt(), at(600)), Next::GiveUp);
    }

    #[test]
    fn a_text_is_known_again_after_its_signs_were_replaced() {
        assert_eq!(
            body_hash("How was “Sam”? Reply 1–5…"),
            body_hash("How was \"Sam\"? Reply 1-5...")
        );
        assert_ne!(body_hash("Reply 1-5"), body_hash("Reply 1-4"));
    }
}
