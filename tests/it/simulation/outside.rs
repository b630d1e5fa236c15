//! What comes from outside: messages go out and arrive, the provider calls back in any order, contacts answer, correct themselves
//! and stop, their texts come twice or not at all, and what was missed is looked for afterwards.

use onefive::domain::delivery::DeliveryState;
use onefive::domain::rating::Score;
use onefive::domain::reply::Understood;

use super::mutation::Mutation;
use super::provider::Fate;
use super::world::{Event, World};

/// How often a provider repeats a callback, and a contact's text, that was not answered well.
const TRIES: u8 = 2;

/// A contact's text as the provider has it.
#[derive(Debug, Clone)]
pub(super) struct Inbound {
    pub(super) request: usize,
    pub(super) said: Understood,
    pub(super) at: i64,
    pub(super) acknowledged: bool,
}

impl World {
    pub(super) fn goes_out(&mut self, message: usize) {
        let now = self.now;
        let sent = &mut self.provider.ledger[message];
        let request = sent.request;
        if sent.fate == Fate::Revoked {
            return self.note(|| format!("message {message} was taken back in time"));
        }
        sent.fate = Fate::Out;
        self.note(|| format!("message {message} to request {request} goes out"));
        let arrives = self.dice.between(500, 60_000);
        self.after(arrives, Event::Arrives(message));
        if self.provider.ledger[message].taken_at == now {
            self.will_call_back(message);
        }
    }

    pub(super) fn arrives(&mut self, message: usize) {
        let failed = self.fault(50);
        let sent = &mut self.provider.ledger[message];
        sent.fate = if failed { Fate::Failed } else { Fate::Arrived };
        let request = sent.request;
        self.note(|| format!("message {message} arrives: {}", !failed));
        self.will_call_back(message);
        if !failed && self.dice.chance(700) {
            let ms = self.dice.below(3_600_000);
            self.after(ms, Event::Writes(request, 0));
        }
    }

    /// News are sent once, more than once, late, in any order, or never.
    fn will_call_back(&mut self, message: usize) {
        let times = match self.dice.below(10) {
            0..7 => 1,
            7..9 => 2,
            _ => 3,
        };
        self.faults += u64::from(times > 1);
        for _ in 0..times {
            if self.fault(self.plan.lost_callbacks) {
                continue;
            }
            let late = self.fault(200);
            let ms = self.dice.below(if late { 1_800_000 } else { 5_000 });
            let old = self.dice.chance(200);
            self.after(ms, Event::Callback(message, old, 0));
        }
    }

    /// `old`: it tells what was so at first, and not what is so now.
    pub(super) fn call_back(&mut self, message: usize, old: bool, tries: u8) {
        let sent = self.provider.ledger[message].clone();
        let status = if old && sent.fate != Fate::Revoked {
            onefive::domain::delivery::Status::Taken
        } else {
            sent.status()
        };
        let lost = self.store.rows[sent.request].delivery == DeliveryState::Lost;
        if lost {
            self.count("news of what was lost");
        }
        let done = self.door().and_then(|p| {
            let now = self.clock_of(p);
            self.note(|| {
                format!("the provider calls replica {p} about message {message}: {status:?}")
            });
            self.commit(|store| store.status(sent.request, sent.attempt, message, &status, now))
        });
        if done.is_none() && tries < TRIES {
            let ms = self.dice.between(1_000, 15_000);
            self.after(ms, Event::Callback(message, old, tries + 1));
        }
    }

    /// A contact writes for the `nth` time about what arrived.
    pub(super) fn writes(&mut self, request: usize, nth: u8) {
        let score = Score::ALL[self.dice.index(5)];
        let said = match (self.dice.below(100), nth) {
            (0..70, 0) | (0..40, _) => Understood::Rating(score, String::new()),
            (70..80, 0) | (40..60, _) => Understood::Rating(score, "quick help".to_owned()),
            (80..92, 0) | (60..85, _) => Understood::Words("it took two days".to_owned()),
            (92..94, _) => Understood::Help,
            (94..99, _) => Understood::Stop,
            _ => Understood::Start,
        };
        self.note(|| format!("the contact of request {request} writes {said:?}"));
        self.inbound.push(Inbound {
            request,
            said,
            at: self.now,
            acknowledged: false,
        });
        let inbound = self.inbound.len() - 1;
        // The text may come more than once, or be missed altogether.
        let times = 1 + i64::from(self.fault(200)) - i64::from(self.fault(150));
        for _ in 0..times {
            let ms = self.dice.below(10_000);
            self.after(ms, Event::Hook(inbound, 0));
        }
        if nth < 4 && self.dice.chance(500) {
            let ms = self.dice.below(1_200_000);
            self.after(ms, Event::Writes(request, nth + 1));
        }
    }

    pub(super) fn hook(&mut self, inbound: usize, tries: u8) {
        let door = self.door();
        if door.is_none_or(|p| !self.takes_in(p, inbound)) && tries < TRIES {
            let ms = self.dice.between(1_000, 15_000);
            self.after(ms, Event::Hook(inbound, tries + 1));
        }
    }

    /// One way in for every reply, however it comes. Whether it was acknowledged.
    fn takes_in(&mut self, p: usize, inbound: usize) -> bool {
        let Inbound { request, said, .. } = self.inbound[inbound].clone();
        let now = self.clock_of(p);
        self.note(|| format!("replica {p} takes in text {inbound} for request {request}"));
        let before = self.store.rows[request].clone();
        if matches!(
            before.delivery,
            DeliveryState::Unknown | DeliveryState::Lost
        ) {
            self.count("an answer to what is in doubt");
        }
        if before.rating.is_some() {
            self.count("a further answer");
        }
        let stored = self.commit(|store| store.reply(request, inbound, &said, now));
        let drops = self.plan.mutation == Some(Mutation::DropReplies);
        if stored.is_none() && !drops {
            return false;
        }
        self.inbound[inbound].acknowledged = true;
        self.acknowledge(inbound, &before, &said);
        true
    }

    /// Looks what the contacts have sent, and takes in what is missing; what is there comes once more, and does nothing.
    pub(super) fn reconcile(&mut self, p: usize) {
        if self.now < self.list_away || self.plan.mutation == Some(Mutation::DoNotReconcile) {
            return;
        }
        for inbound in 0..self.inbound.len() {
            let text = &self.inbound[inbound];
            let fresh = self.now - text.at > 30_000 && self.now - text.at < 86_400_000;
            let missing = fresh && !text.acknowledged;
            let again = fresh && self.dice.chance(2);
            if missing {
                self.count("a missed answer looked for");
            }
            if missing || again {
                self.takes_in(p, inbound);
            }
        }
    }
}
