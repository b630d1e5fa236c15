//! Our own page and chats: opening a link reads (and notes that it was opened), pressing writes.

use crate::channel::{self, Carriage};
use crate::clock::random;
use crate::domain::desk::Desk;
use crate::domain::grade::{self, Facts, Proof, Sign};
use crate::domain::rating::{Grade, Rating, Score, clean_comment};
use crate::domain::reply::{Reply, ReplyKind, Understood};
use crate::domain::request::Request;
use crate::domain::token::{TokenHash, base62};
use crate::domain::view::{Client, View, ViewKind, ViewValue, Visitor};
use crate::journey::Journey;
use crate::store::{Find, NewReply, NewView, Replied, StoreError, Tap};

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

/// A page as it is shown to one client.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What it is about.
    pub opened: Opened,
    /// The one-time value that a post must bring back.
    pub view: String,
    /// The cookie by which the client is known again.
    pub cookie: String,
    /// Whether this client gave the rating, or may take its place.
    pub own: bool,
}

/// What a page posts.
#[derive(Debug, Clone)]
pub struct Posted<'a> {
    /// The one-time value.
    pub view: &'a str,
    /// The score.
    pub score: Score,
    /// The words.
    pub comment: &'a str,
    /// What speaks for a person.
    pub proof: Proof,
    /// What our script noticed about the browser.
    pub noticed: &'a str,
}

/// What a press did.
#[derive(Debug, Clone)]
pub struct Pressed {
    /// The rating as it stands now; none if there is none.
    pub rating: Option<Rating>,
    /// The press was taken (also if it changed nothing because the same was said before).
    pub taken: bool,
    /// It is kept, and counts for nothing as long as nobody releases it.
    pub held: bool,
    /// Its one-time value had been used before, so it changed nothing.
    pub repeated: bool,
    /// The value for the next post from the same page; empty for chats.
    pub view: String,
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

/// A post of a page whose value is genuine.
pub(super) struct Weighed {
    value: ViewValue,
    client: Client,
    pub(super) signs: Vec<&'static Sign>,
    window_ms: i64,
    /// The link is worn out.
    over: bool,
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
        let can_correct = !over && self.left_ms(&desk, rating.as_ref()) >= 0 && rating.is_some();
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

    /// Milliseconds in which the contact may still correct the rating; below zero if none.
    fn left_ms(&self, desk: &Desk, rating: Option<&Rating>) -> i64 {
        let since = rating.map_or(0, |rating| {
            self.clock.now().millis_since(rating.answered_at)
        });
        desk.settings.answers.window_ms(self.rules.correction_ms) - since
    }

    /// Minutes, rounded up, in which the contact may still correct the rating.
    pub fn minutes_left(&self, desk: &Desk, rating: Option<&Rating>) -> i64 {
        (self.left_ms(desk, rating).max(0) + 59_999) / 60_000
    }

    /// Shows a page of this link to a visitor. Never writes a rating; what it notes is that the page was opened.
    pub async fn show(
        &self,
        token: &str,
        kind: ViewKind,
        score: Option<Score>,
        visitor: &Visitor,
    ) -> Result<Option<Shown>, StoreError> {
        let Some(mut opened) = self.open(token).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        let brought = self.mint.client(token, visitor);
        let cookie = if visitor.cookie.is_empty() {
            base62(u128::from_be_bytes(random(self.entropy.as_ref())))
        } else {
            visitor.cookie.clone()
        };
        let known = Visitor {
            cookie: cookie.clone(),
            ..visitor.clone()
        };
        let client = self.mint.client(token, &known);
        let own = opened
            .rating
            .as_ref()
            .is_none_or(|rating| rating.is_open_to(brought.key()));
        let late = opened.request.expires_at < now;
        let by_machine = |rating: &Rating| !rating.grade.is_human() && !late;
        opened.can_correct =
            own && opened.can_correct || opened.rating.as_ref().is_some_and(by_machine);
        let view = self.mint.view(token, now, random(self.entropy.as_ref()));
        let Some(value) = self.mint.read_view(token, &view, now) else {
            return Ok(None);
        };
        let takes_answers = opened.can_correct || opened.request.state.is_open();
        if takes_answers || matches!(kind, ViewKind::Trap | ViewKind::OptOut) {
            let new = NewView {
                desk: opened.request.desk,
                request: opened.request.id,
                view: View {
                    id: value.view,
                    at: now,
                    kind,
                    score,
                    network: client.network,
                    cookie: client.key(),
                    more: 0,
                },
                brought: brought.cookie.is_some(),
            };
            // A page that could not be noted is better than none; its post will have one sign more.
            if let Err(error) = self.store.record_view(new).await {
                self.store_failed(&error);
            }
        }
        Ok(Some(Shown {
            opened,
            view,
            cookie,
            own,
        }))
    }

    /// The chat shows the ask. `false` if no request has this token.
    pub async fn shown(&self, token: &str) -> Result<bool, StoreError> {
        let find = Find::Link(TokenHash::of(token));
        let found = self.store.find(&find).await?;
        if !found.is_some_and(|(request, _)| is_chat(&request)) {
            return Ok(false);
        }
        let now = self.clock.now();
        Ok(self.store.record_reached(find, now).await?.is_some())
    }

    /// A button of a chat, and the request as it was before. The token was given to the chat alone, so the channel proves the
    /// contact.
    pub async fn press(
        &self,
        token: &str,
        score: Score,
        comment: &str,
    ) -> Result<(Opened, Pressed), PressError> {
        let opened = self.open(token).await?;
        let opened = opened.filter(|opened| is_chat(&opened.request));
        let opened = opened.ok_or(PressError::Unknown)?;
        if opened.over {
            return Ok((opened, closed()));
        }
        let comment = clean_comment(comment);
        // Every press is a reply of its own: 4, then 5, then 4 again is a change of mind, not a repetition. The same
        // score twice changes nothing anyway.
        let id = hex::encode(random::<12>(self.entropy.as_ref()));
        let (kind, grade) = (ReplyKind::Button, Grade::Channel);
        let window_ms = self.rules.correction_ms;
        let new = self.posted(token, (score, &comment), (kind, grade), id, window_ms);
        let replied = self.store.record_reply(new).await?;
        let pressed = pressed(replied, score, &comment, String::new())?;
        Ok((opened, pressed))
    }

    /// A post of our page. Its grade comes from what speaks for a person, and from the signs of a machine in this post, in its
    /// showing and in the others to the same client.
    pub async fn tap(
        &self,
        token: &str,
        posted: &Posted<'_>,
        visitor: &Visitor,
    ) -> Result<Pressed, PressError> {
        let weighed = self.weigh(token, posted.view, posted.noticed, visitor);
        let weighed = weighed.await?;
        if weighed.over {
            return Ok(closed());
        }
        let grade = grade::grade(posted.proof, &weighed.signs);
        let comment = clean_comment(posted.comment);
        let id = weighed.value.name();
        let kind = (ReplyKind::Click, grade);
        let new = self.posted(token, (posted.score, &comment), kind, id, weighed.window_ms);
        let tap = Tap {
            value: weighed.value,
            client: weighed.client.key(),
            signs: grade::names(&weighed.signs),
        };
        let replied = self.store.record_tap(new, tap).await?;
        let next = self.mint.write_view(token, weighed.value.next());
        pressed(replied, posted.score, &comment, next)
    }

    /// What is to be thought of a post of one of this link's pages.
    pub(super) async fn weigh(
        &self,
        token: &str,
        view: &str,
        noticed: &str,
        visitor: &Visitor,
    ) -> Result<Weighed, PressError> {
        let now = self.clock.now();
        let value = self.mint.read_view(token, view, now);
        let value = value.ok_or(PressError::Stale)?;
        let found = self.store.find(&Find::Link(TokenHash::of(token))).await?;
        let (request, _) = found.ok_or(PressError::Unknown)?;
        let views = self.store.views(request.desk, request.id).await?;
        let view = views.iter().find(|view| view.id == value.view);
        let mut client = self.mint.client(token, visitor);
        // Whoever has the value is who the page was shown to, even if a phone has changed its network meanwhile.
        if let Some(view) = view {
            client.network = view.network;
        }
        let history = &request.history;
        let mut arrived_at = vec![history.sent_at.unwrap_or(request.due_at)];
        arrived_at.extend(history.delivered_at);
        let signs = grade::signs(&Facts {
            views: &views,
            client,
            view,
            opened_at: value.opened_at(),
            arrived_at: &arrived_at,
            agent: &visitor.agent,
            noticed,
            posted_at: now,
        });
        Ok(Weighed {
            value,
            client,
            signs,
            over: self.is_over(&request),
            window_ms: self.rules.correction_ms,
        })
    }

    fn posted(
        &self,
        token: &str,
        (score, comment): (Score, &str),
        (kind, grade): (ReplyKind, Grade),
        provider_id: String,
        window_ms: i64,
    ) -> NewReply {
        let reply = Reply {
            kind,
            provider_id,
            raw: format!("{} {comment}", score.get()),
            grade,
            at: self.clock.now(),
        };
        NewReply {
            find: Find::Link(TokenHash::of(token)),
            reply,
            understood: Understood::Rating(score, comment.to_owned()),
            window_ms,
            sent_at: None,
        }
    }
}

/// Whether the token was handed out to a chat. One from a mail proves less: it has to go through its page.
fn is_chat(request: &Request) -> bool {
    let channel = channel::find(request.channel.as_str());
    channel.is_some_and(|channel| channel.carriage() == Carriage::Answer)
}

/// What a press comes to whose link is worn out.
fn closed() -> Pressed {
    Pressed {
        rating: None,
        taken: false,
        held: false,
        repeated: false,
        view: String::new(),
    }
}

fn pressed(
    replied: Option<Replied>,
    score: Score,
    comment: &str,
    view: String,
) -> Result<Pressed, PressError> {
    let replied = replied.ok_or(PressError::Unknown)?;
    let stands = replied.rating.as_ref().is_some_and(|rating| {
        rating.score == score && (comment.is_empty() || rating.comment == comment)
    });
    Ok(Pressed {
        taken: stands,
        held: replied.rating.is_none() && replied.request.state.is_open(),
        repeated: replied.repeated,
        rating: replied.rating,
        view,
    })
}

/// A request of which nothing is shown any more.
fn worn_out(mut request: Request) -> Request {
    request.attribution.agent.name.clear();
    request
}
