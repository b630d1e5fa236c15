//! Knows whether a byte of a request may have left, and can make sure that none leaves any more. A part of
//! [`line`](super): it stands between the HTTP connection and its stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// Stands before the stream and knows whether a send has begun to write. Once shut, nothing can be written any more: this
/// makes "no byte was written" a proof even while another thread still runs the connection.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU8);

impl Gate {
    const OPEN: u8 = 0;
    const USED: u8 = 1;
    const SHUT: u8 = 2;

    /// A new send begins; the one before has ended with a complete answer.
    pub(super) fn open(&self) {
        self.0.store(Self::OPEN, Ordering::SeqCst);
    }

    /// Before each write: notes it, or refuses it.
    pub(super) fn pass(&self) -> io::Result<()> {
        match self
            .0
            .compare_exchange(Self::OPEN, Self::USED, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) | Err(Self::USED) => Ok(()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Lets nothing through from now on. Says whether something went through before.
    pub(super) fn shut(&self) -> bool {
        self.0.swap(Self::SHUT, Ordering::SeqCst) == Self::USED
    }
}

/// The stream with its gate. A write counts from the moment it is handed on: TLS may put bytes on the wire and then fail.
pub(super) struct Watched<S> {
    stream: S,
    gate: Arc<Gate>,
}

impl<S> Watched<S> {
    /// The stream behind this gate.
    pub(super) fn new(stream: S, gate: Arc<Gate>) -> Self {
        Self { stream, gate }
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !buf.is_empty() {
            self.gate.pass()?;
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().any(|buf| !buf.is_empty()) {
            self.gate.pass()?;
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shut_gate_lets_nothing_through() {
        let gate = Gate::default();
        assert!(!gate.shut());
        assert!(gate.pass().is_err());
        gate.open();
        assert!(gate.pass().is_ok() && gate.pass().is_ok());
        assert!(gate.shut());
        assert!(gate.pass().is_err());
    }
}
