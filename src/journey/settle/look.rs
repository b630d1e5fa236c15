//! Looking after one attempt: ask the provider's list whether the message exists, take back a second message that nobody wants any
//! more, and end what has been in doubt for long enough. What to do and when is `domain::settling`'s; this only does it.

use super::matching::{self, Match, Wanted};
use crate::clock::random;
use crate::domain::delivery::{AttemptState, DeliveryState};
use crate::domain::settling::{Doubt, Next, Recovery, Seen, body_hash};
use crate::domain::time::Timestamp;
use crate::journey::Journey;
use crate::provider::Provider;
use crate::provider::ledger::{Ledger, LookError, Revoked, Sent};
use crate::store::{Check, Finding, Settlement, StoreError};

/// Taking a message back is tried again this soon.
const REVOKE_AGAIN_MS: i64 = 5_000;
/// While a worker may still report, its message is looked after this much later.
const UNREPORTED_AGAIN_MS: i64 = 10_000;

impl Journey {
    /// Looks after the next attempt whose turn it is. `None` if there is none, otherwise whether the provider was asked.
    pub(in crate::journey) async fn settle_one(&self) -> Result<Option<bool>, StoreError> {
        let now = self.clock.now();
        let Some(check) = self.store.claim_checks(1, now).await?.pop() else {
            return Ok(None);
        };
        let (finding, asked) = self.look_after(&check, now).await?;
        if let Finding::NotFound { second } = finding {
            tracing::warn!(request = %check.request.id, attempt = check.attempt.n, second, "a send was never confirmed");
        }
        let settlement = Settlement {
            desk: check.request.desk,
            request: check.request.id,
            attempt: check.attempt.n,
            state: check.attempt.state,
            finding,
            now: self.clock.now(),
        };
        self.store.settle(settlement).await?;
        self.bell.notify_one();
        Ok(Some(asked))
    }

    /// What is found, and whether the provider was asked for it.
    async fn look_after(
        &self,
        check: &Check,
        now: Timestamp,
    ) -> Result<(Finding, bool), StoreError> {
        let Some(provider) = self.routes.named(&check.attempt.provider) else {
            // Its provider is not configured any more: nobody can be asked.
            return Ok((Finding::NotFound { second: false }, false));
        };
        match check.attempt.state {
            // Not held up by the pace of questions: its time runs out.
            AttemptState::Revoking => Ok((self.revoke(check, provider.as_ref(), now).await, false)),
            AttemptState::Scheduled => Ok((released(check, now), false)),
            AttemptState::Unknown => self.doubtful(check, provider.as_ref(), now).await,
            AttemptState::Dispatching => self.unreported(check, provider.as_ref(), now).await,
            AttemptState::Accepted
            | AttemptState::NotProcessed
            | AttemptState::Rejected
            | AttemptState::Revoked => Ok((Finding::Settled, false)),
        }
    }

    /// A second message whose worker has not reported. While the request is being sent its lease decides; if it has moved on, the
    /// message may wait at the provider all the same.
    async fn unreported(
        &self,
        check: &Check,
        provider: &dyn Provider,
        now: Timestamp,
    ) -> Result<(Finding, bool), StoreError> {
        if check.request.delivery == DeliveryState::Dispatching {
            let at = now.plus_millis(UNREPORTED_AGAIN_MS);
            let doubt = doubt(check, now);
            return Ok((Finding::Later { at, doubt }, false));
        }
        self.doubtful(check, provider, now).await
    }

    async fn revoke(&self, check: &Check, provider: &dyn Provider, now: Timestamp) -> Finding {
        let id = &check.attempt.provider_id;
        let late = check.attempt.send_at.is_none_or(|send_at| now >= send_at);
        let answer = match provider.ledger() {
            Some(ledger) => ledger.revoke(id).await,
            None => return Finding::TooLate,
        };
        match answer {
            Ok(Revoked::Done) => Finding::Revoked,
            Ok(Revoked::TooLate) => {
                self.duplicate(
                    check,
                    provider,
                    "a second message went out before it could be taken back",
                );
                Finding::TooLate
            }
            Err(_) if late => {
                self.duplicate(
                    check,
                    provider,
                    "a second message could not be taken back in time",
                );
                Finding::TooLate
            }
            Err(error) => Finding::Later {
                at: now.plus_millis(error.retry_after_ms.unwrap_or(0).max(REVOKE_AGAIN_MS)),
                doubt: doubt(check, now),
            },
        }
    }

    async fn doubtful(
        &self,
        check: &Check,
        provider: &dyn Provider,
        now: Timestamp,
    ) -> Result<(Finding, bool), StoreError> {
        let waits = check.attempt.send_at.is_some_and(|send_at| now < send_at);
        let open = matches!(
            check.request.delivery,
            DeliveryState::Unknown
                | DeliveryState::Guarded
                | DeliveryState::Queued
                | DeliveryState::Claimed
                | DeliveryState::Dispatching
        );
        // A second message that may wait at the provider is looked for even if the first was heard of: to be taken back.
        if !open && !waits {
            return Ok((Finding::Settled, false));
        }
        let request = &check.request;
        let recovery = provider.recovery(request.channel.as_str(), &request.sender);
        let rules = &self.rules.settling;
        let doubt = doubt(check, now);
        match doubt.turn(rules, recovery, now) {
            Next::Wait(at) => return Ok((Finding::Later { at, doubt }, false)),
            Next::Second => return Ok((not_found(check), false)),
            Next::GiveUp => return Ok((Finding::NotFound { second: false }, false)),
            Next::Look => {}
        }
        let (Recovery::Listing { .. }, Some(ledger), Some(body)) =
            (recovery, provider.ledger(), check.attempt.body)
        else {
            return Ok((Finding::NotFound { second: false }, false));
        };
        let seen = match self.listed(check, provider, ledger, body).await? {
            Ok(found) => return Ok((found, true)),
            Err(seen) => seen,
        };
        let jitter = u16::from_le_bytes(random(self.entropy.as_ref())) % 1000;
        let doubt = doubt.having(seen, now);
        let finding = match doubt.after(rules, recovery, seen, now, jitter) {
            Next::Look => Finding::Later { at: now, doubt },
            Next::Wait(at) => Finding::Later { at, doubt },
            Next::Second => not_found(check),
            Next::GiveUp => Finding::NotFound { second: false },
        };
        Ok((finding, true))
    }

    /// Asks the list: the message, or what was seen instead.
    async fn listed(
        &self,
        check: &Check,
        provider: &dyn Provider,
        ledger: &dyn Ledger,
        body: [u8; 32],
    ) -> Result<Result<Finding, Seen>, StoreError> {
        let (request, started_at) = (&check.request, check.attempt.started_at);
        let count = |seen: &str| {
            let labels = [provider.name(), seen];
            self.metrics.promises.looks.with_label_values(&labels).inc();
        };
        let since = matching::since(started_at);
        let listed = match ledger.sent(&request.contact.address, since).await {
            Ok(listed) => listed,
            Err(LookError {
                code,
                retry_after_ms,
            }) => {
                count("no_answer");
                tracing::warn!(provider = provider.name(), %code, "the provider's list cannot be read");
                return Ok(Err(Seen::NoAnswer { retry_after_ms }));
            }
        };
        let wanted = Wanted {
            sender: &request.sender,
            body,
            started_at,
            until: matching::until(
                started_at,
                self.rules.settling.window_ms,
                check.next_started_at,
            ),
        };
        let candidates = match matching::find(wanted, &listed, body_hash) {
            Match::Found(found) => found,
            Match::Unclear => {
                count("unclear");
                return Ok(Err(Seen::Unclear));
            }
        };
        let free = self.not_taken(provider, candidates).await?;
        let Some(first) = free.first() else {
            count("absent");
            return Ok(Err(Seen::Absent));
        };
        count("found");
        if free.len() > 1 {
            self.duplicate(
                check,
                provider,
                "the provider has the same message more than once",
            );
        }
        Ok(Ok(Finding::Found {
            provider_id: first.provider_id.clone(),
            status: first.status.clone(),
        }))
    }

    /// Those that belong to no other attempt.
    async fn not_taken<'a>(
        &self,
        provider: &dyn Provider,
        mut candidates: Vec<&'a Sent>,
    ) -> Result<Vec<&'a Sent>, StoreError> {
        if candidates.is_empty() {
            return Ok(candidates);
        }
        let ids: Vec<&str> = candidates.iter().map(|s| s.provider_id.as_str()).collect();
        let taken = self.store.taken(provider.name(), &ids).await?;
        candidates.retain(|sent| !taken.contains(&sent.provider_id));
        Ok(candidates)
    }

    fn duplicate(&self, check: &Check, provider: &dyn Provider, what: &str) {
        let label = [provider.name()];
        self.metrics
            .promises
            .duplicate_sends
            .with_label_values(&label)
            .inc();
        tracing::error!(request = %check.request.id, provider = provider.name(), "{what}");
    }
}

/// A second message whose time has come counts as sent; before that there is nothing to do.
fn released(check: &Check, now: Timestamp) -> Finding {
    match check.attempt.send_at {
        Some(send_at) if now < send_at => Finding::Later {
            at: send_at,
            doubt: doubt(check, now),
        },
        _ => Finding::Released,
    }
}

/// A second attempt follows the first and nothing else.
fn not_found(check: &Check) -> Finding {
    Finding::NotFound {
        second: check.request.attempts == check.attempt.n,
    }
}

fn doubt(check: &Check, now: Timestamp) -> Doubt {
    let attempt = &check.attempt;
    Doubt {
        started_at: attempt.started_at,
        looks: attempt.looks,
        absent: attempt.absent,
        absent_since: attempt.absent_since,
        doubts: check.doubts,
        // Also while a second message may wait of which nothing is known: news of the first must still find it.
        guarded: check.request.delivery != DeliveryState::Unknown
            || check.next_send_at.is_some_and(|send_at| now < send_at),
        expires_at: check.request.expires_at,
    }
}
