//! reply -> rating: what a provider, our page or a chat brings in, read, recorded in one store call, and answered.

use crate::channel::{self, Ask, reading, wording};
use crate::clock::random;
use crate::domain::contact::Address;
use crate::domain::desk::Desk;
use crate::domain::rating::{Grade, Rating, Score, clean_comment};
use crate::domain::reply::{Effect, Reply, ReplyKind, Understood};
use crate::domain::request::{Request, State};
use crate::domain::token::TokenHash;
use crate::domain::trigger::{Agent, ContactInfo, Trigger};
use crate::provider::{Answer, Inbound, Provider};
use crate::store::{Find, NewReply, Pair, Replied, StoreError};

use super::{AcceptError, Journey};

/// A wrong or missing key is asked again so many times; then we say goodbye.
const TURNS_MAX: u8 = 2;

/// A request as its own page or its chat sees it.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The request.
    pub request: Request,
    /// Its desk.
    pub desk: Desk,
    /// Its rating, if there is one.
    pub rating: Option<Rating>,
    /// Whether the contact may still correct or add words.
    pub can_correct: bool,
}

/// What a press did.
#[derive(Debug, Clone)]
pub struct Pressed {
    /// The rating as it stands now; none if the request takes no answer any more.
    pub rating: Option<Rating>,
    /// The press was taken (also if it changed nothing because the same was said before).
    pub taken: bool,
}

/// Why a press was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PressError {
    /// No request has this link.
    #[error("there is no such link")]
    Unknown,
    /// The one-time value is not ours, or too old.
    #[error("the page is too old; open the link again")]
    Stale,
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Journey {
    /// Takes what a provider brings, and says what to answer.
    pub async fn receive(
        &self,
        provider: &dyn Provider,
        inbound: &Inbound,
    ) -> Result<Answer, StoreError> {
        match inbound {
            Inbound::Text {
                channel,
                from,
                to,
                body,
                message_id,
            } => {
                let pair = Pair {
                    channel: channel.clone(),
                    ours: to.clone(),
                    theirs: from.clone(),
                };
                self.text(provider, pair, body, message_id).await
            }
            Inbound::Call {
                token: None,
                call,
                fields,
                ..
            } => self.redirected(provider, call, fields).await,
            Inbound::Call {
                token: Some(token),
                key: None,
                ..
            } => self.prompt(token, 0, None).await,
            Inbound::Call {
                token: Some(token),
                call,
                turn,
                key: Some(key),
                ..
            } => self.key(token, call, *turn, key).await,
            Inbound::Status {
                token,
                provider_id,
                status,
            } => {
                if !self.settle(token, provider_id, status.clone()).await? {
                    tracing::info!(
                        provider = provider.name(),
                        "a callback names no attempt of ours"
                    );
                }
                Ok(Answer::Silence)
            }
        }
    }

    async fn text(
        &self,
        provider: &dyn Provider,
        pair: Pair,
        body: &str,
        message_id: &str,
    ) -> Result<Answer, StoreError> {
        let understood = reading::text(body);
        let reply = Reply {
            kind: ReplyKind::Text,
            provider_id: message_id.to_owned(),
            raw: body.to_owned(),
            grade: Grade::Channel,
            at: self.clock.now(),
        };
        let new = NewReply {
            find: Find::Pair(pair.clone()),
            reply,
            understood: understood.clone(),
            window_ms: self.rules.correction_ms,
        };
        let Some(replied) = self.store.record_reply(new).await? else {
            // Nobody waits for this text. A wish not to be written to is heard all the same.
            match understood {
                Understood::Stop => {
                    self.store
                        .opt_out(&pair.channel, &pair.theirs, self.clock.now())
                        .await?
                }
                Understood::Start => {
                    self.store.opt_in(&pair.channel, &pair.theirs).await?;
                }
                Understood::Help | Understood::Rating(..) | Understood::Words(_) => {}
            }
            self.metrics
                .hooks
                .with_label_values(&[provider.name(), "unmatched"])
                .inc();
            return Ok(Answer::Silence);
        };
        let desk = self.desk_of(&replied.request).await?;
        Ok(text_back(provider, &replied, &desk).map_or(Answer::Silence, Answer::Text))
    }

    /// An existing call flow hands a call over: the request is made on the spot.
    async fn redirected(
        &self,
        provider: &dyn Provider,
        call: &Address,
        fields: &std::collections::BTreeMap<String, String>,
    ) -> Result<Answer, StoreError> {
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let Some(desk) = self.store.find_desk(&field("desk")).await? else {
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
            phase: crate::domain::trigger::Phase::After,
            switches: 0,
            delay_seconds: 0,
            expires_in: None,
            dry_run: false,
            context: crate::domain::trigger::Context::default(),
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
    async fn prompt(
        &self,
        token: &str,
        turn: u8,
        before: Option<fn(&wording::Wording) -> &str>,
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
        let ask = Ask::of(&request, &desk.name, &desk.settings.language, &urls);
        let (words, language) = channel::voice_prompt(&ask);
        let say = match before {
            Some(text) => format!("{} {words}", text(wording::of(ask.language))),
            None => words,
        };
        Ok(Answer::Prompt {
            token: token.to_owned(),
            say,
            language,
            turn,
        })
    }

    async fn key(
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
                let before: fn(&wording::Wording) -> &str =
                    if key.is_empty() { no_key } else { wrong_key };
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
        text: fn(&'static wording::Wording) -> &'static str,
    ) -> Result<Answer, StoreError> {
        let desk = self.desk_of(request).await?;
        let words = wording::of(language(request, &desk));
        Ok(Answer::Goodbye {
            say: text(words).to_owned(),
            language: &words.voice.language,
        })
    }

    /// Opens a request by its link. Reads only: a link may be opened by anybody's machine.
    pub async fn open(&self, token: &str) -> Result<Option<Opened>, StoreError> {
        let Some((request, rating)) = self.store.find(&Find::Link(TokenHash::of(token))).await?
        else {
            return Ok(None);
        };
        let desk = self.desk_of(&request).await?;
        let can_correct = self.can_correct(rating.as_ref());
        Ok(Some(Opened {
            request,
            desk,
            rating,
            can_correct,
        }))
    }

    fn can_correct(&self, rating: Option<&Rating>) -> bool {
        rating.is_some_and(|rating| {
            self.clock.now().millis_since(rating.answered_at) <= self.rules.correction_ms
        })
    }

    /// Minutes, rounded up, in which the contact may still correct the rating.
    pub fn minutes_left(&self, rating: Option<&Rating>) -> i64 {
        let since = rating.map_or(0, |rating| {
            self.clock.now().millis_since(rating.answered_at)
        });
        ((self.rules.correction_ms - since).max(0) + 59_999) / 60_000
    }

    /// The chat shows the ask. `false` if no request has this token.
    pub async fn shown(&self, token: &str) -> Result<bool, StoreError> {
        let find = Find::Link(TokenHash::of(token));
        Ok(self
            .store
            .record_reached(find, self.clock.now())
            .await?
            .is_some())
    }

    /// A button of a chat. The token was given to the chat alone, so the channel proves the contact.
    pub async fn press(
        &self,
        token: &str,
        score: Score,
        comment: &str,
    ) -> Result<Pressed, PressError> {
        self.post(token, score, comment, ReplyKind::Button, Grade::Channel)
            .await
    }

    /// A post of our page. `view` is the one-time value that the page was shown with; `by_person` says that the page saw a
    /// trusted pointer, touch, key or wheel event, or that its button was used.
    pub async fn tap(
        &self,
        token: &str,
        view: &str,
        score: Score,
        comment: &str,
        by_person: bool,
    ) -> Result<Pressed, PressError> {
        if !self.mint.is_view(token, view, self.clock.now()) {
            return Err(PressError::Stale);
        }
        let grade = if by_person { Grade::Tap } else { Grade::Auto };
        self.post(token, score, comment, ReplyKind::Click, grade)
            .await
    }

    async fn post(
        &self,
        token: &str,
        score: Score,
        comment: &str,
        kind: ReplyKind,
        grade: Grade,
    ) -> Result<Pressed, PressError> {
        let comment = clean_comment(comment);
        let reply = Reply {
            kind,
            // Every press is a reply of its own: 4, then 5, then 4 again is a change of mind, not a repetition. The same
            // score twice changes nothing anyway.
            provider_id: hex::encode(random::<12>(self.entropy.as_ref())),
            raw: format!("{} {comment}", score.get()),
            grade,
            at: self.clock.now(),
        };
        let new = NewReply {
            find: Find::Link(TokenHash::of(token)),
            reply,
            understood: Understood::Rating(score, comment.clone()),
            window_ms: self.rules.correction_ms,
        };
        let replied = self
            .store
            .record_reply(new)
            .await?
            .ok_or(PressError::Unknown)?;
        let stands = replied.rating.as_ref().is_some_and(|rating| {
            rating.score == score && (comment.is_empty() || rating.comment == comment)
        });
        Ok(Pressed {
            taken: stands,
            rating: replied.rating,
        })
    }

    /// The contact of this link does not want to be asked. `None` if no request has this link.
    pub async fn opt_out_by_link(&self, token: &str) -> Result<Option<Opened>, StoreError> {
        let reply = Reply {
            kind: ReplyKind::Click,
            provider_id: "opt_out".to_owned(),
            raw: "opt out".to_owned(),
            grade: Grade::Tap,
            at: self.clock.now(),
        };
        let find = Find::Link(TokenHash::of(token));
        let new = NewReply {
            find,
            reply,
            understood: Understood::Stop,
            window_ms: self.rules.correction_ms,
        };
        if self.store.record_reply(new).await?.is_none() {
            return Ok(None);
        }
        self.open(token).await
    }
}

fn wrong_key(words: &wording::Wording) -> &str {
    &words.voice.wrong_key
}

fn no_key(words: &wording::Wording) -> &str {
    &words.voice.no_key
}

/// The contact's language, or the desk's.
fn language<'a>(request: &'a Request, desk: &'a Desk) -> &'a str {
    let own = request.attribution.language.as_str();
    if own.is_empty() {
        &desk.settings.language
    } else {
        own
    }
}

/// The text message back, if any. One confirmation of STOP in all: where the provider confirms, we say nothing.
fn text_back(provider: &dyn Provider, replied: &Replied, desk: &Desk) -> Option<String> {
    if replied.repeated {
        return None;
    }
    let words = wording::of(language(&replied.request, desk));
    let named = |text: &str| wording::fill(text, &[("desk", &desk.name)]);
    let by_us = !provider.confirms_stop();
    match &replied.effect {
        Effect::Rated(score, comment) if comment.is_empty() => {
            Some(words.with_score(&words.sms.thanks_invite, score.get()))
        }
        Effect::Rated(..) => Some(words.sms.thanks_full.clone()),
        Effect::Changed(score, _) => {
            Some(words.with_score(&words.sms.thanks_correction, score.get()))
        }
        Effect::Commented(_) => Some(words.sms.thanks_comment.clone()),
        Effect::OptedOut => by_us.then(|| named(&words.sms.stopped)),
        Effect::OptedIn => by_us.then(|| named(&words.sms.started)),
        Effect::Helped => by_us.then(|| named(&words.sms.help)),
        // One clarification at most, and only while an answer is awaited.
        Effect::Unrecognized(_) => {
            let awaited =
                replied.request.state != State::Answered && replied.request.state.is_open();
            (awaited && !replied.unclear_before).then(|| words.sms.clarify.clone())
        }
        Effect::Nothing => None,
    }
}
