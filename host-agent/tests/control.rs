//! Claims about the control port, against a scripted guest over a unix socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contracts::asset::Asset;
use contracts::channel::{ChannelState, ChannelTerms, Standing};
use ed25519_dalek::SigningKey;
use host_agent::clock::{Clock, UnixSeconds};
use host_agent::control::channels::{ChainReader, Channels, Reading, Snapshot};
use host_agent::control::decision::Terms;
use host_agent::control::service::{BootProgress, ControlService};
use host_agent::journal::{Journal, Scribe};
use host_agent::report::{Format, Reporter};
use messages::boot::{BootFailure, BootPhase};
use messages::framing::frame;
use messages::host_control::{GuestMessage, HostMessage, ServeEvent, StopReason, VoucherDecision};
use protocol::digest::{AccountId, PayerKey, ReceiptsRoot};
use protocol::endorsements::EndorsementKind;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

const NETWORK: NetworkId = NetworkId(-99);
const DEPOSIT: u64 = 1_000_000;

const fn address(byte: u8) -> TonAddress {
    TonAddress {
        workchain: 0,
        account: AccountId([byte; 32]),
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

fn voucher(channel: u8, total: u64) -> SignedVoucher {
    let voucher = Voucher {
        network: NETWORK,
        channel: address(channel),
        epoch: 1,
        cumulative: Nano::from_u64(total),
        receipts_root: ReceiptsRoot::ZERO,
        valid_until: 1_900_000_000,
    };
    voucher.sign(&key())
}

/// One open channel at `address(5)`; nothing anywhere else.
struct Chain;

impl ChainReader for Chain {
    fn read(&self, channel: TonAddress) -> Reading<'_> {
        let terms = ChannelTerms {
            payer: address(8),
            payee: address(9),
            payer_key: PayerKey(key().verifying_key().to_bytes()),
            window: 3_600,
        };
        let state = ChannelState {
            standing: Standing::Open,
            epoch: 1,
            deposited: Nano::from_u64(DEPOSIT),
            claimed: Nano::ZERO,
            last_root: ReceiptsRoot::ZERO,
            terms,
        };
        let found = (channel == address(5)).then_some(state);
        Box::pin(async move {
            Ok(Snapshot {
                channel: found.map(Into::into),
                time: UnixSeconds(0),
            })
        })
    }
}

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Stage {
    _place: tempfile::TempDir,
    socket: PathBuf,
    journal: Scribe,
    service: Arc<ControlService>,
    screen: Screen,
}

impl Stage {
    fn open() -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("vcek.der"), b"certificate").unwrap();
        let journal = Journal::open(&place.path().join("journal.sqlite")).unwrap();
        let journal = Scribe::start(journal).unwrap();
        let terms = Terms {
            network: NETWORK,
            payee: address(9),
            asset: Asset::Coin,
            minimum_validity: 3_600,
            minimum_window: 600,
        };
        let channels = Channels::new(
            terms,
            "guest".to_owned(),
            Arc::new(Chain),
            journal.clone(),
            Clock::new(|| UnixSeconds(1_800_000_000)),
        );
        let screen = Screen::default();
        let reporter = Reporter::new(Instant::now(), Format::Text, screen.clone());
        let endorsements = place.path().to_owned();
        let service = Arc::new(ControlService::new(channels, endorsements, reporter));
        let socket = place.path().join("control");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(Arc::clone(&service).run(listener));
        Self {
            _place: place,
            socket,
            journal,
            service,
            screen,
        }
    }

    async fn guest(&self) -> Guest {
        Guest(UnixStream::connect(&self.socket).await.unwrap())
    }

    fn shown(&self) -> String {
        String::from_utf8(self.screen.0.lock().unwrap().clone()).unwrap()
    }

    async fn shows(&self, text: &str) {
        for _ in 0..500 {
            if self.shown().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("`{text}` was never shown; this was:\n{}", self.shown());
    }

    fn stored(&self) -> Option<u128> {
        let highest = |journal: &mut Journal| journal.highest_voucher(&address(5), 1);
        let found = self.journal.with(highest).unwrap();
        found.map(|voucher| voucher.voucher.cumulative.units())
    }
}

struct Guest(UnixStream);

impl Guest {
    async fn send(&mut self, message: &GuestMessage) {
        self.0.write_all(&frame(&message.encode())).await.unwrap();
    }

    async fn ask(&mut self, question: u32, voucher: SignedVoucher) {
        let voucher = Box::new(voucher);
        self.send(&GuestMessage::VoucherQuestion { question, voucher })
            .await;
    }

    async fn hear(&mut self) -> HostMessage {
        let length = self.0.read_u32_le().await.unwrap();
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.unwrap();
        HostMessage::decode(&payload).unwrap()
    }

    async fn answer(&mut self, expected: u32) -> VoucherDecision {
        match self.hear().await {
            HostMessage::VoucherAnswer { question, decision } => {
                assert_eq!(question, expected);
                decision
            }
            HostMessage::Endorsements(_) => panic!("not an answer"),
        }
    }

    async fn sees_the_end(mut self) {
        let mut byte = [0; 1];
        let heard = tokio::time::timeout(Duration::from_secs(20), self.0.read(&mut byte)).await;
        assert!(matches!(heard, Ok(Ok(0) | Err(_))), "{heard:?}");
    }
}

#[tokio::test]
async fn a_boot_is_followed_and_shown_with_its_times() {
    let stage = Stage::open();
    let mut progress = stage.service.progress();
    let mut guest = stage.guest().await;
    for (at, phase) in BootPhase::ALL.into_iter().enumerate() {
        let ms = u32::try_from(at).unwrap() * 100;
        guest.send(&GuestMessage::PhasePassed(phase, ms)).await;
    }
    let ready = progress.wait_for(|progress| *progress == BootProgress::Ready);
    ready.await.unwrap();
    stage
        .shows("guest: launch-configuration passed (300 ms since init)")
        .await;
}

#[tokio::test]
async fn the_first_failure_of_a_boot_stays_whatever_the_guest_says_after_it() {
    let stage = Stage::open();
    let mut progress = stage.service.progress();
    let mut guest = stage.guest().await;
    let (phase, failure) = (BootPhase::Root, BootFailure::VerityCorrupt);
    guest.send(&GuestMessage::PhaseFailed(phase, failure)).await;
    guest
        .send(&GuestMessage::PhasePassed(BootPhase::Ready, 1))
        .await;
    stage.shows("guest: ready passed").await;
    let failed = BootProgress::Failed(phase, failure);
    assert_eq!(*progress.borrow_and_update(), failed);
    stage.shows("guest: root failed: boot-verity-corrupt").await;
}

#[tokio::test]
async fn endorsements_come_from_the_directory() {
    let stage = Stage::open();
    let mut guest = stage.guest().await;
    guest.send(&GuestMessage::EndorsementsWanted).await;
    let HostMessage::Endorsements(found) = guest.hear().await else {
        panic!("not endorsements");
    };
    assert_eq!(
        found.get(EndorsementKind::SnpVcek),
        Some(&b"certificate"[..])
    );
    assert_eq!(found.get(EndorsementKind::SnpAsk), None);
}

#[tokio::test]
async fn a_voucher_is_stored_before_the_guest_may_go_on() {
    let stage = Stage::open();
    let mut guest = stage.guest().await;
    for (question, total) in [(7, 0), (8, 640), (9, 640), (10, 1_280)] {
        guest.ask(question, voucher(5, total)).await;
        let answer = guest.answer(question).await;
        assert_eq!(answer, VoucherDecision::Continue);
        assert_eq!(stage.stored(), Some(u128::from(total)));
    }
}

#[tokio::test]
async fn a_lower_voucher_is_answered_with_the_highest() {
    let stage = Stage::open();
    let mut guest = stage.guest().await;
    guest.ask(1, voucher(5, 500)).await;
    guest.answer(1).await;
    guest.ask(2, voucher(5, 499)).await;
    let highest = Some(Box::new(voucher(5, 500)));
    let expected = VoucherDecision::Stop(StopReason::Outdated, highest);
    assert_eq!(guest.answer(2).await, expected);
    assert_eq!(stage.stored(), Some(500));
}

#[tokio::test]
async fn vouchers_of_other_channels_above_the_deposit_and_forged_ones_are_stopped() {
    let stage = Stage::open();
    let mut guest = stage.guest().await;
    let mut forged = voucher(5, 10);
    forged.voucher.cumulative = Nano::from_u64(11);
    for (question, voucher, reason) in [
        (1, voucher(6, 10), StopReason::UnknownChannel),
        (2, voucher(5, DEPOSIT + 1), StopReason::DepositExceeded),
        (3, forged, StopReason::ForeignVoucher),
    ] {
        guest.ask(question, voucher).await;
        let answer = guest.answer(question).await;
        assert_eq!(answer, VoucherDecision::Stop(reason, None));
    }
    assert_eq!(stage.stored(), None);
}

#[tokio::test]
async fn every_malformed_frame_closes_its_connection_and_no_other() {
    let stage = Stage::open();
    let mut bystander = stage.guest().await;
    let question = GuestMessage::VoucherQuestion {
        question: 1,
        voucher: Box::new(voucher(5, 1)),
    };
    let mut hostile = vec![
        vec![],
        vec![0],
        vec![99; 40],
        vec![1, 200, 0, 0, 0, 0],
        vec![2, 1, 99],
        vec![3, 77, 0, 0, 0, 0],
    ];
    let question = question.encode();
    for end in [2, 5, 50, question.len() - 1] {
        hostile.push(question[..end].to_vec());
    }
    let mut longer = question.clone();
    longer.push(0);
    hostile.push(longer);
    for payload in hostile {
        let mut guest = stage.guest().await;
        guest.0.write_all(&frame(&payload)).await.unwrap();
        guest.sees_the_end().await;
    }
    for header in [[0xff; 4], [1, 2, 0, 0]] {
        let mut guest = stage.guest().await;
        guest.0.write_all(&header).await.unwrap();
        guest.sees_the_end().await;
    }
    stage.shows("control-frame-too-long").await;
    stage.shows("decode-truncated").await;
    stage.shows("decode-trailing").await;
    stage.shows("decode-out-of-range").await;
    bystander.ask(1, voucher(5, 10)).await;
    assert_eq!(bystander.answer(1).await, VoucherDecision::Continue);
}

#[tokio::test]
async fn a_guest_cannot_fill_the_log_with_its_counters() {
    let stage = Stage::open();
    let mut guest = stage.guest().await;
    for value in 0..1_500 {
        let event = GuestMessage::Event(ServeEvent::RequestRefused, value);
        guest.send(&event).await;
    }
    guest.ask(1, voucher(5, 10)).await;
    assert_eq!(guest.answer(1).await, VoucherDecision::Continue);
    let lines = stage.shown().lines().count();
    assert!((100..600).contains(&lines), "{lines} lines");
}

#[tokio::test]
async fn a_guest_has_four_connections_and_no_more() {
    let stage = Stage::open();
    let mut held = Vec::new();
    for question in 0..4 {
        let mut guest = stage.guest().await;
        guest.ask(question, voucher(5, 10)).await;
        guest.answer(question).await;
        held.push(guest);
    }
    stage.guest().await.sees_the_end().await;
}

#[tokio::test]
async fn answers_that_nobody_takes_do_not_pile_up() {
    let stage = Stage::open();
    let mut guest = stage.guest().await;
    let all = async {
        for total in 1..200_000 {
            guest.ask(1, voucher(6, total)).await;
        }
    };
    let stuck = tokio::time::timeout(Duration::from_secs(3), all).await;
    assert!(stuck.is_err(), "the host went on reading without end");
}
