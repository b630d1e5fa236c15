//! Our own page and chats: opening a link reads, pressing writes.

use crate::channel::{self, Carriage};
use crate::clock::random;
use crate::domain::desk::Desk;
use crate::domain::opt_out::{ONE_CLICK, PAGE};
use crate::domain::rating::{Grade, Rating, Score, clean_comment};
use crate::domain::reply::{Reply, ReplyKind, Understood};
use crate::domain::request::Request;
use crate::domain::token::TokenHash;
use crate::journey::Journey;
use crate::store::{Find, NewReply, StoreError};

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
    /// The link is worn out: it says that it is closed, and of nobody anything.
    pub over: bool,
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
    /// Opens a request by its link. Reads only: a link may be opened by anybody's machine.
    pub async fn open(&self, token: &str) -> Result<Option<Opened>, StoreError> {
        let Some((request, rating)) = self.store.find(&Find::Link(TokenHash::of(token))).await?
        else {
            return Ok(None);
        };
        let desk = self.desk_of(&request).await?;
        let over = self.is_over(&request);
        let can_correct = !over && self.can_correct(rating.as_ref());
        let (request, rating) = if over {
            (worn_out(request), None)
        } else {
            (request, rating)
        };
        Ok(Some(Opened {
            request,
            desk,
            rating,
            can_correct,
            over,
        }))
    }

    /// Whether the time of a request's link is over: it has ended, the time for corrections is over, and some days more.
    fn is_over(&self, request: &Request) -> bool {
        let history = &request.history;
        let ended = history.answered_at.or(history.ended_at);
        let ended = ended.unwrap_or(request.expires_at);
        let open = self.rules.correction_ms + self.rules.link_ms;
        self.clock.now() > ended.plus_millis(open)
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
        if !self.is_chat(token).await? {
            return Ok(false);
        }
        let find = Find::Link(TokenHash::of(token));
        let now = self.clock.now();
        Ok(self.store.record_reached(find, now).await?.is_some())
    }

    /// Whether the time of this link is over.
    async fn is_worn_out(&self, token: &str) -> Result<bool, StoreError> {
        let found = self.store.find(&Find::Link(TokenHash::of(token))).await?;
        Ok(found.is_some_and(|(request, _)| self.is_over(&request)))
    }

    /// Whether the token was handed out to a chat. One from a mail proves less: it has to go through its page.
    async fn is_chat(&self, token: &str) -> Result<bool, StoreError> {
        let found = self.store.find(&Find::Link(TokenHash::of(token))).await?;
        let channel = found.and_then(|(request, _)| channel::find(request.channel.as_str()));
        Ok(channel.is_some_and(|channel| channel.carriage() == Carriage::Answer))
    }

    /// A button of a chat. The token was given to the chat alone, so the channel proves the contact.
    pub async fn press(
        &self,
        token: &str,
        score: Score,
        comment: &str,
    ) -> Result<Pressed, PressError> {
        if !self.is_chat(token).await? {
            return Err(PressError::Unknown);
        }
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
        if self.is_worn_out(token).await? {
            return Ok(Pressed {
                rating: None,
                taken: false,
            });
        }
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
            sent_at: None,
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
    /// `one_click` says that the contact's mail program did it (RFC 8058) and not the page. A wish may come late: it is heard as
    /// long as the person is known.
    pub async fn opt_out_by_link(
        &self,
        token: &str,
        one_click: bool,
    ) -> Result<Option<Opened>, StoreError> {
        let reply = Reply {
            kind: ReplyKind::Click,
            provider_id: if one_click { ONE_CLICK } else { PAGE }.to_owned(),
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
            sent_at: None,
        };
        if self.store.record_reply(new).await?.is_none() {
            return Ok(None);
        }
        self.open(token).await
    }
}

/// A request of which nothing is shown any more.
fn worn_out(mut request: Request) -> Request {
    request.attribution.agent.name.clear();
    request
}
