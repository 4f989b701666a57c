//! Preconditions of a launch, each with what to do when it does not hold.
//!
//! Looks and changes nothing; `/dev/kvm` is never opened. Deliberately not here: repairs.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use protocol::endorsements::EndorsementKind;
use protocol::machine_grant::SignedGrant;
use serde_json::{Value, json};
use verifier::UnixTime;

use crate::control::endorsements;
use crate::launch::artifacts::{Artifacts, ImagePaths, Manifest};
use crate::launch::shape::Accelerator;

/// One precondition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found, or what is wrong and how to repair it.
    pub verdict: Result<String, Complaint>,
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: &'static str,
}

impl Check {
    /// The check as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.verdict {
            Ok(found) => json!({ "check": self.name, "ok": true, "found": found }),
            Err(complaint) => json!({
                "check": self.name,
                "ok": false,
                "problem": complaint.problem,
                "fix": complaint.fix,
            }),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Ok(found) => write!(f, "ok    {}: {found}", self.name),
            Err(complaint) => write!(
                f,
                "FAIL  {}: {}\n      fix: {}",
                self.name, complaint.problem, complaint.fix
            ),
        }
    }
}

/// Where things are looked for; what is not named is not looked at.
#[derive(Debug, Clone)]
pub struct Places {
    /// QEMU.
    pub qemu: std::path::PathBuf,
    /// The vsock device's program.
    pub vsock_device: std::path::PathBuf,
    /// The image.
    pub image: Option<ImagePaths>,
    /// The endorsements.
    pub endorsements: Option<std::path::PathBuf>,
    /// What would run the guest.
    pub accelerator: Accelerator,
}

/// Looks at everything.
#[must_use]
pub fn examine(places: &Places) -> Vec<Check> {
    let mut checks = vec![
        program(
            "QEMU",
            &places.qemu,
            "install qemu-system-x86 (10.1 or later for TDX), or name it with --qemu",
        ),
        program(
            "vsock device",
            &places.vsock_device,
            "cargo install --locked vhost-device-vsock --version 0.3.0, or name it with \
             --vhost-device-vsock",
        ),
        program("setpriv", Path::new("setpriv"), "install util-linux"),
    ];
    if let Some(image) = &places.image {
        checks.push(artifacts(image));
    }
    if let Some(directory) = &places.endorsements {
        checks.push(stapled(directory));
        checks.extend(grant(directory));
    }
    match places.accelerator {
        Accelerator::Emulation(_) => {}
        Accelerator::Snp => checks.push(device(
            "SEV device",
            "/dev/sev",
            "enable SEV-SNP in the firmware setup and load ccp and kvm_amd with sev_snp=1",
        )),
        Accelerator::Tdx => checks.push(device(
            "KVM device",
            "/dev/kvm",
            "enable TDX in the firmware setup and load kvm_intel with tdx=1",
        )),
    }
    checks
}

/// Whether a program runs, and what it calls itself.
fn program(name: &'static str, path: &Path, fix: &'static str) -> Check {
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    let verdict = match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.lines().next().unwrap_or("it runs").to_owned())
        }
        Ok(output) => Err(format!("`{}` ended with {}", path.display(), output.status)),
        Err(error) => Err(format!("cannot run `{}`: {error}", path.display())),
    };
    Check {
        name,
        verdict: verdict.map_err(|problem| Complaint { problem, fix }),
    }
}

fn artifacts(image: &ImagePaths) -> Check {
    let checked =
        Manifest::read(&image.image).and_then(|manifest| Artifacts::check(image, &manifest));
    Check {
        name: "image",
        verdict: match checked {
            Ok(_) => Ok(format!(
                "`{}` is as its manifest says",
                image.image.display()
            )),
            Err(error) => Err(Complaint {
                problem: error.to_string(),
                fix: "build the image again, or fetch the release's artifacts again",
            }),
        },
    }
}

fn stapled(directory: &Path) -> Check {
    const FIX: &str = "fetch the certificates of this machine's vendor into the directory";
    let verdict = match endorsements::read(directory) {
        Ok(found) if found.is_empty() => Err(format!("nothing in `{}`", directory.display())),
        Ok(found) => Ok(format!("{} bytes", found.encode().len())),
        Err(error) => Err(error.to_string()),
    };
    Check {
        name: "endorsements",
        verdict: verdict.map_err(|problem| Complaint { problem, fix: FIX }),
    }
}

/// The provider's grant, where one would be stapled.
fn grant(directory: &Path) -> Option<Check> {
    const FIX: &str = "sign one for this machine: host-agent grant sign";
    let stapled = endorsements::read(directory).ok()?;
    let bytes = stapled.get(EndorsementKind::MachineGrant)?;
    let verdict = match SignedGrant::decode(bytes) {
        Ok(signed) if signed.is_signed() => {
            let until = UnixTime(signed.grant.not_after);
            Ok(format!("of {} until {until}", signed.provider))
        }
        Ok(_) => Err("its signature does not hold".to_owned()),
        Err(error) => Err(format!("it is of another form: {error}")),
    };
    Some(Check {
        name: "machine grant",
        verdict: verdict.map_err(|problem| Complaint { problem, fix: FIX }),
    })
}

/// Whether a device is there; it is not opened.
fn device(name: &'static str, path: &'static str, fix: &'static str) -> Check {
    let verdict = match std::fs::metadata(path) {
        Ok(_) => Ok(path.to_owned()),
        Err(error) => Err(Complaint {
            problem: format!("{path}: {error}"),
            fix,
        }),
    };
    Check { name, verdict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use protocol::digest::{ConfigDigest, Ppid, ProviderKey};
    use protocol::machine_grant::{ChipIdentity, MachineGrant};
    use protocol::tee::TeeKind;

    #[test]
    fn each_missing_thing_comes_with_its_fix() {
        let place = tempfile::tempdir().unwrap();
        let nowhere = place.path().join("nowhere");
        let checks = examine(&Places {
            qemu: nowhere.clone(),
            vsock_device: "/bin/false".into(),
            image: Some(ImagePaths {
                image: nowhere.clone(),
                firmware: None,
            }),
            endorsements: Some(place.path().to_owned()),
            accelerator: Accelerator::Emulation(TeeKind::SevSnp),
        });
        for check in &checks {
            let failed = check.verdict.is_err();
            assert_eq!(failed, check.name != "setpriv", "{check}");
            assert_eq!(check.to_string().contains("fix: "), failed);
        }
        assert_eq!(checks.len(), 5);
    }

    #[test]
    fn a_grant_that_would_be_stapled_must_hold() {
        let place = tempfile::tempdir().unwrap();
        assert!(grant(place.path()).is_none());
        let signed = MachineGrant {
            network: samples::NETWORK,
            chip: ChipIdentity::Tdx(Ppid([1; 16])),
            devices: [].into(),
            configuration: ConfigDigest([2; 32]),
            not_after: 1_795_305_600,
        }
        .sign(&samples::key());
        let path = place.path().join("machine-grant.bin");
        std::fs::write(&path, signed.encode()).unwrap();
        let found = grant(place.path()).unwrap().verdict.unwrap();
        assert!(found.ends_with(" until 2026-11-22T00:00:00Z"), "{found}");
        let other = SignedGrant {
            provider: ProviderKey([3; 32]),
            ..signed
        };
        for bytes in [other.encode(), vec![0]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(grant(place.path()).unwrap().verdict.is_err());
        }
    }
}
