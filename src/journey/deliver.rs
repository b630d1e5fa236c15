//! request -> delivery: claim, render, open the way, commit to sending, send, report.
//!
//! The order is the promise: the way to the provider is open before the point of no return is committed, and that is
//! committed before the first byte. Whatever happens afterwards, nothing but proof sends again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Journey;
use crate::channel::{self, Ask, Message};
use crate::domain::delivery::Outcome;
use crate::domain::request::Request;
use crate::domain::token::TokenHash;
use crate::provider::{Parcel, Provider};
use crate::store::{Claim, Dispatch, Permission, Report, StoreError};

/// Looks for due work at least this often, should the bell not ring: another replica may have accepted the trigger.
const LOOK: Duration = Duration::from_millis(500);
/// A worker that was stopped for longer than this between committing and sending (a paused process, a swapped-out machine)
/// does not send: somebody else may already think it dead.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// New work is claimed once this part of the capacity is free.
const CLAIM_SHARE: usize = 16;
/// How often a report is repeated while the database does not answer. After that the sweeper makes it unknown.
const REPORT_TRIES: u32 = 5;

/// The worker that carries what is due.
#[derive(Debug)]
pub struct Deliverer {
    journey: Journey,
    owner: String,
    /// One limit per provider, so that a slow one does not hold up the others.
    limits: BTreeMap<&'static str, Arc<Semaphore>>,
    in_flight: usize,
}

impl Deliverer {
    /// A worker with a name of its own.
    pub fn new(journey: Journey) -> Self {
        let limits: BTreeMap<&'static str, Arc<Semaphore>> = journey
            .routes
            .providers()
            .into_iter()
            .map(|provider| {
                (
                    provider.name(),
                    Arc::new(Semaphore::new(provider.in_flight().max(1))),
                )
            })
            .collect();
        let in_flight = limits
            .values()
            .map(|limit| limit.available_permits())
            .sum::<usize>()
            .max(1);
        let owner = hex::encode(crate::clock::random::<8>(journey.entropy.as_ref()));
        Self {
            journey,
            owner,
            limits,
            in_flight,
        }
    }

    /// Works until `stop`, then finishes what is in flight.
    pub async fn run(&self, stop: CancellationToken) {
        let mut flying = JoinSet::new();
        while !stop.is_cancelled() {
            let free = self.in_flight.saturating_sub(flying.len());
            // Claims are made in batches: one for each message that comes back would be one transaction a message.
            let worth_it = free * CLAIM_SHARE >= self.in_flight;
            let claimed = if worth_it {
                self.launch(&mut flying, free).await
            } else {
                0
            };
            if claimed > 0 && claimed == free {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = flying.join_next() => {}
                () = self.journey.bell.notified(), if worth_it => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            while flying.try_join_next().is_some() {}
        }
        while flying.join_next().await.is_some() {}
    }

    /// Carries everything that is due now, and returns when all of it is reported; how many requests.
    pub async fn tick(&self) -> usize {
        let mut flying = JoinSet::new();
        let claimed = self.launch(&mut flying, self.in_flight).await;
        while flying.join_next().await.is_some() {}
        claimed
    }

    async fn launch(&self, flying: &mut JoinSet<()>, limit: usize) -> usize {
        let now = self.journey.clock.now();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let claims = match self
            .journey
            .store
            .claim_deliveries(&self.owner, limit, now)
            .await
        {
            Ok(claims) => claims,
            Err(error) => {
                self.journey.store_failed(&error);
                tracing::warn!(%error, "due requests could not be claimed");
                return 0;
            }
        };
        let claimed = claims.len();
        for claim in claims {
            let journey = self.journey.clone();
            let provider = self
                .journey
                .routes
                .get(claim.request.channel.as_str())
                .cloned();
            let limit = provider
                .as_ref()
                .and_then(|provider| self.limits.get(provider.name()).cloned());
            let (Some(provider), Some(limit)) = (provider, limit) else {
                // The channel was configured when the trigger came and is not any more. The lease runs out and the request
                // waits for a replica that carries it, or expires.
                tracing::error!(request = %claim.request.id, channel = %claim.request.channel, "no provider carries this channel");
                continue;
            };
            flying.spawn(async move {
                let Ok(_permit) = limit.acquire_owned().await else { return };
                if let Err(error) = carry(&journey, provider.as_ref(), &claim).await {
                    journey.store_failed(&error);
                    tracing::warn!(request = %claim.request.id, %error, "a delivery could not be recorded");
                }
            });
        }
        claimed
    }
}

async fn carry(
    journey: &Journey,
    provider: &dyn Provider,
    claim: &Claim,
) -> Result<(), StoreError> {
    let request = &claim.request;
    let attempt = request.attempts + 1;
    let token = journey.mint.attempt(request.id, attempt);
    let Some(parcel) = parcel(journey, request, &token).await? else {
        return Ok(());
    };

    let line = match provider.open(&parcel).await {
        Ok(line) => line,
        Err(outcome) => return report(journey, provider, claim, attempt, outcome).await,
    };
    let committed = Instant::now();
    let dispatch = Dispatch {
        desk: request.desk,
        request: request.id,
        fence: claim.fence,
        attempt,
        token: TokenHash::of(&token),
        provider: provider.name(),
        now: journey.clock.now(),
    };
    match journey.store.dispatch(dispatch).await? {
        Permission::Granted => {}
        Permission::Withdrawn => return Ok(()),
        Permission::Suppressed(reason) => {
            tracing::info!(request = %request.id, reason = reason.as_str(), "not asked after all");
            return Ok(());
        }
    }
    let outcome = if committed.elapsed() > PAUSE_MAX {
        Outcome::NotProcessed {
            code: "paused".to_owned(),
            retry_after_ms: None,
        }
    } else {
        line.send(&parcel).await
    };
    report(journey, provider, claim, attempt, outcome).await
}

async fn parcel(
    journey: &Journey,
    request: &Request,
    token: &str,
) -> Result<Option<Parcel>, StoreError> {
    let Some(channel) = channel::find(request.channel.as_str()) else {
        return Err(StoreError::Corrupt(format!(
            "{} has the unknown channel {}",
            request.id, request.channel
        )));
    };
    let desk = journey.desk_of(request).await?;
    let urls = journey.urls(request);
    let message = channel.render(&Ask::of(
        request,
        &desk.name,
        &desk.settings.language,
        &urls,
    ));
    if matches!(message, Message::Buttons(_)) {
        return Ok(None);
    }
    let left = request.expires_at.millis_since(journey.clock.now()) / 1000;
    Ok(Some(Parcel {
        channel: request.channel.clone(),
        from: request.sender.clone(),
        to: request.contact.address.clone(),
        to_name: request.contact.name.clone(),
        desk: desk.name,
        message,
        attempt_token: token.to_owned(),
        request: request.id.to_string(),
        valid_seconds: u32::try_from(left).unwrap_or(u32::MAX),
    }))
}

async fn report(
    journey: &Journey,
    provider: &dyn Provider,
    claim: &Claim,
    attempt: i64,
    outcome: Outcome,
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
            Err(StoreError::Unavailable(_) | StoreError::Busy | StoreError::Conflict)
                if tried < REPORT_TRIES =>
            {
                tokio::time::sleep(Duration::from_millis(200 << tried)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
