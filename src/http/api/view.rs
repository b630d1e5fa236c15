//! Requests and ratings as desks see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::channel::Buttons;
use crate::domain::rating::Rating;
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::trigger::{Agent, Phase};
use crate::journey::Routes;

/// A request and where it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RequestView {
    /// Its identifier.
    #[schema(example = "req_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01")]
    id: String,
    /// `scheduled`, `suppressed`, `sent`, `delivered`, `reached`, `answered`, `expired`, `cancelled` or `failed`.
    state: &'static str,
    /// Why it was not asked, for `suppressed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The channel.
    channel: String,
    /// The address, masked.
    to: String,
    /// Your id of the conversation.
    conversation: String,
    /// Which closing of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    resolution: String,
    /// Your id of the contact.
    #[serde(skip_serializing_if = "String::is_empty")]
    contact: String,
    /// Who served and where, as you said it.
    #[serde(flatten)]
    about: About,
    /// How far carrying it has come.
    delivery: Delivery,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it is to be sent.
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// `quiet_hours` if these have moved it from when you wanted it sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    delayed_by: Option<&'static str>,
    /// When it stops waiting for an answer.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// When it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    sent_at: Option<Timestamp>,
    /// When it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    delivered_at: Option<Timestamp>,
    /// When the contact had it in front of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    reached_at: Option<Timestamp>,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    answered_at: Option<Timestamp>,
    /// When it ended without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Your own JSON.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    /// The rating, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<Given>,
    /// For a chat: the ask itself, to be shown in the chat that the conversation took place in.
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<Buttons>,
    /// For a chat: the token for `/widget.js`. Whoever has it can rate; give it to that chat only.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// Who served and where.
#[derive(Debug, Serialize, ToSchema)]
struct About {
    agent: Agent,
    #[serde(skip_serializing_if = "String::is_empty")]
    team: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    queue: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    touchpoint: String,
    phase: Phase,
    #[serde(skip_serializing_if = "String::is_empty")]
    topic: String,
    switches: u32,
}

/// How far carrying a request has come.
#[derive(Debug, Serialize, ToSchema)]
struct Delivery {
    /// `none`, `queued`, `claimed`, `dispatching`, `unknown`, `guarded`, `accepted`, `rejected`, `lost` or `dropped`.
    state: &'static str,
    /// Provider calls made.
    attempts: i64,
    /// The provider's last word, such as an error code.
    #[serde(skip_serializing_if = "String::is_empty")]
    code: String,
    /// The kind of trouble that the code means: `unsubscribed`, `invalid_address`, `unreachable`, `filtered`, `rate_limited`,
    /// `account`, `no_answer` or `ceiling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<&'static str>,
}

/// A rating inside its request.
#[derive(Debug, Serialize, ToSchema)]
struct Given {
    /// From 1 to 5; 5 is best.
    #[schema(minimum = 1, maximum = 5)]
    score: u8,
    /// How we know that the contact gave it: `channel` or `tap`; `auto` where the desk counts those, `auto` or `suspect` where a
    /// manager released it.
    grade: &'static str,
    /// The contact's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
}

impl RequestView {
    pub(super) fn new(request: &Request, rating: Option<&Rating>) -> Self {
        let about = &request.attribution;
        Self {
            id: request.id.to_string(),
            state: request.state.as_str(),
            reason: request
                .reason
                .map(crate::domain::policy::Suppression::as_str),
            channel: request.channel.to_string(),
            to: request.contact.address.to_string(),
            conversation: request.conversation.clone(),
            resolution: request.resolution.clone(),
            contact: request.contact.id.clone(),
            about: About {
                agent: about.agent.clone(),
                team: about.team.clone(),
                queue: about.queue.clone(),
                touchpoint: about.touchpoint.clone(),
                phase: about.phase,
                topic: about.topic.clone(),
                switches: about.switches,
            },
            delivery: Delivery {
                state: request.delivery.as_str(),
                attempts: request.attempts,
                code: request.delivery_code.clone(),
                class: None,
                meaning: None,
            },
            created_at: request.history.created_at,
            due_at: request.due_at,
            delayed_by: request.planned_at.map(|_| "quiet_hours"),
            expires_at: request.expires_at,
            sent_at: request.history.sent_at,
            delivered_at: request.history.delivered_at,
            reached_at: request.history.reached_at,
            answered_at: request.history.answered_at,
            ended_at: request.history.ended_at,
            metadata: request.metadata.clone(),
            rating: rating.map(|rating| Given {
                score: rating.score.get(),
                grade: rating.grade.as_str(),
                comment: rating.comment.clone(),
            }),
            ask: None,
            token: None,
        }
    }

    /// Adds what the delivery's code means.
    pub(super) fn explained(mut self, routes: &Routes) -> Self {
        let meaning = routes.explain(&self.channel, &self.delivery.code);
        self.delivery.class = meaning.map(|meaning| meaning.class.as_str());
        self.delivery.meaning = meaning.map(|meaning| meaning.text);
        self
    }

    /// Adds the ask that this answer carries.
    pub(super) fn with_ask(mut self, ask: Option<(String, Buttons)>) -> Self {
        (self.token, self.ask) = ask.map_or((None, None), |(token, ask)| (Some(token), Some(ask)));
        self
    }
}

/// That a manager took a rating out of the reports.
#[derive(Debug, Serialize, ToSchema)]
struct Excluded {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who, as the caller named them.
    #[serde(skip_serializing_if = "String::is_empty")]
    by: String,
    /// Why.
    reason: String,
}

/// A rating with what it is about.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RatingView {
    /// Its identifier.
    #[schema(example = "rat_019a3f0c7d5b7c0e9d8a5b6c7d8e9f01")]
    id: String,
    /// The request that it answers.
    request: String,
    /// From 1 to 5; 5 is best.
    #[schema(minimum = 1, maximum = 5)]
    score: u8,
    /// How we know that the contact gave it: `channel` or `tap`; `auto` where the desk counts those, `auto` or `suspect` where a
    /// manager released it.
    grade: &'static str,
    /// The contact's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    /// When the request was accepted.
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    /// When the first answer came.
    #[schema(value_type = String, format = DateTime)]
    answered_at: Timestamp,
    /// When the contact last changed it.
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
    /// Milliseconds from sending the request to the first answer.
    elapsed_ms: i64,
    /// Present while a manager has taken it out of the reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    excluded: Option<Excluded>,
    /// The channel.
    channel: String,
    /// Your id of the conversation.
    conversation: String,
    /// Which closing of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    resolution: String,
    /// What the words of the ask are called: a group of `/v1/summary?group_by=wording`.
    #[serde(skip_serializing_if = "String::is_empty")]
    wording: String,
    /// Who served and where, as you said it.
    #[serde(flatten)]
    about: About,
}

impl RatingView {
    pub(super) fn new(rating: &Rating, request: &Request) -> Self {
        let view = RequestView::new(request, None);
        Self {
            id: rating.id.to_string(),
            request: view.id,
            score: rating.score.get(),
            grade: rating.grade.as_str(),
            comment: rating.comment.clone(),
            requested_at: view.created_at,
            answered_at: rating.answered_at,
            changed_at: rating.changed_at,
            elapsed_ms: rating.elapsed_ms,
            excluded: rating.excluded.as_ref().map(|note| Excluded {
                at: note.at,
                by: note.by.clone(),
                reason: note.reason.clone(),
            }),
            channel: view.channel,
            conversation: view.conversation,
            resolution: view.resolution,
            wording: request.wording.clone(),
            about: view.about,
        }
    }
}
