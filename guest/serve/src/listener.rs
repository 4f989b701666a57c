//! Accepts connections, handshakes, and drives HTTP/2 under hard limits.
//! `docs/spec/serving.md` §1.
//!
//! A peer that is slow, silent or excessive loses its connection and nothing else happens. Which
//! path leads where is `connection`'s part.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use messages::engine_ipc::ClientKey;
use messages::host_control::ServeEvent;
use protocol::serving::MAX_HEADER_BYTES;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connection::Connection;
use crate::service::Service;
use crate::tls::Channel;
use crate::{frames, keys};

/// Connections at once; the next waits in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// A handshake takes at most this long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a connection is asked whether it is idle.
const WATCH: Duration = Duration::from_secs(5);
/// An idle connection's goodbye takes at most this long.
const GOODBYE: Duration = Duration::from_secs(5);
/// A ping is sent after this long without a frame, and answered within `PING_ANSWER`.
const PING: Duration = Duration::from_secs(20);
/// See `PING`.
const PING_ANSWER: Duration = Duration::from_secs(10);
/// Requests on one connection beyond the streams of the launch configuration: vouchers.
const VOUCHER_REQUESTS: u32 = 32;
/// Streams that a peer opened and reset and that were not yet taken up.
const MAX_PENDING_RESETS: usize = 20;
/// Streams that were reset for a peer's faults before the connection ends.
const MAX_FAULT_RESETS: usize = 64;
/// Bytes that a peer may send ahead on one request, and on one connection.
const STREAM_WINDOW: u32 = 64 * 1024;
/// See `STREAM_WINDOW`.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one answer that wait for a peer to read.
const SEND_BUFFER: usize = 64 * 1024;
/// After an accept that failed (no descriptors left) this much time passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts for ever; returns only when the listener cannot be driven.
pub(crate) async fn run(
    listener: OwnedFd,
    tls: Arc<rustls::ServerConfig>,
    service: Arc<Service>,
) -> std::io::Error {
    let listener = match adopt(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return std::io::ErrorKind::Other.into();
        };
        match accept(&listener).await {
            Ok(socket) => {
                let connected = connected(socket, acceptor.clone(), Arc::clone(&service), permit);
                tokio::spawn(connected);
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

#[allow(
    deprecated,
    reason = "sound for an `OwnedFd`, which stays open and the same; the replacement is unsafe"
)]
fn adopt(listener: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    sys::descriptor::set_nonblocking(&listener).map_err(call_failed)?;
    AsyncFd::with_interest(listener, Interest::READABLE)
}

async fn accept(listener: &AsyncFd<OwnedFd>) -> std::io::Result<OwnedFd> {
    loop {
        let mut ready = listener.readable().await?;
        let accepted =
            ready.try_io(|listener| sys::socket::accept(listener.get_ref()).map_err(call_failed));
        // `Err` says that nobody waits after all.
        if let Ok(accepted) = accepted {
            return accepted;
        }
    }
}

fn call_failed(failed: sys::CallFailed) -> std::io::Error {
    std::io::Error::from_raw_os_error(failed.errno)
}

async fn connected(
    socket: OwnedFd,
    acceptor: TlsAcceptor,
    service: Arc<Service>,
    _room: OwnedSemaphorePermit,
) {
    let Ok(stream) = frames::adopt(socket) else {
        return;
    };
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        return;
    };
    let channel = Channel::new(stream);
    if !channel.speaks(service.deployment.alpn) {
        return;
    }
    let _open = Open::new(Arc::clone(&service));
    serve(channel, service).await;
}

/// Speaks HTTP/2 until the peer leaves, breaks a limit or is idle.
async fn serve(channel: Channel, service: Arc<Service>) {
    let Ok(client) = keys::draw().map(ClientKey) else {
        return;
    };
    let streams = u32::from(service.configuration.limits.streams);
    let connection = Arc::new(Connection::new(service, channel.clone(), client));
    let answering = Arc::clone(&connection);
    let answer = service_fn(move |request| {
        let connection = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(connection.answer(request).await) }
    });
    let http = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(streams.saturating_add(VOUCHER_REQUESTS))
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_FAULT_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_ANSWER)
        .serve_connection(TokioIo::new(channel), answer);
    let mut http = std::pin::pin!(http);
    let mut watch = interval(WATCH);
    loop {
        tokio::select! {
            // A peer's fault ends its connection; it has seen why.
            _ = http.as_mut() => return,
            _ = watch.tick() => {
                if connection.is_idle() {
                    break;
                }
            }
        }
    }
    http.as_mut().graceful_shutdown();
    // Whatever is left after the goodbye is dropped.
    let _ = timeout(GOODBYE, http).await;
}

/// An open connection, counted.
struct Open(Arc<Service>);

impl Open {
    fn new(service: Arc<Service>) -> Self {
        let others = service.open_connections.fetch_add(1, Ordering::AcqRel);
        let open = others.saturating_add(1);
        service.host.event(ServeEvent::ConnectionOpened, open);
        Self(service)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let with_this = self.0.open_connections.fetch_sub(1, Ordering::AcqRel);
        let open = with_this.saturating_sub(1);
        self.0.host.event(ServeEvent::ConnectionClosed, open);
    }
}
