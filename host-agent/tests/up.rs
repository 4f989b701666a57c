//! Claims about a whole run of `host-agent up`, with stand-ins for QEMU and the vsock device and a
//! guest that the test plays.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod program;

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use messages::boot::{BootFailure, BootPhase};
use messages::framing::frame;
use messages::host_control::{GuestMessage, ServeEvent};
use nix::sys::signal::Signal;
use program::Running;
use protocol::digest::{AccountId, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::Voucher;
use serde_json::Value;

struct Stage {
    place: tempfile::TempDir,
    extra: Vec<&'static str>,
}

impl Stage {
    /// `qemu` is what the stand-in for QEMU does after it wrote down its arguments.
    fn set(qemu: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        program::write_image(&at("image"));
        let description = program::write_model(&at("model"));
        std::fs::create_dir(at("endorsements")).unwrap();
        let script = |name: &str, text: String| {
            std::fs::write(at(name), text).unwrap();
            std::fs::set_permissions(at(name), Permissions::from_mode(0o700)).unwrap();
        };
        let arguments = at("qemu-arguments").display().to_string();
        script(
            "qemu",
            format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {arguments}\n{qemu}\n"),
        );
        // Its arguments are --guest-cid 3 --socket PATH --uds-path PATH.
        script(
            "device",
            "#!/bin/sh\ntouch \"$4\"\nexec sleep 600\n".to_owned(),
        );
        program::lines(&[
            "configure",
            "--payee",
            &format!("0:{}", "77".repeat(32)),
            "--network",
            "-99",
            "--model",
            &format!("small={}", description.display()),
            "--prices",
            "20,2,160",
            "--out",
            at("launch-config.json").to_str().unwrap(),
        ]);
        Self {
            place,
            extra: Vec::new(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.at(name).display().to_string();
        let pairs = [
            ("--image", path("image")),
            ("--model", path("model")),
            ("--launch-config", path("launch-config.json")),
            ("--state", path("state")),
            ("--accelerator", "emulation".to_owned()),
            ("--qemu", path("qemu")),
            ("--vhost-device-vsock", path("device")),
            ("--endorsements", path("endorsements")),
            ("--chain", "http://127.0.0.1:9".to_owned()),
            ("--listen", "127.0.0.1:0".to_owned()),
        ];
        let extra = self.extra.iter().map(|word| (*word).to_owned());
        std::iter::once("up".to_owned())
            .chain(pairs.into_iter().flat_map(|(a, b)| [a.to_owned(), b]))
            .chain(extra)
            .collect()
    }

    fn up(&self) -> Running {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Running::start(&arguments)
    }

    fn guest(&self) -> UnixStream {
        UnixStream::connect(self.at("state/vsock_7001")).unwrap()
    }
}

fn say(guest: &mut UnixStream, message: &GuestMessage) {
    guest.write_all(&frame(&message.encode())).unwrap();
}

/// Process ids of the vsock device and of QEMU, once both are started.
fn children(agent: &mut Running) -> [u64; 2] {
    let pids = [(); 2].map(|()| agent.event("started")["pid"].as_u64().unwrap());
    for pid in pids {
        program::wait_for("the child runs", || program::is_alive(pid));
        // Until `setpriv` has put the program in its place, the kernel was not asked to end it.
        program::wait_for("the child runs its program", || !is_being_started(pid));
    }
    pids
}

fn is_being_started(pid: u64) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.starts_with(b"setpriv\0")
}

fn all_gone(pids: [u64; 2]) {
    for pid in pids {
        program::wait_for("the child ends", || !program::is_alive(pid));
    }
}

#[test]
fn a_ready_guest_is_served_until_the_operator_stops_it_and_nothing_is_left() {
    let stage = Stage::set("exec sleep 600");
    let mut agent = stage.up();
    let pids = children(&mut agent);
    let record = std::fs::read(stage.at("state/launch.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["pid"].as_u64().unwrap(), pids[1]);
    let mut guest = stage.guest();
    for (at, phase) in BootPhase::ALL.into_iter().enumerate() {
        let ms = u32::try_from(at).unwrap();
        say(&mut guest, &GuestMessage::PhasePassed(phase, ms));
    }
    let ready = agent.event("ready");
    assert!(ready["listen"].as_str().unwrap().starts_with("127.0.0.1:"));
    agent.signal(Signal::SIGTERM);
    agent.event("stopped");
    assert_eq!(agent.ended(), Some(0));
    all_gone(pids);
    for left in ["launch.json", "vsock_7001", "vhost.sock", "vsock"] {
        assert!(!stage.at("state").join(left).exists(), "{left}");
    }
}

#[test]
fn qemu_gets_the_sealed_artifacts_and_the_configuration_disk() {
    let stage = Stage::set("exec sleep 600");
    let mut agent = stage.up();
    children(&mut agent);
    program::wait_for("arguments", || stage.at("qemu-arguments").exists());
    let text = || std::fs::read_to_string(stage.at("qemu-arguments")).unwrap();
    // The vsock device stands last.
    program::wait_for("all arguments", || {
        text().ends_with("chardev=vsock,bus=pcie.0,addr=0x3\n")
    });
    let sealed = stage.at("state/launch");
    for name in ["bzImage", "initrd.cpio.zst", "OVMF.fd"] {
        let path = sealed.join(name);
        assert!(text().contains(&path.display().to_string()), "{name}");
        let content = std::fs::read_to_string(&path).unwrap();
        assert_eq!(content, format!("content of {name}"));
    }
    let disk = std::fs::read(stage.at("state/launch-config.img")).unwrap();
    let document = std::fs::read(stage.at("launch-config.json")).unwrap();
    assert_eq!(disk[4..4 + document.len()], document);
}

#[test]
fn a_guest_that_powers_off_with_a_code_gives_that_code() {
    let stage = Stage::set("sleep 2; exit 0");
    let mut agent = stage.up();
    let pids = children(&mut agent);
    let (phase, failure) = (BootPhase::Root, BootFailure::VerityCorrupt);
    say(
        &mut stage.guest(),
        &GuestMessage::PhaseFailed(phase, failure),
    );
    let ended = agent.event("guest-ended");
    assert_eq!(ended["code"], "boot-verity-corrupt");
    assert_eq!(agent.ended(), Some(3));
    all_gone(pids);
}

#[test]
fn a_machine_that_ends_without_a_word_is_told_apart() {
    let stage = Stage::set("exit 0");
    let mut agent = stage.up();
    let ended = agent.event("guest-ended");
    assert_eq!(ended["code"], Value::Null);
    assert_eq!(agent.ended(), Some(4));
}

#[test]
fn a_guest_that_is_not_ready_in_time_is_stopped() {
    let mut stage = Stage::set("exec sleep 600");
    stage.extra = vec!["--boot-timeout", "1"];
    let mut agent = stage.up();
    let pids = children(&mut agent);
    assert_eq!(agent.ended(), Some(1));
    all_gone(pids);
}

/// No handler runs: the kernel ends the children.
#[test]
fn a_killed_agent_leaves_nothing_running() {
    let stage = Stage::set("exec sleep 600");
    let mut agent = stage.up();
    let pids = children(&mut agent);
    agent.signal(Signal::SIGKILL);
    assert_eq!(agent.ended(), None);
    all_gone(pids);
}

#[test]
fn one_flipped_byte_in_any_artifact_is_refused_before_anything_starts() {
    for name in ["bzImage", "initrd.cpio.zst", "root.img", "OVMF.fd"] {
        let stage = Stage::set("exec sleep 600");
        flip(&stage.at("image").join(name));
        let arguments = stage.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = program::finish(&arguments);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(name), "{errors}");
        assert!(!stage.at("qemu-arguments").exists());
    }
}

fn flip(path: &Path) {
    let mut content = std::fs::read(path).unwrap();
    content[5] ^= 1;
    std::fs::write(path, content).unwrap();
}

#[test]
fn a_truncated_launch_configuration_is_refused_with_its_code() {
    let stage = Stage::set("exec sleep 600");
    let path = stage.at("launch-config.json");
    let document = std::fs::read(&path).unwrap();
    std::fs::write(&path, &document[..document.len() - 1]).unwrap();
    let arguments = stage.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = program::finish(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("launch-configuration-malformed"),
        "{errors}"
    );
}

const CHANNEL: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([0x5a; 32]),
};

/// About a voucher of a channel that no chain can be asked about.
fn question() -> GuestMessage {
    let voucher = Voucher {
        network: NetworkId(-99),
        channel: CHANNEL,
        epoch: 1,
        cumulative: Nano::from_u64(123_456),
        receipts_root: ReceiptsRoot::ZERO,
        valid_until: 1_900_000_000,
    };
    GuestMessage::VoucherQuestion {
        question: 1,
        voucher: Box::new(voucher.sign(&SigningKey::from_bytes(&[42; 32]))),
    }
}

#[test]
fn totals_are_told_on_a_loopback_port_when_asked_for_and_nothing_of_any_client() {
    let mut stage = Stage::set("exec sleep 600");
    stage.extra = vec!["--metrics", "127.0.0.1:0"];
    let mut agent = stage.up();
    let told = agent.event("metrics");
    let address = told["listen"].as_str().unwrap();
    let get = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let metrics = || program::ask(address, &get);
    assert!(metrics().starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(metrics().contains("\ncocoon_machine_up 0\n"));
    children(&mut agent);
    let mut guest = stage.guest();
    say(&mut guest, &GuestMessage::PhasePassed(BootPhase::Ready, 1));
    agent.event("ready");
    say(&mut guest, &question());
    // More than the operator is shown: all of it is counted.
    for _ in 0..500 {
        say(
            &mut guest,
            &GuestMessage::Event(ServeEvent::RequestRefused, 402),
        );
    }
    for line in [
        "cocoon_machine_up 1",
        "cocoon_machine_launches_total 1",
        "cocoon_guest_refusals_total{status=\"402\"} 500",
        "cocoon_vouchers_stopped_total{code=\"payment-chain-unreadable\"} 1",
        "cocoon_vouchers_stored_total 0",
        "cocoon_journal_readable 1",
        "cocoon_journal_channels{asset=\"coin\"} 0",
    ] {
        program::wait_for(line, || metrics().lines().any(|found| found == line));
    }
    let all = metrics();
    let free = all
        .lines()
        .find(|line| line.starts_with("cocoon_state_free_bytes "));
    assert_ne!(free.unwrap(), "cocoon_state_free_bytes 0");
    for hidden in [
        &CHANNEL.to_string(),
        "123456",
        stage.at("state").to_str().unwrap(),
    ] {
        assert!(!all.contains(hidden), "{hidden}");
    }
    let elsewhere = get.replace(address, "example.org");
    assert!(program::ask(address, &elsewhere).starts_with("HTTP/1.1 403 "));
    assert!(program::ask(address, &get.replace("/metrics", "/")).starts_with("HTTP/1.1 404 "));
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended(), Some(0));
}

#[test]
fn totals_are_not_told_to_other_machines() {
    let mut stage = Stage::set("exec sleep 600");
    stage.extra = vec!["--metrics", "0.0.0.0:0"];
    let arguments = stage.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = program::finish(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("loopback"), "{errors}");
    assert!(!stage.at("qemu-arguments").exists());
}
