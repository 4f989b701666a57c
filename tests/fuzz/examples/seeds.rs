//! Writes the seeds that follow from code and fixtures:
//! `cargo run --release -p fuzz-targets --example seeds`.
//! Seeds that a fuzzer found lie beside them under names of their own and are left alone. Its test
//! holds the committed seeds against what it would write.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a seed that cannot be made must stop the program"
)]

use std::io::Read as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use fuzz_targets::honest::{self, Machine};
use fuzz_targets::pieces::join;
use fuzz_targets::releases::log_key;
use fuzz_targets::requests;
use fuzz_targets::{corpus_folder, hostile, vocabularies};
use measurements::transparency::log::ReleaseLog;
use measurements::transparency::record::{FileDigest, Flavour, ReleaseRecord};
use mock_tee::Lie;
use protocol::digest::{ConfigDigest, Nonce, Ppid};
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::evidence::Challenge;
use protocol::machine_grant::{ChipIdentity, MachineGrant};
use protocol::reference_values::Profile;
use protocol::tee::EvidenceClass;
use protocol::ton::NetworkId;
use verifier::AppraisalPolicy;

fn main() -> std::io::Result<()> {
    for seed in all() {
        std::fs::create_dir_all(corpus_folder(seed.target))?;
        std::fs::write(seed.path(), seed.bytes)?;
    }
    Ok(())
}

/// An input that its target's fuzzer starts from.
struct Seed {
    target: &'static str,
    name: String,
    bytes: Vec<u8>,
}

impl Seed {
    fn path(&self) -> PathBuf {
        corpus_folder(self.target).join(&self.name)
    }
}

#[derive(Default)]
struct Seeds(Vec<Seed>);

impl Seeds {
    fn put(&mut self, target: &'static str, name: &str, seed: &[u8]) {
        self.0.push(Seed {
            target,
            name: name.to_owned(),
            bytes: seed.to_vec(),
        });
    }
}

fn all() -> Vec<Seed> {
    let mut seeds = Seeds::default();
    for make in [
        firmware,
        executables,
        layouts,
        event_logs,
        models,
        documents,
        transparency,
        wire,
        grants,
        parts,
        devices,
        chain,
        wallets,
        small_hostile,
    ] {
        make(&mut seeds);
    }
    seeds.0
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/fixtures").join(name)).unwrap()
}

fn unpacked(path: &Path) -> Vec<u8> {
    let packed = std::fs::File::open(path).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// The ends of real flash images, and one whose TDX sections have their bytes within it.
fn firmware(seeds: &mut Seeds) {
    let ours = unpacked(&root().join("image/firmware/OVMF.fd.gz"));
    let end = &ours[ours.len() - 2688..];
    seeds.put("firmware", "ovmf-2026.08", end);
    for name in ["AmdSev", "OvmfX64"] {
        let suffix = fixture(&format!("snp/measurement/ovmf_{name}_suffix.bin"));
        seeds.put("firmware", &format!("ovmf-{name}"), &suffix[4096 - 2560..]);
    }
    let mut within = end.to_vec();
    let first = within.len() - 0xa60 + 16;
    for (section, bytes) in [(0, 4096u64), (1, 0)] {
        let at = first + 32 * section;
        within[at..at + 4].fill(0);
        within[at + 4..at + 8].copy_from_slice(&u32::try_from(bytes).unwrap().to_le_bytes());
        within[at + 16..at + 24].copy_from_slice(&4096u64.to_le_bytes());
    }
    seeds.put("firmware", "sections-within", &within);
}

/// A PE32+ file: headers of 512 bytes, then the sections.
fn pe(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 512];
    let place = |file: &mut Vec<u8>, at: usize, bytes: &[u8]| {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    };
    place(&mut file, 0x3c, &64u32.to_le_bytes());
    place(&mut file, 64, b"PE\0\0");
    let count = u16::try_from(sections.len()).unwrap();
    place(&mut file, 70, &count.to_le_bytes());
    place(&mut file, 84, &160u16.to_le_bytes());
    place(&mut file, 88, &0x20bu16.to_le_bytes());
    place(&mut file, 88 + 60, &512u32.to_le_bytes());
    place(&mut file, 88 + 108, &6u32.to_le_bytes());
    for (index, (name, data)) in sections.iter().enumerate() {
        let header = 88 + 160 + index * 40;
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        let at = u32::try_from(file.len()).unwrap().to_le_bytes();
        place(&mut file, header, name.as_bytes());
        place(&mut file, header + 8, &length);
        place(&mut file, header + 16, &length);
        place(&mut file, header + 20, &at);
        file.extend_from_slice(data);
    }
    file
}

fn executables(seeds: &mut Seeds) {
    let kernel = pe(&[(".text", b"code")]);
    seeds.put("pe", "kernel", &kernel);
    let sections: [(&str, &[u8]); 4] = [
        (".text", b"stub"),
        (".linux", &kernel),
        (".cmdline", b"quiet"),
        (".uname", b"6.12"),
    ];
    seeds.put("pe", "unified-kernel-image", &pe(&sections));
}

fn layouts(seeds: &mut Seeds) {
    let configuration = honest::configuration();
    let verity = configuration.models[0].verity.to_string();
    seeds.put("image_layout", "verity", verity.as_bytes());
    let mut list = Vec::new();
    for (name, bytes) in [("model.gguf", 5000u64), ("a", 0), ("-x", 1)] {
        list.push(u8::try_from(name.len()).unwrap());
        list.extend(name.as_bytes());
        list.extend(bytes.to_le_bytes());
    }
    seeds.put("image_layout", "three-files", &list);
}

fn event_logs(seeds: &mut Seeds) {
    seeds.put("event_log", "ccel", &fixture("tdx/eventlog/ccel.bin"));
    let json = fixture("tdx/eventlog/tdx-lite-getquote.json");
    seeds.put("event_log", "dstack.json", &json);
}

/// One tensor of 32 bytes.
fn gguf() -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(12u64.to_le_bytes());
    bytes.extend(b"general.name");
    bytes.extend(8u32.to_le_bytes());
    bytes.extend(4u64.to_le_bytes());
    bytes.extend(b"tiny");
    bytes.extend(1u64.to_le_bytes());
    bytes.push(b't');
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(8u64.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + 32, 7);
    bytes
}

fn safetensors(name: &str) -> Vec<u8> {
    let tensor = r#"{"dtype":"BF16","shape":[2,4],"data_offsets":[0,16]}"#;
    let header = format!(r#"{{"__metadata__":{{"format":"pt"}},"{name}":{tensor}}}"#);
    let mut file = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend([5; 16]);
    file
}

fn models(seeds: &mut Seeds) {
    seeds.put("gguf", "tiny", &gguf());
    seeds.put("safetensors", "tiny", &safetensors("t"));
    seeds.put("safetensors", "empty", b"\x02\0\0\0\0\0\0\0{}");
    let empty: &[u8] = b"";
    let one = [&gguf(), empty, empty, empty, empty, empty, empty, empty];
    seeds.put("model_directory", "gguf", &join(&one));
    let index = br#"{"metadata":{},"weight_map":{"a":"a.safetensors","b":"b.safetensors"}}"#;
    let (a, b) = (safetensors("a"), safetensors("b"));
    let sharded: [&[u8]; 8] = [
        b"",
        b"{}",
        br#"{"version":"1.0"}"#,
        br#"{"eos_token":"</s>"}"#,
        b"{{ messages }}",
        index,
        &a,
        &b,
    ];
    seeds.put("model_directory", "sharded", &join(&sharded));
    for family in [
        "gemma3",
        "llama",
        "mistral",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen3-moe",
        "smollm",
    ] {
        let config = fixture(&format!("models/{family}/config.json"));
        seeds.put("model_config", family, &config);
    }
    for (name, input) in vocabularies::all() {
        seeds.put("tokenizer", name, &input);
    }
    for (target, name, input) in requests::seeds() {
        seeds.put(target, name, &input);
    }
    // Angles as transformers wrote them before version 5.
    let older = br#"{"model_type":"llama","hidden_size":64,"intermediate_size":128,
"num_hidden_layers":2,"num_attention_heads":4,"max_position_embeddings":4096,"vocab_size":260,
"rms_norm_eps":1e-5,"hidden_act":"silu","rope_theta":10000.0,
"rope_scaling":{"type":"linear","factor":2.0}}"#;
    seeds.put("model_config", "older", older);
}

fn documents(seeds: &mut Seeds) {
    let values = honest::references().to_json().unwrap();
    let configuration = honest::configuration().to_canonical_bytes().unwrap();
    seeds.put(
        "documents",
        "launch-configuration",
        &join(&[b"", &configuration]),
    );
    let shapes = std::fs::read(root().join("ci/lib/shapes.json")).unwrap();
    seeds.put(
        "documents",
        "shapes",
        &join(&[&shapes, &shapes[..shapes.len() - 3]]),
    );
    let model = format!(
        "{{\"name\":\"m\",\"verity\":\"{}\"}}",
        honest::configuration().models[0].verity
    );
    seeds.put("documents", "model", &join(&[model.as_bytes(), b"{}"]));
    let sbom = FileDigest::of(b"{}\n");
    let files = format!(r#"{{"sbom.cdx.json":{{"sha256":"{sbom}"}}}}"#);
    let head = r#""version":1,"image":"0.1.0","flavour":"cpu","profile":"research""#;
    let manifest = format!(r#"{{{head},"files":{files}}}"#);
    seeds.put(
        "documents",
        "release",
        &join(&[manifest.as_bytes(), values.as_bytes()]),
    );
}

fn transparency(seeds: &mut Seeds) {
    let mut log = ReleaseLog::default();
    for patch in 0..3 {
        let record = ReleaseRecord {
            version: format!("0.1.{patch}").parse().unwrap(),
            flavour: Flavour::Cpu,
            profile: Profile::Release,
            manifest: FileDigest([1; 32]),
            reference_values: FileDigest([2; 32]),
            sbom: FileDigest([3; 32]),
            build_inputs: FileDigest([4; 32]),
        };
        log.append(record).unwrap();
    }
    let key = log_key();
    let note = log.sign(&key).unwrap();
    seeds.put("transparency", "log", log.to_string().as_bytes());
    seeds.put(
        "transparency",
        "record",
        log.records()[0].to_string().as_bytes(),
    );
    seeds.put("transparency", "checkpoint", note.to_string().as_bytes());
    seeds.put("transparency", "key", key.verifier().to_string().as_bytes());
    let inclusion = log.inclusion(1, note.clone()).unwrap().to_string();
    seeds.put("transparency", "inclusion", inclusion.as_bytes());
    let consistency = log.consistency(2, note).unwrap().to_string();
    seeds.put("transparency", "consistency", consistency.as_bytes());
}

fn wire(seeds: &mut Seeds) {
    let challenge = Challenge {
        class: EvidenceClass::Fresh,
        nonce: Nonce([9; 32]),
    };
    seeds.put("evidence", "challenge", &challenge.encode());
    let genoa = Machine::Genoa.evidence();
    seeds.put("evidence", "statement", &genoa.statement.encode());
    seeds.put("evidence", "endorsements", &genoa.endorsements.encode());
    seeds.put("evidence", "evidence", &genoa.encode());
    for machine in Machine::ALL {
        let name = format!("{machine:?}").to_lowercase();
        seeds.put("appraise", &name, &machine.evidence().encode());
    }
    // One step deeper than the signature each, which no fuzzer forges.
    for lie in [
        Lie::Debug,
        Lie::Migratable,
        Lie::Vmpl,
        Lie::IdBlock,
        Lie::TcbLow,
        Lie::TcbOrder,
        Lie::NoAliasCheck,
        Lie::UnlistedStepping,
        Lie::Revoked,
        Lie::OtherMeasurement,
    ] {
        let evidence = Machine::Genoa.lying(Some(lie));
        seeds.put(
            "appraise",
            &format!("genoa-{}", lie.name()),
            &evidence.encode(),
        );
    }
    for lie in [
        Lie::ServiceTd,
        Lie::Rtmr3,
        Lie::OutOfDate,
        Lie::Advisory,
        Lie::Revoked,
    ] {
        let evidence = Machine::TdxV5.lying(Some(lie));
        seeds.put(
            "appraise",
            &format!("tdx-{}", lie.name()),
            &evidence.encode(),
        );
    }
    let policy = AppraisalPolicy::strict().to_json().unwrap();
    seeds.put("policy", "strict", policy.as_bytes());
}

fn grants(seeds: &mut Seeds) {
    seeds.put("machine_grant", "genoa", honest::grant());
    let mut granted = MachineGrant {
        network: NetworkId(-239),
        chip: ChipIdentity::Tdx(Ppid([9; 16])),
        devices: (1..=32).map(|number| vec![number; 21]).collect(),
        configuration: ConfigDigest([8; 32]),
        not_after: honest::NOW,
    };
    let key = SigningKey::from_bytes(&[6; 32]);
    seeds.put(
        "machine_grant",
        "longest",
        &granted.clone().sign(&key).encode(),
    );
    granted.devices.clear();
    seeds.put("machine_grant", "tdx", &granted.sign(&key).encode());
}

fn item(of: &Endorsements, kind: EndorsementKind) -> Vec<u8> {
    of.get(kind).unwrap().to_vec()
}

/// Each part of evidence alone: of a simulated machine, and real ones.
fn parts(seeds: &mut Seeds) {
    let genoa = Machine::Genoa.evidence();
    seeds.put("snp_report", "genoa", &genoa.report);
    seeds.put("snp_report", "turin", &Machine::Turin.evidence().report);
    seeds.put(
        "snp_report",
        "milan-real",
        &fixture("snp/milan-v2/report.bin"),
    );
    let kinds = [
        EndorsementKind::SnpArk,
        EndorsementKind::SnpAsk,
        EndorsementKind::SnpVcek,
    ];
    for (name, stapled) in [("genoa", genoa), ("turin", Machine::Turin.evidence())] {
        let chain = kinds.map(|kind| item(&stapled.endorsements, kind));
        let chain = chain.each_ref().map(Vec::as_slice);
        seeds.put("snp_certificates", name, &join(&chain));
    }
    let real = ["ark", "ask", "vcek"].map(|name| fixture(&format!("snp/milan-v2/{name}.der")));
    let real = real.each_ref().map(Vec::as_slice);
    seeds.put("snp_certificates", "milan-real", &join(&real));
    seeds.put(
        "snp_crl",
        "genoa",
        &item(&genoa.endorsements, EndorsementKind::SnpCrl),
    );
    let v4 = Machine::TdxV4.evidence();
    seeds.put("tdx_quote", "v4", &v4.report);
    seeds.put("tdx_quote", "v5", &Machine::TdxV5.evidence().report);
    seeds.put(
        "tdx_quote",
        "v4-real",
        &fixture("tdx/dcap-qvl/tdx_quote.bin"),
    );
    seeds.put(
        "tdx_quote",
        "v5-real",
        &fixture("tdx/dcap-qvl/tdx_quote_td15ex.bin"),
    );
    let collateral = item(&v4.endorsements, EndorsementKind::TdxCollateral);
    seeds.put("tdx_collateral", "simulated", &collateral);
    let real = fixture("tdx/dcap-qvl/tdx_quote_collateral.json");
    seeds.put("tdx_collateral", "real", &real);
}

/// One simulated GPU: its evidence, what is stapled for it, and who speaks for it.
fn devices(seeds: &mut Seeds) {
    let (evidence, stapled) = fuzz_targets::devices::honest();
    seeds.put("gpu_evidence", "hopper", &join(&[evidence, b""]));
    seeds.put("gpu_evidence", "hopper-stapled", &join(&[b"", stapled]));
    fuzz_targets::sockets::seeds(|target, name, seed| seeds.put(target, name, seed));
}

/// What servers of the main network said.
fn chain(seeds: &mut Seeds) {
    fuzz_targets::chain::seeds(|target, name, seed| seeds.put(target, name, seed));
}

/// What a phone and its bridge say.
fn wallets(seeds: &mut Seeds) {
    fuzz_targets::wallets::seeds(|target, name, seed| seeds.put(target, name, seed));
}

/// Hostile inputs that are short: a fuzzer goes on from there.
fn small_hostile(seeds: &mut Seeds) {
    for row in hostile::all() {
        let input = (row.make)();
        if input.len() <= 8192 && fuzz_targets::named(row.parser).is_some() {
            let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
            let name: String = row.what.chars().map(kept).collect();
            seeds.put(
                row.parser,
                &format!("hostile-{}", name.to_lowercase()),
                &input,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_seeds_are_those_that_would_be_written_now() {
        let is_stale = |seed: &Seed| std::fs::read(seed.path()).ok() != Some(seed.bytes.clone());
        let stale: Vec<_> = all().into_iter().filter(is_stale).collect();
        let names: Vec<_> = stale.iter().map(Seed::path).collect();
        assert!(names.is_empty(), "stale, to be written anew: {names:?}");
    }
}
