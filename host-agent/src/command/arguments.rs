//! The program's arguments, with their help.
//!
//! Deliberately not here: what follows from them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use contracts::wallet::WalletKind;
use measurements::transparency::note::VerifierKey;
use protocol::receipt::TokenPrices;
use protocol::tee::TeeKind;
use protocol::ton::TonAddress;

use super::chain::{ChainArguments, PurseArguments};
use super::grant::GrantArguments;
use crate::configure::{ModelChoice, parse_prices};
use crate::journal::{LedgerError, LedgerOptions, Place};
use crate::launch::pci::PciAddress;
use crate::launch::shape::{Accelerator, Shape};
use crate::relay::GuestAddress;
use crate::settle::Priced;

const EXAMPLES: &str = "\
Examples:
  host-agent wallet new --seed seed.hex --network -239
  host-agent configure --payee 0:… --network -239 --model small=model/model.json \\
      --prices 20,2,160 --out launch-config.json
  host-agent grant sign --key provider.key --bundle machine.bundle \\
      --until 2027-01-31T00:00:00Z --out endorsements/machine-grant.bin
  host-agent doctor --image image --endorsements endorsements --accelerator snp
  host-agent plan --image image --model model --launch-config launch-config.json \\
      --accelerator snp --state state --reference-values reference-values.json
  host-agent up --image image --model model --launch-config launch-config.json \\
      --accelerator snp --state state --endorsements endorsements --chain http://127.0.0.1:8081
  host-agent settle claim --state state --wallet-seed seed.hex --chain http://127.0.0.1:8081

Exit codes: 0 done or stopped, 1 failed, 2 usage, 3 the guest powered itself off and told why,
4 the guest ended and told nothing.";

/// Launches confidential guests, relays to them, and settles what clients promise to pay.
#[derive(Debug, Parser)]
#[command(name = "host-agent", version, after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check what a launch needs, with the fix for what is missing.
    Doctor(DoctorArguments),
    /// Make a launch configuration.
    Configure(ConfigureArguments),
    /// Print what would run: arguments, configuration digest, expected measurement.
    Plan(PlanArguments),
    /// Launch a guest and serve it until it ends or SIGTERM comes.
    Up(Box<UpArguments>),
    /// Serve a guest that runs already: relay, control port and journal only.
    Relay(RelayArguments),
    /// Make or show the provider's wallet.
    Wallet(WalletArguments),
    /// Make a provider's key, and sign that a machine is this provider's.
    Grant(GrantArguments),
    /// Claim what clients promised, or show where it stands.
    Settle(SettleArguments),
    /// List a release's measurements and models in the registry, or deploy one.
    Publish(Box<PublishArguments>),
}

/// How a guest is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AcceleratorName {
    /// QEMU's own emulation, without a TEE: for the research image.
    Emulation,
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

/// Registers of a simulated TEE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TeeName {
    /// AMD SEV-SNP.
    SevSnp,
    /// Intel TDX.
    Tdx,
}

/// Which machine.
#[derive(Debug, Args)]
pub(super) struct MachineArguments {
    /// How the guest is run.
    #[arg(long, value_enum)]
    accelerator: AcceleratorName,
    /// Registers that the simulated TEE of an emulated guest shows.
    #[arg(long, value_enum, default_value = "sev-snp")]
    tee: TeeName,
    /// Machine shape.
    #[arg(long, default_value = "cpu-2x2048")]
    pub(super) shape: Shape,
}

impl MachineArguments {
    pub(super) const fn accelerator(&self) -> Accelerator {
        match (self.accelerator, self.tee) {
            (AcceleratorName::Emulation, TeeName::SevSnp) => {
                Accelerator::Emulation(TeeKind::SevSnp)
            }
            (AcceleratorName::Emulation, TeeName::Tdx) => Accelerator::Emulation(TeeKind::Tdx),
            (AcceleratorName::Snp, _) => Accelerator::Snp,
            (AcceleratorName::Tdx, _) => Accelerator::Tdx,
        }
    }
}

/// The programs that make up a guest's process.
#[derive(Debug, Args)]
pub(super) struct ProgramArguments {
    /// QEMU.
    #[arg(long, value_name = "PATH", default_value = "qemu-system-x86_64")]
    pub(super) qemu: PathBuf,
    /// The guest's vsock device.
    #[arg(long, value_name = "PATH", default_value = "vhost-device-vsock")]
    pub(super) vhost_device_vsock: PathBuf,
}

/// What is launched.
#[derive(Debug, Args)]
pub(super) struct LaunchArguments {
    /// Image directory with its manifest.json.
    #[arg(long, value_name = "DIR")]
    pub(super) image: PathBuf,
    /// Firmware, when it is not OVMF.fd in the image directory.
    #[arg(long, value_name = "FILE")]
    pub(super) firmware: Option<PathBuf>,
    /// Model directory with model.img and model.json; once for each model of the configuration.
    #[arg(long = "model", value_name = "DIR", required = true)]
    pub(super) models: Vec<PathBuf>,
    /// PCI address of a GPU that is bound to vfio; once for each GPU of the shape.
    #[arg(long = "gpu", value_name = "ADDRESS")]
    pub(super) gpus: Vec<PciAddress>,
    /// The launch configuration.
    #[arg(long, value_name = "FILE")]
    pub(super) launch_config: PathBuf,
    /// State directory: journal, sockets, logs.
    #[arg(long, value_name = "DIR")]
    pub(super) state: PathBuf,
    /// Give the guest a serial port that is written to serial.log (research image, emulation).
    #[arg(long)]
    pub(super) serial: bool,
    #[command(flatten)]
    pub(super) machine: MachineArguments,
    #[command(flatten)]
    pub(super) programs: ProgramArguments,
}

/// Which journal, when it is not the state directory's own.
#[derive(Debug, Args)]
pub(super) struct JournalArguments {
    /// Journal that several guests of one provider on this host share.
    #[arg(long, value_name = "FILE", conflicts_with = "ledger")]
    pub(super) journal: Option<PathBuf>,
    /// PostgreSQL database that several hosts share: postgres://USER@HOST/DATABASE, or
    /// postgres:///DATABASE?host=/DIRECTORY&user=USER by a socket. It holds no password.
    #[arg(long, value_name = "URL")]
    pub(super) ledger: Option<String>,
    /// File of mode 0600 with the password for the ledger.
    #[arg(long, value_name = "FILE", requires = "ledger")]
    pub(super) ledger_password: Option<PathBuf>,
    /// Root certificates of a ledger on another machine, PEM; the connection is TLS 1.3.
    #[arg(long, value_name = "FILE", requires = "ledger")]
    pub(super) ledger_roots: Option<PathBuf>,
}

impl JournalArguments {
    /// The place; none when it is the state directory's own.
    pub(super) fn place(&self) -> Result<Option<Place>, LedgerError> {
        let Some(ledger) = &self.ledger else {
            return Ok(self.journal.clone().map(Place::File));
        };
        Ok(Some(Place::Shared(LedgerOptions {
            address: ledger.parse()?,
            password: self.ledger_password.clone(),
            roots: self.ledger_roots.clone(),
        })))
    }
}

/// How a guest is served.
#[derive(Debug, Args)]
pub(super) struct ServiceArguments {
    /// Where clients connect.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub(super) listen: SocketAddr,
    /// Loopback address at which totals are told in Prometheus' text format; none by default.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) metrics: Option<SocketAddr>,
    #[command(flatten)]
    pub(super) journal: JournalArguments,
    /// Directory of vcek.der, ask.der, ark.der, crl.der or tdx-collateral.json; with GPUs,
    /// gpu-endorsements.bin; and, for clients that name providers, machine-grant.bin.
    #[arg(long, value_name = "DIR")]
    pub(super) endorsements: PathBuf,
    #[command(flatten)]
    pub(super) chain: ChainArguments,
    /// Connections at once.
    #[arg(long, value_name = "COUNT", default_value_t = 256)]
    pub(super) max_connections: usize,
    /// A connection on which nothing moved for so long is closed, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(super) idle_timeout: u64,
    /// A voucher must hold so much longer to be accepted, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub(super) minimum_validity: u32,
    /// A channel whose payer can leave faster is not served, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(super) minimum_window: u32,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Image directory with its manifest.json.
    #[arg(long, value_name = "DIR")]
    pub(super) image: Option<PathBuf>,
    /// Firmware, when it is not OVMF.fd in the image directory.
    #[arg(long, value_name = "FILE")]
    pub(super) firmware: Option<PathBuf>,
    /// Directory of endorsements, as `up` takes it; a machine-grant.bin is read as well.
    #[arg(long, value_name = "DIR")]
    pub(super) endorsements: Option<PathBuf>,
    #[command(flatten)]
    pub(super) machine: MachineArguments,
    #[command(flatten)]
    pub(super) programs: ProgramArguments,
}

#[derive(Debug, Args)]
pub(super) struct ConfigureArguments {
    /// Who is paid: `0:` and 64 hex digits.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) payee: TonAddress,
    /// The network on which payment is claimed; -239 is the main network.
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub(super) network: i32,
    /// Name used in requests and the model's model.json; once for each model, in disk order.
    #[arg(long = "model", value_name = "NAME=FILE", required = true)]
    pub(super) models: Vec<ModelChoice>,
    /// Minter of the jetton that is paid in, instead of the network's coin.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) jetton: Option<TonAddress>,
    /// Nano units per token, of a jetton its smallest units; once for each model.
    #[arg(long, value_name = "PROMPT,CACHED,COMPLETION", value_parser = parse_prices,
          required = true)]
    pub(super) prices: Vec<TokenPrices>,
    /// Streams at once.
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    pub(super) streams: u16,
    /// Prompt and completion together, in tokens.
    #[arg(long, value_name = "TOKENS", default_value_t = 2048)]
    pub(super) context_tokens: u32,
    /// Completion tokens that a client may leave unacknowledged.
    #[arg(long, value_name = "TOKENS", default_value_t = 64)]
    pub(super) increment_tokens: u32,
    /// Where the configuration is written.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    pub(super) launch: LaunchArguments,
    /// Reference values: prints what clients expect of the shape.
    #[arg(long, value_name = "FILE")]
    pub(super) reference_values: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct UpArguments {
    #[command(flatten)]
    pub(super) launch: LaunchArguments,
    #[command(flatten)]
    pub(super) service: ServiceArguments,
    /// Check that this wallet is the configuration's payee before anything is served.
    #[arg(long, value_name = "FILE")]
    pub(super) wallet_seed: Option<PathBuf>,
    /// The guest must be ready within this time, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(super) boot_timeout: u64,
}

#[derive(Debug, Args)]
pub(super) struct RelayArguments {
    /// The guest: unix:PATH, or vsock:PATH for a vsock device's socket.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) guest: GuestAddress,
    /// Socket of the control port; `control` in the state directory when not given.
    #[arg(long, value_name = "PATH")]
    pub(super) control: Option<PathBuf>,
    /// The launch configuration.
    #[arg(long, value_name = "FILE")]
    pub(super) launch_config: PathBuf,
    /// State directory: journal and sockets.
    #[arg(long, value_name = "DIR")]
    pub(super) state: PathBuf,
    #[command(flatten)]
    pub(super) service: ServiceArguments,
}

#[derive(Debug, Args)]
pub(super) struct WalletArguments {
    #[command(subcommand)]
    pub(super) action: WalletAction,
}

#[derive(Debug, Subcommand)]
pub(super) enum WalletAction {
    /// Make a seed file and print the wallet's address.
    New(NewWallet),
    /// Print the wallet's address.
    Show(WalletFile),
}

#[derive(Debug, Args)]
pub(super) struct NewWallet {
    #[command(flatten)]
    pub(super) file: WalletFile,
    /// The wallet contract: v4r2 or v5r1.
    #[arg(long, default_value = "v4r2", value_name = "KIND")]
    pub(super) kind: WalletKind,
    /// A file with the 24 words of a wallet that exists, instead of a new one.
    #[arg(long, value_name = "FILE")]
    pub(super) mnemonic: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct WalletFile {
    /// The seed file: 64 hex digits, mode 0600.
    #[arg(long, value_name = "FILE")]
    pub(super) seed: PathBuf,
    /// The network; -239 is the main network. The address differs per network.
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub(super) network: i32,
}

#[derive(Debug, Args)]
pub(super) struct SettleArguments {
    #[command(subcommand)]
    pub(super) action: SettleAction,
}

#[derive(Debug, Subcommand)]
pub(super) enum SettleAction {
    /// Claim the highest voucher of each payment channel, once or again and again.
    Claim(ClaimArguments),
    /// Send a close that a client agreed to (`cocoon wallet close --agree`): pays both at once.
    Close(CloseArguments),
    /// Print every step of every claim as CSV (RFC 4180), amounts in nano units; needs no chain.
    Export(ExportArguments),
    /// Show each payment channel: promised, claimed, what can be done.
    Status(StatusArguments),
}

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// State directory with the journal.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["journal", "ledger"])]
    pub(super) state: Option<PathBuf>,
    #[command(flatten)]
    pub(super) journal: JournalArguments,
    #[command(flatten)]
    pub(super) purse: PurseArguments,
}

#[derive(Debug, Args)]
pub(super) struct CloseArguments {
    /// The document.
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) status: StatusArguments,
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// State directory with the journal.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["journal", "ledger"])]
    pub(super) state: Option<PathBuf>,
    #[command(flatten)]
    pub(super) journal: JournalArguments,
}

#[derive(Debug, Args)]
pub(super) struct ClaimArguments {
    #[command(flatten)]
    pub(super) status: StatusArguments,
    /// Claim what brings at least so many nano units.
    #[arg(long, value_name = "NANO", default_value_t = 10_000_000)]
    pub(super) minimum: u64,
    /// Claim what brings at least so many when the channel is closing or the voucher expires soon.
    #[arg(long, value_name = "NANO", default_value_t = 5_000_000)]
    pub(super) fee: u64,
    /// A voucher expires soon when it holds for less than so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub(super) margin: u64,
    /// Look again every so many seconds, until it is stopped; shorter than any channel's window.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) every: Option<u64>,
    /// Claim whatever is open, also when the fee is higher, and anchor receipts roots.
    #[arg(long, conflicts_with = "minimum")]
    pub(super) all: bool,
    /// Claim what brings at least so many from a channel in a jetton that is closing or whose
    /// voucher expires soon: such a claim costs more.
    #[arg(long, value_name = "NANO", default_value_t = 20_000_000)]
    pub(super) jetton_fee: u64,
    /// What a jetton is worth: so many nano units of the coin for so many of its smallest units;
    /// once for each. Without it a channel in that jetton is claimed when it is closing or its
    /// voucher expires soon, whatever that brings, and not before.
    #[arg(long, value_name = "MINTER=NANO/UNITS")]
    pub(super) jetton_price: Vec<Priced>,
    /// Send again, too, what a jetton wallet did not pay out here and what is due since. If it is
    /// still locked, what the message carries is lost.
    #[arg(long)]
    pub(super) resend: bool,
    /// Send again what is paid already; the contract refuses it, and the fee is lost.
    #[arg(long, conflicts_with_all = ["minimum", "all"])]
    pub(super) again: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct PublishArguments {
    #[command(subcommand)]
    pub(super) action: Option<PublishAction>,
    /// The release's directory: it must be in the log, and the release itself is listed as well.
    #[arg(long, value_name = "DIR", requires = "log_key")]
    pub(super) release: Option<PathBuf>,
    /// Public key of the log of releases: name+id+key.
    #[arg(long, value_name = "KEY", requires = "release")]
    pub(super) log_key: Option<VerifierKey>,
    /// Bare reference values, of an image that is in no log.
    #[arg(long, value_name = "FILE", required_unless_present = "release")]
    #[arg(conflicts_with = "release")]
    pub(super) reference_values: Option<PathBuf>,
    /// The registry.
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub(super) registry: Option<TonAddress>,
    /// Seed file of the wallet with the add role.
    #[arg(long, value_name = "FILE", required = true)]
    pub(super) wallet_seed: Option<PathBuf>,
    #[command(flatten)]
    pub(super) chain: ChainArguments,
    /// The network whose blocks lite-servers prove [default: -239, the main network].
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    #[arg(requires = "lite_server")]
    pub(super) network: Option<i32>,
}

#[derive(Debug, Subcommand)]
pub(super) enum PublishAction {
    /// Deploy a registry whose add role is this wallet's.
    Deploy(DeployArguments),
    /// Print the messages that list a release, for another wallet to send; needs no chain.
    Transaction(TransactionArguments),
}

#[derive(Debug, Args)]
pub(super) struct TransactionArguments {
    /// The release's directory: it must be in the log.
    #[arg(long, value_name = "DIR")]
    pub(super) release: PathBuf,
    /// Public key of the log of releases: name+id+key.
    #[arg(long, value_name = "KEY")]
    pub(super) log_key: VerifierKey,
    /// The registry; without it the messages have no receiver yet.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) registry: Option<TonAddress>,
}

#[derive(Debug, Args)]
pub(super) struct DeployArguments {
    #[command(flatten)]
    pub(super) purse: PurseArguments,
    /// Who may revoke: another wallet than the add role's.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) revoker: TonAddress,
    /// Seconds between an addition and its effect.
    #[arg(long, value_name = "SECONDS", default_value_t = 172_800)]
    pub(super) delay: u32,
}
