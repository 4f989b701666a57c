//! Nothing but a challenge reaches a machine whose evidence is not about this very connection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod peer;

use bytes::Bytes;
use client::Surroundings as _;
use client::channel::{AttestedChannel, OpenError, RequestError, UnverifiedChannel};
use client::session::AttestError;
use http::{HeaderMap, Method};
use peer::tls::TlsKey;
use peer::{Answering, Peer, Script, Stage};
use protocol::digest::Nonce;
use protocol::evidence::ATTEST_PATH;
use protocol::serving::CHAT_PATH;
use research_anchors::{RESEARCH_ALPN, research_anchors};
use verifier::{Bundle, Pin, Rejection, appraise_bundle};

/// The refusal's code, after which the peer must have seen challenges only.
async fn refused(stage: &Stage, peer: &Peer) -> &'static str {
    let error = stage.attester(peer.address).connect().await.unwrap_err();
    assert_eq!(error.application_bytes(), Some(0));
    assert!(peer.paths().iter().all(|path| path == ATTEST_PATH));
    error.code()
}

#[tokio::test]
async fn a_genuine_machine_is_attested_and_nothing_else_was_sent() {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let session = stage.attester(peer.address).connect().await.unwrap();
    assert_eq!(session.result().shape(), "cpu-2x2048");
    assert_eq!(session.channel().application_bytes_sent(), 0);
    assert_eq!(peer.paths(), [ATTEST_PATH]);
}

#[tokio::test]
async fn refuses_genuine_evidence_that_an_attacker_forwards() {
    let stage = Stage::open();
    let genuine = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let attacker = Answering::Relayed(genuine.address);
    let attacker = Peer::start(&stage.world, attacker, Script::default()).await;
    assert_eq!(refused(&stage, &attacker).await, "freshness-mismatch");
    assert_eq!(genuine.paths(), [ATTEST_PATH], "the attacker did ask");
}

/// A leaked TLS key alone does not help: the exporter is another connection's.
#[tokio::test]
async fn refuses_forwarded_evidence_even_under_the_machines_own_key() {
    let stage = Stage::open();
    let key = TlsKey::draw();
    let script = Script::default();
    let genuine = Peer::with_key(&stage.world, Answering::Honest, script, key.clone()).await;
    let attacker = Answering::Relayed(genuine.address);
    let attacker = Peer::with_key(&stage.world, attacker, script, key).await;
    assert_eq!(refused(&stage, &attacker).await, "freshness-mismatch");
}

#[tokio::test]
async fn refuses_evidence_that_was_used_before() {
    let stage = Stage::open();
    let key = TlsKey::draw();
    let script = Script::default();
    let genuine = Peer::with_key(&stage.world, Answering::Honest, script, key.clone()).await;
    let session = stage.attester(genuine.address).connect().await.unwrap();
    let used = Answering::Bytes(session.evidence().encoded.clone());
    let replaying = Peer::with_key(&stage.world, used, script, key).await;
    assert_eq!(refused(&stage, &replaying).await, "freshness-mismatch");
}

#[tokio::test]
async fn refuses_garbage_short_and_long() {
    let stage = Stage::open();
    let long = vec![0x41; protocol::evidence::MAX_BYTES + 1];
    for (bytes, code) in [
        (Vec::new(), "evidence-malformed"),
        (b"COCOEVIDgarbage".to_vec(), "evidence-malformed"),
        (vec![0xff; 4096], "evidence-malformed"),
        (long, "evidence-too-long"),
    ] {
        let garbage = Answering::Bytes(Bytes::from(bytes));
        let peer = Peer::start(&stage.world, garbage, Script::default()).await;
        assert_eq!(refused(&stage, &peer).await, code);
    }
}

#[tokio::test]
async fn refuses_an_image_that_is_not_pinned_and_keeps_its_evidence() {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::OtherImage, Script::default()).await;
    let error = stage.attester(peer.address).connect().await.unwrap_err();
    let AttestError::Refused { evidence, .. } = error else {
        panic!("{error:?}");
    };
    let bundle = Bundle {
        made_at: stage.world.now(),
        channel: evidence.binding,
        evidence: evidence.evidence.clone(),
        references: peer::references(),
    };
    let kept = Bundle::decode(&bundle.encode().unwrap()).unwrap();
    assert_eq!(kept, bundle);
    let found = appraise_bundle(
        &kept,
        Pin::Values(&kept.references),
        &stage.attester(peer.address).policy,
        &research_anchors(),
        stage.world.now(),
    );
    assert_eq!(found.result, Err(Rejection::RegistersUnknown));
    assert_eq!(refused(&stage, &peer).await, "registers-unknown");
}

#[tokio::test]
async fn the_result_of_another_connection_opens_nothing() {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let first = stage.attester(peer.address).connect().await.unwrap();
    let mut second = UnverifiedChannel::connect(peer.address, RESEARCH_ALPN)
        .await
        .unwrap();
    second.challenge(Nonce([1; 32])).await.unwrap();
    let opened = AttestedChannel::open(second, first.result());
    assert_eq!(opened.unwrap_err(), OpenError::OtherConnection);
    let third = UnverifiedChannel::connect(peer.address, RESEARCH_ALPN)
        .await
        .unwrap();
    let opened = AttestedChannel::open(third, first.result());
    assert_eq!(opened.unwrap_err(), OpenError::NotChallenged);
}

#[tokio::test]
async fn an_expired_channel_sends_nothing() {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let session = stage.attester(peer.address).connect().await.unwrap();
    let deadline = session.channel().deadline();
    stage.world.advance(deadline.0 - stage.world.now().0);
    let sent = session.channel().request(
        stage.world.now(),
        Method::POST,
        CHAT_PATH,
        HeaderMap::new(),
        Bytes::from_static(b"secret"),
    );
    assert!(matches!(sent.map(|_| ()), Err(RequestError::Expired)));
    assert_eq!(session.channel().application_bytes_sent(), 0);
    assert_eq!(peer.paths(), [ATTEST_PATH]);
}

#[tokio::test]
async fn new_evidence_on_the_same_connection_moves_the_deadline() {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let attester = stage.attester(peer.address);
    let session = attester.connect().await.unwrap();
    let first = session.channel().deadline();
    session.renew_if_due(&attester).await.unwrap();
    assert_eq!(session.channel().deadline(), first, "not due yet");
    stage.world.advance(first.0 - stage.world.now().0 - 60);
    session.renew_if_due(&attester).await.unwrap();
    assert!(session.channel().deadline() > first);
    assert_eq!(session.channel().statements().len(), 2);
    assert_eq!(peer.seen.lock().unwrap().connections, 1);
}

#[tokio::test]
async fn a_peer_of_another_protocol_name_or_without_the_hybrid_exchange_gets_no_connection() {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let other = UnverifiedChannel::connect(peer.address, b"cocoon/1").await;
    assert!(other.is_err());

    let mut classical = rustls::crypto::aws_lc_rs::default_provider();
    classical.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let tls = peer::tls::ServerTls::offering(TlsKey::draw(), RESEARCH_ALPN, classical);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        tls.accept(stream).await.map(|_| ())
    });
    assert!(
        UnverifiedChannel::connect(address, RESEARCH_ALPN)
            .await
            .is_err()
    );
}
