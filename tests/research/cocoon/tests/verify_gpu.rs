//! `verify gpu` as a program, on simulated boards: an honest one is accepted, lies are rejected.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests state claims; a panic is the failure"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mock_tee::nvidia::{Board, DeviceLie};
use protocol::digest::BootId;
use protocol::gpu_evidence::{DeviceKind, GpuMode};
use serde_json::Value;

const BOOT: BootId = BootId([7; 32]);
/// 2026-11-22.
const AT: u64 = 1_795_305_600;
const SET: &str = "hopper,2,1,protected-pcie";

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn of(board: &Board) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let evidence = board.evidence(&BOOT, 0).unwrap().encode();
        fs::write(folder.path().join("evidence"), evidence).unwrap();
        let stapled = board.endorsements(AT, None).unwrap().encode();
        fs::write(folder.path().join("stapled"), stapled).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Exit code and standard output.
    fn judge(&self, set: &str, boot: BootId, more: &[&str]) -> (i32, String) {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let answer = Command::new(env!("CARGO_BIN_EXE_cocoon-research"))
            .args(["verify", "gpu", "--set", set, "--at", &AT.to_string()])
            .args(["--evidence", &text(&self.path("evidence"))])
            .args(["--endorsements", &text(&self.path("stapled"))])
            .args(["--boot-id", &boot.to_string()])
            .args(more)
            .output()
            .unwrap();
        let out = String::from_utf8(answer.stdout).unwrap();
        (answer.status.code().unwrap(), out)
    }
}

fn board() -> Board {
    Board::new(DeviceKind::Hopper, 2, 1, GpuMode::ProtectedPcie)
}

fn verdict(out: &str) -> Value {
    serde_json::from_str(out).unwrap()
}

#[test]
fn an_honest_board_is_accepted_with_every_check_of_every_device() {
    let stage = Stage::of(&board());
    let (exit, out) = stage.judge(SET, BOOT, &[]);
    assert_eq!(exit, 0, "{out}");
    let verdict = verdict(&out);
    assert_eq!(verdict["kind"], "gpu-evidence");
    assert_eq!(verdict["verdict"], "accepted");
    let checks = verdict["checks"].as_array().unwrap();
    for of in ["gpu-0", "gpu-1", "switch-2", "gpu-firmware-1", "manifest-2"] {
        assert!(checks.iter().any(|check| check["of"] == of), "{of}");
    }
    assert_eq!(stage.judge(SET, BOOT, &[]).1, out, "the same bytes");
    let (exit, pretty) = stage.judge(SET, BOOT, &["--pretty"]);
    assert_eq!(exit, 0);
    assert!(pretty.starts_with("accepted\nchannel binding not checked"));
    assert!(
        pretty.contains("not needed   gpu-mode of switch-2"),
        "{pretty}"
    );
}

#[test]
fn another_set_and_another_boot_are_rejected() {
    let stage = Stage::of(&board());
    for (set, boot, code) in [
        ("hopper,1,0,single-pass", BOOT, "gpu-count"),
        ("blackwell,2,1,protected-pcie", BOOT, "gpu-architecture"),
        ("hopper,2,1,multi-pass", BOOT, "gpu-mode"),
        (SET, BootId([8; 32]), "gpu-nonce"),
    ] {
        let (exit, out) = stage.judge(set, boot, &[]);
        assert_eq!(exit, 20, "{out}");
        assert_eq!(verdict(&out)["rejection"], code);
    }
}

#[test]
fn lies_are_rejected_for_their_own_reason() {
    for (lie, code) in [
        (DeviceLie::BadSignature, "gpu-signature-invalid"),
        (DeviceLie::Revoked, "certificate-revoked"),
        (DeviceLie::NoManifest, "rim-missing"),
        (DeviceLie::ChangedValue, "rim-digest"),
        (DeviceLie::Measurement, "gpu-measurement-mismatch"),
        (DeviceLie::OtherSwitch, "gpu-links"),
    ] {
        let (exit, out) = Stage::of(&board().with(lie)).judge(SET, BOOT, &[]);
        assert_eq!(exit, 20, "{lie:?} {out}");
        assert_eq!(verdict(&out)["rejection"], code, "{lie:?}");
    }
}
