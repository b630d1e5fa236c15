//! Making and testing webhooks.

use std::time::Duration;

use super::webhooks::Outgoing;
use crate::clock::random;
use crate::domain::desk::Desk;
use crate::domain::event::EventKind;
use crate::domain::id::{DeskId, EventId, WebhookId};
use crate::domain::notice::{Notice, TEST_KIND};
use crate::domain::time::Timestamp;
use crate::domain::trigger::FieldError;
use crate::domain::webhook::{
    Delivery, Health, Webhook, WebhookFormat, WebhookSecret, WebhookState, check_url,
};
use crate::journey::Journey;
use crate::store::{StoreError, WebhookTries};

/// For a test: whoever asked for it waits.
const TEST: Duration = Duration::from_secs(8);

/// Why a webhook is not made, changed or tested.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WebhookError {
    /// A field cannot be used.
    #[error("`{}` {}", .0.field, .0.message)]
    Field(FieldError),
    /// The desk has as many as it may have.
    #[error("the desk has as many webhooks as it may have")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Journey {
    /// Whether webhooks may have this address now.
    pub async fn vet_webhook(&self, url: &str) -> Result<(), WebhookError> {
        check_url(url).map_err(WebhookError::Field)?;
        let Some(post) = &self.publishing.post else {
            let field = FieldError::new("url", "cannot be called: there is no sink for webhooks");
            return Err(WebhookError::Field(field));
        };
        let vetted = post.vet(url).await;
        vetted.map_err(|message| WebhookError::Field(FieldError::new("url", message)))
    }

    /// Makes a webhook, from the present place of the stream on; the webhook, and the secret that signs for it.
    pub async fn add_webhook(
        &self,
        desk: DeskId,
        url: &str,
        (kinds, format): (Vec<EventKind>, WebhookFormat),
        description: &str,
    ) -> Result<(Webhook, WebhookSecret), WebhookError> {
        self.vet_webhook(url).await?;
        let now = self.clock.now();
        let webhook = Webhook {
            desk,
            id: WebhookId::new(now, random(self.entropy.as_ref())),
            url: url.to_owned(),
            kinds,
            format,
            description: description.to_owned(),
            state: WebhookState::Enabled,
            mark: self.store.head(desk).await?,
            health: Health::default(),
            old_until: Timestamp::default(),
            created_at: now,
        };
        let secret = self.new_secret();
        if self.store.add_webhook(&webhook, &secret).await? {
            Ok((webhook, secret))
        } else {
            Err(WebhookError::TooMany)
        }
    }

    /// A secret that nobody knows yet.
    pub fn new_secret(&self) -> WebhookSecret {
        WebhookSecret::new(random::<32>(self.entropy.as_ref()).to_vec())
    }

    /// Sends a test to a webhook, whatever its state; what came of it. `None` if there is no such webhook.
    pub async fn test_webhook(
        &self,
        desk: &Desk,
        id: WebhookId,
    ) -> Result<Option<Delivery>, StoreError> {
        let now = self.clock.now();
        let Some((webhook, secrets)) = self.store.webhook(desk.id, id, now).await? else {
            return Ok(None);
        };
        let Some(post) = &self.publishing.post else {
            return Ok(None);
        };
        let event = EventId::new(now, random(self.entropy.as_ref()));
        let outgoing = Outgoing {
            seq: 0,
            attempt: 1,
            event,
            kind: TEST_KIND,
            at: now,
            notice: Notice::test(event, &desk.slug, now),
        };
        let calling = self.call(post.as_ref(), &webhook, &secrets, outgoing);
        let delivery = match tokio::time::timeout(TEST, calling).await {
            Ok(told) => told.delivery,
            Err(_) => Delivery {
                id: EventId::new(now, random(self.entropy.as_ref())).uuid(),
                event,
                kind: TEST_KIND.to_owned(),
                attempt: 1,
                at: now,
                status: 0,
                elapsed_ms: i64::try_from(TEST.as_millis()).unwrap_or(i64::MAX),
                error: "timeout".to_owned(),
            },
        };
        let tries = WebhookTries {
            desk: desk.id,
            id,
            // A test moves nothing: how the address does is what events show.
            from: webhook.mark,
            to: webhook.mark,
            health: webhook.health,
            state: webhook.state,
            settled: Vec::new(),
            again: Vec::new(),
            log: vec![delivery.clone()],
            soon: None,
        };
        self.store.record_tries(&tries).await?;
        Ok(Some(delivery))
    }
}
