//! The provider's double: a ledger of everything it has taken, which it shows late, answers for badly, and calls back about in any
//! order.

use onefive::domain::delivery::{Outcome, Status};

use super::dice::Dice;
use super::plan::{Plan, Promise};

/// How far the provider's stamp may be from the start of the attempt.
const EARLY_MS: i64 = 120_000;
const LATE_MS: i64 = 930_000;

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits for its time.
    Waits,
    /// It went out.
    Out,
    /// It arrived.
    Arrived,
    /// It went out and did not arrive.
    Failed,
    /// It was taken back in time.
    Revoked,
}

/// A message that was taken.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) request: usize,
    pub(super) attempt: i64,
    pub(super) taken_at: i64,
    /// From when on the list shows it.
    pub(super) visible_at: i64,
    pub(super) fate: Fate,
}

impl Message {
    /// Whether the contact gets it, or may still get it.
    pub(super) fn is_live(&self) -> bool {
        self.fate != Fate::Revoked
    }

    /// What the provider says of it.
    pub(super) fn status(&self) -> Status {
        match self.fate {
            Fate::Waits | Fate::Out => Status::Taken,
            Fate::Arrived => Status::Delivered,
            Fate::Failed | Fate::Revoked => Status::Failed {
                code: "30005".to_owned(),
                opted_out: false,
            },
        }
    }
}

/// What a call meets: whether the message is taken, and what the caller sees, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meets {
    Taken,
    TakenAnswerLost,
    TakenThen500,
    TakenMalformed,
    TooMany,
    Error500,
    Refused,
    Hangs,
}

impl Meets {
    /// Mostly good, sometimes not.
    pub(super) fn draw(dice: &mut Dice, trouble: i64) -> Self {
        if !dice.chance(trouble) {
            return Self::Taken;
        }
        let bad = [
            Self::TakenAnswerLost,
            Self::TakenAnswerLost,
            Self::TakenThen500,
            Self::TakenMalformed,
            Self::TooMany,
            Self::TooMany,
            Self::Error500,
            Self::Refused,
            Self::Hangs,
        ];
        bad[dice.index(bad.len())]
    }

    /// Whether the ledger has the message afterwards.
    pub(super) fn takes(self) -> bool {
        matches!(
            self,
            Self::Taken | Self::TakenAnswerLost | Self::TakenThen500 | Self::TakenMalformed
        )
    }

    /// Whether the caller waits until its own deadline.
    pub(super) fn is_silent(self) -> bool {
        matches!(self, Self::TakenAnswerLost | Self::Hangs)
    }

    /// What the caller makes of it; `message` is its place in the ledger.
    pub(super) fn outcome(self, message: Option<usize>, dice: &mut Dice) -> Outcome {
        let unknown = |code: &str| Outcome::Unknown {
            code: code.to_owned(),
        };
        match (self, message) {
            (Self::Taken, Some(message)) => Outcome::Accepted {
                provider_id: message.to_string(),
            },
            (Self::TooMany, _) => Outcome::NotProcessed {
                code: "429".to_owned(),
                retry_after_ms: dice.chance(500).then(|| dice.between(1_000, 120_000)),
            },
            (Self::Refused, _) => Outcome::Rejected {
                code: "21211".to_owned(),
                opted_out: false,
            },
            (Self::Error500 | Self::TakenThen500, _) => unknown("http_500"),
            (Self::TakenMalformed | Self::Taken, _) => unknown("malformed"),
            (Self::TakenAnswerLost | Self::Hangs, _) => unknown("timeout"),
        }
    }
}

/// The ledger.
#[derive(Debug, Default)]
pub(super) struct Provider {
    pub(super) ledger: Vec<Message>,
}

impl Provider {
    /// Takes a message; its place in the ledger.
    pub(super) fn take(
        &mut self,
        (request, attempt): (usize, i64),
        send_at: Option<i64>,
        now: i64,
        plan: &Plan,
        dice: &mut Dice,
    ) -> usize {
        // Where the list is later than was assumed, it is so for the first message only.
        let prompt = plan.promise == Promise::GuardedLate && send_at.is_some();
        let late = dice.chance(plan.late_lists) && !prompt;
        let hidden = if late {
            dice.between(plan.hidden_ms.0, plan.hidden_ms.1)
        } else {
            dice.below(3_000)
        };
        let waits = send_at.is_some();
        self.ledger.push(Message {
            request,
            attempt,
            taken_at: now,
            visible_at: now + hidden,
            fate: if waits { Fate::Waits } else { Fate::Out },
        });
        self.ledger.len() - 1
    }

    /// Messages that one request owes its existence to.
    pub(super) fn of(&self, request: usize) -> impl Iterator<Item = &Message> {
        self.ledger
            .iter()
            .filter(move |message| message.request == request)
    }

    /// What the list shows of an attempt's message: the oldest that looks like it and that belongs to no other attempt.
    pub(super) fn find(
        &self,
        request: usize,
        (started_at, next_started_at): (i64, i64),
        taken: &[usize],
        now: i64,
    ) -> Option<usize> {
        let alike = |(id, message): &(usize, &Message)| {
            message.request == request
                && message.visible_at <= now
                && (-EARLY_MS..=LATE_MS).contains(&(message.taken_at - started_at))
                // The windows of two attempts do not overlap.
                && message.taken_at < next_started_at.saturating_sub(EARLY_MS)
                && !taken.contains(id)
        };
        let found = self.ledger.iter().enumerate().find(alike);
        found.map(|(id, _)| id)
    }

    /// Takes a message back. Whether it was in time; twice is as good as once.
    pub(super) fn revoke(&mut self, message: usize) -> bool {
        let message = &mut self.ledger[message];
        if message.fate == Fate::Waits {
            message.fate = Fate::Revoked;
        }
        message.fate == Fate::Revoked
    }
}
