//! `measure log`: the log of releases: make its key, append to it, verify a release offline.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use measurements::publication::{self, ReleaseFiles, Remembered, names};
use measurements::release::{ReleaseError, read_bounded};
use measurements::transparency::checkpoint::Checkpoint;
use measurements::transparency::log::{MAX_LOG_BYTES, ReleaseLog};
use measurements::transparency::note::{
    KeyName, MAX_NOTE_BYTES, SignedNote, SignerKey, VerifierKey,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub(crate) struct Log {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key that signs the log, and print its public half.
    NewKey(NewKey),
    /// Print the public half of a key.
    Key(Key),
    /// Append a release to the log and complete its directory.
    Append(Append),
    /// Check that a release directory is in the log, offline.
    Verify(Verify),
    /// Print the proof that the log only grew since a checkpoint.
    Consistency(Consistency),
}

#[derive(Debug, Args)]
struct NewKey {
    /// Name of the log, a URL without scheme; it stands in every checkpoint.
    #[arg(long)]
    name: KeyName,
    /// Where the secret goes; a file that is there is left alone.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct Key {
    /// The key's file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, Args)]
struct Append {
    /// Directory with the release's manifest, reference values, SBOM and build inputs.
    #[arg(long, value_name = "DIR")]
    release: PathBuf,
    /// The log's directory; an empty one is a new log.
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
    /// The key's file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, Args)]
struct Verify {
    /// The release's directory.
    #[arg(long, value_name = "DIR")]
    release: PathBuf,
    /// The log's public key: name+id+key.
    #[arg(long)]
    log_key: VerifierKey,
    /// A checkpoint that you saw before: the log must extend it.
    #[arg(long, value_name = "FILE")]
    old_checkpoint: Option<PathBuf>,
    /// The whole log; needed when your checkpoint is older than the release before this one.
    #[arg(long, value_name = "DIR", requires = "old_checkpoint")]
    log: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Consistency {
    /// The log's directory.
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
    /// The log's public key: name+id+key.
    #[arg(long)]
    log_key: VerifierKey,
    /// The checkpoint from before.
    #[arg(long, value_name = "FILE")]
    old_checkpoint: PathBuf,
}

impl Log {
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let value = match &self.action {
            Action::NewKey(new_key) => new_key.run()?,
            Action::Key(key) => public(&read_key(&key.key)?.verifier()),
            Action::Append(append) => append.run()?,
            Action::Verify(verify) => verify.run()?,
            Action::Consistency(consistency) => return consistency.run(),
        };
        Ok(super::printed(&value))
    }
}

fn public(key: &VerifierKey) -> Value {
    json!({ "log": key.name().as_str(), "log_key": key.to_string() })
}

fn bounded(path: &Path, limit: usize) -> Result<Vec<u8>, ReleaseError> {
    read_bounded(path, u64::try_from(limit).unwrap_or(u64::MAX))
}

/// Empty when the file is not there.
fn bounded_or_absent(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, ReleaseError> {
    match bounded(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReleaseError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn read_key(path: &Path) -> anyhow::Result<SignerKey> {
    let text = Zeroizing::new(bounded(path, 4096)?);
    let text = std::str::from_utf8(&text).ok().map(str::trim_end);
    text.and_then(|text| SignerKey::parse(text).ok())
        .with_context(|| format!("`{}` is not a key of `measure log new-key`", path.display()))
}

/// Whole or not at all: a log that ends in the middle of a record would not be read again.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

impl NewKey {
    fn run(&self) -> anyhow::Result<Value> {
        let mut seed = Zeroizing::new([0; 32]);
        if getrandom::fill(seed.as_mut()).is_err() {
            bail!("this machine has no randomness");
        }
        let key = SignerKey::from_seed(self.name.clone(), &seed);
        let text = Zeroizing::new(format!("{}\n", key.reveal()));
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.out)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot make `{}`", self.out.display()))?;
        Ok(public(&key.verifier()))
    }
}

impl Append {
    fn run(&self) -> anyhow::Result<Value> {
        let key = read_key(&self.key)?;
        let files = ReleaseFiles::read(&self.release)?;
        let entries = bounded_or_absent(&self.log.join(names::ENTRIES), MAX_LOG_BYTES)?;
        let last = bounded_or_absent(&self.log.join(names::CHECKPOINT), MAX_NOTE_BYTES)?;
        let done =
            publication::append(&files, &entries.unwrap_or_default(), last.as_deref(), &key)?;
        for (name, text) in [
            (names::ENTRY, done.record.to_string()),
            (names::INCLUSION, done.inclusion.to_string()),
            (names::CONSISTENCY, done.consistency.to_string()),
        ] {
            replace(&self.release.join(name), &text)?;
        }
        replace(&self.log.join(names::ENTRIES), &done.log.to_string())?;
        replace(
            &self.log.join(names::CHECKPOINT),
            &done.checkpoint.to_string(),
        )?;
        Ok(json!({
            "index": done.inclusion.index,
            "log_size": done.log.size(),
            "leaf": done.record.leaf_hash().to_base64(),
            "registry_key": done.record.registry_key().to_string(),
        }))
    }
}

impl Verify {
    fn run(&self) -> anyhow::Result<Value> {
        let remembered = self.old_checkpoint.as_ref().map(|path| Remembered {
            checkpoint: path.clone(),
            log: self.log.clone(),
        });
        let release = publication::verify(&self.release, &self.log_key, remembered.as_ref())?;
        let record = release.record();
        Ok(json!({
            "version": record.version,
            "flavour": record.flavour.name(),
            "profile": record.profile,
            "index": release.index(),
            "log": release.checkpoint().origin.as_str(),
            "log_size": release.checkpoint().size,
            "consistent_with": release.consistent_with(),
            "leaf": record.leaf_hash().to_base64(),
            "registry_key": record.registry_key().to_string(),
        }))
    }
}

impl Consistency {
    fn run(&self) -> anyhow::Result<String> {
        let log = ReleaseLog::parse(&bounded(&self.log.join(names::ENTRIES), MAX_LOG_BYTES)?)?;
        let newest = bounded(&self.log.join(names::CHECKPOINT), MAX_NOTE_BYTES)?;
        let newest = SignedNote::parse(&newest)?;
        log.extends(&newest, &self.log_key)?;
        let old = SignedNote::parse(&bounded(&self.old_checkpoint, MAX_NOTE_BYTES)?)?;
        let old = Checkpoint::open(&old, &self.log_key)?;
        log.holds(&old)?;
        let proof = log.consistency(old.size, newest);
        let proof = proof.context("the log is shorter than the old checkpoint")?;
        Ok(proof.to_string())
    }
}
