//! The command line, as a type. Values that a settings file may give as well are optional here;
//! `settings` joins the two.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use contracts::asset::Asset;
use contracts::wallet::WalletKind;
use measurements::transparency::note::VerifierKey;
use protocol::digest::{BootId, GpuNonce, Nonce, ReceiptsRoot};
use protocol::reference_values::DeviceSet;
use protocol::ton::TonAddress;
use verifier::{DocumentDigest, UnixTime};

use super::amount::{Amount, parse_amount};
use super::device_set::parse_device_set;
use crate::wallet::ChannelTo;

/// Attest the machine that answers, pay for what arrives, ask.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) options: Options,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where wallet, payment channels and receipts lie (default: a directory in the home
    /// directory, named after the program)
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// A settings file: JSON with members named like the options, `_` for `-`
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Machine-readable output: one JSON object a line on standard output
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// A toncenter-v2 endpoint. Its answers are trusted where no lite-servers are named; where they
    /// are, it only takes messages
    #[arg(long, global = true, value_name = "URL")]
    pub(super) chain: Option<String>,
    /// A lite-server by which wallet, channels and --registry are read and checked by proof; two or
    /// more
    #[arg(long, global = true, value_name = "KEY@HOST:PORT")]
    pub(super) lite_server: Vec<String>,
    /// A key block of the masterchain from which those proofs start: height:root hash:file hash.
    /// It is trusted: take a recent one from a source that is not one of the servers
    #[arg(long, global = true, value_name = "BLOCK")]
    pub(super) trusted_block: Option<String>,
}

/// What a machine must run: a published release, or bare reference values.
#[derive(Debug, Args)]
pub(super) struct PinsOptions {
    /// A release's directory: it must be in the log of --log-key; its reference values count
    #[arg(long, value_name = "DIR", conflicts_with = "reference_values")]
    pub(super) release: Option<PathBuf>,
    /// Public key of the log of releases: name+id+key
    #[arg(long, value_name = "KEY", conflicts_with = "reference_values")]
    pub(super) log_key: Option<VerifierKey>,
    /// Bare reference values, of an image that is in no log
    #[arg(long, value_name = "FILE")]
    pub(super) reference_values: Option<PathBuf>,
}

/// Options of commands that talk to a machine.
#[derive(Debug, Args)]
pub(super) struct MachineOptions {
    /// The machine's relay
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) connect: Option<String>,
    #[command(flatten)]
    pub(super) pins: PinsOptions,
    /// The appraisal policy (default: the built-in one)
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// Take only what this registry lists as valid now; needs --lite-server and --trusted-block, or
    /// --chain, which is believed
    #[arg(long, value_name = "ADDRESS")]
    pub(super) registry: Option<TonAddress>,
    /// Pay in the jetton of this minter; a machine that takes anything else is not asked. Without
    /// it, one that takes the network's coin
    #[arg(long, value_name = "MINTER")]
    pub(super) jetton: Option<TonAddress>,
    /// Highest price per million tokens of the dearest class, in nano units or as `0.5ton`
    /// (default: 1ton); in a jetton in its smallest units, and must be given. Above it nothing is
    /// sent
    #[arg(long, value_name = "AMOUNT", value_parser = parse_amount)]
    pub(super) max_price: Option<Amount>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask one question; the answer streams to standard output, all else to standard error
    Chat(ChatArguments),
    /// Open a local OpenAI-compatible port on 127.0.0.1
    Serve(ServeArguments),
    /// The wallet and its payment channels
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// What the wallet and its payment channels hold
    Balance,
    /// What the original Cocoon's root contract says of its network: proxies, prices, models
    Providers(ProvidersArguments),
    /// Show that a kept receipt reached the chain: a file for `verify anchor`; needs --chain or
    /// --lite-server
    Prove(ProveArguments),
    /// Verify what was kept, offline
    #[command(subcommand)]
    Verify(VerifyCommand),
}

#[derive(Debug, Args)]
pub(super) struct ChatArguments {
    /// The question
    pub(super) prompt: String,
    /// Name of the model (default: the machine's only one)
    #[arg(long)]
    pub(super) model: Option<String>,
    /// Completion tokens at most
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub(super) max_tokens: u32,
    /// Temperature, 0 to 2
    #[arg(long, value_name = "T")]
    pub(super) temperature: Option<f64>,
    /// Seed of the sampler
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Cancel after so many pieces of the answer, to see that only what was acknowledged is paid
    #[arg(long, value_name = "N")]
    pub(super) cut_after: Option<u32>,
    #[command(flatten)]
    pub(super) machine: MachineOptions,
}

#[derive(Debug, Args)]
pub(super) struct ProvidersArguments {
    /// The contract's address, such as `0:a7b3…`; needs --chain or --lite-server
    #[arg(long, value_name = "ADDRESS", required_unless_present = "file")]
    pub(super) cocoon_root: Option<TonAddress>,
    /// The contract's data from a file instead, as a bag of cells
    #[arg(long, value_name = "FILE", conflicts_with = "cocoon_root")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// The local port; 0 takes a free one
    #[arg(long, default_value_t = 8484)]
    pub(super) port: u16,
    #[command(flatten)]
    pub(super) machine: MachineOptions,
}

#[derive(Debug, Subcommand)]
pub(super) enum WalletCommand {
    /// Make a new wallet from the kernel's randomness, or take up one of another program
    New {
        /// The wallet contract: v4r2 or v5r1
        #[arg(long, default_value = "v4r2", value_name = "KIND")]
        kind: WalletKind,
        /// A file with the 24 words of a wallet that exists
        #[arg(long, value_name = "FILE")]
        mnemonic: Option<PathBuf>,
    },
    /// Connect a wallet on a phone, which keeps its key and signs what is asked of it (TON Connect)
    Connect(ConnectArguments),
    /// End the session with the wallet that is connected
    Disconnect,
    /// Show the wallet and what it knows of its payment channels, offline
    Show,
    /// Open a payment channel to a provider; needs --chain or --lite-server, in a jetton --chain
    Open {
        #[command(flatten)]
        channel: ChannelOptions,
        /// What to deposit, in nano units or as `0.5ton`; in a jetton in its smallest units, or as
        /// `0.5jetton`
        #[arg(long, value_name = "AMOUNT", value_parser = parse_amount)]
        deposit: Amount,
        /// Into how many decimals people divide the jetton (default: what its minter says on the
        /// chain, if it does)
        #[arg(long, value_name = "N", requires = "jetton")]
        #[arg(value_parser = clap::value_parser!(u8).range(..=36))]
        decimals: Option<u8>,
        /// Seconds in which the provider can still claim after a close was asked for
        #[arg(long, default_value_t = 86_400, value_name = "SECONDS")]
        window: u32,
    },
    /// Add to the deposit of a payment channel; needs what `open` needs
    TopUp {
        #[command(flatten)]
        channel: ChannelOptions,
        /// What to add, in nano units or as `0.5ton`; in a jetton in its smallest units, or as
        /// `0.5jetton`
        #[arg(long, value_name = "AMOUNT", value_parser = parse_amount)]
        amount: Amount,
    },
    /// Ask to close a payment channel; again after its window to get the rest back
    Close {
        #[command(flatten)]
        channel: ChannelOptions,
        /// Agree to close at once instead: a document that the provider sends with
        /// `host-agent settle close`. Nothing can be asked on the channel afterwards
        #[arg(long, value_name = "FILE")]
        agree: Option<PathBuf>,
        /// How long the provider may take to send it
        #[arg(
            long,
            default_value_t = 86_400,
            value_name = "SECONDS",
            requires = "agree"
        )]
        within: u32,
    },
    /// Have jettons sent again that a jetton wallet did not pay out and that are due since
    Resend {
        #[command(flatten)]
        channel: ChannelOptions,
        /// What is due to the provider, instead of what is due to this wallet
        #[arg(long)]
        to_payee: bool,
    },
}

/// Which payment channel: there is one to each provider in each asset.
#[derive(Debug, Args)]
pub(super) struct ChannelOptions {
    /// The provider's address: `payee` in its launch configuration
    #[arg(long, value_name = "ADDRESS")]
    pub(super) payee: TonAddress,
    /// The jetton of this minter instead of the network's coin. Take the address from the issuer:
    /// names and symbols prove nothing
    #[arg(long, value_name = "MINTER")]
    pub(super) jetton: Option<TonAddress>,
}

impl ChannelOptions {
    pub(super) const fn to(&self) -> ChannelTo {
        ChannelTo {
            payee: self.payee,
            asset: Asset::of_minter(self.jetton),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ConnectArguments {
    /// The wallet program: tonkeeper, mytonwallet or tonhub
    #[arg(long, value_name = "NAME", default_value = "tonkeeper")]
    pub(super) wallet: String,
    /// Another wallet's bridge: the link is then one that every wallet takes
    #[arg(long, value_name = "URL", conflicts_with = "wallet")]
    pub(super) bridge: Option<String>,
    /// Root certificates for the bridge in PEM form (default: this machine's)
    #[arg(long, value_name = "FILE")]
    pub(super) bridge_roots: Option<PathBuf>,
    /// URL of the manifest that tells the wallet who asks; its host is what the wallet signs for
    #[arg(long, value_name = "URL")]
    pub(super) manifest: Option<String>,
    /// How long to wait for the wallet
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub(super) within: u32,
}

#[derive(Debug, Subcommand)]
pub(super) enum VerifyCommand {
    /// A SEV-SNP report with AMD's certificates
    Snp(SnpArguments),
    /// A TDX quote with Intel's collateral
    Tdx(TdxArguments),
    /// Reports of GPUs and switches with NVIDIA's manifests and answers about revocation
    Gpu(GpuArguments),
    /// A bundle: everything that a connection brought, in one file. The channel binding is not
    /// checked
    Bundle(Box<BundleArguments>),
    /// Print a policy in full: `strict`, `testing` or a file; without one, both built-in ones
    Policy {
        /// Name or file
        which: Option<PathBuf>,
    },
    /// A kept receipt: signature, arithmetic, and the content when it is given
    Receipt(ReceiptArguments),
    /// A proof of `prove`: that a receipt is under the root which the channel's contract holds.
    /// Needs --chain, --lite-server or --root
    Anchor(AnchorArguments),
}

/// By what a verdict is judged, and how it is printed.
#[derive(Debug, Args)]
pub(super) struct Judging {
    /// The appraisal policy: `strict`, `testing` or a file (default: the program's own)
    #[arg(long, value_name = "POLICY")]
    pub(super) policy: Option<PathBuf>,
    /// Time of the appraisal: unix seconds or a date such as 2026-11-26T13:00:00Z (default: now)
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<UnixTime>,
    /// A report for people instead of JSON
    #[arg(long)]
    pub(super) pretty: bool,
}

#[derive(Debug, Args)]
pub(super) struct SnpArguments {
    /// The report, 1184 bytes
    #[arg(long, value_name = "FILE")]
    pub(super) report: PathBuf,
    /// The certificate of the key that signed, VCEK or VLEK, DER or PEM
    #[arg(long, value_name = "FILE")]
    pub(super) vcek: PathBuf,
    /// ASK (of a VLEK: ASVK) and ARK in one PEM file, as AMD hands them out
    #[arg(long, value_name = "FILE")]
    pub(super) authorities: PathBuf,
    /// AMD's revocation list, DER
    #[arg(long, value_name = "FILE")]
    pub(super) crl: Option<PathBuf>,
    #[command(flatten)]
    pub(super) judging: Judging,
}

#[derive(Debug, Args)]
pub(super) struct TdxArguments {
    /// The quote
    #[arg(long, value_name = "FILE")]
    pub(super) quote: PathBuf,
    /// Intel's collateral, JSON
    #[arg(long, value_name = "FILE")]
    pub(super) collateral: Option<PathBuf>,
    #[command(flatten)]
    pub(super) judging: Judging,
}

#[derive(Debug, Args)]
#[command(after_help = GPU_EXAMPLE)]
pub(super) struct GpuArguments {
    /// GPU evidence, as a Statement names it (docs/spec/gpu-evidence.md, section 1)
    #[arg(long, value_name = "FILE")]
    pub(super) evidence: PathBuf,
    /// GPU endorsements: manifests and answers about revocation (the same section)
    #[arg(long, value_name = "FILE")]
    pub(super) endorsements: Option<PathBuf>,
    /// What the devices must be: architecture, number of GPUs, number of switches, mode. Several
    /// may be given; the devices are one of them
    #[arg(
        long = "set",
        value_name = "ARCHITECTURE,GPUS,SWITCHES,MODE",
        required = true
    )]
    #[arg(value_parser = parse_device_set)]
    pub(super) sets: Vec<DeviceSet>,
    /// The boot that asked: the reports carry its nonces for the round in the evidence
    #[arg(long, value_name = "HEX", conflicts_with = "nonce")]
    #[arg(required_unless_present = "nonce")]
    pub(super) boot_id: Option<BootId>,
    /// One nonce for all devices, as NVIDIA's own tools ask
    #[arg(long, value_name = "HEX")]
    pub(super) nonce: Option<GpuNonce>,
    /// The client's challenge, for a policy that wants answers about revocation made for it
    #[arg(long, value_name = "HEX")]
    pub(super) challenge: Option<Nonce>,
    #[command(flatten)]
    pub(super) judging: Judging,
}

const GPU_EXAMPLE: &str = "Example:\n  cocoon verify gpu --evidence gpus.bin --endorsements \
    staples.bin \\\n      --set hopper,8,4,protected-pcie --boot-id 0101… --at \
    2026-11-26T13:00:00Z --pretty\n\nArchitectures: hopper, blackwell. Modes: multi-pass, \
    single-pass, protected-pcie.\nExit codes: 0 accepted, 20 rejected, 2 bad input.";

#[derive(Debug, Args)]
pub(super) struct BundleArguments {
    /// The bundle
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) pins: PinsOptions,
    /// Take the bundle's own reference values if this is their SHA-256
    #[arg(long, value_name = "SHA256", conflicts_with_all = ["release", "reference_values"])]
    pub(super) reference_digest: Option<DocumentDigest>,
    #[command(flatten)]
    pub(super) judging: Judging,
}

#[derive(Debug, Args)]
pub(super) struct ReceiptArguments {
    /// The receipt's file
    pub(super) file: PathBuf,
    /// The request's body as it was sent
    #[arg(long, value_name = "FILE")]
    pub(super) request: Option<PathBuf>,
    /// The answer's text
    #[arg(long, value_name = "FILE")]
    pub(super) response: Option<PathBuf>,
    /// A report for people instead of JSON
    #[arg(long)]
    pub(super) pretty: bool,
}

#[derive(Debug, Args)]
pub(super) struct ProveArguments {
    /// The receipt's file
    pub(super) receipt: PathBuf,
    /// Where the proof is written (default: standard output)
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct AnchorArguments {
    /// The proof's file
    pub(super) file: PathBuf,
    /// The root, from a reader of the chain whom you trust more
    #[arg(long, value_name = "HEX")]
    pub(super) root: Option<ReceiptsRoot>,
    /// A report for people instead of JSON
    #[arg(long)]
    pub(super) pretty: bool,
}

/// Examples at the end of `--help`.
pub(super) fn examples(program: &str) -> String {
    let lines = [
        "Examples:",
        "  {} wallet new",
        "  {} wallet connect --wallet tonkeeper --manifest https://…/tonconnect-manifest.json",
        "  {} wallet open --payee 0:5a… --deposit 2ton --chain http://127.0.0.1:8081",
        "  {} wallet open --payee 0:5a… --jetton 0:b1… --decimals 6 --deposit 5jetton --chain …",
        "  {} chat \"What is the capital of France?\" --connect 127.0.0.1:4443 \\",
        "      --release releases/0.1.0 --log-key log.example/releases+… --max-price 0.5ton",
        "  {} serve --port 8484 --config settings.json",
        "  {} providers --cocoon-root 0:a7b3… --chain http://127.0.0.1:8081",
        "  {} verify receipt ~/.{}/receipts/receipt-….json",
        "  {} prove ~/.{}/receipts/receipt-….json --chain http://127.0.0.1:8081 --out proof.json",
        "  {} verify anchor proof.json --chain http://127.0.0.1:8081 --pretty",
        "  {} verify gpu --evidence FILE --endorsements FILE --set hopper,8,4,protected-pcie \\",
        "      --boot-id 01… --pretty",
        "  {} verify bundle FILE --release releases/0.1.0 --log-key log.example/… --pretty",
        "",
        "Exit codes: 0 done, 1 network, chain or files failed, 2 bad input, 20 evidence refused,",
        "21 price or payment refused, 22 receipt refused.",
    ];
    lines.join("\n").replace("{}", program)
}
