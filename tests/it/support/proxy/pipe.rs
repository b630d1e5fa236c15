//! What happens to the bytes of one connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{Deed, Plan, Shared, Spot};

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker) {
    while let Ok((near, _)) = listener.accept().await {
        let planned = shared.plans.lock().unwrap().pop_front();
        let plan = planned.unwrap_or(*shared.usual.lock().unwrap());
        shared.counts.connections.fetch_add(1, Ordering::SeqCst);
        tasks.spawn(carry(near, plan, Arc::clone(&shared)));
    }
}

/// Why a connection ends that neither side has ended.
enum End {
    Cut,
    Reset,
}

async fn carry(mut near: TcpStream, plan: Plan, shared: Arc<Shared>) {
    let mut resets = shared.resets.subscribe();
    resets.mark_unchanged();
    let ended = match TcpStream::connect(&shared.to).await {
        Err(_) => Err((End::Reset, None)),
        Ok(mut far) => {
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let answers = watch::Sender::new(Answers::Pass);
            let ended = {
                let (near_read, near_write) = near.split();
                let (far_read, far_write) = far.split();
                let up = Pipe::new(0, plan, &shared, &answers).run(near_read, far_write);
                let down = Pipe::new(1, plan, &shared, &answers).run(far_read, near_write);
                tokio::select! {
                    ended = async { tokio::try_join!(up, down) } => ended.map(drop),
                    _ = resets.changed() => {
                        shared.counts.resets.fetch_add(1, Ordering::SeqCst);
                        Err(End::Reset)
                    }
                }
            };
            ended.map_err(|end| (end, Some(far)))
        }
    };
    if let Err((End::Reset, far)) = &ended {
        // Lingering for no time at all is what makes the system send a reset.
        drop(near.set_zero_linger());
        if let Some(far) = far {
            drop(far.set_zero_linger());
        }
    }
    drop((near, ended));
    shared.changed.send_modify(|changes| *changes += 1);
}

/// What becomes of the answers on a connection.
#[derive(Debug, Clone)]
enum Answers {
    Pass,
    /// The first byte resets the connection.
    Lost,
    /// They wait for a later round of [`Proxy::resume`] than this.
    Held(usize),
}

/// One direction of a connection.
struct Pipe<'a> {
    side: usize,
    deed: Option<(Spot, Deed)>,
    plan: Plan,
    shared: &'a Shared,
    answers: &'a watch::Sender<Answers>,
    passed: usize,
    /// The end of what was read before, in which a word may begin.
    tail: Vec<u8>,
    swallowing: bool,
}

impl<'a> Pipe<'a> {
    fn new(
        side: usize,
        plan: Plan,
        shared: &'a Shared,
        answers: &'a watch::Sender<Answers>,
    ) -> Self {
        Self {
            side,
            deed: if side == 0 { plan.up } else { plan.down },
            plan,
            shared,
            answers,
            passed: 0,
            tail: Vec::new(),
            swallowing: false,
        }
    }

    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), End> {
        let mut piece = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut piece).await.map_err(|_| End::Reset)?;
            if count == 0 {
                drop(to.shutdown().await);
                return Ok(());
            }
            self.shared.counts.bytes[self.side].fetch_add(count, Ordering::SeqCst);
            self.shared.changed.send_modify(|changes| *changes += 1);
            self.wait().await;
            if self.side == 1 {
                let mut resumed = self.shared.resumed.subscribe();
                let answers = self.answers.borrow().clone();
                match answers {
                    Answers::Pass => {}
                    Answers::Lost => return Err(End::Reset),
                    Answers::Held(since) => drop(resumed.wait_for(|round| *round > since).await),
                }
            }
            let piece = &piece[..count];
            let pass = self.spot(piece);
            if pass > 0 {
                to.write_all(&piece[..pass]).await.map_err(|_| End::Reset)?;
                self.passed += pass;
            }
            if pass < count {
                self.act(&piece[pass..], &mut to).await?;
            }
        }
    }

    /// Latency, and the gates of all connections.
    async fn wait(&self) {
        let number = self.shared.counts.pieces.fetch_add(1, Ordering::SeqCst);
        // Spread evenly without being random: the same run waits the same.
        let part = u32::try_from(number.wrapping_mul(7919) % 1000).unwrap();
        let wait = self.plan.latency + self.plan.jitter * part / 1000;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let mut held = self.shared.held.subscribe();
        drop(held.wait_for(|held| !held[self.side]).await);
    }

    /// How much of this piece passes before something happens.
    fn spot(&mut self, piece: &[u8]) -> usize {
        match self.deed {
            None => piece.len(),
            Some((Spot::After(bytes), _)) => piece.len().min(bytes.saturating_sub(self.passed)),
            Some((Spot::At(word), _)) => {
                // A word may lie across two pieces.
                let before = self.tail.len();
                self.tail.extend_from_slice(piece);
                let mut seen = self.tail.windows(word.len());
                let found = seen.position(|seen| seen == word);
                let keep = self.tail.len().saturating_sub(word.len() - 1);
                self.tail.drain(..keep);
                found.map_or(piece.len(), |begin| begin.saturating_sub(before))
            }
        }
    }

    async fn act(&mut self, rest: &[u8], to: &mut WriteHalf<'_>) -> Result<(), End> {
        let Some((_, deed)) = self.deed else {
            return Ok(());
        };
        let mut resumed = self.shared.resumed.subscribe();
        resumed.mark_unchanged();
        if !self.swallowing {
            self.shared.counts.deeds.fetch_add(1, Ordering::SeqCst);
            self.shared.changed.send_modify(|changes| *changes += 1);
        }
        match deed {
            Deed::Cut => Err(End::Cut),
            Deed::Reset => Err(End::Reset),
            Deed::Swallow => {
                // Whatever comes later goes the same way.
                self.deed = Some((Spot::After(0), deed));
                self.swallowing = true;
                Ok(())
            }
            Deed::Stall => {
                drop(resumed.changed().await);
                self.pass(rest, to).await
            }
            Deed::LoseAnswer => {
                self.answers.send_replace(Answers::Lost);
                self.pass(rest, to).await
            }
            Deed::HoldAnswer => {
                let round = *resumed.borrow();
                self.answers.send_replace(Answers::Held(round));
                self.pass(rest, to).await
            }
            Deed::HoldAnswerOf(word) => {
                self.pass(rest, to).await?;
                self.tail.clear();
                self.deed = Some((Spot::At(word), Deed::HoldAnswer));
                Ok(())
            }
        }
    }

    /// It is done; this and everything after it passes.
    async fn pass(&mut self, rest: &[u8], to: &mut WriteHalf<'_>) -> Result<(), End> {
        self.deed = None;
        to.write_all(rest).await.map_err(|_| End::Reset)
    }
}
