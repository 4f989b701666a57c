//! Names of the files of a release and of the log: `docs/spec/release.md` §1.

/// The image's manifest: every artifact with its digest.
pub const MANIFEST: &str = "manifest.json";
/// What clients pin.
pub const REFERENCE_VALUES: &str = "reference-values.json";
/// The bill of materials.
pub const SBOM: &str = "sbom.cdx.json";
/// Every lock with its digest.
pub const BUILD_INPUTS: &str = "build-inputs.json";
/// The leaf of the log.
pub const ENTRY: &str = "entry";
/// That the leaf is in the log.
pub const INCLUSION: &str = "entry.tlog-proof";
/// That the log only grew since the release before.
pub const CONSISTENCY: &str = "consistency";
/// In the log's directory: all records.
pub const ENTRIES: &str = "entries";
/// In the log's directory: its newest checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
