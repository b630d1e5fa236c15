//! Writes that share a transaction, and how one is applied.

use super::prepared::Prepared;
use super::sql::Inner;
use super::tx::Tx;
use super::{
    Accepted, Carriage, Dispatch, Find, NewReply, NewView, Permission, Replied, Report, Settlement,
    StoreError, Tap,
};
use crate::domain::delivery::Status;
use crate::domain::request::Request;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;

/// A write that shares its transaction with others.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Accept(Box<Prepared>),
    Dispatch(Dispatch),
    Report(Report),
    Status {
        token: TokenHash,
        provider_id: String,
        status: Status,
        now: Timestamp,
    },
    Reached {
        find: Find,
        now: Timestamp,
    },
    Reply(Box<NewReply>),
    Settle(Box<Settlement>),
    View(Box<NewView>),
    Tap(Box<(NewReply, Tap)>),
}

/// What a write came to.
#[derive(Debug, Clone)]
pub(super) enum Written {
    Accepted(Accepted),
    Permission(Permission),
    Reported(bool),
    Request(Option<Box<Request>>),
    Replied(Option<Box<Replied>>),
    Viewed,
}

impl Inner {
    /// Applies the writes of one transaction. All came at the same time, so any order is right: the triggers go first, together, then
    /// replies.
    pub(super) async fn apply_all(
        &self,
        tx: &mut Tx,
        writes: &[&Write],
    ) -> Result<Vec<Written>, StoreError> {
        self.take_turns(tx, writes).await?;
        let mut all: Vec<Option<Written>> = vec![None; writes.len()];
        let fresh: Vec<(usize, &Prepared)> = writes
            .iter()
            .enumerate()
            .filter_map(|(at, write)| match write {
                Write::Accept(prepared)
                    if !prepared.new.dry_run
                        && !matches!(prepared.new.carriage, Carriage::Call { .. }) =>
                {
                    Some((at, prepared.as_ref()))
                }
                Write::Accept(_)
                | Write::Dispatch(_)
                | Write::Report(_)
                | Write::Status { .. }
                | Write::Reached { .. }
                | Write::Reply(_)
                | Write::Settle(_)
                | Write::View(_)
                | Write::Tap(_) => None,
            })
            .collect();
        if !fresh.is_empty() {
            let news: Vec<&Prepared> = fresh.iter().map(|(_, new)| *new).collect();
            for ((at, _), accepted) in fresh.iter().zip(self.accept_fresh(tx, &news).await?) {
                all[*at] = accepted.map(Written::Accepted);
            }
        }
        self.take_replies(tx, writes, &mut all).await?;
        self.send_all(tx, writes, &mut all).await?;
        let mut written = Vec::with_capacity(writes.len());
        for (write, done) in writes.iter().zip(all) {
            written.push(match done {
                Some(done) => done,
                None => self.apply(tx, write).await?,
            });
        }
        Ok(written)
    }

    /// Permissions to send and reports of sends, as far as they go together.
    async fn send_all(
        &self,
        tx: &mut Tx,
        writes: &[&Write],
        all: &mut [Option<Written>],
    ) -> Result<(), StoreError> {
        let (mut dispatches, mut reports) = (Vec::new(), Vec::new());
        for (at, write) in writes.iter().enumerate() {
            if let Write::Dispatch(dispatch) = write {
                dispatches.push((at, dispatch));
            } else if let Write::Report(report) = write {
                reports.push((at, report));
            }
        }
        let plain: Vec<&Report> = reports.iter().map(|(_, report)| *report).collect();
        let recorded = self.report_plain(tx, &plain).await?;
        for ((at, _), recorded) in reports.into_iter().zip(recorded) {
            all[at] = recorded.then_some(Written::Reported(true));
        }
        // Last, because the count of a desk is everybody's, and is held until the commit.
        let plain: Vec<&Dispatch> = dispatches.iter().map(|(_, dispatch)| *dispatch).collect();
        let permissions = self.dispatch_plain(tx, &plain).await?;
        for ((at, _), permission) in dispatches.into_iter().zip(permissions) {
            all[at] = permission.map(Written::Permission);
        }
        Ok(())
    }

    async fn apply(&self, tx: &mut Tx, write: &Write) -> Result<Written, StoreError> {
        Ok(match write {
            Write::Accept(new) => Written::Accepted(self.accept(tx, new).await?),
            Write::Dispatch(dispatch) => Written::Permission(self.dispatch(tx, dispatch).await?),
            Write::Report(report) => Written::Reported(self.report(tx, report).await?),
            Write::Status {
                token,
                provider_id,
                status,
                now,
            } => Written::Request(
                self.status(tx, *token, provider_id, status, *now)
                    .await?
                    .map(Box::new),
            ),
            Write::Reached { find, now } => {
                Written::Request(self.reached(tx, find, *now).await?.map(Box::new))
            }
            Write::Settle(settlement) => Written::Reported(self.settle(tx, settlement).await?),
            Write::View(view) => {
                self.view(tx, view).await?;
                Written::Viewed
            }
            Write::Tap(tapped) => {
                let (new, tap) = tapped.as_ref();
                let replied = self.reply_from(tx, new, Some(tap)).await?;
                Written::Replied(replied.map(Box::new))
            }
            Write::Reply(new) => Written::Replied(self.reply(tx, new).await?.map(Box::new)),
        })
    }
}
