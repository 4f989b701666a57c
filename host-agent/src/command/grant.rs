//! `grant`: the provider's key, and the grants that it signs.
//!
//! Deliberately not here: what a grant says and how it is encoded (`crate::grant`, `protocol`).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use protocol::digest::write_hex;
use protocol::machine_grant::{ChipIdentity, SignedGrant};
use serde_json::{Value, json};
use verifier::{AppraisalPolicy, Bundle, TrustAnchors, UnixTime};

use super::Exit;
use crate::clock::Clock;
use crate::grant::{self as granting, DeviceSerial, Machine};
use crate::launch::configuration::{MeasuredConfiguration, read_bounded};
use crate::report::Reporter;
use crate::wallet;

const MAX_POLICY_BYTES: u64 = 64 * 1024;

const EXAMPLES: &str = "\
Clients whose policy names a provider (`providers`) take a machine only with that provider's grant.
The key signs offline: keep it on another machine than the one that serves.

Examples:
  host-agent grant new-key --key provider.key
  host-agent grant sign --key provider.key --bundle machine.bundle \\
      --until 2027-01-31T00:00:00Z --out endorsements/machine-grant.bin
  host-agent grant sign --key provider.key --chip 5f3a… --device 4B1C… --device 4B1D… \\
      --launch-config launch-config.json --until 2027-01-31T00:00:00Z \\
      --out endorsements/machine-grant.bin
  host-agent grant show endorsements/machine-grant.bin

`cocoon` keeps a bundle of each connection that it attested: take one of your own machine.
A serial number is what `openssl x509 -noout -serial` prints of a device's first certificate.

Exit codes: 0 done, 1 failed or the grant's signature does not hold, 2 usage.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GrantArguments {
    #[command(subcommand)]
    action: GrantAction,
}

#[derive(Debug, Subcommand)]
enum GrantAction {
    /// Make a provider's key file and print the key that policies name.
    NewKey(KeyFile),
    /// Print the key that policies name.
    ShowKey(KeyFile),
    /// Sign that a machine is this provider's.
    Sign(Box<SignArguments>),
    /// Print what a grant says, and whether its signature holds.
    Show {
        /// The grant.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct KeyFile {
    /// The key file: 64 hex digits, mode 0600.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, Args)]
struct SignArguments {
    #[command(flatten)]
    key: KeyFile,
    /// A bundle of the machine's accepted evidence: names chip, devices and configuration.
    #[arg(long, value_name = "FILE", required_unless_present = "chip")]
    bundle: Option<PathBuf>,
    /// Policy by which the bundle is accepted: `strict`, `testing` or a file.
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "strict",
        requires = "bundle"
    )]
    policy: PathBuf,
    /// Time at which the bundle is judged: unix seconds or a date; now when not given.
    #[arg(long, value_name = "TIME", requires = "bundle")]
    at: Option<UnixTime>,
    /// The chip: 128 hex digits of a CHIP_ID (AMD), 32 of a PPID (Intel).
    #[arg(
        long,
        value_name = "HEX",
        conflicts_with = "bundle",
        requires = "launch_config"
    )]
    chip: Option<ChipIdentity>,
    /// Serial number of a GPU or switch, hex; once for each that reports.
    #[arg(long = "device", value_name = "HEX", conflicts_with = "bundle")]
    devices: Vec<DeviceSerial>,
    /// The launch configuration, when it is not the bundle's.
    #[arg(long, value_name = "FILE")]
    launch_config: Option<PathBuf>,
    /// The last second at which the grant holds: unix seconds or a date. It cannot be taken back
    /// before: choose a near one.
    #[arg(long, value_name = "TIME")]
    until: UnixTime,
    /// Where the grant is written; `machine-grant.bin` in the directory of endorsements is stapled.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn grant(
    arguments: &GrantArguments,
    clock: &Clock,
    reporter: &Reporter,
    draw: fn() -> std::io::Result<[u8; 32]>,
) -> anyhow::Result<Exit> {
    match &arguments.action {
        GrantAction::NewKey(file) => {
            wallet::create(&file.key, draw().context("cannot draw a key")?)?;
            show_key(file, reporter)
        }
        GrantAction::ShowKey(file) => show_key(file, reporter),
        GrantAction::Sign(arguments) => sign(arguments, clock, reporter),
        GrantAction::Show { file } => show(file, reporter),
    }
}

fn show_key(file: &KeyFile, reporter: &Reporter) -> anyhow::Result<Exit> {
    let provider = granting::provider(&granting::read_key(&file.key)?);
    reporter.result(&provider, &json!({ "provider": provider.to_string() }));
    Ok(Exit::Success)
}

fn sign(arguments: &SignArguments, clock: &Clock, reporter: &Reporter) -> anyhow::Result<Exit> {
    let now = clock.now();
    let machine = machine(arguments, UnixTime(now.0))?;
    let key = granting::read_key(&arguments.key.key)?;
    let signed = machine.granted(&key, arguments.until, now)?;
    granting::write(&signed, &arguments.out)?;
    report(&signed, reporter);
    Ok(Exit::Success)
}

fn machine(arguments: &SignArguments, now: UnixTime) -> anyhow::Result<Machine> {
    let launched = arguments.launch_config.as_deref();
    let launched = launched.map(MeasuredConfiguration::read).transpose()?;
    match (&arguments.bundle, arguments.chip, launched) {
        (Some(path), _, launched) => {
            let limit = u64::try_from(Bundle::MAX_BYTES).unwrap_or(u64::MAX);
            let bundle = Bundle::decode(&read_bounded(path, limit)?)
                .with_context(|| format!("cannot use `{}`", path.display()))?;
            let policy = policy(&arguments.policy)?;
            let at = arguments.at.unwrap_or(now);
            let machine = Machine::of_bundle(&bundle, &policy, &TrustAnchors::PRODUCTION, at)?;
            Ok(match launched {
                Some(launched) => machine.launched_with(&launched),
                None => machine,
            })
        }
        (None, Some(chip), Some(launched)) => {
            Ok(Machine::named(chip, &arguments.devices, &launched))
        }
        // The parser required them.
        (None, ..) => bail!("needs --bundle, or --chip and --launch-config"),
    }
}

/// A built-in policy, or that of a file; a file of such a name is meant by `./strict`.
fn policy(which: &Path) -> anyhow::Result<AppraisalPolicy> {
    let mut all = AppraisalPolicy::built_in().into_iter();
    if let Some((_, policy)) = all.find(|(name, _)| which.as_os_str() == *name) {
        return Ok(policy);
    }
    AppraisalPolicy::parse(&read_bounded(which, MAX_POLICY_BYTES)?)
        .with_context(|| format!("cannot use `{}`", which.display()))
}

fn show(file: &Path, reporter: &Reporter) -> anyhow::Result<Exit> {
    let signed = SignedGrant::decode(&read_bounded(file, granting::MAX_BYTES)?)
        .with_context(|| format!("`{}` is no machine grant", file.display()))?;
    report(&signed, reporter);
    if signed.is_signed() {
        Ok(Exit::Success)
    } else {
        Ok(Exit::Failure)
    }
}

fn report(signed: &SignedGrant, reporter: &Reporter) {
    reporter.result(&text(signed), &members(signed));
}

fn text(signed: &SignedGrant) -> String {
    let grant = &signed.grant;
    let mut rows = vec![
        ("provider", signed.provider.to_string()),
        ("network", grant.network.0.to_string()),
        ("chip", grant.chip.to_string()),
    ];
    rows.extend(grant.devices.iter().map(|serial| ("device", hex(serial))));
    rows.extend([
        ("configuration", grant.configuration.to_string()),
        ("until", UnixTime(grant.not_after).to_string()),
        ("signature", holds(signed).to_owned()),
    ]);
    let rows = rows
        .iter()
        .map(|(name, value)| format!("{name:<14} {value}"));
    rows.collect::<Vec<_>>().join("\n")
}

fn members(signed: &SignedGrant) -> Value {
    let grant = &signed.grant;
    json!({
        "provider": signed.provider.to_string(),
        "network": grant.network.0,
        "chip": grant.chip.to_string(),
        "devices": grant.devices.iter().map(|serial| hex(serial)).collect::<Vec<_>>(),
        "configuration": grant.configuration.to_string(),
        "not_after": grant.not_after,
        "signature": holds(signed),
    })
}

fn holds(signed: &SignedGrant) -> &'static str {
    if signed.is_signed() {
        "holds"
    } else {
        "does not hold"
    }
}

fn hex(serial: &[u8]) -> String {
    struct Hex<'s>(&'s [u8]);
    impl std::fmt::Display for Hex<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write_hex(self.0, f)
        }
    }
    Hex(serial).to_string()
}
