//! Rules broken on purpose: a simulation that does not find these finds nothing.

use onefive::domain::delivery::{self, DeliveryState, Evidence, Outcome, Position, Step};

/// One broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutation {
    /// A worker that fell silent did nothing, surely: send again.
    SendAgainAfterSilence,
    /// A call that came to nothing clear did nothing, surely: send again.
    SendAgainAfterDoubt,
    /// The point of no return is passed without looking at who holds the row.
    ForgetTheFence,
    /// A corrected score is counted once more.
    CountCorrections,
    /// A reply is acknowledged although its transaction failed.
    DropReplies,
    /// What was lost stays lost, whatever is heard of it.
    StayLost,
    /// A second message is not taken back when the first one is heard of.
    LetTheSecondGo,
    /// Replies that were missed in an outage are not looked for.
    DoNotReconcile,
}

impl Mutation {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::SendAgainAfterSilence,
        Self::SendAgainAfterDoubt,
        Self::ForgetTheFence,
        Self::CountCorrections,
        Self::DropReplies,
        Self::StayLost,
        Self::LetTheSecondGo,
        Self::DoNotReconcile,
    ];
}

/// The rule of `domain::delivery`, or a broken one.
pub(super) fn step(mutation: Option<Mutation>, at: Position, evidence: &Evidence) -> Option<Step> {
    let again = |code: &str| {
        Some(Step {
            delivery: DeliveryState::Queued,
            state: None,
            next_at: Some(at.now),
            code: code.to_owned(),
            opt_out: false,
        })
    };
    match (mutation, at.delivery, evidence) {
        (Some(Mutation::SendAgainAfterSilence), DeliveryState::Dispatching, Evidence::Silence) => {
            again("no_report")
        }
        (
            Some(Mutation::SendAgainAfterDoubt),
            DeliveryState::Dispatching,
            Evidence::Outcome(Outcome::Unknown { code }),
        ) => again(code),
        (Some(Mutation::StayLost), DeliveryState::Lost, _) => None,
        _ => delivery::step(at, evidence),
    }
}
