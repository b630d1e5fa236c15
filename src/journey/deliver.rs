//! request -> delivery: claim, render, open the way, commit to sending, send, report.
//!
//! The order is the promise: the way to the provider is open before the point of no return is committed, and that is
//! committed before the first byte. Whatever happens afterwards, nothing but proof sends again.

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
/// How often a report is repeated while the database does not answer: over 15 seconds, for a restart or a fail-over, and less than a
/// drain may take. After that the sweeper makes it unknown.
const REPORT_TRIES: u32 = 17;

/// The worker that carries what is due.
#[derive(Debug)]
pub struct Deliverer {
    journey: Journey,
    owner: String,
    lanes: Vec<Lane>,
}

/// What goes through one provider. Each has its own limit and its own claims, so that a slow one does not hold up the others.
struct Lane {
    provider: Arc<dyn Provider>,
    channels: Vec<&'static str>,
    size: usize,
    free: Arc<Semaphore>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {:?} {}",
            self.provider.name(),
            self.channels,
            self.size
        )
    }
}

impl Deliverer {
    /// A worker with a name of its own.
    pub fn new(journey: Journey) -> Self {
        let lanes = journey
            .routes
            .providers()
            .into_iter()
            .map(|provider| {
                let size = provider.in_flight().max(1);
                Lane {
                    provider: Arc::clone(provider),
                    channels: journey.routes.channels_of(provider.name()),
                    size,
                    free: Arc::new(Semaphore::new(size)),
                }
            })
            .collect();
        let owner = hex::encode(crate::clock::random::<8>(journey.entropy.as_ref()));
        Self {
            journey,
            owner,
            lanes,
        }
    }

    /// Works until `stop`, then finishes what is in flight.
    pub async fn run(&self, stop: CancellationToken) {
        let mut flying = JoinSet::new();
        while !stop.is_cancelled() {
            if self.launch(&mut flying).await > 0 {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = flying.join_next() => {}
                () = self.journey.bell.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            while flying.try_join_next().is_some() {}
        }
        while flying.join_next().await.is_some() {}
    }

    /// Carries what is due now, as much as may be under way at once, and returns when all of it is reported; how many requests.
    pub async fn tick(&self) -> usize {
        let mut flying = JoinSet::new();
        let claimed = self.launch(&mut flying).await;
        while flying.join_next().await.is_some() {}
        claimed
    }

    async fn launch(&self, flying: &mut JoinSet<()>) -> usize {
        let mut launched = 0;
        for lane in &self.lanes {
            let free = lane.free.available_permits();
            // Claims are made in batches: one for each message that comes back would be one transaction a message.
            if free * CLAIM_SHARE < lane.size {
                continue;
            }
            for claim in self.claim(lane, free).await {
                // Taken here and not in the task, so that the next claim sees what is left. No claim gives more than was asked for.
                let permit = Arc::clone(&lane.free).try_acquire_owned();
                let (journey, provider) = (self.journey.clone(), Arc::clone(&lane.provider));
                launched += 1;
                flying.spawn(async move {
                    if let Err(error) = carry(&journey, provider.as_ref(), &claim).await {
                        journey.store_failed(&error);
                        tracing::warn!(request = %claim.request.id, %error, "a delivery could not be recorded");
                    }
                    drop(permit);
                });
            }
        }
        launched
    }

    async fn claim(&self, lane: &Lane, free: usize) -> Vec<Claim> {
        let now = self.journey.clock.now();
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let store = &self.journey.store;
        let claims = store
            .claim_deliveries(&self.owner, &lane.channels, limit, now)
            .await;
        claims.unwrap_or_else(|error| {
            self.journey.store_failed(&error);
            tracing::warn!(%error, "due requests could not be claimed");
            Vec::new()
        })
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
    let permission = match journey.store.dispatch(dispatch).await {
        Err(error) if error.is_outage() => {
            // Whether the permission was stored is not known; that nothing was sent is. So the attempt is over either way, and
            // nobody has to be left unasked because of it.
            journey.store_failed(&error);
            let outcome = Outcome::NotProcessed {
                code: "no_permission".to_owned(),
                retry_after_ms: None,
            };
            return report(journey, provider, claim, attempt, outcome).await;
        }
        answered => answered?,
    };
    match permission {
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
