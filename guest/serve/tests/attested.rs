//! The attested channel: what is answered before and after a challenge, and to whom.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state claims; a panic is the failure"
)]

mod stage;

use http::StatusCode;
use protocol::evidence::{ATTEST_PATH, Challenge};
use protocol::launch_configuration::config_digest;
use protocol::serving::{CHAT_PATH, HEALTH_PATH, METRICS_PATH, MODELS_PATH, VOUCHER_PATH};
use protocol::tee::EvidenceClass;
use protocol::ton::NetworkId;
use rustls::crypto::aws_lc_rs;
use serve::RunError;
use sha2::{Digest as _, Sha256};
use stage::client::{Client, Offer, code};
use stage::{HOST_TIME, Stage};

#[tokio::test]
async fn nothing_is_answered_before_a_challenge_was() {
    let stage = Stage::open();
    let mut client = Client::connect(&stage.path).await;
    for path in [CHAT_PATH, VOUCHER_PATH, "/elsewhere"] {
        let (status, body) = client.post(path, b"{}".to_vec()).await;
        assert_eq!(
            (status, code(&body).as_str()),
            (StatusCode::FORBIDDEN, "attest-first")
        );
    }
    for path in [MODELS_PATH, HEALTH_PATH, METRICS_PATH] {
        let (status, body) = client.get(path).await;
        assert_eq!(
            (status, code(&body).as_str()),
            (StatusCode::FORBIDDEN, "attest-first")
        );
    }
    client.attest(0).await;
    for path in [MODELS_PATH, HEALTH_PATH, METRICS_PATH] {
        assert_eq!(client.get(path).await.0, StatusCode::OK);
        let (status, _) = client.post(path, Vec::new()).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut other = Client::connect(&stage.path).await;
    let (status, _) = other.get(MODELS_PATH).await;
    assert_eq!(
        status,
        StatusCode::FORBIDDEN,
        "another connection is another channel"
    );
}

#[tokio::test]
async fn evidence_is_fresh_for_this_connection_and_names_its_key() {
    let stage = Stage::open();
    let mut client = Client::connect(&stage.path).await;
    for which in [0, 1] {
        let evidence = client.attest(which).await;
        let (nonce, exporter) = client.challenges[which];
        let statement = &evidence.statement;
        assert_eq!(
            evidence.proof.freshness(&nonce, &exporter),
            Some(statement.freshness)
        );
        let (other_nonce, other_exporter) = client.challenges[1 - which];
        for (nonce, exporter) in [(other_nonce, exporter), (nonce, other_exporter)] {
            assert_ne!(
                evidence.proof.freshness(&nonce, &exporter),
                Some(statement.freshness)
            );
        }
        let spki: [u8; 32] = Sha256::digest(&client.spki).into();
        assert_eq!(statement.tls_key.0, spki);
        assert_eq!(
            statement.configuration,
            config_digest(&evidence.launch_configuration)
        );
        assert_eq!(statement.host_time, HOST_TIME);
        assert_eq!(evidence.report, statement.report_data().0);
        assert!(!evidence.endorsements.is_empty());
    }
    assert!(stage.seen.lock().unwrap().ready);
}

#[tokio::test]
async fn challenges_that_wait_together_share_one_report() {
    let stage = Stage::open();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::connect(&stage.path).await);
    }
    let asked = clients.iter_mut().map(|client| client.attest(0));
    let answers: Vec<_> = futures_together(asked).await;
    let batches = stage.seen.lock().unwrap().batches.clone();
    assert!(batches.len() < 5, "reports: {batches:?}");
    assert_eq!(batches.iter().sum::<usize>(), 5);
    for (client, evidence) in clients.iter().zip(&answers) {
        let (nonce, exporter) = client.challenges[0];
        let freshness = evidence.proof.freshness(&nonce, &exporter);
        assert_eq!(freshness, Some(evidence.statement.freshness));
    }
}

/// Drives futures side by side on one task.
async fn futures_together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in &mut waiting {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *output = Some(value);
            }
        }
        if waiting.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

#[tokio::test]
async fn a_machine_is_healthy_while_its_engine_is() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let healthy = client.get(HEALTH_PATH).await;
    assert_eq!(healthy, (StatusCode::OK, r#"{"status":"ok"}"#.into()));
    stage.lose_engine();
    for _ in 0..500 {
        let (status, body) = client.get(HEALTH_PATH).await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(code(&body), "engine-unavailable");
            let (_, metrics) = client.get(METRICS_PATH).await;
            let metrics = String::from_utf8(metrics.to_vec()).unwrap();
            for line in [
                "cocoon_engine_up 0\n",
                "cocoon_engine_crossings_per_step 2\n",
                "cocoon_engine_bytes_per_step 12544\n",
                "cocoon_engine_allocations_per_step 0\n",
                "cocoon_engine_launches_per_step 1\n",
            ] {
                assert!(metrics.contains(line), "{metrics}");
            }
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the engine's end was not noticed");
}

#[tokio::test]
async fn refuses_what_is_no_challenge_of_this_class() {
    let stage = Stage::open();
    let mut client = Client::connect(&stage.path).await;
    let refusals = [
        (vec![0; 41], 400, "challenge-malformed"),
        (vec![0; 42], 413, "body-too-long"),
        (Vec::new(), 400, "challenge-malformed"),
        (
            Challenge {
                class: EvidenceClass::Epoch,
                nonce: client.challenges[0].0,
            }
            .encode(),
            400,
            "challenge-class",
        ),
    ];
    for (body, status, expected) in refusals {
        let (found, body) = client.post(ATTEST_PATH, body).await;
        assert_eq!((found.as_u16(), code(&body).as_str()), (status, expected));
    }
    assert_eq!(
        client.get(ATTEST_PATH).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_platform_without_a_report_is_told_and_does_not_attest() {
    let stage = Stage::open();
    stage.seen.lock().unwrap().no_report = true;
    let mut client = Client::connect(&stage.path).await;
    let challenge = Challenge {
        class: EvidenceClass::Fresh,
        nonce: client.challenges[0].0,
    };
    let (status, body) = client.post(ATTEST_PATH, challenge.encode()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(code(&body), "attest-unavailable");
    assert_eq!(client.get(MODELS_PATH).await.0, StatusCode::FORBIDDEN);
    stage.seen.lock().unwrap().no_report = false;
    client.attest(0).await;
}

#[tokio::test]
async fn refuses_a_handshake_with_another_key_exchange_or_protocol() {
    let stage = Stage::open();
    let mut classical = aws_lc_rs::default_provider();
    classical.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let offers = [
        Offer {
            provider: classical,
            ..Offer::default()
        },
        Offer {
            alpn: vec![b"h2".to_vec()],
            ..Offer::default()
        },
    ];
    for offer in offers {
        assert!(Client::offering(&stage.path, offer).await.is_err());
    }
    let silent = Offer {
        alpn: Vec::new(),
        ..Offer::default()
    };
    if let Ok(mut client) = Client::offering(&stage.path, silent).await {
        assert!(
            client.refused_before_http().await,
            "no protocol was agreed on"
        );
    }
}

#[tokio::test]
async fn an_oversized_header_is_answered_431() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let request = stage::client::post(MODELS_PATH)
        .header("x-long", "x".repeat(20_000))
        .body(http_body_util::Full::default())
        .unwrap();
    let (status, _) = client.whole(request).await;
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(
        client.get(MODELS_PATH).await.0,
        StatusCode::OK,
        "the connection lives"
    );
}

#[test]
fn a_launch_configuration_of_another_network_ends_the_program() {
    let error = Stage::on(NetworkId::MAIN).ended();
    assert!(matches!(error, RunError::ForeignNetwork), "{error}");
}

#[tokio::test]
async fn the_end_of_init_ends_the_program() {
    let stage = Stage::open();
    stage.until("ready", |seen| seen.ready).await;
    assert!(matches!(stage.end(), RunError::Quote(_)));
}
