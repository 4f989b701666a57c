//! The program: `mock-tee serve` answers on a socket, `mock-tee endorsements` writes what a host
//! staples, `mock-tee roots` writes the certificates that `tests/research/anchors` pins.
//!
//! Research only. It reads the clock and files, and hands both to the library.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use mock_tee::Lie;
use mock_tee::launch::LaunchRecord;
use mock_tee::nvidia;
use mock_tee::snp::{Product, SnpMachine, root_certificate};
use mock_tee::socket::Machine;
use mock_tee::tdx::registers::Registers;
use mock_tee::tdx::{self, QuoteVersion, TdxMachine};
use protocol::digest::{ConfigDigest, HostData, LaunchDigest, Mrtd, Rtmr};
use protocol::endorsements::EndorsementKind;

const WARNING: &str = "simulated TEE: proves protocol and verifier, not isolation";

/// A simulated TEE for research: proves protocol and verifier, not isolation.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answers requests for reports on a Unix socket until it is ended.
    Serve {
        /// Kind of the report.
        #[arg(long)]
        tee: Tee,
        /// Path of the socket.
        #[arg(long)]
        listen: PathBuf,
        /// The launch record that the host agent wrote.
        #[arg(long)]
        launch: PathBuf,
        /// One thing to get wrong.
        #[arg(long)]
        lie: Option<Lie>,
    },
    /// Prints the registers of what a launch record points at.
    Measure {
        /// Kind of the report.
        #[arg(long)]
        tee: Tee,
        /// The launch record.
        #[arg(long)]
        launch: PathBuf,
    },
    /// Writes the endorsement files that a host staples.
    Endorsements {
        /// Kind of the report.
        #[arg(long)]
        tee: Tee,
        /// Folder for the files.
        #[arg(long)]
        out: PathBuf,
        /// One thing to get wrong.
        #[arg(long)]
        lie: Option<Lie>,
    },
    /// Writes the simulated roots' certificates.
    Roots {
        /// Folder for the files.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tee {
    SevSnp,
    Tdx,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    say(WARNING)?;
    match arguments.command {
        Command::Serve {
            tee,
            listen,
            launch,
            lie,
        } => serve(tee, &listen, &launch, lie),
        Command::Measure { tee, launch } => measure(tee, &LaunchRecord::read(&launch)?),
        Command::Endorsements { tee, out, lie } => endorsements(tee, &out, lie),
        Command::Roots { out } => roots(&out),
    }
}

fn serve(tee: Tee, listen: &Path, launch: &Path, lie: Option<Lie>) -> anyhow::Result<()> {
    let record = LaunchRecord::read(launch)?;
    measure(tee, &record)?;
    let machine = match tee {
        Tee::SevSnp => {
            let measurement = record.snp_measurement()?;
            Machine::SevSnp(snp_machine(measurement, record.host_data, lie))
        }
        Tee::Tdx => {
            let configuration = ConfigDigest(record.host_data.0);
            Machine::Tdx(tdx_machine(record.tdx_registers()?, configuration, lie))
        }
    };
    remove_stale_socket(listen)?;
    let listener = UnixListener::bind(listen)
        .with_context(|| format!("cannot listen on `{}`", listen.display()))?;
    say("ready")?;
    let machine = Arc::new(machine);
    for stream in listener.incoming() {
        let mut stream = stream.context("cannot accept a connection")?;
        let machine = Arc::clone(&machine);
        std::thread::spawn(move || {
            if let Err(error) = machine.serve(&mut stream) {
                let _ = say(&format!("connection ended: {error}"));
            }
        });
    }
    Ok(())
}

fn measure(tee: Tee, record: &LaunchRecord) -> anyhow::Result<()> {
    match tee {
        Tee::SevSnp => say(&format!("measurement {}", record.snp_measurement()?)),
        Tee::Tdx => {
            let registers = record.tdx_registers()?;
            say(&format!("mrtd {}", registers.mrtd))?;
            let mut numbered = registers.rtmrs.iter().enumerate();
            numbered.try_for_each(|(number, rtmr)| say(&format!("rtmr{number} {rtmr}")))
        }
    }
}

fn snp_machine(measurement: LaunchDigest, host_data: HostData, lie: Option<Lie>) -> SnpMachine {
    let honest = SnpMachine::new(Product::Genoa, measurement, host_data);
    match lie {
        Some(lie) => honest.with(lie),
        None => honest,
    }
}

fn tdx_machine(registers: Registers, configuration: ConfigDigest, lie: Option<Lie>) -> TdxMachine {
    let honest = TdxMachine::new(QuoteVersion::V4, registers, configuration);
    match lie {
        Some(lie) => honest.with(lie),
        None => honest,
    }
}

fn endorsements(tee: Tee, out: &Path, lie: Option<Lie>) -> anyhow::Result<()> {
    let items = match tee {
        Tee::SevSnp => {
            let machine = snp_machine(LaunchDigest::ZERO, HostData::ZERO, lie);
            machine.endorsements(now()?)?
        }
        Tee::Tdx => {
            let registers = Registers {
                mrtd: Mrtd::ZERO,
                rtmrs: [Rtmr::ZERO; 3],
            };
            tdx_machine(registers, ConfigDigest::ZERO, lie).endorsements(now()?)?
        }
    };
    fs::create_dir_all(out).with_context(|| format!("cannot create `{}`", out.display()))?;
    for (kind, name) in [
        (EndorsementKind::SnpVcek, "vcek.der"),
        (EndorsementKind::SnpAsk, "ask.der"),
        (EndorsementKind::SnpArk, "ark.der"),
        (EndorsementKind::SnpCrl, "crl.der"),
        (EndorsementKind::TdxCollateral, "tdx-collateral.json"),
    ] {
        if let Some(bytes) = items.get(kind) {
            write(&out.join(name), bytes)?;
        }
    }
    Ok(())
}

fn roots(out: &Path) -> anyhow::Result<()> {
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        let name = format!("amd-{}.der", product.name().to_lowercase());
        write(&out.join(name), &root_certificate(product)?)?;
    }
    write(&out.join("intel.der"), &tdx::root_certificate()?)?;
    write(
        &out.join("nvidia-device.der"),
        &nvidia::device_root_certificate()?,
    )?;
    write(
        &out.join("nvidia-rim.der"),
        &nvidia::manifest_root_certificate()?,
    )
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
    say(&format!("wrote {}", path.display()))
}

/// A socket that an earlier run left behind; anything else at that path stays and is an error.
fn remove_stale_socket(path: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            fs::remove_file(path).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where this program reads the clock"
)]
fn now() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_secs())
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
