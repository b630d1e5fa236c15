//! A world: a virtual clock, a queue of what happens when, replicas that crash and sleep, and a law that is looked at after every
//! step. Everything is drawn from one seed, so the same seed is the same world, step by step.

use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::Hash as _;

use onefive::domain::reply::Understood;

use super::dice::Dice;
use super::laws::{Law, Seen};
use super::mutation::Mutation;
use super::outside::Inbound;
use super::plan::Plan;
use super::provider::Provider;
use super::replica::Replica;
use super::store::{Row, Store};
use super::worker::{Call, Look};

/// When every world begins: far from zero, because zero is "never".
pub(super) const START_MS: i64 = 100_000_000;
/// When trouble ends, after the first trigger; and for how long a world is watched after its last request has expired.
pub(super) const TROUBLE_MS: i64 = 3 * 3_600_000;
const AFTER_MS: i64 = 3 * 3_600_000;
/// How often everybody's deadlines are looked at.
const AUDIT_MS: i64 = 60_000;
/// How often replies that were missed are looked for.
const RECONCILE_MS: i64 = 300_000;

/// What may happen. What belongs to a replica carries its life: a crash ends all of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Tick(usize, u32),
    Sweep(usize, u32),
    Claim(usize, u32),
    Check(usize, u32),
    Expire(usize, u32),
    Reconcile(usize, u32),
    Carry(usize),
    Look(usize),
    Restart(usize),
    /// A scheduled message goes out; a message that went out arrives, or not.
    GoesOut(usize),
    Arrives(usize),
    /// The provider calls back about a message, and how often it has tried.
    Callback(usize, bool, u8),
    /// A contact's text comes to the hook, and how often it has tried.
    Hook(usize, u8),
    /// A contact writes.
    Writes(usize, u8),
    Outage,
    Audit,
}

/// How a transaction ends for whoever made it.
enum Commit {
    Done,
    Failed,
    UnknownDone,
}

/// Everything.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) dice: Dice,
    pub(super) now: i64,
    pub(super) store: Store,
    pub(super) provider: Provider,
    pub(super) replicas: Vec<Replica>,
    pub(super) calls: Vec<Call>,
    pub(super) looks: Vec<Look>,
    pub(super) inbound: Vec<Inbound>,
    /// Until when the database, and the provider's list, are away.
    pub(super) store_away: i64,
    pub(super) list_away: i64,
    pub(super) steps: u64,
    pub(super) faults: u64,
    /// How often what is rare has happened.
    pub(super) tally: BTreeMap<&'static str, u64>,
    /// The steps in words, if somebody wants to read them.
    pub(super) trace: Option<Vec<String>>,
    pub(super) hasher: DefaultHasher,
    queue: BinaryHeap<Reverse<(i64, u64, usize)>>,
    events: Vec<Event>,
    serial: u64,
    end: i64,
    did: bool,
    law: Law,
}

/// Why a world is not as it should be.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) rule: String,
    pub(super) step: u64,
}

impl World {
    /// The world of a seed.
    pub(super) fn new(seed: u64, mutation: Option<Mutation>, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice, mutation);
        let replicas = (0..plan.replicas)
            .map(|_| Replica {
                up: true,
                life: 0,
                asleep_until: 0,
                skew_ms: dice.between(-plan.skew_ms, plan.skew_ms + 1),
            })
            .collect();
        let mut store = Store {
            rows: Vec::new(),
            dice: Dice::new(seed ^ 0x5eed),
            mutation,
        };
        let mut end = START_MS;
        for _ in 0..plan.requests {
            let due_at = START_MS + dice.below(3_600_000);
            let expires_at = due_at + dice.between(1_800_000, 4 * 3_600_000);
            store.accept(due_at, expires_at);
            end = end.max(expires_at);
        }
        let mut world = Self {
            law: Law::new(&store),
            plan,
            dice,
            now: START_MS,
            store,
            provider: Provider::default(),
            replicas,
            calls: Vec::new(),
            looks: Vec::new(),
            inbound: Vec::new(),
            store_away: 0,
            list_away: 0,
            steps: 0,
            faults: 0,
            tally: BTreeMap::new(),
            trace: traced.then(Vec::new),
            hasher: DefaultHasher::new(),
            queue: BinaryHeap::new(),
            events: Vec::new(),
            serial: 0,
            end: end + AFTER_MS,
            did: false,
        };
        for p in 0..world.plan.replicas {
            world.after(0, Event::Tick(p, 0));
            let first = world.dice.below(RECONCILE_MS);
            world.after(first, Event::Reconcile(p, 0));
        }
        world.after(AUDIT_MS, Event::Audit);
        if world.plan.outages {
            world.after(0, Event::Outage);
        }
        world
    }

    /// Something happens so much later.
    pub(super) fn after(&mut self, ms: i64, event: Event) {
        self.serial += 1;
        self.events.push(event);
        self.queue.push(Reverse((
            self.now + ms.max(0),
            self.serial,
            self.events.len() - 1,
        )));
    }

    /// Whether things still go wrong. In the end they do not, so that everything can come to its end.
    pub(super) fn troubled(&self) -> bool {
        self.now < START_MS + TROUBLE_MS
    }

    /// A fault happens by this chance.
    pub(super) fn fault(&mut self, thousandths: i64) -> bool {
        let happens = self.troubled() && self.dice.chance(thousandths);
        self.faults += u64::from(happens);
        happens
    }

    /// This replica's own clock.
    pub(super) fn clock_of(&self, p: usize) -> i64 {
        self.now + self.replicas[p].skew_ms
    }

    /// Notes a step in words.
    pub(super) fn note(&mut self, words: impl FnOnce() -> String) {
        self.did = true;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9} ms  {}", self.now - START_MS, words()));
        }
    }

    /// Counts something that has to happen now and then, or the laws would hold for want of trouble.
    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// A transaction. `None`: it failed, or nobody knows; the caller cannot tell.
    pub(super) fn commit<T>(&mut self, change: impl FnOnce(&mut Store) -> T) -> Option<T> {
        let commit = if self.now < self.store_away || self.fault(self.plan.failed_commit) {
            Commit::Failed
        } else if self.fault(self.plan.unknown_commit) {
            if self.dice.chance(500) {
                Commit::Failed
            } else {
                Commit::UnknownDone
            }
        } else {
            Commit::Done
        };
        match commit {
            Commit::Done => Some(change(&mut self.store)),
            Commit::Failed => {
                self.note(|| "  the transaction fails".to_owned());
                None
            }
            Commit::UnknownDone => {
                change(&mut self.store);
                self.count("a commit that nobody was told of");
                self.note(|| "  it commits, and nobody is told".to_owned());
                None
            }
        }
    }

    /// Runs to the end, or until a law is broken.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            if at > self.end {
                break;
            }
            self.now = at;
            self.did = false;
            let event = self.events[event];
            self.live(event);
            if self.did {
                self.steps += 1;
                self.hash();
            }
            if self.did || matches!(event, Event::Audit) {
                self.law_holds()?;
            }
        }
        Law::at_the_end(self).map_err(|rule| self.broken(rule))
    }

    fn law_holds(&mut self) -> Result<(), Broken> {
        let mut law = std::mem::take(&mut self.law);
        let holds = law.after_a_step(self);
        self.law = law;
        holds.map_err(|rule| self.broken(rule))
    }

    fn broken(&self, rule: String) -> Broken {
        Broken {
            rule,
            step: self.steps,
        }
    }

    fn hash(&mut self) {
        let hasher = &mut self.hasher;
        (self.now, self.steps).hash(hasher);
        for row in &self.store.rows {
            (
                row.delivery,
                row.state,
                row.fence,
                row.attempts,
                row.counted,
            )
                .hash(hasher);
        }
    }

    fn live(&mut self, event: Event) {
        let alive = match event {
            Event::Tick(p, life)
            | Event::Sweep(p, life)
            | Event::Claim(p, life)
            | Event::Check(p, life)
            | Event::Expire(p, life)
            | Event::Reconcile(p, life) => self.of(p, life, event),
            Event::Carry(call) => {
                let Call { p, life, .. } = self.calls[call];
                self.of(p, life, event)
            }
            Event::Look(look) => {
                let Look { p, life, .. } = self.looks[look];
                self.of(p, life, event)
            }
            Event::Restart(_)
            | Event::GoesOut(_)
            | Event::Arrives(_)
            | Event::Callback(..)
            | Event::Hook(..)
            | Event::Writes(..)
            | Event::Outage
            | Event::Audit => true,
        };
        if !alive {
            return;
        }
        match event {
            Event::Tick(p, life) => self.tick(p, life),
            Event::Sweep(p, _) => self.sweep(p),
            Event::Claim(p, _) => self.claim(p),
            Event::Check(p, _) => self.check(p),
            Event::Expire(p, _) => {
                let clock = self.clock_of(p);
                self.note(|| format!("replica {p} ends what has waited long enough"));
                self.commit(|store| store.expire(clock));
            }
            Event::Reconcile(p, life) => {
                self.reconcile(p);
                self.after(RECONCILE_MS, Event::Reconcile(p, life));
            }
            Event::Carry(call) => self.carry(call),
            Event::Look(look) => self.look(look),
            Event::Restart(p) => self.restart(p),
            Event::GoesOut(message) => self.goes_out(message),
            Event::Arrives(message) => self.arrives(message),
            Event::Callback(message, late, tries) => self.call_back(message, late, tries),
            Event::Hook(inbound, tries) => self.hook(inbound, tries),
            Event::Writes(message, nth) => self.writes(message, nth),
            Event::Outage => self.outage(),
            // No step, but deadlines pass without one.
            Event::Audit => self.after(AUDIT_MS, Event::Audit),
        }
    }

    /// The database, or the list, goes away for a while, again and again.
    fn outage(&mut self) {
        if !self.troubled() {
            return;
        }
        self.faults += 1;
        let ms = self.dice.between(1_000, 600_000);
        if self.dice.chance(500) {
            self.store_away = self.now + ms;
            self.note(|| format!("the database is away for {ms} ms"));
        } else {
            self.list_away = self.now + ms;
            self.note(|| format!("the provider's list is away for {ms} ms"));
        }
        let next = self.dice.between(300_000, 2_400_000);
        self.after(next, Event::Outage);
    }

    /// A reply is acknowledged: from now on it is ours to keep.
    pub(super) fn acknowledge(&mut self, inbound: usize, before: &Row, said: &Understood) {
        let seen = Seen::of(self, inbound, before, said);
        self.law.acknowledged(seen);
    }
}
