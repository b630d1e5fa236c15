//! One delivery: render, open the way, commit to sending, send, report.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::breaker::{NO_PERMISSION, PAUSED, Ticket, told_by_opening};
use crate::channel::{self, Ask, Message};
use crate::domain::delivery::Outcome;
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

impl Journey {
    /// Carries one claimed request. What the provider did is told to its breaker, which gave the ticket.
    pub(super) async fn carry(
        &self,
        provider: &dyn Provider,
        claim: &Claim,
        ticket: Ticket,
        stop: &CancellationToken,
    ) {
        let outcome = match carry(self, provider, claim, stop).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.store_failed(&error);
                tracing::warn!(request = %claim.request.id, %error, "a delivery could not be recorded");
                None
            }
        };
        let Some(outcome) = outcome else {
            return;
        };
        let open = ticket.ends(&outcome, self.clock.now());
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

async fn carry(
    journey: &Journey,
    provider: &dyn Provider,
    claim: &Claim,
    stop: &CancellationToken,
) -> Result<Option<Outcome>, StoreError> {
    let request = &claim.request;
    let attempt = request.attempts + 1;
    let token = journey.mint.attempt(request.id, attempt);
    let Some((mut parcel, again)) = parcel(journey, request, &token).await? else {
        return Ok(None);
    };

    let line = match provider.open(&parcel).await {
        Ok(line) => line,
        Err(outcome) => {
            let told = report(journey, provider, claim, sent(attempt, None, outcome)).await?;
            return Ok(told.and_then(told_by_opening));
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
    let permission = match journey.store.dispatch(dispatch).await {
        Ok(permission) => permission,
        // Perhaps it was committed and the answer was lost. Nothing is sent now, and we are the ones to know.
        Err(error) => {
            journey.store_failed(&error);
            tracing::warn!(request = %request.id, %error, "the database did not confirm the way to the provider");
            let outcome = Outcome::NotProcessed {
                code: NO_PERMISSION.to_owned(),
                retry_after_ms: None,
            };
            return report(journey, provider, claim, sent(attempt, None, outcome)).await;
        }
    };
    match permission {
        Permission::Granted { send_at } => parcel.send_at = send_at,
        Permission::Withdrawn => return Ok(None),
        Permission::Suppressed(reason) => {
            tracing::info!(request = %request.id, reason = reason.as_str(), "not asked after all");
            return Ok(None);
        }
        Permission::Postponed(until) => {
            tracing::info!(request = %request.id, until = %until.to_rfc3339(), "not sent before the quiet hours end");
            return Ok(None);
        }
        Permission::Ceiling(ceiling) => {
            let word = [ceiling.as_str()];
            journey
                .metrics
                .promises
                .ceilings
                .with_label_values(&word)
                .inc();
            tracing::error!(request = %request.id, ceiling = ceiling.as_str(), "not sent: that would be more in a day than the ceiling allows");
            return Ok(None);
        }
    }
    let outcome = if committed.elapsed() > PAUSE_MAX {
        Outcome::NotProcessed {
            code: PAUSED.to_owned(),
            retry_after_ms: None,
        }
    } else {
        line.send(&parcel).await
    };
    report(
        journey,
        provider,
        claim,
        sent(attempt, parcel.send_at, outcome),
    )
    .await
}

/// An attempt, when its message goes out, and what came of it.
type SentOff = (i64, Option<Timestamp>, Outcome);

fn sent(attempt: i64, send_at: Option<Timestamp>, outcome: Outcome) -> SentOff {
    (attempt, send_at, outcome)
}

async fn parcel(
    journey: &Journey,
    request: &Request,
    token: &str,
) -> Result<Option<(Parcel, Option<Box<Again>>)>, StoreError> {
    let Some(channel) = channel::find(request.channel.as_str()) else {
        return Err(StoreError::Corrupt(format!(
            "{} has the unknown channel {}",
            request.id, request.channel
        )));
    };
    let desk = journey.desk_of(request).await?;
    let urls = journey.urls(request);
    let message = channel.render(&Ask::of(request, &desk, &urls));
    if matches!(message, Message::Buttons(_)) {
        return Ok(None);
    }
    let left = request.expires_at.millis_since(journey.clock.now()) / 1000;
    let again = journey.again(&desk, request);
    let parcel = Parcel {
        channel: request.channel.clone(),
        from: request.sender.clone(),
        to: request.contact.address.clone(),
        to_name: request.contact.name.clone(),
        desk: desk.name,
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
) -> Result<Option<Outcome>, StoreError> {
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
        outcome: outcome.clone(),
        now: journey.clock.now(),
    };
    for tried in 1..=REPORT_TRIES {
        match journey.store.report(report.clone()).await {
            Ok(recorded) => {
                if !recorded {
                    tracing::debug!(request = %claim.request.id, attempt, "the report came after other evidence");
                }
                return Ok(Some(outcome));
            }
            Err(error) if error.may_pass() && tried < REPORT_TRIES => {
                // While the database is away a try costs nothing, and it may be there for a moment only.
                let pause = Duration::from_millis(200 << tried.min(3));
                tokio::time::sleep(pause.min(Duration::from_secs(1))).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(outcome))
}
