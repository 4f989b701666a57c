//! The release source: reports by configfs-tsm, own registers by ioctl.
//!
//! On SEV-SNP a statement in REPORT_DATA is worth something only while this program alone can ask
//! for reports; `init` sees to that by giving configfs to nobody. The kernel's interface counts
//! writes (`generation`), so that a foreign write shows; waiting for it to settle is bounded.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocol::digest::{HostData, MrConfigId, ReportData};
use protocol::evidence::{MAX_EVENT_LOG_BYTES, MAX_REPORT_BYTES};
use protocol::tee::TeeKind;

use crate::report::{ConfigRegister, Report, ReportError, ReportSource};

/// Name of our entry below the report directory.
const ENTRY: &str = "cocoon";
/// How often a disturbed report is asked for again.
const ATTEMPTS: u32 = 5;
/// How long a report may take, all attempts together.
const DEADLINE: Duration = Duration::from_secs(30);
/// Pause before another attempt.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest text attribute, in bytes.
const MAX_TEXT: usize = 64;

/// Where the report header of `struct snp_report_resp` ends and the report starts
/// (SEV-SNP firmware ABI, MSG_REPORT_RSP).
const SNP_REPORT: usize = 32;
/// Offset of HOST_DATA in a report (SEV-SNP firmware ABI, ATTESTATION_REPORT).
const SNP_HOST_DATA: usize = 0xc0;
/// Offset of MRCONFIGID in a TDREPORT: TDINFO_STRUCT at 512, after ATTRIBUTES (8), XFAM (8) and
/// MRTD (48) (TDX module ABI).
const TD_MR_CONFIG_ID: usize = 512 + 8 + 8 + 48;

/// Where the kernel shows its interfaces.
#[derive(Debug, Clone)]
pub struct Places {
    /// The report directory of configfs-tsm.
    pub reports: PathBuf,
    /// The device of SEV-SNP guests.
    pub sev_guest: PathBuf,
    /// The device of TDX guests.
    pub tdx_guest: PathBuf,
    /// The CC event log that the firmware left on TDX.
    pub event_log: PathBuf,
}

impl Default for Places {
    /// The kernel's own paths.
    fn default() -> Self {
        Self {
            reports: "/sys/kernel/config/tsm/report".into(),
            sev_guest: "/dev/sev-guest".into(),
            tdx_guest: "/dev/tdx_guest".into(),
            event_log: "/sys/firmware/acpi/tables/data/CCEL".into(),
        }
    }
}

/// The release source of reports.
#[derive(Debug)]
pub struct Tsm {
    tee: TeeKind,
    entry: PathBuf,
    places: Places,
}

impl Tsm {
    /// Makes the program's own entry.
    ///
    /// # Errors
    /// `NoProvider` without a TEE, `ForeignProvider` for any but `sev_guest` and `tdx_guest`.
    pub fn open(places: Places) -> Result<Self, ReportError> {
        let entry = places.reports.join(ENTRY);
        match fs::create_dir(&entry) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // No provider is ENXIO, no such interface ENOENT: "no TEE", never a reason to go on.
            Err(_) => return Err(ReportError::NoProvider),
        }
        let provider = read_limited(&entry.join("provider"), MAX_TEXT)
            .map_err(failed("read the provider's name"))?;
        let tee = match provider.trim_ascii() {
            b"sev_guest" => TeeKind::SevSnp,
            b"tdx_guest" => TeeKind::Tdx,
            _ => return Err(ReportError::ForeignProvider),
        };
        Ok(Self { tee, entry, places })
    }
}

impl ReportSource for Tsm {
    fn tee(&self) -> TeeKind {
        self.tee
    }

    fn own_configuration(&mut self) -> Result<ConfigRegister, ReportError> {
        let call = |error: sys::CallFailed| ReportError::System {
            action: "read the machine's own registers",
            errno: error.errno,
        };
        let open = |path: &Path| File::open(path).map_err(failed("open the TEE device"));
        match self.tee {
            TeeKind::SevSnp => {
                let device = open(&self.places.sev_guest)?;
                host_data(&sys::tee::snp_report(device.as_fd(), &[0; 64]).map_err(call)?)
            }
            TeeKind::Tdx => {
                let device = open(&self.places.tdx_guest)?;
                mr_config_id(&sys::tee::td_report(device.as_fd(), &[0; 64]).map_err(call)?)
            }
        }
    }

    fn event_log(&mut self) -> Result<Vec<u8>, ReportError> {
        match self.tee {
            TeeKind::SevSnp => Ok(Vec::new()),
            TeeKind::Tdx => match read_limited(&self.places.event_log, MAX_EVENT_LOG_BYTES) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                read => read.map_err(failed("read the event log")),
            },
        }
    }

    fn report(&mut self, data: &ReportData) -> Result<Report, ReportError> {
        let mut entry = Configfs(&self.entry);
        undisturbed(&mut entry, data, Instant::now().checked_add(DEADLINE))
    }
}

/// HOST_DATA in the answer of SNP_GET_REPORT.
fn host_data(response: &[u8; sys::tee::SNP_RESPONSE_BYTES]) -> Result<ConfigRegister, ReportError> {
    let status = response.first_chunk().map(|s| u32::from_le_bytes(*s));
    if status != Some(0) {
        return Err(ReportError::Malformed { field: "status" });
    }
    let report = response.get(SNP_REPORT..);
    let register = report.and_then(|report| report.get(SNP_HOST_DATA..)?.first_chunk());
    let register = register.ok_or(ReportError::Malformed { field: "host data" })?;
    Ok(ConfigRegister::HostData(HostData(*register)))
}

/// MRCONFIGID in a TDREPORT.
fn mr_config_id(report: &[u8; sys::tee::TD_REPORT_BYTES]) -> Result<ConfigRegister, ReportError> {
    let register = report.get(TD_MR_CONFIG_ID..).and_then(|r| r.first_chunk());
    let register = register.ok_or(ReportError::Malformed {
        field: "mrconfigid",
    })?;
    Ok(ConfigRegister::MrConfigId(MrConfigId(*register)))
}

/// The three attributes of an entry that a report takes.
trait Entry {
    fn generation(&mut self) -> io::Result<u64>;
    fn write_inblob(&mut self, data: &[u8]) -> io::Result<()>;
    fn read_outblob(&mut self) -> io::Result<Vec<u8>>;
}

struct Configfs<'a>(&'a Path);

impl Entry for Configfs<'_> {
    fn generation(&mut self) -> io::Result<u64> {
        let text = read_limited(&self.0.join("generation"), MAX_TEXT)?;
        let number = std::str::from_utf8(text.trim_ascii()).ok();
        let number = number.and_then(|text| text.parse().ok());
        number.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn write_inblob(&mut self, data: &[u8]) -> io::Result<()> {
        fs::write(self.0.join("inblob"), data)
    }

    fn read_outblob(&mut self) -> io::Result<Vec<u8>> {
        read_limited(&self.0.join("outblob"), MAX_REPORT_BYTES)
    }
}

/// A report that nobody else's write came between, in a bounded number of attempts.
fn undisturbed(
    entry: &mut impl Entry,
    data: &ReportData,
    deadline: Option<Instant>,
) -> Result<Report, ReportError> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            return Err(ReportError::TimedOut);
        }
        match attempt_report(entry, data) {
            Ok(Some(report)) if report.is_empty() => {
                return Err(ReportError::Malformed { field: "report" });
            }
            Ok(Some(report)) => return Ok(Report(report)),
            Ok(None) => {}
            Err(error) if passes(&error) => {}
            Err(error) => return Err(failed("ask for a report")(error)),
        }
    }
    Err(ReportError::Disturbed { attempts: ATTEMPTS })
}

/// `None` when the generation shows a write that was not ours.
fn attempt_report(entry: &mut impl Entry, data: &ReportData) -> io::Result<Option<Vec<u8>>> {
    let before = entry.generation()?;
    entry.write_inblob(&data.0)?;
    let report = entry.read_outblob()?;
    let ours = before.checked_add(1);
    Ok((Some(entry.generation()?) == ours).then_some(report))
}

/// Failures that another attempt may not meet.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
    )
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> ReportError {
    move |error| ReportError::System {
        action,
        errno: error.raw_os_error().unwrap_or(0),
    }
}

/// The whole file, refused when it is longer than `limit`.
fn read_limited(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let at_most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(at_most).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// An entry whose generations and outcomes are written down beforehand.
    #[derive(Default)]
    struct Scripted {
        generations: VecDeque<u64>,
        outblobs: VecDeque<io::Result<Vec<u8>>>,
        written: Vec<Vec<u8>>,
    }

    impl Entry for Scripted {
        fn generation(&mut self) -> io::Result<u64> {
            self.generations
                .pop_front()
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }

        fn write_inblob(&mut self, data: &[u8]) -> io::Result<()> {
            self.written.push(data.to_vec());
            Ok(())
        }

        fn read_outblob(&mut self) -> io::Result<Vec<u8>> {
            self.outblobs.pop_front().unwrap_or_else(|| Ok(vec![7]))
        }
    }

    const DATA: ReportData = ReportData([5; 64]);

    fn soon() -> Option<Instant> {
        Instant::now().checked_add(Duration::from_secs(60))
    }

    fn with_generations(generations: &[u64]) -> Scripted {
        Scripted {
            generations: generations.iter().copied().collect(),
            ..Scripted::default()
        }
    }

    #[test]
    fn takes_a_report_when_only_its_own_write_counted() {
        let mut entry = with_generations(&[3, 4]);
        assert_eq!(undisturbed(&mut entry, &DATA, soon()), Ok(Report(vec![7])));
        assert_eq!(entry.written, [vec![5; 64]]);
    }

    #[test]
    fn asks_again_when_a_foreign_write_came_between() {
        let mut entry = with_generations(&[3, 5, 5, 6]);
        assert_eq!(undisturbed(&mut entry, &DATA, soon()), Ok(Report(vec![7])));
        assert_eq!(entry.written.len(), 2);
    }

    #[test]
    fn gives_up_after_a_bounded_number_of_disturbed_attempts() {
        let mut entry = with_generations(&[0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12]);
        let refused = undisturbed(&mut entry, &DATA, soon());
        assert_eq!(refused, Err(ReportError::Disturbed { attempts: 5 }));
        assert_eq!(entry.written.len(), 5);
    }

    #[test]
    fn a_busy_platform_is_asked_again_and_a_broken_one_is_not() {
        let mut entry = with_generations(&[0, 1, 2]);
        entry.outblobs = [Err(io::Error::from_raw_os_error(16)), Ok(vec![9])].into();
        assert_eq!(undisturbed(&mut entry, &DATA, soon()), Ok(Report(vec![9])));
        let mut entry = with_generations(&[0, 1, 2]);
        entry.outblobs = [Err(io::Error::from_raw_os_error(5))].into();
        let refused = undisturbed(&mut entry, &DATA, soon());
        assert!(matches!(refused, Err(ReportError::System { errno: 5, .. })));
    }

    #[test]
    fn a_passed_deadline_or_an_empty_report_is_a_refusal() {
        let mut entry = with_generations(&[0, 1]);
        let refused = undisturbed(&mut entry, &DATA, Some(Instant::now()));
        assert_eq!(refused, Err(ReportError::TimedOut));
        entry.outblobs = [Ok(Vec::new())].into();
        let refused = undisturbed(&mut entry, &DATA, soon());
        assert_eq!(refused, Err(ReportError::Malformed { field: "report" }));
    }

    /// Files as configfs would show them for a provider of that name.
    fn places(provider: Option<&str>) -> (tempfile::TempDir, Places) {
        let root = tempfile::tempdir().unwrap();
        let places = Places {
            reports: root.path().join("report"),
            sev_guest: root.path().join("sev-guest"),
            tdx_guest: root.path().join("tdx_guest"),
            event_log: root.path().join("CCEL"),
        };
        if let Some(provider) = provider {
            let entry = places.reports.join(ENTRY);
            fs::create_dir_all(&entry).unwrap();
            fs::write(entry.join("provider"), provider).unwrap();
        }
        (root, places)
    }

    #[test]
    fn takes_the_two_providers_by_name_and_no_other() {
        let opened = |provider| {
            let (_root, places) = places(provider);
            Tsm::open(places).map(|source| source.tee())
        };
        assert_eq!(opened(Some("sev_guest\n")), Ok(TeeKind::SevSnp));
        assert_eq!(opened(Some("tdx_guest\n")), Ok(TeeKind::Tdx));
        assert_eq!(
            opened(Some("fake_guest\n")),
            Err(ReportError::ForeignProvider)
        );
        assert_eq!(opened(None), Err(ReportError::NoProvider));
    }

    #[test]
    fn an_event_log_belongs_to_tdx_and_is_bounded() {
        let (_root, places) = places(Some("tdx_guest\n"));
        let path = places.event_log.clone();
        let mut source = Tsm::open(places).unwrap();
        assert_eq!(source.event_log(), Ok(Vec::new()));
        fs::write(&path, b"log").unwrap();
        assert_eq!(source.event_log(), Ok(b"log".to_vec()));
        fs::write(&path, vec![0; MAX_EVENT_LOG_BYTES + 1]).unwrap();
        assert!(source.event_log().is_err());
        source.tee = TeeKind::SevSnp;
        assert_eq!(source.event_log(), Ok(Vec::new()));
    }

    #[test]
    fn own_registers_are_read_at_the_offsets_of_the_firmware() {
        let mut response = [0; sys::tee::SNP_RESPONSE_BYTES];
        response[32 + 192..32 + 224].fill(3);
        let register = ConfigRegister::HostData(HostData([3; 32]));
        assert_eq!(host_data(&response), Ok(register));
        response[0] = 0x16;
        assert!(host_data(&response).is_err());
        let mut report = [0; sys::tee::TD_REPORT_BYTES];
        report[576..624].fill(4);
        let register = ConfigRegister::MrConfigId(MrConfigId([4; 48]));
        assert_eq!(mr_config_id(&report), Ok(register));
    }
}
