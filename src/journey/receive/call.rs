//! Calls: the prompt, the key, and goodbye. The caller waits while this runs, so nothing slow stands here.

use std::collections::BTreeMap;

use crate::channel::wording::Wording;
use crate::channel::{self, Ask, reading, wording};
use crate::domain::contact::Address;
use crate::domain::desk::is_slug;
use crate::domain::rating::Grade;
use crate::domain::reply::{Reply, ReplyKind, Understood};
use crate::domain::request::Request;
use crate::domain::token::TokenHash;
use crate::domain::trigger::{Agent, ContactInfo, Context, Phase, Trigger};
use crate::journey::{AcceptError, Journey};
use crate::provider::{Answer, Provider};
use crate::store::{Find, NewReply, StoreError};

/// A wrong or missing key is asked again so many times; then we say goodbye.
const TURNS_MAX: u8 = 2;

impl Journey {
    /// An existing call flow hands a call over: the request is made on the spot.
    pub(super) async fn redirected(
        &self,
        provider: &dyn Provider,
        (call, person): (&Address, Option<&Address>),
        fields: &BTreeMap<String, String>,
    ) -> Result<Answer, StoreError> {
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let slug = field("desk");
        // Only what can be a short name is looked for: it comes from an address that others write.
        let desk = if is_slug(&slug) {
            self.store.find_desk(&slug).await?
        } else {
            None
        };
        let Some(desk) = desk else {
            tracing::warn!(
                provider = provider.name(),
                "a redirected call names no desk of ours in its query"
            );
            return Ok(Answer::HangUp);
        };
        let conversation = Some(field("conversation"))
            .filter(|c| !c.is_empty())
            .unwrap_or_else(|| call.expose().to_owned());
        let trigger = Trigger {
            channel: "voice".to_owned(),
            to: call.expose().to_owned(),
            conversation,
            resolution: field("resolution"),
            contact: ContactInfo {
                id: field("contact"),
                phone: person.map_or_else(String::new, |person| person.expose().to_owned()),
                language: field("language"),
                ..ContactInfo::default()
            },
            agent: Agent {
                name: field("agent"),
                ..Agent::default()
            },
            team: field("team"),
            queue: field("queue"),
            touchpoint: field("touchpoint"),
            topic: field("topic"),
            phase: Phase::After,
            switches: 0,
            delay_seconds: 0,
            expires_in: None,
            dry_run: false,
            context: Context::default(),
            mail: None,
            metadata: serde_json::Value::Null,
        };
        match self.accept_call(&desk, &trigger, provider.name()).await {
            Ok((request, token)) if request.state.is_open() => self.prompt(&token, 0, None).await,
            Ok(_) | Err(AcceptError::KeyReused) => Ok(Answer::HangUp),
            Err(AcceptError::Field(error)) => {
                tracing::warn!(provider = provider.name(), %error, "a redirected call has a query that cannot be used");
                Ok(Answer::HangUp)
            }
            Err(AcceptError::Store(error)) => Err(error),
        }
    }

    /// Speaks the ask. The prompt starts now, so the contact is reached.
    pub(super) async fn prompt(
        &self,
        token: &str,
        turn: u8,
        before: Option<fn(&Wording) -> &str>,
    ) -> Result<Answer, StoreError> {
        let find = Find::Attempt(TokenHash::of(token));
        let Some(request) = self.store.record_reached(find, self.clock.now()).await? else {
            return Ok(Answer::HangUp);
        };
        if !request.state.is_open() {
            return Ok(Answer::HangUp);
        }
        let desk = self.desk_of(&request).await?;
        let urls = self.urls(&request);
        let ask = Ask::of(&request, &desk, &urls);
        let (words, language) = channel::voice_prompt(&ask);
        let say = match before {
            Some(text) => format!("{} {words}", text(&ask.wording())),
            None => words,
        };
        Ok(Answer::Prompt {
            token: token.to_owned(),
            say,
            language,
            turn,
        })
    }

    pub(super) async fn key(
        &self,
        token: &str,
        call: &Address,
        turn: u8,
        key: &str,
    ) -> Result<Answer, StoreError> {
        if key == "*" {
            return self.prompt(token, turn, None).await;
        }
        let find = Find::Attempt(TokenHash::of(token));
        let Some(score) = reading::key(key) else {
            if turn < TURNS_MAX {
                let before: fn(&Wording) -> &str = if key.is_empty() { no_key } else { wrong_key };
                return self.prompt(token, turn + 1, Some(before)).await;
            }
            let Some((request, _)) = self.store.find(&find).await? else {
                return Ok(Answer::HangUp);
            };
            return self.goodbye(&request, |words| &words.voice.goodbye).await;
        };
        let reply = Reply {
            kind: ReplyKind::Key,
            // The provider may report one press twice; the call and the turn name it.
            provider_id: format!("{}:{turn}", call.expose()),
            raw: key.to_owned(),
            grade: Grade::Channel,
            at: self.clock.now(),
        };
        let understood = Understood::Rating(score, String::new());
        let new = NewReply {
            find,
            reply,
            understood,
            window_ms: self.rules.correction_ms,
            sent_at: None,
        };
        match self.store.record_reply(new).await? {
            Some(replied) if replied.rating.is_some() => {
                self.goodbye(&replied.request, |words| &words.voice.thanks)
                    .await
            }
            Some(replied) => {
                self.goodbye(&replied.request, |words| &words.voice.goodbye)
                    .await
            }
            None => Ok(Answer::HangUp),
        }
    }

    async fn goodbye(
        &self,
        request: &Request,
        text: fn(&Wording) -> &str,
    ) -> Result<Answer, StoreError> {
        let desk = self.desk_of(request).await?;
        let words = wording::for_request(request, &desk.settings);
        Ok(Answer::Goodbye {
            say: text(&words).to_owned(),
            language: words.voice.language.clone(),
        })
    }
}

fn wrong_key(words: &Wording) -> &str {
    &words.voice.wrong_key
}

fn no_key(words: &Wording) -> &str {
    &words.voice.no_key
}
