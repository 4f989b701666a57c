//! A release recomputed from artifacts, and compared: file by file, register by register.
//!
//! Reads files. What is deliberately not here: the log and its signatures (`publication`).

use std::path::Path;

use protocol::reference_values::{
    ExpectedRegisters, MAX_BYTES, ReferenceValues, ReferenceValuesError, ShapeReference,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model_image::FileDigest;
use crate::release::{self, ArtifactPaths, BootArtifacts, ReleaseError, Shape};

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

/// Recomputes what a release directory says of an image directory, over these machine shapes: a
/// published entry names its shape, and RTMR0 depends on more of the machine than the entry says.
///
/// # Errors
/// See [`CheckError`]; a value that differs is a finding, not an error.
pub fn check(release: &Path, image: &Path, shapes: &[Shape]) -> Result<Vec<Finding>, CheckError> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let values = release::read_bounded(&release.join("reference-values.json"), limit)?;
    let values = ReferenceValues::parse(&values)?;
    let mut findings = Vec::new();
    let manifest = release.join("manifest.json");
    if manifest.exists() {
        files(&manifest, image, &mut findings)?;
    }
    let artifacts = BootArtifacts::read(&ArtifactPaths::of_image(image))?;
    registers(&values, &artifacts, shapes, &mut findings)?;
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

/// What stands for an entry that one side lacks.
const ABSENT: &str = "absent";

/// Every register of every shape, of which there must be the same on both sides.
fn registers(
    values: &ReferenceValues,
    artifacts: &BootArtifacts,
    shapes: &[Shape],
    findings: &mut Vec<Finding>,
) -> Result<(), ReleaseError> {
    let again =
        release::reference_values(artifacts, values.image, values.profile, shapes, &[])?.shapes;
    let same = |one: &ShapeReference, other: &ShapeReference| {
        one.shape == other.shape && kind(one) == kind(other)
    };
    for published in &values.shapes {
        let recomputed = again.iter().find(|entry| same(entry, published));
        compare(published, recomputed, findings);
    }
    let missing = |entry: &&ShapeReference| !values.shapes.iter().any(|old| same(old, entry));
    for entry in again.iter().filter(missing) {
        findings.push(Finding::new(name(entry, "entry"), &ABSENT, &"recomputed"));
    }
    Ok(())
}

fn kind(entry: &ShapeReference) -> &'static str {
    match entry.registers {
        ExpectedRegisters::SevSnp { .. } => "sev-snp",
        ExpectedRegisters::Tdx { .. } => "tdx",
    }
}

fn name(entry: &ShapeReference, register: &str) -> String {
    format!("{} {} {register}", entry.shape, kind(entry))
}

/// The parts of an entry, in a fixed order, as text.
fn parts(entry: &ShapeReference) -> Vec<(&'static str, String)> {
    let mut parts = vec![
        ("vCPUs", entry.vcpus.to_string()),
        ("memory in MiB", entry.memory_mib.to_string()),
    ];
    match &entry.registers {
        ExpectedRegisters::SevSnp {
            vcpu_type,
            guest_features,
            launch_digest,
        } => parts.extend([
            ("vCPU type", vcpu_type.clone()),
            ("guest features", guest_features.to_string()),
            ("launch digest", launch_digest.to_string()),
        ]),
        ExpectedRegisters::Tdx {
            mrtd,
            rtmr0,
            rtmr1,
            rtmr2,
        } => parts.extend([
            ("mrtd", mrtd.to_string()),
            ("rtmr0", rtmr0.value.to_string()),
            ("rtmr1", rtmr1.value.to_string()),
            ("rtmr2", rtmr2.value.to_string()),
        ]),
    }
    parts
}

fn compare(
    published: &ShapeReference,
    recomputed: Option<&ShapeReference>,
    findings: &mut Vec<Finding>,
) {
    let Some(recomputed) = recomputed else {
        findings.push(Finding::new(
            name(published, "entry"),
            &"published",
            &ABSENT,
        ));
        return;
    };
    for ((part, old), (_, new)) in parts(published).iter().zip(parts(recomputed)) {
        findings.push(Finding::new(name(published, part), old, &new));
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use std::io::Read as _;
    use std::path::PathBuf;

    use super::*;
    use crate::pe::made::pe;
    use crate::release::reference_values;
    use protocol::reference_values::Profile;

    const SHAPES: &str = r#"[
        {"name": "small", "vcpus": 2, "memory_mib": 2048, "vcpu_type": "EPYC-v4",
         "guest_features": 1},
        {"name": "large", "vcpus": 8, "memory_mib": 16384, "vcpu_type": "EPYC-v4",
         "guest_features": 1, "gpus": 1}]"#;

    struct World {
        directory: tempfile::TempDir,
        shapes: Vec<Shape>,
    }

    impl World {
        /// An image of stand-ins with the real firmware, and its release.
        fn new() -> Self {
            let world = Self {
                directory: tempfile::tempdir().unwrap(),
                shapes: serde_json::from_str(SHAPES).unwrap(),
            };
            let packed = include_bytes!("../../image/firmware/OVMF.fd.gz").as_slice();
            let mut firmware = Vec::new();
            let mut unpacked = flate2::read::GzDecoder::new(packed);
            unpacked.read_to_end(&mut firmware).unwrap();
            std::fs::create_dir(world.image()).unwrap();
            std::fs::create_dir(world.release()).unwrap();
            world.put("OVMF.fd", &firmware);
            world.put("bzImage", &pe(&[(".text", b"kernel")]));
            world.put("initrd.cpio.zst", b"initrd");
            world.put("cmdline", b"panic=-1");
            let artifacts = BootArtifacts::read(&ArtifactPaths::of_image(&world.image())).unwrap();
            let version = "0.1.0".parse().unwrap();
            let values =
                reference_values(&artifacts, version, Profile::Release, &world.shapes, &[]);
            let text = values.unwrap().to_json().unwrap();
            std::fs::write(world.release().join("reference-values.json"), text).unwrap();
            world
        }

        fn image(&self) -> PathBuf {
            self.directory.path().join("image")
        }

        fn release(&self) -> PathBuf {
            self.directory.path().join("release")
        }

        fn put(&self, name: &str, bytes: &[u8]) {
            std::fs::write(self.image().join(name), bytes).unwrap();
        }

        fn different(&self, shapes: &[Shape]) -> Vec<String> {
            let findings = check(&self.release(), &self.image(), shapes).unwrap();
            assert!(findings.len() > 20);
            let differ = findings.into_iter().filter(|finding| !finding.equal);
            differ.map(|finding| finding.what).collect()
        }
    }

    #[test]
    fn the_same_image_and_shapes_give_every_value_again() {
        let world = World::new();
        assert_eq!(world.different(&world.shapes), Vec::<String>::new());
    }

    #[test]
    fn another_command_line_changes_the_registers_that_carry_it_and_no_other() {
        let world = World::new();
        world.put("cmdline", b"panic=-1 debug");
        let expected = [
            "small sev-snp launch digest",
            "small tdx rtmr2",
            "large sev-snp launch digest",
            "large tdx rtmr2",
        ];
        assert_eq!(world.different(&world.shapes), expected);
    }

    #[test]
    fn a_device_that_the_shape_does_not_have_is_found_in_rtmr0() {
        let world = World::new();
        let mut shapes = world.shapes.clone();
        for shape in &mut shapes {
            shape.gpus = 0;
        }
        assert_eq!(world.different(&shapes), ["large tdx rtmr0"]);
    }

    #[test]
    fn an_entry_that_one_side_lacks_is_a_difference() {
        let mut world = World::new();
        let small = world.shapes.remove(0);
        let published_only = ["small sev-snp entry", "small tdx entry"];
        let findings = check(&world.release(), &world.image(), &world.shapes).unwrap();
        let differ = findings.iter().filter(|finding| !finding.equal);
        let differ: Vec<&str> = differ.map(|finding| finding.what.as_str()).collect();
        assert_eq!(differ, published_only);
        let more = Shape {
            name: "more".to_owned(),
            ..small.clone()
        };
        let shapes = [world.shapes.remove(0), small, more];
        assert_eq!(
            world.different(&shapes),
            ["more sev-snp entry", "more tdx entry"]
        );
    }
}
