//! Reads through lite-servers: two that agree, and every way in which one of them can fail or lie.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use contracts::lite::{
    ByProof, LAGGARDS, LiteError, LiteReader, LiteServers, Moment, NoRandomness, PATIENCE,
    Position, PositionFile, ProvenAccounts,
};
use contracts::proof::{BlockId, ProvenAccount};
use lite_server::blocks::{
    KEY_SEQNO, LAST_LT, Made, NETWORK, SEQNO, Set, TIME, account, bag, block, key_block, link,
    pair, proof_without, shard_block, tower,
};
use lite_server::{AccountCell, Fault, Scene, Served, Shown, start};
use protocol::digest::AccountId;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use tycho_types::models::ShardIdent;

const OURS: [u8; 32] = [0x51; 32];
const MOMENT: Moment = Moment {
    now: 1_795_000_020,
    limit: 60,
};

/// A key block, another after it with other validators, and blocks at some height after that.
struct Network {
    first: Made,
    second: Made,
    /// Whom the second key block names.
    signer: u8,
}

impl Network {
    fn new() -> Self {
        Self::with_second(KEY_SEQNO + 2, 2)
    }

    fn with_second(seqno: u32, signer: u8) -> Self {
        let others = Set {
            members: vec![(signer, 1)],
            main: 1,
        };
        Self {
            first: key_block(KEY_SEQNO, 0, &Set::default()),
            second: key_block(seqno, KEY_SEQNO, &others),
            signer,
        }
    }

    /// What an honest server at some height says: the account has this balance there.
    fn at(&self, seqno: u32, balance: u128) -> Served {
        let state = account(OURS, balance, tower(5));
        let shard = shard_block(NETWORK, ShardIdent::BASECHAIN, &[(OURS, state.clone())]);
        let shards = [(ShardIdent::BASECHAIN, shard.clone())];
        let head = block(NETWORK, seqno, self.second.id.seqno, &shards);
        Served {
            last: head.id,
            // Two answers: the first stops at the second key block.
            links: vec![
                (self.first.id, vec![link(&self.first, &self.second, &[1])]),
                (
                    self.second.id,
                    vec![link(&self.second, &head, &[self.signer])],
                ),
            ],
            shard_proof: pair(&head.header(), &proof_without(&head.state, &[])),
            accounts: vec![Shown {
                address: OURS,
                proof: pair(
                    &shard.header(),
                    &proof_without(&shard.state, std::slice::from_ref(&state)),
                ),
                state: bag(&state),
            }],
            fault: Fault::None,
            sent: Arc::default(),
        }
    }

    async fn reader(&self, servers: Vec<Served>) -> LiteReader {
        self.reader_from(Position::at(self.first.id), servers).await
    }

    async fn reader_from(&self, position: Position, servers: Vec<Served>) -> LiteReader {
        let mut texts = Vec::new();
        for (number, served) in (20_u8..).zip(servers) {
            texts.push(start(number, served).await.parse().unwrap());
        }
        LiteReader::new(NetworkId(NETWORK), texts, position).unwrap()
    }
}

async fn read(reader: &mut LiteReader, moment: Moment) -> Result<ProvenAccount, LiteError> {
    let ours = TonAddress {
        workchain: 0,
        account: AccountId(OURS),
    };
    let mut number = 0_u8;
    let draw = || {
        number += 1;
        Ok([number; 32])
    };
    reader.account(&ours, moment, draw).await
}

async fn refusal(reader: &mut LiteReader) -> &'static str {
    read(reader, MOMENT).await.unwrap_err().code()
}

#[tokio::test]
async fn the_newest_block_that_a_server_proves_counts() {
    let network = Network::new();
    let servers = vec![network.at(SEQNO, 5), network.at(SEQNO + 1, 6)];
    let newest: BlockId = servers[1].last;
    let mut reader = network.reader(servers).await;
    let proven = read(&mut reader, MOMENT).await.unwrap();
    assert_eq!(proven.account().balance, Nano::from_u64(6));
    assert_eq!(*proven.block(), newest);
    let position = *reader.position();
    assert_eq!(position.key_block, network.second.id);
    assert_eq!(position.seqno, SEQNO + 1);
    // From there on, also in another run.
    let again: Position = position.to_string().parse().unwrap();
    assert_eq!(again, position);
    assert_eq!(read(&mut reader, MOMENT).await.unwrap(), proven);
}

#[tokio::test]
async fn heights_never_fall() {
    let network = Network::new();
    let position = Position {
        key_block: network.second.id,
        seqno: SEQNO + 5,
    };
    let servers = vec![network.at(SEQNO, 5), network.at(SEQNO + 4, 6)];
    let mut reader = network.reader_from(position, servers).await;
    assert_eq!(refusal(&mut reader).await, "lite-behind");
    assert_eq!(*reader.position(), position);
    let servers = vec![network.at(SEQNO, 5), network.at(SEQNO + 5, 6)];
    let mut reader = network.reader_from(position, servers).await;
    read(&mut reader, MOMENT).await.unwrap();
    // Below the key block itself.
    let mut old = network.at(SEQNO, 5);
    old.last = network.first.id;
    let mut reader = network
        .reader_from(position, vec![old, network.at(SEQNO + 5, 6)])
        .await;
    assert_eq!(refusal(&mut reader).await, "lite-behind");
}

#[tokio::test]
async fn two_blocks_of_one_height_are_a_disagreement() {
    let network = Network::new();
    let servers = vec![network.at(SEQNO, 5), network.at(SEQNO, 6)];
    let mut reader = network.reader(servers).await;
    assert_eq!(refusal(&mut reader).await, "lite-disagreement");
}

/// Whoever holds the keys of validators of long ago can sign a history of their own from there on;
/// an honest server beside theirs shows that it is another.
#[tokio::test]
async fn two_histories_after_one_key_block_are_a_disagreement_at_whatever_heights() {
    let network = Network::new();
    for seqno in [KEY_SEQNO + 1, KEY_SEQNO + 2, KEY_SEQNO + 3] {
        let forged = Network::with_second(seqno, 3);
        let servers = [network.at(SEQNO, 5), forged.at(SEQNO + 9, 1_000_000)];
        for servers in [servers.to_vec(), servers.into_iter().rev().collect()] {
            let mut reader = network.reader(servers).await;
            assert_eq!(refusal(&mut reader).await, "lite-disagreement", "{seqno}");
            assert_eq!(reader.position().seqno, KEY_SEQNO);
        }
    }
    // The one has no key block where the other has one; if that one is later still, it may be new.
    let cell = AccountCell {
        address: OURS,
        cell: account(OURS, 5, tower(5)),
        last_lt: LAST_LT,
    };
    for (seqno, is_one) in [(SEQNO, false), (SEQNO + 1, true)] {
        let honest = Scene::default().at(SEQNO, std::slice::from_ref(&cell));
        let other = Network::with_second(seqno, 3).at(SEQNO + 9, 6);
        let mut reader = network.reader(vec![honest, other]).await;
        let read = read(&mut reader, MOMENT).await;
        let code = read.map_err(|refused| refused.code()).err();
        assert_eq!(code, (!is_one).then_some("lite-disagreement"), "{seqno}");
    }
}

#[tokio::test]
async fn a_forged_state_is_refused_and_the_position_stays() {
    let network = Network::new();
    let mut forged = network.at(SEQNO + 1, 6);
    forged.accounts[0].state = bag(&account(OURS, 1_000_000, tower(5)));
    let mut reader = network.reader(vec![network.at(SEQNO, 5), forged]).await;
    let before = *reader.position();
    assert_eq!(refusal(&mut reader).await, "proof-other-account");
    assert_eq!(*reader.position(), before);
}

#[tokio::test]
async fn a_server_that_keeps_its_accounts_to_itself_does_not_stop_those_who_know_its_block() {
    let network = Network::new();
    let hiding = |seqno| Served {
        fault: Fault::HidesAccounts,
        ..network.at(seqno, 6)
    };
    let servers = vec![hiding(SEQNO + 1), network.at(SEQNO + 1, 6)];
    let newest = servers[0].last;
    let mut reader = network.reader(servers).await;
    let proven = read(&mut reader, MOMENT).await.unwrap();
    assert_eq!(proven.account().balance, Nano::from_u64(6));
    assert_eq!(*proven.block(), newest);
    // Whoever has not seen that block proves another one's account, which is none of it.
    let servers = vec![hiding(SEQNO + 1), network.at(SEQNO, 5)];
    let mut reader = network.reader(servers).await;
    assert_eq!(refusal(&mut reader).await, "lite-refused");
    assert_eq!(reader.position().seqno, KEY_SEQNO);
}

#[tokio::test]
async fn a_server_that_dawdles_on_the_way_is_left_and_two_others_are_enough() {
    let network = Network::new();
    let slow = || Served {
        fault: Fault::Delays(300),
        ..network.at(SEQNO + 1, 6)
    };
    let way = Duration::from_millis(500);
    let mut reader = network.reader(vec![slow(), network.at(SEQNO, 5)]).await;
    reader = reader.within(way);
    assert_eq!(refusal(&mut reader).await, "lite-too-slow");
    let servers = vec![slow(), network.at(SEQNO, 5), network.at(SEQNO, 5)];
    let mut reader = network.reader(servers).await.within(way);
    let proven = read(&mut reader, MOMENT).await.unwrap();
    assert_eq!(proven.account().balance, Nano::from_u64(5));
}

#[tokio::test]
async fn a_server_without_proof_is_no_server_and_two_others_are_enough() {
    let network = Network::new();
    let mut forged = network.at(SEQNO + 9, 1_000_000);
    let last = &mut forged.links[1].1[0];
    last.signatures = lite_server::blocks::ordinary(&last.to, &[1]);
    let honest = || vec![network.at(SEQNO, 5), network.at(SEQNO + 1, 6)];
    let mut three = honest();
    three.insert(0, forged.clone());
    let mut reader = network.reader(three).await;
    let proven = read(&mut reader, MOMENT).await.unwrap();
    assert_eq!(proven.account().balance, Nano::from_u64(6));
    let mut reader = network.reader(vec![network.at(SEQNO, 5), forged]).await;
    assert_eq!(refusal(&mut reader).await, "proof-unknown-signer");
}

#[tokio::test]
async fn a_block_that_is_too_old_is_stale_whoever_proves_it() {
    let network = Network::new();
    let servers = vec![network.at(SEQNO, 5), network.at(SEQNO + 1, 6)];
    let mut reader = network.reader(servers).await;
    let now = |seconds| Moment {
        now: u64::from(TIME) + seconds,
        limit: 60,
    };
    let late = read(&mut reader, now(61)).await.unwrap_err();
    assert_eq!(late.code(), "lite-stale");
    read(&mut reader, now(60)).await.unwrap();
}

#[tokio::test]
async fn a_way_that_does_not_arrive_is_given_up() {
    let network = Network::new();
    let mut lost = network.at(SEQNO, 5);
    lost.links[1].1.clear();
    let mut reader = network.reader(vec![lost, network.at(SEQNO + 1, 6)]).await;
    assert_eq!(refusal(&mut reader).await, "lite-no-way");
}

#[tokio::test]
async fn every_fault_of_a_connection_has_its_code() {
    let network = Network::new();
    for (fault, code) in [
        (Fault::Damages, "lite-damaged"),
        (Fault::Strays, "lite-strays"),
        (Fault::Refuses, "lite-refused"),
        (Fault::HangsUp, "lite-unreachable"),
        (Fault::HangsUpLate, "lite-unreachable"),
        (Fault::Halves, "lite-unreachable"),
    ] {
        let faulty = Served {
            fault,
            ..network.at(SEQNO + 2, 7)
        };
        let honest = || vec![network.at(SEQNO, 5), network.at(SEQNO + 1, 6)];
        let mut reader = network
            .reader(vec![faulty.clone(), network.at(SEQNO, 5)])
            .await;
        assert_eq!(refusal(&mut reader).await, code, "{fault:?}");
        // Two others are enough.
        let mut three = honest();
        three.insert(0, faulty);
        let mut reader = network.reader(three).await;
        let proven = read(&mut reader, MOMENT).await.unwrap();
        assert_eq!(proven.account().balance, Nano::from_u64(6), "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_waited_for_no_longer_than_is_said() {
    let network = Network::new();
    let silent = Served {
        fault: Fault::Silent,
        ..network.at(SEQNO + 2, 7)
    };
    for fault in [Fault::Silent, Fault::SilentLate] {
        let third = Served {
            fault,
            ..silent.clone()
        };
        let honest = [network.at(SEQNO, 5), network.at(SEQNO + 1, 6)];
        let mut reader = network
            .reader([vec![third], honest.to_vec()].concat())
            .await;
        let began = Instant::now();
        read(&mut reader, MOMENT).await.unwrap();
        assert!(began.elapsed() >= LAGGARDS, "the third one had its time");
        assert!(began.elapsed() < 2 * LAGGARDS);
    }
    let mut reader = network.reader(vec![network.at(SEQNO, 5), silent]).await;
    let began = Instant::now();
    assert_eq!(refusal(&mut reader).await, "lite-timed-out");
    assert!(began.elapsed() < 2 * PATIENCE);
}

#[tokio::test]
async fn without_randomness_nothing_is_sent() {
    let network = Network::new();
    let taking = network.at(SEQNO, 5);
    let sent = Arc::clone(&taking.sent);
    let mut reader = network.reader(vec![taking, network.at(SEQNO + 1, 6)]).await;
    let ours = TonAddress {
        workchain: 0,
        account: AccountId(OURS),
    };
    // The second server's is missing.
    let mut first = Some([1; 32]);
    let mut draw = || first.take().ok_or(NoRandomness);
    let refused = reader.account(&ours, MOMENT, &mut draw).await.unwrap_err();
    assert_eq!(refused.code(), "no-randomness");
    let refused = reader.send(&[7; 300], &mut draw).await.unwrap_err();
    assert_eq!(refused.code(), "no-randomness");
    assert!(sent.lock().unwrap().is_empty());
}

#[test]
fn a_file_keeps_the_later_position_and_a_damaged_one_refuses() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("chain-position");
    let file = PositionFile::at(path.clone());
    assert_eq!(file.read().unwrap(), None);
    let network = Network::new();
    let at = |made: &Made, seqno| Position {
        key_block: made.id,
        seqno,
    };
    file.keep(at(&network.first, SEQNO + 5)).unwrap();
    // A read that began before and ended after.
    file.keep(at(&network.second, SEQNO)).unwrap();
    let later = at(&network.second, SEQNO + 5);
    assert_eq!(file.read().unwrap(), Some(later));
    let text = std::fs::read_to_string(&path).unwrap();
    for damaged in [&text[1..], &text[..text.len() - 1], "", &format!("{text} ")] {
        std::fs::write(&path, damaged).unwrap();
        let refused = file.read().unwrap_err().kind();
        assert_eq!(refused, std::io::ErrorKind::InvalidData, "{damaged}");
        assert!(file.keep(later).is_err(), "{damaged}");
    }
}

#[tokio::test]
async fn a_server_with_another_key_is_not_talked_to() {
    let network = Network::new();
    let good = start(30, network.at(SEQNO, 5)).await;
    let other = start(31, network.at(SEQNO + 1, 6)).await;
    let third = start(32, network.at(SEQNO + 1, 6)).await;
    let (key, _) = other.split_once('@').unwrap();
    let (_, address) = third.split_once('@').unwrap();
    let servers = vec![
        good.parse().unwrap(),
        format!("{key}@{address}").parse().unwrap(),
    ];
    let position = Position::at(network.first.id);
    let mut reader = LiteReader::new(NetworkId(NETWORK), servers, position).unwrap();
    assert_eq!(refusal(&mut reader).await, "lite-unreachable");
}

#[test]
fn one_server_named_twice_is_refused_whoever_else_is_there() {
    let (key, other) = ("11".repeat(32), "22".repeat(32));
    let position = Position::at(Network::new().first.id);
    let refusal = |texts: &[String]| {
        let servers = texts.iter().map(|text| text.parse().unwrap()).collect();
        let refused = LiteReader::new(NetworkId(NETWORK), servers, position).unwrap_err();
        (refused.code(), refused.to_string())
    };
    let named = |key: &str, place: &str| format!("{key}@{place}");
    let first = named(&key, "127.0.0.1:4924");
    // The same again; under another name; with another key in the same place.
    for again in [
        first.clone(),
        named(&key, "localhost:4924"),
        named(&other, "127.0.0.1:4924"),
    ] {
        let between = named(&"33".repeat(32), "127.0.0.1:4925");
        let (code, _) = refusal(&[first.clone(), again.clone()]);
        assert_eq!(code, "lite-repeated-server", "{again}");
        let (code, text) = refusal(&[first.clone(), between, again.clone()]);
        assert_eq!(code, "lite-repeated-server", "{again}");
        assert!(text.contains("lite-server 2 "), "{text}");
    }
    for too_few in [&[][..], &[first]] {
        assert_eq!(refusal(too_few).0, "lite-too-few-servers");
    }
}

/// The clock is asked before and after.
#[tokio::test]
async fn what_is_too_old_when_it_arrives_is_stale_and_its_position_kept() {
    let network = Network::new();
    let (limit, place) = (60, tempfile::tempdir().unwrap());
    let path = place.path().join("chain-position");
    let mut servers = Vec::new();
    for (number, seqno) in [(20, SEQNO), (21, SEQNO + 1)] {
        let text = start(number, network.at(seqno, 5)).await;
        servers.push(text.parse().unwrap());
    }
    let by = LiteServers {
        servers,
        pinned: network.first.id,
    };
    for (took, is_fresh) in [(0, true), (1, false)] {
        let file = PositionFile::at(path.clone());
        let asked = AtomicU64::new(u64::from(TIME) + limit - took);
        let accounts = ProvenAccounts::new(ByProof {
            network: NetworkId(NETWORK),
            by: by.clone(),
            file: file.clone(),
            limit,
            now: Box::new(move || asked.fetch_add(2 * took, Ordering::Relaxed)),
            draw: Box::new(|| Ok([7; 32])),
        });
        let ours = TonAddress {
            workchain: 0,
            account: AccountId(OURS),
        };
        let read = accounts.unwrap().account(&ours).await;
        let code = read.map_err(|refused| refused.code()).err();
        assert_eq!(code, (!is_fresh).then_some("lite-stale"), "{took}");
        let kept = file.read().unwrap().unwrap();
        assert_eq!((kept.seqno, kept.key_block), (SEQNO + 1, network.second.id));
        std::fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn a_message_goes_to_every_server_and_one_that_takes_it_is_enough() {
    let network = Network::new();
    let taking = network.at(SEQNO, 5);
    let sent = Arc::clone(&taking.sent);
    let refusing = Served {
        fault: Fault::Refuses,
        ..network.at(SEQNO, 5)
    };
    let reader = network.reader(vec![refusing.clone(), taking]).await;
    reader.send(&[7; 300], || Ok([9; 32])).await.unwrap();
    assert_eq!(*sent.lock().unwrap(), [vec![7_u8; 300]]);
    let reader = network.reader(vec![refusing.clone(), refusing]).await;
    let refused = reader.send(&[7; 300], || Ok([9; 32])).await.unwrap_err();
    assert_eq!(refused.code(), "lite-refused");
}

#[test]
fn a_server_has_one_text() {
    let key = "ab".repeat(32);
    let good = format!("{key}@lite.example:4924");
    let server: contracts::lite::LiteServer = good.parse().unwrap();
    assert_eq!(server.to_string(), good);
    for other in [
        format!("{key}@lite.example"),
        format!("{key}@:4924"),
        format!("{key}@lite.example:0"),
        format!("{key}@lite.example:70000"),
        format!("{}@lite.example:4924", "ab".repeat(31)),
        "lite.example:4924".to_owned(),
    ] {
        assert!(
            other.parse::<contracts::lite::LiteServer>().is_err(),
            "{other}"
        );
    }
}
