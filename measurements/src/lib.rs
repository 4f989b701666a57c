//! From artifacts to expected registers, offline: what an auditor recomputes and a client pins.
//!
//! The library is pure over bytes; only `release`, `check`, `publication` and `model_image` touch
//! files. Comparing registers with evidence is the verifier's part, and reading a register is the
//! guest's.
#![forbid(unsafe_code)]

pub mod acpi;
pub mod authenticode;
pub mod bytes;
pub mod check;
pub mod erofs;
pub mod event_log_json;
pub mod explain;
pub mod firmware;
pub mod machine;
pub mod model_image;
pub mod pcr;
pub mod pe;
pub mod publication;
pub mod release;
pub mod rtmr0;
pub mod smbios;
pub mod snp;
pub mod snp_vmsa;
pub mod td_hob;
pub mod tdx;
pub mod uki;
pub mod verity_tree;

pub use transparency;
