//! A release recomputed from artifacts, and compared: file by file, register by register.
//!
//! Reads files. What is deliberately not here: the log and its signatures (`publication`).

use std::path::Path;

use protocol::reference_values::{
    ExpectedRegisters, MAX_BYTES, ReferenceValues, ReferenceValuesError, ShapeReference,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::firmware::Firmware;
use crate::model_image::FileDigest;
use crate::release::{self, ArtifactPaths, BootArtifacts, ReleaseError};
use crate::snp::{MeasuredFirmware, MeasuredLaunch, SnpShape};
use crate::tdx::{self, PageOrder};

const MAX_MANIFEST_BYTES: u64 = 64 * 1024;
const PIECE: usize = 1 << 20;

/// Why a release cannot be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file cannot be read, or the image cannot be measured.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The reference values cannot be read.
    #[error("`reference-values.json`")]
    ReferenceValues(#[from] ReferenceValuesError),
    /// The manifest is not of the specified form.
    #[error("`manifest.json` is not of the specified form")]
    Manifest,
}

/// One published value beside the recomputed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is: a file, or a register of a shape.
    pub what: String,
    /// As published.
    pub published: String,
    /// As recomputed.
    pub recomputed: String,
    /// Whether they are equal.
    pub equal: bool,
}

impl Finding {
    fn new(what: String, published: &impl ToString, recomputed: &impl ToString) -> Self {
        let (published, recomputed) = (published.to_string(), recomputed.to_string());
        Self {
            what,
            equal: published == recomputed,
            published,
            recomputed,
        }
    }
}

#[derive(Deserialize)]
struct Manifest {
    files: std::collections::BTreeMap<String, ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    sha256: String,
}

/// Recomputes what a release directory says of an image directory.
///
/// # Errors
/// See [`CheckError`]; a value that differs is a finding, not an error.
pub fn check(release: &Path, image: &Path) -> Result<Vec<Finding>, CheckError> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let values = release::read_bounded(&release.join("reference-values.json"), limit)?;
    let values = ReferenceValues::parse(&values)?;
    let mut findings = Vec::new();
    let manifest = release.join("manifest.json");
    if manifest.exists() {
        files(&manifest, image, &mut findings)?;
    }
    let artifacts = BootArtifacts::read(&ArtifactPaths::of_image(image))?;
    registers(&values, &artifacts, &mut findings)?;
    Ok(findings)
}

fn files(manifest: &Path, image: &Path, findings: &mut Vec<Finding>) -> Result<(), CheckError> {
    let text = release::read_bounded(manifest, MAX_MANIFEST_BYTES)?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| CheckError::Manifest)?;
    for (name, file) in manifest.files {
        if name.contains('/') {
            return Err(CheckError::Manifest);
        }
        let found = digest(&image.join(&name))?;
        findings.push(Finding::new(name, &file.sha256, &found));
    }
    Ok(())
}

fn digest(path: &Path) -> Result<FileDigest, ReleaseError> {
    use std::io::Read as _;
    let cannot = |source| ReleaseError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = std::fs::File::open(path).map_err(cannot)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece).map_err(cannot)?;
        let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else {
            return Ok(FileDigest(hash.finalize().into()));
        };
        hash.update(read);
    }
}

/// Every register of every shape. The firmware's pages are hashed once for all shapes.
///
/// # Errors
/// Those of the artifacts.
pub fn registers(
    values: &ReferenceValues,
    artifacts: &BootArtifacts,
    findings: &mut Vec<Finding>,
) -> Result<(), ReleaseError> {
    let firmware = Firmware::parse(&artifacts.firmware)?;
    let boot = artifacts.boot();
    let launch = MeasuredFirmware::new(&firmware)?.with(Some(&boot))?;
    let is_tdx = |shape: &ShapeReference| matches!(shape.registers, ExpectedRegisters::Tdx { .. });
    // Firmware of SEV-SNP alone has no tables for a TD.
    let td = if values.shapes.iter().any(is_tdx) {
        Some((
            tdx::mrtd(&firmware, PageOrder::SinglePass)?,
            tdx::replay(&tdx::rtmr1_events(&boot)?),
            tdx::replay(&tdx::rtmr2_events(&boot)),
        ))
    } else {
        None
    };
    for shape in &values.shapes {
        match &shape.registers {
            ExpectedRegisters::SevSnp { .. } => findings.push(snp(shape, &launch)?),
            ExpectedRegisters::Tdx {
                mrtd,
                rtmr0: _,
                rtmr1,
                rtmr2,
            } => {
                let Some(found) = &td else { continue };
                let what = |register: &str| format!("{} tdx {register}", shape.shape);
                findings.push(Finding::new(what("mrtd"), mrtd, &found.0));
                findings.push(Finding::new(what("rtmr1"), &rtmr1.value, &found.1));
                findings.push(Finding::new(what("rtmr2"), &rtmr2.value, &found.2));
            }
        }
    }
    Ok(())
}

fn snp(shape: &ShapeReference, launch: &MeasuredLaunch) -> Result<Finding, ReleaseError> {
    let ExpectedRegisters::SevSnp {
        vcpu_type,
        guest_features,
        launch_digest,
    } = &shape.registers
    else {
        return Err(crate::snp_vmsa::UnknownVcpuType.into());
    };
    let machine = SnpShape {
        vcpus: shape.vcpus,
        vcpu_type: vcpu_type.parse()?,
        guest_features: *guest_features,
    };
    let found = launch.launch_digest(&machine)?;
    let what = format!("{} sev-snp launch digest", shape.shape);
    Ok(Finding::new(what, launch_digest, &found))
}
