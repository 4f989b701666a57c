//! Claims about the relay, against a stand-in for the vsock device that speaks `CONNECT`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use host_agent::relay::{self, GuestAddress, Limits};
use host_agent::report::{Format, Reporter};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};

const LIMITS: Limits = Limits {
    connections: 4,
    idle: Duration::from_secs(20),
    connect: Duration::from_secs(5),
};

async fn start(guest: GuestAddress, limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reporter = Reporter::new(Instant::now(), Format::Text, std::io::sink());
    tokio::spawn(relay::run(listener, guest, limits, reporter));
    address
}

/// Takes `CONNECT 443`, answers with `greeting`, then echoes.
fn vsock_device(path: &Path, greeting: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 12];
                stream.read_exact(&mut asked).await.unwrap();
                assert_eq!(&asked, b"CONNECT 443\n");
                stream.write_all(greeting.as_bytes()).await.unwrap();
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
                drop(to.shutdown().await);
            });
        }
    });
}

#[tokio::test]
async fn bytes_pass_both_ways_unchanged_and_the_greeting_is_not_among_them() {
    let place = tempfile::tempdir().unwrap();
    let uds = place.path().join("vsock");
    vsock_device(&uds, "OK 1073741824\n");
    let relay = start(GuestAddress::Vsock(uds), LIMITS).await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut client = TcpStream::connect(relay).await.unwrap();
    let (mut from, mut to) = client.split();
    let mut received = Vec::new();
    let (wrote, read) = tokio::join!(
        async {
            to.write_all(&sent).await?;
            to.shutdown().await
        },
        from.read_to_end(&mut received)
    );
    wrote.unwrap();
    read.unwrap();
    assert!(received == sent);
}

/// Whatever the guest sends right behind the greeting must not be swallowed with it.
#[tokio::test]
async fn a_guest_that_speaks_first_is_heard_whole() {
    let place = tempfile::tempdir().unwrap();
    let uds = place.path().join("vsock");
    vsock_device(&uds, "OK 1\nfirst words");
    let relay = start(GuestAddress::Vsock(uds), LIMITS).await;
    let mut client = TcpStream::connect(relay).await.unwrap();
    let mut words = [0; 11];
    client.read_exact(&mut words).await.unwrap();
    assert_eq!(&words, b"first words");
}

#[tokio::test]
async fn a_device_that_does_not_say_ok_is_no_guest() {
    for greeting in ["NO\n", "OK", "OK 1 and then more than any greeting has\n"] {
        let place = tempfile::tempdir().unwrap();
        let uds = place.path().join("vsock");
        vsock_device(&uds, greeting);
        let limits = Limits {
            connect: Duration::from_millis(300),
            ..LIMITS
        };
        let relay = start(GuestAddress::Vsock(uds), limits).await;
        let mut client = TcpStream::connect(relay).await.unwrap();
        let closed = client.read(&mut [0; 64]).await;
        assert!(matches!(closed, Ok(0) | Err(_)), "{greeting}");
    }
}

#[tokio::test]
async fn a_unix_guest_is_reached_without_a_greeting() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("guest");
    let listener = UnixListener::bind(&path).unwrap();
    let guest: GuestAddress = format!("unix:{}", path.display()).parse().unwrap();
    let relay = start(guest, LIMITS).await;
    let mut client = TcpStream::connect(relay).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn connections_are_bounded_and_a_closed_one_makes_room() {
    let place = tempfile::tempdir().unwrap();
    let uds = place.path().join("vsock");
    vsock_device(&uds, "OK 1\n");
    let relay = start(GuestAddress::Vsock(uds), LIMITS).await;
    let mut held = Vec::new();
    for _ in 0..LIMITS.connections {
        let mut client = TcpStream::connect(relay).await.unwrap();
        client.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0; 1]).await.unwrap();
        held.push(client);
    }
    let mut extra = TcpStream::connect(relay).await.unwrap();
    let closed = extra.read(&mut [0; 1]).await;
    assert!(matches!(closed, Ok(0) | Err(_)));
    held.pop();
    let mut served = false;
    for _ in 0..100 {
        let mut next = TcpStream::connect(relay).await.unwrap();
        drop(next.write_all(b"x").await);
        served = next.read_exact(&mut [0; 1]).await.is_ok();
        if served {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(served);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let place = tempfile::tempdir().unwrap();
    let uds = place.path().join("vsock");
    vsock_device(&uds, "OK 1\n");
    let limits = Limits {
        idle: Duration::from_millis(400),
        ..LIMITS
    };
    let relay = start(GuestAddress::Vsock(uds), limits).await;
    let mut client = TcpStream::connect(relay).await.unwrap();
    let busy_until = Instant::now() + Duration::from_millis(1_200);
    while Instant::now() < busy_until {
        client.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0; 1]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let closed = client.read(&mut [0; 1]).await;
    assert!(matches!(closed, Ok(0) | Err(_)));
}
