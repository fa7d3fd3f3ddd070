//! An open connection: its bytes, who is behind it, and its end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::certificate::PeerIdentity;
use super::guard::Guard;
use super::places::Place;
use super::standing::ConnectedPeer;

/// A finished handshake and who is behind it. Reads and writes fail once the peer's certificate is
/// no longer good ([`super::guard`]).
pub struct Connection {
    tls: TlsStream<TcpStream>,
    peer: ConnectedPeer,
    /// None where no certificate was shown: then there is nothing to judge anew.
    guard: Option<Guard>,
    /// None at a door that does not count.
    _place: Option<Place>,
}

impl Connection {
    pub(super) fn new(tls: TlsStream<TcpStream>, peer: ConnectedPeer, guard: Option<Guard>) -> Self {
        Self { tls, peer, guard, _place: None }
    }

    /// Gives the place back when the connection ends.
    pub(super) fn holding(self, place: Place) -> Self {
        Self { _place: Some(place), ..self }
    }

    pub fn peer(&self) -> &PeerIdentity {
        self.peer.identity()
    }

    /// The peer, as each call on this connection may have it.
    pub fn connected(&self) -> ConnectedPeer {
        self.peer.clone()
    }

    /// The bytes, while the peer is good.
    fn good(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TlsStream<TcpStream>>> {
        if let Some(guard) = &mut self.guard {
            guard.check(cx)?;
        }
        Ok(Pin::new(&mut self.tls))
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectedPeer;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.connected()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.good(cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.good(cx)?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.good(cx)?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.good(cx)?.poll_flush(cx)
    }

    /// Of one that is cut there is nothing to say goodbye with: it would wait for a peer to read.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.good(cx)?.poll_shutdown(cx)
    }
}
