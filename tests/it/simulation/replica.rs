//! A process among others: it looks for work, crashes, sleeps, and starts again.

use onefive::domain::delivery::DeliveryState;

use super::store::LEASE_MS;
use super::world::{Event, World};

/// For as long a replica stays awake after a sleep.
const RESTED_MS: i64 = 1_000;
/// A process.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    pub(super) up: bool,
    pub(super) life: u32,
    pub(super) asleep_until: i64,
    pub(super) skew_ms: i64,
}

impl World {
    /// What this replica does now, unless it is dead or asleep; it may die before or after it.
    pub(super) fn of(&mut self, p: usize, life: u32, event: Event) -> bool {
        let replica = &self.replicas[p];
        if !replica.up || replica.life != life {
            return false;
        }
        if replica.asleep_until > self.now {
            let late = replica.asleep_until - self.now + self.dice.below(20);
            self.after(late, event);
            return false;
        }
        if matches!(event, Event::Tick(..)) {
            return true;
        }
        if self.fault(self.plan.crash) {
            self.crash(p);
            return false;
        }
        // Between the last check and the first byte lies the moment that no rule protects, so it is drawn more often and longer.
        let writing = self.is_writing(event);
        let likely = if writing { 6 } else { 1 };
        // Nobody falls asleep again over what the last sleep has held up, or the longest sleep would be no longest sleep.
        let rested = self.replicas[p].asleep_until + RESTED_MS < self.now;
        if rested && self.fault(self.plan.sleep * likely) {
            let ms = match self.dice.below(4) {
                0..2 if !writing => self.dice.below(20_000),
                2 if !writing => self.dice.below(90_000),
                _ => self.dice.below(self.plan.sleep_ms),
            };
            let ms = ms.min(self.plan.sleep_ms);
            if writing && ms > LEASE_MS {
                self.count("a sleep right before the first byte");
            }
            self.replicas[p].asleep_until = self.now + ms;
            self.note(|| format!("replica {p} sleeps for {ms} ms before {event:?}"));
            self.after(ms, event);
            return false;
        }
        true
    }

    /// A replica dies; what it had in hand is gone.
    pub(super) fn crash(&mut self, p: usize) {
        let replica = &mut self.replicas[p];
        replica.up = false;
        replica.life += 1;
        replica.asleep_until = 0;
        let ms = self.dice.between(200, 60_000);
        self.count("a crash");
        self.note(|| format!("replica {p} crashes for {ms} ms"));
        self.after(ms, Event::Restart(p));
    }

    /// Looks what is due, and does it a moment later, each as a step of its own.
    pub(super) fn tick(&mut self, p: usize, life: u32) {
        let (now, clock) = (self.clock_of(p), self.now);
        let (mut sweep, mut claim, mut check, mut expire) = (false, false, false, false);
        let mut next = clock + 60_000;
        for row in &self.store.rows {
            let held = matches!(
                row.delivery,
                DeliveryState::Claimed | DeliveryState::Dispatching
            );
            let held = held || row.has_orphan();
            sweep |= held && row.lease_until <= clock || row.has_unwanted(now);
            claim |= row.delivery == DeliveryState::Queued && row.next_at <= now;
            expire |= row.listening && row.listen_until <= now;
            let mut soon = |at: i64| next = next.min(clock + (at - now).max(0));
            if row.delivery == DeliveryState::Queued {
                soon(row.next_at);
            }
            if row.listening {
                soon(row.listen_until);
            }
            for (_, attempt) in &row.calls {
                check |= attempt.check_at > 0 && attempt.check_at <= now;
                if attempt.check_at > 0 {
                    soon(attempt.check_at);
                }
            }
            if held {
                next = next.min(row.lease_until.max(clock));
            }
        }
        for (due, event) in [
            (sweep, Event::Sweep(p, life)),
            (claim, Event::Claim(p, life)),
            (check, Event::Check(p, life)),
            (expire, Event::Expire(p, life)),
        ] {
            if due {
                let moment = self.dice.below(400);
                self.after(moment, event);
            }
        }
        let pause = self.dice.between(500, 2_500);
        self.after((next - clock).max(0) + pause, Event::Tick(p, life));
    }

    pub(super) fn restart(&mut self, p: usize) {
        self.replicas[p].up = true;
        let life = self.replicas[p].life;
        self.note(|| format!("replica {p} starts"));
        if self.plan.replicas == 1 {
            // Only this process works on its database, so whoever held something is dead.
            for row in &mut self.store.rows {
                if matches!(
                    row.delivery,
                    DeliveryState::Claimed | DeliveryState::Dispatching
                ) {
                    row.lease_until = row.lease_until.min(self.now);
                }
            }
        }
        self.after(10, Event::Tick(p, life));
        self.after(100, Event::Reconcile(p, life));
    }

    /// Some replica that is up and awake, for what comes from outside.
    pub(super) fn door(&mut self) -> Option<usize> {
        let p = self.dice.index(self.replicas.len());
        let replica = &self.replicas[p];
        (replica.up && replica.asleep_until <= self.now).then_some(p)
    }
}
