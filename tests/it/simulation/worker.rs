//! What a replica does: carries requests, each step on its own so that it may die between any two, and looks after attempts that
//! are in doubt.

use onefive::domain::delivery::{AttemptState, DeliveryState, Outcome};
use onefive::domain::settling::{Doubt, GUARD_MS, Next, Policy, Recovery, Seen};

use super::provider::Meets;
use super::settle::Finding;
use super::store::{Attempt, Granted, Row, Second, at};
use super::world::{Event, World};

/// Whoever was stopped for longer than this before the first byte does not send.
const PAUSE_MAX_MS: i64 = 10_000;
/// The deadline of a provider call.
const CALL_MS: i64 = 10_000;
/// How often a report is repeated.
const REPORTS: u8 = 5;

/// A request on its way to the provider.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) p: usize,
    pub(super) life: u32,
    r: usize,
    fence: i64,
    attempt: i64,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    Open,
    Dispatch,
    /// Committed at this time by the process's own clock, to be held back until then.
    Check(i64, Option<i64>),
    Write(Option<i64>),
    Report(Outcome, Option<i64>, u8),
}

/// An attempt that is looked after.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) p: usize,
    pub(super) life: u32,
    r: usize,
    n: i64,
    row: Row,
    finding: Option<Finding>,
}

impl Row {
    /// Whether a second message waits at the provider that nobody wants any more.
    pub(super) fn has_unwanted(&self, now: i64) -> bool {
        self.delivery != DeliveryState::Guarded
            && self.calls.iter().any(|(_, attempt)| {
                attempt.state == AttemptState::Scheduled
                    && attempt.send_at.is_some_and(|at| at > now)
            })
    }
}

impl World {
    pub(super) fn sweep(&mut self, p: usize) {
        let (now, clock) = (self.clock_of(p), self.now);
        self.note(|| format!("replica {p} sweeps"));
        self.commit(|store| store.sweep(now, clock));
    }

    pub(super) fn claim(&mut self, p: usize) {
        let (now, clock, life) = (self.clock_of(p), self.now, self.replicas[p].life);
        let claims = self.commit(|store| store.claim(3, now, clock));
        for (r, fence, attempt) in claims.unwrap_or_default() {
            self.note(|| format!("replica {p} claims request {r} with fence {fence}"));
            self.calls.push(Call {
                p,
                life,
                r,
                fence,
                attempt,
                stage: Stage::Open,
            });
            let ms = self.dice.below(300);
            self.after(ms, Event::Carry(self.calls.len() - 1));
        }
    }

    /// Whether this is the moment between the last check and the first byte.
    pub(super) fn is_writing(&self, event: Event) -> bool {
        matches!(event, Event::Carry(call) if matches!(self.calls[call].stage, Stage::Write(_)))
    }

    fn then(&mut self, call: usize, ms: i64, stage: Stage) {
        self.calls[call].stage = stage;
        self.after(ms, Event::Carry(call));
    }

    pub(super) fn carry(&mut self, index: usize) {
        let call = self.calls[index].clone();
        let (r, which) = (call.r, (call.fence, call.attempt));
        let now = self.clock_of(call.p);
        let name = || format!("request {r}, attempt {}", call.attempt);
        match call.stage {
            Stage::Open => {
                self.note(|| format!("{}: the way to the provider opens", name()));
                if self.fault(self.plan.trouble / 10) {
                    let outcome = Outcome::NotProcessed {
                        code: "connect".to_owned(),
                        retry_after_ms: None,
                    };
                    return self.then(index, 100, Stage::Report(outcome, None, 1));
                }
                let slow = self.fault(20);
                let ms = self.dice.below(if slow { 14_000 } else { 500 });
                self.then(index, ms, Stage::Dispatch);
            }
            Stage::Dispatch => {
                let second = match (self.plan.recovery, self.plan.rules.policy) {
                    (Recovery::Repeat, _) => Second::Same,
                    (Recovery::Listing { revocable: true }, Policy::Guarded) => {
                        Second::At(now + GUARD_MS)
                    }
                    _ => Second::Never,
                };
                let clock = self.now;
                self.note(|| format!("{}: the point of no return", name()));
                let granted = self.commit(|store| store.dispatch(r, which, second, now, clock));
                match granted {
                    Some(Granted::Send(send_at)) => {
                        let slow = self.fault(30);
                        let ms = self.dice.below(if slow { 20_000 } else { 30 });
                        self.then(index, ms, Stage::Check(clock, send_at));
                    }
                    // Not granted.
                    Some(Granted::No) => {}
                    // Perhaps it was committed. Nothing is sent, and that is certain.
                    None => {
                        let outcome = Outcome::NotProcessed {
                            code: "not_confirmed".to_owned(),
                            retry_after_ms: None,
                        };
                        self.then(index, 200, Stage::Report(outcome, None, 1));
                    }
                }
            }
            Stage::Check(committed, send_at) => {
                self.note(|| format!("{}: is it still ours?", name()));
                if self.now - committed > PAUSE_MAX_MS {
                    let outcome = Outcome::NotProcessed {
                        code: "paused".to_owned(),
                        retry_after_ms: None,
                    };
                    return self.then(index, 1, Stage::Report(outcome, send_at, 1));
                }
                self.then(index, 1, Stage::Write(send_at));
            }
            Stage::Write(send_at) => self.write(index, r, call.attempt, send_at),
            Stage::Report(outcome, send_at, tries) => {
                self.note(|| format!("{}: reports {outcome:?}", name()));
                let reported = self.commit(|store| store.report(r, which, send_at, &outcome, now));
                if reported.is_none() && tries < REPORTS {
                    let stage = Stage::Report(outcome, send_at, tries + 1);
                    self.then(index, 200 << tries, stage);
                }
            }
        }
    }

    /// The bytes go out. From here on the provider may have the message, whatever becomes of us.
    fn write(&mut self, index: usize, r: usize, attempt: i64, send_at: Option<i64>) {
        let trouble = if self.troubled() {
            self.plan.trouble
        } else {
            0
        };
        let meets = Meets::draw(&mut self.dice, trouble);
        self.faults += u64::from(meets != Meets::Taken);
        self.note(|| format!("request {r}, attempt {attempt}: written; the provider: {meets:?}"));
        let message = meets.takes().then(|| {
            let which = (r, attempt);
            self.provider
                .take(which, send_at, self.now, &self.plan, &mut self.dice)
        });
        if meets != Meets::Taken {
            self.count("a bad answer of the provider");
        }
        if let Some(message) = message {
            match send_at {
                Some(send_at) => self.after(send_at - self.now, Event::GoesOut(message)),
                None => self.after(0, Event::GoesOut(message)),
            }
        }
        let outcome = meets.outcome(message, &mut self.dice);
        let ms = if meets.is_silent() {
            CALL_MS
        } else {
            self.dice.between(50, 9_000)
        };
        self.then(index, ms, Stage::Report(outcome, send_at, 1));
    }

    pub(super) fn check(&mut self, p: usize) {
        let (now, life) = (self.clock_of(p), self.replicas[p].life);
        let checks = self.commit(|store| store.claim_checks(4, now));
        for (r, n, row) in checks.unwrap_or_default() {
            self.note(|| format!("replica {p} looks after request {r}, attempt {n}"));
            self.looks.push(Look {
                p,
                life,
                r,
                n,
                row,
                finding: None,
            });
            let ms = self.dice.below(500);
            self.after(ms, Event::Look(self.looks.len() - 1));
        }
    }

    pub(super) fn look(&mut self, index: usize) {
        let look = self.looks[index].clone();
        let (r, n, now) = (look.r, look.n, self.clock_of(look.p));
        let Some(finding) = look.finding else {
            // What is seen now is written down a moment later; in between everything may change.
            let finding = self.looks_at(&look.row, r, n, now);
            self.note(|| format!("request {r}, attempt {n}: {finding:?}"));
            self.looks[index].finding = Some(finding);
            let ms = self.dice.between(20, 2_000);
            return self.after(ms, Event::Look(index));
        };
        self.note(|| format!("request {r}, attempt {n}: records {finding:?}"));
        match finding {
            Finding::Found(..) => self.count("a message found in the list"),
            Finding::NotFound { second: true } => self.count("a second attempt"),
            Finding::NotFound { second: false } => self.count("a loss"),
            Finding::Released => self.count("a second message that went out"),
            Finding::Revoked => self.count("a second message taken back"),
            Finding::TooLate => self.count("a second message not taken back"),
            Finding::Later(..) | Finding::Settled => {}
        }
        self.commit(|store| store.settle(r, n, &finding, now));
    }

    fn looks_at(&mut self, row: &Row, r: usize, n: i64, now: i64) -> Finding {
        let Some(attempt) = row.call(n) else {
            return Finding::Settled;
        };
        match attempt.state {
            AttemptState::Unknown => {}
            AttemptState::Scheduled => {
                let early = attempt.send_at.filter(|send_at| now < *send_at);
                return early.map_or(Finding::Released, |send_at| Finding::Later(send_at, None));
            }
            AttemptState::Revoking => return self.revokes(attempt, now),
            AttemptState::Dispatching
            | AttemptState::Accepted
            | AttemptState::NotProcessed
            | AttemptState::Rejected
            | AttemptState::Revoked => return Finding::Settled,
        }
        let waits = attempt.send_at.is_some_and(|send_at| now < send_at);
        let open = matches!(
            row.delivery,
            DeliveryState::Unknown
                | DeliveryState::Guarded
                | DeliveryState::Queued
                | DeliveryState::Claimed
                | DeliveryState::Dispatching
        );
        if !open && !waits {
            return Finding::Settled;
        }
        let doubt = Doubt {
            started_at: at(attempt.started_at),
            looks: attempt.looks,
            absent: attempt.absent,
            absent_since: attempt.absent_since.map(at),
            doubts: row.doubts(),
            guarded: row.delivery != DeliveryState::Unknown || row.has_later(n, now),
            expires_at: at(row.expires_at),
        };
        let (rules, recovery) = (self.plan.rules.clone(), self.plan.recovery);
        let ended = |next, doubt| match next {
            Next::Wait(later) => Finding::Later(later.as_millis(), doubt),
            Next::Look => Finding::Later(now, doubt),
            Next::Second => Finding::NotFound { second: true },
            Next::GiveUp => Finding::NotFound { second: false },
        };
        match doubt.turn(&rules, recovery, at(now)) {
            Next::Look => {}
            next @ (Next::Wait(_) | Next::Second | Next::GiveUp) => {
                return ended(next, Some(doubt));
            }
        }
        let away = self.now < self.list_away || self.fault(self.plan.no_list);
        let seen = if away {
            let retry_after_ms = self.dice.chance(300).then(|| self.dice.below(120_000));
            Seen::NoAnswer { retry_after_ms }
        } else {
            let others = self.store.rows[r].calls.iter().filter(|(m, _)| *m != n);
            let taken: Vec<usize> = others.filter_map(|(_, other)| other.message).collect();
            let next = self.store.rows[r].calls.iter().find(|(m, _)| *m > n);
            let next = next.map_or(i64::MAX, |(_, next)| next.started_at);
            let window = (attempt.started_at, next);
            if let Some(id) = self.provider.find(r, window, &taken, self.now) {
                return Finding::Found(id, self.provider.ledger[id].status());
            }
            Seen::Absent
        };
        let doubt = doubt.having(seen, at(now));
        let jitter = self.dice.jitter();
        ended(
            doubt.after(&rules, recovery, seen, at(now), jitter),
            Some(doubt),
        )
    }

    /// Takes a second message back at the provider. The answer may get lost although it is done.
    fn revokes(&mut self, attempt: &Attempt, now: i64) -> Finding {
        let again = if attempt.send_at.is_none_or(|send_at| now >= send_at) {
            Finding::TooLate
        } else {
            Finding::Later(now + 5_000, None)
        };
        let away = self.fault(self.plan.no_list);
        let Some(message) = attempt.message.filter(|_| !away) else {
            return again;
        };
        let revoked = self.provider.revoke(message);
        if self.fault(self.plan.no_list) {
            return again;
        }
        if revoked {
            Finding::Revoked
        } else {
            Finding::TooLate
        }
    }
}
