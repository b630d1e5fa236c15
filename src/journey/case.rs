//! Requests as the rules look at them: for deciding again about what waited, and for replaying past triggers.

use std::sync::Arc;

use super::Journey;
use crate::channel;
use crate::domain::contact::AddressKind;
use crate::domain::desk::Desk;
use crate::domain::policy::Case;
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::store::Again;

/// An ask that is sent later than this after its trigger, or after it was due, is decided again.
const FRESH_MS: i64 = 300_000;

impl Journey {
    /// A stored request as the rules look at it, due at `due_at`. The agent's address is not kept, so it is not known any more.
    pub(super) fn case<'a>(&self, request: &'a Request, due_at: Timestamp) -> Case<'a> {
        let channel = channel::find(request.channel.as_str());
        let handed_out =
            channel.is_some_and(|channel| channel.carriage() == channel::Carriage::Answer);
        let address = &request.contact.address;
        let provider = self.routes.get(request.channel.as_str());
        Case {
            desk: request.desk,
            channel: request.channel.as_str(),
            live: handed_out || address.kind() == AddressKind::Call,
            reachable: match (channel, provider) {
                (Some(channel), Some(provider)) => {
                    provider.reaches(channel.name(), address).is_ok()
                }
                (_, None) | (None, _) => handed_out,
            },
            sender: &request.sender,
            address: request.contact.known_at(),
            contact: &request.contact.id,
            agent: "",
            timezone: &request.attribution.timezone,
            conversation: &request.conversation,
            resolution: &request.resolution,
            context: &request.context,
            came_at: request.history.created_at,
            due_at,
        }
    }

    /// What the rules say now of an ask that is about to be sent; `None` if it was decided on just now.
    pub(super) fn again(&self, desk: &Desk, request: &Request) -> Option<Box<Again>> {
        let now = self.clock.now();
        let waited = now.millis_since(request.history.created_at);
        let late = now.millis_since(request.due_at);
        if waited <= FRESH_MS && late <= FRESH_MS {
            return None;
        }
        let case = self.case(request, now);
        Some(Box::new(Again {
            given: case.plan(&desk.settings).given,
            rules: Arc::clone(&desk.settings.rules),
        }))
    }
}
