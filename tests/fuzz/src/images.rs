//! What an image is made of: firmware with its tables, executables, the layout of file systems and
//! the parameters of their hash trees.

use measurements::erofs::{BLOCK_BYTES, FileEntry, Layout};
use measurements::firmware::{Firmware, PAGE};
use measurements::machine::Range;
use measurements::pcr;
use measurements::pe::Pe;
use measurements::snp::{DirectBoot, MeasuredFirmware, SnpShape};
use measurements::snp_vmsa::VcpuType;
use measurements::tdx::{self, PageOrder};
use measurements::uki::Uki;
use measurements::verity_tree::{self, Geometry};
use measurements::{authenticode, td_hob};
use protocol::verity::VerityParameters;
use sha2::Sha384;

use crate::Outcome;

/// Beyond this many pages an execution would only hash: how long that may take is measured
/// elsewhere.
const FEW_PAGES: u64 = 64;
const MEMORY: Range = Range {
    start: 0,
    length: 2 << 30,
};
const MACHINE: SnpShape = SnpShape {
    vcpus: 2,
    vcpu_type: VcpuType::Genoa,
    guest_features: 1,
};

/// An input is the end of a flash image, where its tables lie; zeros stand in front of it.
pub fn firmware(input: &[u8]) -> Outcome {
    measured(input, FEW_PAGES)
}

/// The same, measured however many pages it has.
pub fn firmware_at_length(input: &[u8]) -> Outcome {
    measured(input, u64::MAX)
}

fn measured(input: &[u8], most_pages: u64) -> Outcome {
    let page = usize::try_from(PAGE).expect("a page is small");
    let length = input.len().max(1).next_multiple_of(page);
    let mut file = vec![0; length - input.len()];
    file.extend_from_slice(input);
    let parsed = Firmware::parse(&file);
    let outcome = Outcome::of(&parsed);
    let Ok(firmware) = parsed else {
        return outcome;
    };
    let boot = DirectBoot {
        kernel: b"kernel",
        initrd: b"initrd",
        command_line: "quiet",
    };
    let sections = firmware.sev_sections().unwrap_or_default();
    let pages: u64 = sections.iter().map(|s| u64::from(s.size) / PAGE).sum();
    if pages <= most_pages {
        let measured = MeasuredFirmware::new(&firmware);
        let launch = measured.and_then(|measured| measured.with(Some(&boot)));
        let _digest_or_reason = launch.and_then(|launch| launch.launch_digest(&MACHINE));
    }
    let sections = firmware.tdx_sections().unwrap_or_default();
    let pages = sections
        .iter()
        .fold(0u64, |sum, s| sum.saturating_add(s.size / PAGE));
    if pages <= most_pages {
        for order in [PageOrder::SinglePass, PageOrder::TwoPass] {
            let _register_or_reason = tdx::mrtd(&firmware, order);
        }
    }
    let _list_or_reason = td_hob::measured(sections, &[MEMORY]);
    outcome
}

/// A kernel, or a unified kernel image.
pub fn pe(input: &[u8]) -> Outcome {
    let parsed = Pe::parse(input);
    let outcome = Outcome::of(&parsed);
    if let Ok(pe) = parsed {
        let length: usize = pe.sections.iter().map(|section| section.length).sum();
        assert!(length <= input.len(), "sections overlap");
        let _digest_or_reason = authenticode::digest_of::<Sha384>(&pe);
    }
    let boot = DirectBoot {
        kernel: input,
        initrd: b"",
        command_line: "",
    };
    let _events_or_reason = tdx::rtmr1_events(&boot);
    if let Ok(uki) = Uki::parse(input) {
        assert_eq!(uki.measured[0].0, ".linux");
        let _events_or_reason = pcr::pcr4_events(&uki);
        assert_eq!(pcr::pcr11_events(&uki).len(), 2 * uki.measured.len());
    }
    outcome
}

/// Parameters of a hash tree as text; and a list of files: a byte with the length of a name, the
/// name, and the file's length.
pub fn layout(input: &[u8]) -> Outcome {
    let text = std::str::from_utf8(input).unwrap_or_default();
    let parameters: Result<VerityParameters, _> = text.parse();
    if let Ok(parameters) = &parameters {
        assert_eq!(parameters.to_string(), text, "two texts for one tree");
        let end = Geometry::behind(parameters.data_blocks).end();
        assert!(end >= parameters.data_blocks);
        let _digest = parameters.model_digest();
    }
    let planned = Layout::plan(entries(input), [7; 16]);
    if let Ok(layout) = &planned {
        let names: Vec<&str> = layout.files().map(|file| file.name.as_str()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "not in order");
        let head = layout.head();
        let blocks = u64::try_from(head.len()).expect("a length") / BLOCK_BYTES;
        let data: u64 = layout.files().map(|f| f.bytes.div_ceil(BLOCK_BYTES)).sum();
        assert_eq!(blocks + data, u64::from(layout.blocks()));
        let tree = verity_tree::parameters(head.as_slice(), [1; 32]).expect("from memory");
        assert_eq!(tree.data_blocks, blocks);
    }
    Outcome::of(&parameters).or(Outcome::of(&planned))
}

fn entries(input: &[u8]) -> Vec<FileEntry> {
    let mut rest = input;
    let mut files = Vec::new();
    while let Some((length, behind)) = rest.split_first() {
        let (name, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        let (bytes, behind) = behind.split_at(behind.len().min(8));
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        files.push(FileEntry {
            name: String::from_utf8_lossy(name).into_owned(),
            bytes: u64::from_le_bytes(wide),
        });
        rest = behind;
    }
    files
}
