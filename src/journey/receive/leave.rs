//! A contact who does not want to be asked any more says so by the page behind a mail, or by one click of a mail program.

use super::page::{Opened, PressError};
use crate::clock::random;
use crate::domain::desk::Desk;
use crate::domain::grade::{self, Facts, Proof};
use crate::domain::opt_out::{ONE_CLICK, Origin, PAGE};
use crate::domain::rating::Grade;
use crate::domain::reply::{Reply, ReplyKind, Understood};
use crate::domain::token::TokenHash;
use crate::domain::view::Visitor;
use crate::journey::Journey;
use crate::store::{Find, NewReply, StoreError};

impl Journey {
    /// The contact of this link does not want to be asked. `None` if no request has this link. `one_click` says that the contact's mail
    /// program did it (RFC 8058) and not the page. A wish may come late: it is heard as long as the person is known.
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

    /// The button of the opt-out page. `false` if it was no person who pressed it, or the page is too old: then nothing changed,
    /// and the page is shown again.
    pub async fn opt_out_by_page(
        &self,
        token: &str,
        view: &str,
        proof: Proof,
        noticed: &str,
        visitor: &Visitor,
    ) -> Result<bool, StoreError> {
        let signs = match self.weigh(token, view, noticed, visitor).await {
            Ok(weighed) => weighed.signs,
            Err(PressError::Stale | PressError::Unknown) => return Ok(false),
            Err(PressError::Store(error)) => return Err(error),
        };
        if !grade::is_wish(proof, &signs) {
            return Ok(false);
        }
        Ok(self.opt_out_by_link(token, false).await?.is_some())
    }

    /// A link whose request names nobody any more: its desk, and the value that a post of its opt-out page brings back. `None` if there
    /// is no such link.
    pub async fn old_link(&self, token: &str) -> Result<Option<(Desk, String)>, StoreError> {
        let Some(desk) = self.store.kept_link(TokenHash::of(token)).await? else {
            return Ok(None);
        };
        let desk = self.store.desk(desk).await?;
        let random = random(self.entropy.as_ref());
        Ok(desk.map(|desk| (desk, self.mint.view(token, self.clock.now(), random))))
    }

    /// Whoever has such a link does not want to be asked; its desk.
    pub async fn opt_out_by_old_link(
        &self,
        token: &str,
        one_click: bool,
    ) -> Result<Option<Desk>, StoreError> {
        let origin = if one_click {
            Origin::OneClick
        } else {
            Origin::Page
        };
        let (link, now) = (TokenHash::of(token), self.clock.now());
        match self.store.opt_out_by_kept_link(link, origin, now).await? {
            Some(desk) => self.store.desk(desk).await,
            None => Ok(None),
        }
    }

    /// The button of such a link's page. `None` if it was no person who pressed it, the page is too old, or there is no such link.
    /// Nothing is noted of its showings, so only the post itself can tell a machine.
    pub async fn opt_out_by_old_page(
        &self,
        token: &str,
        view: &str,
        proof: Proof,
        noticed: &str,
        visitor: &Visitor,
    ) -> Result<Option<Desk>, StoreError> {
        let now = self.clock.now();
        let Some(value) = self.mint.read_view(token, view, now) else {
            return Ok(None);
        };
        let signs = grade::signs(&Facts {
            views: &[],
            client: self.mint.client(token, visitor),
            view: None,
            opened_at: value.opened_at(),
            arrived_at: &[],
            agent: &visitor.agent,
            noticed,
            posted_at: now,
        });
        if !grade::is_wish(proof, &signs) {
            return Ok(None);
        }
        self.opt_out_by_old_link(token, false).await
    }
}
