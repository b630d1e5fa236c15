//! One delivery: render, open the way, commit to sending, send, report.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::breaker::{NO_PERMISSION, PAUSED, Ticket, WITHHELD, told_by_opening};
use super::lane::{Place, Ready};
use crate::channel::{self, Ask, Message};
use crate::domain::delivery::Outcome;
use crate::domain::desk::Desk;
use crate::domain::request::Request;
use crate::domain::settling::{GUARD_MS, Policy, Recovery, body_hash};
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;
use crate::journey::Journey;
use crate::provider::{Parcel, Provider};
use crate::store::{Again, Claim, Dispatch, Permission, Report, Second, StoreError};

/// A worker that was stopped for longer than this between committing and sending (a paused process, a swapped-out machine)
/// does not send: somebody else may already think it dead.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often a report is repeated while the database does not answer: over 15 seconds, for a restart or a fail-over, and less than a
/// drain may take. After that the sweeper makes it unknown.
const REPORT_TRIES: u32 = 17;

/// A send that ended, and what it tells about the provider.
struct Ended {
    sent: SentOff,
    told: Option<Outcome>,
}

impl Journey {
    /// Carries one claimed request. What the provider did is told to its breaker, which gave the ticket. The place is free for the
    /// next once the provider has answered: the report goes to the database alone.
    pub(super) async fn carry(
        &self,
        provider: &dyn Provider,
        ready: &Ready,
        mut place: Place,
        stop: &CancellationToken,
    ) {
        let claim = &ready.claim;
        let done = match send(self, provider, ready, &mut place, stop).await {
            Ok(Some(ended)) => {
                // First, so that the one whose turn it is now knows what this one told.
                self.tell(provider, place.ticket, ended.told.as_ref());
                drop(place.seat);
                report(self, provider, claim, ended.sent).await
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            self.store_failed(&error);
            tracing::warn!(request = %claim.request.id, %error, "a delivery could not be recorded");
        }
    }

    fn tell(&self, provider: &dyn Provider, ticket: Ticket, outcome: Option<&Outcome>) {
        let Some(outcome) = outcome else {
            return;
        };
        let open = ticket.ends(outcome, self.clock.now());
        let gauge = self
            .metrics
            .promises
            .provider_open
            .with_label_values(&[provider.name()]);
        if open && gauge.get() == 0 {
            tracing::error!(
                provider = provider.name(),
                "the provider does not answer: sending pauses, one message at a time tries the way"
            );
        } else if !open && gauge.get() != 0 {
            tracing::info!(provider = provider.name(), "the provider answers again");
        }
        gauge.set(i64::from(open));
    }
}

/// Everything up to the provider's answer. `None`: it was not sent, and there is nothing to report.
async fn send(
    journey: &Journey,
    provider: &dyn Provider,
    ready: &Ready,
    place: &mut Place,
    stop: &CancellationToken,
) -> Result<Option<Ended>, StoreError> {
    let (claim, request) = (&ready.claim, &ready.claim.request);
    let attempt = request.attempts + 1;
    let token = journey.mint.attempt(request.id, attempt);
    let Some((mut parcel, again)) = parcel(journey, request, &ready.desk, &token)? else {
        return Ok(None);
    };

    let line = match provider.open(&parcel).await {
        Ok(line) => line,
        Err(outcome) => {
            return Ok(Some(Ended {
                told: told_by_opening(outcome.clone()),
                sent: (attempt, None, outcome),
            }));
        }
    };
    if stop.is_cancelled() {
        return Ok(None);
    }
    let committed = Instant::now();
    let recovery = provider.recovery(request.channel.as_str(), &request.sender);
    let dispatch = Dispatch {
        desk: request.desk,
        request: request.id,
        fence: claim.fence,
        attempt,
        token: TokenHash::of(&token),
        provider: provider.name(),
        body: known_by(&parcel, recovery),
        second: second(journey, recovery),
        now: journey.clock.now(),
        again,
    };
    let outcome = match journey.store.dispatch(dispatch).await {
        Ok(permission) => match permitted(journey, request, permission) {
            Some(Granted { send_at }) => {
                let waited = place.seat.turn().await;
                if waited && !place.ticket.holds() {
                    not_sent(WITHHELD)
                } else if committed.elapsed() > PAUSE_MAX {
                    not_sent(PAUSED)
                } else {
                    parcel.send_at = send_at;
                    line.send(&parcel).await
                }
            }
            None => return Ok(None),
        },
        // Perhaps it was committed and the answer was lost. Nothing is sent now, and we are the ones to know.
        Err(error) => {
            journey.store_failed(&error);
            tracing::warn!(request = %request.id, %error, "the database did not confirm the way to the provider");
            not_sent(NO_PERMISSION)
        }
    };
    Ok(Some(Ended {
        told: Some(outcome.clone()),
        sent: (attempt, parcel.send_at, outcome),
    }))
}

/// We did not send, and we know it.
fn not_sent(code: &str) -> Outcome {
    Outcome::NotProcessed {
        code: code.to_owned(),
        retry_after_ms: None,
    }
}

/// It may be sent.
struct Granted {
    /// When it goes out at the provider, if not at once.
    send_at: Option<Timestamp>,
}

/// Whether to send.
fn permitted(journey: &Journey, request: &Request, permission: Permission) -> Option<Granted> {
    match permission {
        Permission::Granted { send_at } => return Some(Granted { send_at }),
        Permission::Withdrawn => {}
        Permission::Suppressed(reason) => {
            tracing::info!(request = %request.id, reason = reason.as_str(), "not asked after all");
        }
        Permission::Postponed(until) => {
            tracing::info!(request = %request.id, until = %until.to_rfc3339(), "not sent before the quiet hours end");
        }
        Permission::Ceiling(ceiling) => {
            let word = [ceiling.as_str()];
            let refused = journey.metrics.promises.ceilings.with_label_values(&word);
            refused.inc();
            let refused = refused.get();
            // A desk that has reached it does so with everything that is due: the first is told, and then each time it is twice as many.
            if refused.is_power_of_two() {
                tracing::error!(request = %request.id, ceiling = ceiling.as_str(), refused, "not sent: that would be more in a day than the ceiling allows");
            }
        }
    }
    None
}

/// An attempt, when its message goes out, and what came of it.
type SentOff = (i64, Option<Timestamp>, Outcome);

/// What is sent, and what the rules say now if it waited.
type Rendered = (Parcel, Option<Box<Again>>);

fn parcel(
    journey: &Journey,
    request: &Request,
    desk: &Desk,
    token: &str,
) -> Result<Option<Rendered>, StoreError> {
    let Some(channel) = channel::find(request.channel.as_str()) else {
        return Err(StoreError::Corrupt(format!(
            "{} has the unknown channel {}",
            request.id, request.channel
        )));
    };
    let urls = journey.urls(request);
    let message = channel.render(&Ask::of(request, desk, &urls));
    if matches!(message, Message::Buttons(_)) {
        return Ok(None);
    }
    let left = request.expires_at.millis_since(journey.clock.now()) / 1000;
    let again = journey.again(desk, request);
    let parcel = Parcel {
        channel: request.channel.clone(),
        from: request.sender.clone(),
        to: request.contact.address.clone(),
        to_name: request.contact.name.clone(),
        desk: desk.name.clone(),
        message,
        attempt_token: token.to_owned(),
        request: journey.mint.mail(request.desk, request.id),
        valid_seconds: u32::try_from(left).unwrap_or(u32::MAX),
        send_at: None,
    };
    Ok(Some((parcel, again)))
}

/// What the message is found by in the provider's list.
fn known_by(parcel: &Parcel, recovery: Recovery) -> Option<[u8; 32]> {
    match (&parcel.message, recovery) {
        (Message::Text(text), Recovery::Listing { .. }) => Some(body_hash(text)),
        (Message::Text(_) | Message::Call | Message::Mail(_) | Message::Buttons(_), _) => None,
    }
}

/// How a second attempt would be made, should this be one.
fn second(journey: &Journey, recovery: Recovery) -> Second {
    match (recovery, journey.rules.settling.policy) {
        (Recovery::Repeat, _) => Second::Same,
        (Recovery::Listing { revocable: true }, Policy::Guarded) => {
            Second::At(journey.clock.now().plus_millis(GUARD_MS))
        }
        (Recovery::Listing { .. } | Recovery::Wait, _) => Second::Never,
    }
}

async fn report(
    journey: &Journey,
    provider: &dyn Provider,
    claim: &Claim,
    (attempt, send_at, outcome): SentOff,
) -> Result<(), StoreError> {
    let (word, code) = match &outcome {
        Outcome::Accepted { .. } => ("accepted", ""),
        Outcome::NotProcessed { code, .. } => ("not_processed", code.as_str()),
        Outcome::Rejected { code, .. } => ("rejected", code.as_str()),
        Outcome::Unknown { code } => ("unknown", code.as_str()),
    };
    journey
        .metrics
        .provider_calls
        .with_label_values(&[provider.name(), word])
        .inc();
    if word != "accepted" {
        tracing::warn!(request = %claim.request.id, provider = provider.name(), attempt, outcome = word, code, "a send was not accepted");
    }
    let report = Report {
        desk: claim.request.desk,
        request: claim.request.id,
        fence: claim.fence,
        attempt,
        send_at,
        outcome,
        now: journey.clock.now(),
    };
    for tried in 1..=REPORT_TRIES {
        match journey.store.report(report.clone()).await {
            Ok(recorded) => {
                if !recorded {
                    tracing::debug!(request = %claim.request.id, attempt, "the report came after other evidence");
                }
                return Ok(());
            }
            Err(error) if error.may_pass() && tried < REPORT_TRIES => {
                // While the database is away a try costs nothing, and it may be there for a moment only.
                let pause = Duration::from_millis(200 << tried.min(3));
                tokio::time::sleep(pause.min(Duration::from_secs(1))).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
