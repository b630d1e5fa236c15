//! An event as others are told it: by webhook, by `/v1/events`, by NATS. One shape for all.
//!
//! What changed is what the event says (its kind, score, reason and words); the request is shown as it stands when it is told. The
//! contact's address and name are left out: whoever reads a stream of events knows the contact by the desk's own id.

use serde::Serialize;
use utoipa::ToSchema;

use super::event::EventKind;
use super::follow_up::FollowUpState;
use super::id::{DeskId, EventId, FollowUpId, RatingId, RequestId};
use super::policy::Suppression;
use super::rating::{Grade, Score};
use super::request::Request;
use super::time::Timestamp;
use super::trigger::{Agent, Phase};

/// The kind of what `POST /v1/webhooks/{id}/test` sends. Nothing happened, so it is no event and has no place in a stream.
pub const TEST_KIND: &str = "webhook.test";

/// An event with its place in the stream of its desk, as it was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The event's identifier.
    pub id: EventId,
    /// Its place in the stream of the desk, from 1.
    pub seq: i64,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// Whose it is.
    pub desk: DeskId,
    /// The desk's short name.
    pub slug: String,
    /// The request that it is about.
    pub request_id: RequestId,
    /// The same, if it is there and can be read.
    pub request: Option<Box<Request>>,
    /// The rating's identifier and grade, if there is a rating.
    pub rating: Option<(RatingId, Grade)>,
    /// The score that the event says.
    pub score: Option<Score>,
    /// Milliseconds from sending to the first answer, for a first answer.
    pub elapsed_ms: Option<i64>,
    /// Why nobody was asked.
    pub reason: Option<Suppression>,
    /// The contact's words that came with it; empty if none, or if they are forgotten.
    pub words: String,
    /// What is done about the low score, where the event is about that: who it is, how far it is, and whose.
    pub follow_up: Option<(FollowUpId, FollowUpState, String)>,
}

/// An event as others are told it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct Notice {
    /// Its identifier: the same in every repetition and everywhere. Whoever has seen it has seen the event.
    #[schema(example = "evt_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01")]
    pub id: String,
    /// What happened: `request.scheduled`, `request.suppressed`, `request.sent`, `request.delivered`, `request.reached`,
    /// `request.expired`, `request.failed`, `request.cancelled`, `rating.created`, `rating.changed`, `rating.commented`, `rating.auto`,
    /// `rating.suspect`, `rating.excluded`, `rating.restored`, `rating.low`, `follow_up.taken`, `follow_up.told`, `follow_up.closed`,
    /// `contact.opted_out`, `contact.opted_in`, `reply.unrecognized`, `delivery.lost`. New kinds may be added.
    #[serde(rename = "type")]
    #[schema(example = "rating.created")]
    pub kind: &'static str,
    /// Its place in the stream of the desk: 1, 2, 3 and so on. Only after the database was put back from a copy places are left out, so
    /// that none is given twice. 0 for a test.
    pub seq: i64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The same, under the name that the specification Standard Webhooks recommends.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// The desk's short name.
    #[schema(example = "acme")]
    pub desk: String,
    /// What it is about.
    pub data: Data,
}

/// What an event is about.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = EventData)]
pub struct Data {
    /// The request, as it stands when the event is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Asked>,
    /// The rating, as the event says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<Rated>,
    /// What is done about a low score, for `rating.low` and `follow_up.…`, as it stands when the event is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<Cared>,
    /// Why nobody was asked, for `request.suppressed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What the contact wrote, for `reply.unrecognized`. Text, never HTML.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// The request of an event.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = EventRequest)]
pub struct Asked {
    /// Its identifier.
    #[schema(example = "req_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01")]
    pub id: String,
    /// All else of it; absent once it is erased.
    #[serde(flatten)]
    pub about: Option<About>,
}

/// What is known of the request of an event.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = EventAbout)]
pub struct About {
    /// Where it stands: see `GET /v1/requests/{id}`.
    pub state: &'static str,
    /// The channel.
    pub channel: String,
    /// Your id of the conversation.
    pub conversation: String,
    /// Which closing of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resolution: String,
    /// Your id of the contact.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub contact: String,
    /// Who served.
    pub agent: Agent,
    /// The group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub team: String,
    /// The line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub queue: String,
    /// The place in the journey.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub touchpoint: String,
    /// When in the journey.
    pub phase: Phase,
    /// The issue.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// How far carrying it has come.
    pub delivery: &'static str,
    /// The provider's last word on it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub delivery_code: String,
    /// Your own JSON.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    #[schema(value_type = Object)]
    pub metadata: serde_json::Value,
}

/// The rating of an event.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = EventRating)]
pub struct Rated {
    /// Its identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "rat_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01")]
    pub id: Option<String>,
    /// From 1 to 5, as it was after this event; 5 is best.
    #[schema(minimum = 1, maximum = 5)]
    pub score: u8,
    /// How we know that the contact gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<&'static str>,
    /// The words that came with this event; for `rating.low` those that the rating had by then. Text, never HTML.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Milliseconds from sending the request to the first answer, for `rating.created`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<i64>,
}

/// The follow-up of an event: see `/v1/follow-ups/{id}`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = EventFollowUp)]
pub struct Cared {
    /// Its identifier, for `POST /v1/follow-ups/{id}/take` and the other steps.
    #[schema(example = "fol_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01")]
    pub id: String,
    /// `open`, `taken` or `closed`.
    pub state: &'static str,
    /// Who takes care.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
}

impl Notice {
    /// What is told of an event.
    pub fn of(event: Recorded) -> Self {
        let words = event.words;
        let (rating, text) = match event.score {
            Some(score) => {
                let rated = Rated {
                    id: event.rating.map(|(id, _)| id.to_string()),
                    score: score.get(),
                    grade: event.rating.map(|(_, grade)| grade.as_str()),
                    comment: words,
                    elapsed_ms: event.elapsed_ms,
                };
                (Some(rated), String::new())
            }
            None => (None, words),
        };
        // An event of an address and not of a request names the nil request.
        let request = (!event.request_id.uuid().is_nil()).then(|| Asked {
            id: event.request_id.to_string(),
            about: event.request.map(|request| About::of(*request)),
        });
        let follow_up = event.follow_up.map(|(id, state, owner)| Cared {
            id: id.to_string(),
            state: state.as_str(),
            owner,
        });
        let reason = event
            .reason
            .filter(|_| event.kind == EventKind::RequestSuppressed);
        Self {
            id: event.id.to_string(),
            kind: event.kind.as_str(),
            seq: event.seq,
            at: event.at,
            timestamp: event.at,
            desk: event.slug,
            data: Data {
                request,
                rating,
                follow_up,
                reason: reason.map(Suppression::as_str),
                text,
            },
        }
    }

    /// What a test of a webhook sends.
    pub fn test(id: EventId, slug: &str, now: Timestamp) -> Self {
        Self {
            id: id.to_string(),
            kind: TEST_KIND,
            seq: 0,
            at: now,
            timestamp: now,
            desk: slug.to_owned(),
            data: Data::default(),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Vec<u8> {
        // Texts, numbers and a JSON value: nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl About {
    fn of(request: Request) -> Self {
        let about = request.attribution;
        Self {
            state: request.state.as_str(),
            channel: request.channel.to_string(),
            conversation: request.conversation,
            resolution: request.resolution,
            contact: request.contact.id,
            agent: about.agent,
            team: about.team,
            queue: about.queue,
            touchpoint: about.touchpoint,
            phase: about.phase,
            topic: about.topic,
            delivery: request.delivery.as_str(),
            delivery_code: request.delivery_code,
            metadata: request.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, score: Option<i64>, words: &str) -> Recorded {
        let at = Timestamp::from_millis(1_700_000_000_000);
        Recorded {
            id: EventId::new(at, [1; 10]),
            seq: 7,
            kind,
            at,
            desk: DeskId::new(at, [2; 10]),
            slug: "acme".to_owned(),
            request_id: RequestId::new(at, [3; 10]),
            request: None,
            rating: None,
            score: score.and_then(|score| Score::try_from(score).ok()),
            elapsed_ms: None,
            reason: Some(Suppression::ALL[0]),
            words: words.to_owned(),
            follow_up: None,
        }
    }

    #[test]
    fn an_event_says_what_changed_even_when_its_request_is_gone() {
        let changed = Notice::of(event(EventKind::RatingChanged, Some(2), "slow"));
        let json: serde_json::Value = serde_json::from_slice(&changed.to_json()).unwrap();
        assert_eq!(json["type"], "rating.changed");
        assert_eq!(json["seq"], 7);
        assert_eq!(json["at"], "2023-11-14T22:13:20.000Z");
        assert_eq!(json["data"]["rating"]["score"], 2);
        assert_eq!(json["data"]["rating"]["comment"], "slow");
        let request = json["data"]["request"].as_object().unwrap();
        assert_eq!(request.keys().collect::<Vec<_>>(), ["id"]);
        assert!(
            json["data"].get("reason").is_none(),
            "only a suppression has one"
        );
    }

    #[test]
    fn words_without_a_score_are_a_text() {
        let notice = Notice::of(event(EventKind::ReplyUnrecognized, None, "who is this"));
        assert_eq!(notice.data.text, "who is this");
        assert!(notice.data.rating.is_none());
    }
}
