//! A grant that the program signs is believed under a policy that names its provider, for the
//! machine, the devices and the configuration that were named, and for nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

#[allow(dead_code, reason = "the verifier's own tests use the rest of it")]
#[path = "../../verifier/tests/appraisal/world.rs"]
mod world;

mod program;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use host_agent::clock::UnixSeconds;
use host_agent::grant::{self, GrantError, Machine};
use mock_tee::Lie;
use mock_tee::nvidia::Board;
use protocol::digest::{ChipId, ProviderKey};
use protocol::gpu_evidence::{DeviceKind, GpuMode};
use protocol::launch_configuration::LaunchConfiguration;
use protocol::machine_grant::ChipIdentity;
use protocol::reference_values::DeviceSet;
use protocol::ton::NetworkId;
use verifier::{Allowed, AttestationResult, Rejection, UnixTime, Weakness};
use world::{NOW, World, configuration};

const BOARD: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 2,
    switches: 1,
    mode: GpuMode::ProtectedPcie,
};

/// A machine with devices, its names, and a place with a provider's key and its configuration.
struct Provider {
    place: tempfile::TempDir,
    world: World,
    chip: ChipIdentity,
    devices: Vec<String>,
}

impl Provider {
    fn new() -> Self {
        let board = Board::new(BOARD.architecture, BOARD.gpus, BOARD.switches, BOARD.mode);
        let mut world = World::genoa().with_board(&board, BOARD);
        let result = world.appraise().unwrap();
        let place = tempfile::tempdir().unwrap();
        let provider = new_key(&place.path().join("provider.key"));
        world.policy.providers = Allowed::Only(vec![provider]);
        let own = Self {
            chip: *result.chip().certified().unwrap(),
            devices: result.devices().iter().map(|d| hex(&d.serial)).collect(),
            place,
            world,
        };
        fs::write(own.path("launch-config.json"), &own.world.configuration).unwrap();
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Writes a changed launch configuration and gives its file's name.
    fn configured(&self, change: impl Fn(&mut LaunchConfiguration)) -> &'static str {
        let mut document = configuration();
        change(&mut document);
        let bytes = document.to_canonical_bytes().unwrap();
        fs::write(self.path("other.json"), bytes).unwrap();
        "other.json"
    }

    /// The grant that the program signs of what is named.
    fn signed(
        &self,
        key: &str,
        chip: ChipIdentity,
        devices: &[String],
        configuration: &str,
    ) -> Vec<u8> {
        let (key, configuration) = (self.path(key), self.path(configuration));
        let (chip, out) = (chip.to_string(), self.path("machine-grant.bin"));
        let mut arguments = vec!["grant", "sign", "--key", text(&key), "--chip", &chip];
        for serial in devices {
            arguments.extend(["--device", serial]);
        }
        arguments.extend(["--launch-config", text(&configuration)]);
        arguments.extend(["--until", "2100-01-01T00:00:00Z", "--out", text(&out)]);
        let printed = program::lines(&arguments);
        assert_eq!(printed[0]["signature"], "holds");
        assert_eq!(printed[0]["not_after"], 4_102_444_800_u64);
        fs::read(out).unwrap()
    }

    fn honest(&self) -> Vec<u8> {
        let (chip, devices) = (self.chip, &self.devices);
        self.signed("provider.key", chip, devices, "launch-config.json")
    }

    fn appraise(&self, grant: Vec<u8>) -> Result<AttestationResult, Rejection> {
        let mut world = self.world.clone();
        world.grant = Some(grant);
        world.appraise()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn new_key(path: &Path) -> ProviderKey {
    let printed = program::lines(&["grant", "new-key", "--key", text(path)]);
    printed[0]["provider"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_signed_grant_is_accepted_where_the_policy_names_its_provider() {
    let own = Provider::new();
    let Allowed::Only(providers) = &own.world.policy.providers else {
        panic!("one provider is named");
    };
    let result = own.appraise(own.honest()).unwrap();
    assert_eq!(result.provider(), providers.first());
}

#[test]
fn each_changed_member_is_refused_for_its_own_reason() {
    let own = Provider::new();
    new_key(&own.path("other.key"));
    let (chip, devices, launched) = (own.chip, &own.devices, "launch-config.json");
    let other = ChipIdentity::SevSnp(ChipId([1; 64]));
    let more = [devices.as_slice(), &["0102".to_owned()]].concat();
    let grants = [
        (
            own.signed("other.key", chip, devices, launched),
            Rejection::GrantProvider,
        ),
        (
            own.signed("provider.key", other, devices, launched),
            Rejection::GrantChip,
        ),
        (
            own.signed("provider.key", chip, &devices[1..], launched),
            Rejection::GrantDevices,
        ),
        (
            own.signed("provider.key", chip, &more, launched),
            Rejection::GrantDevices,
        ),
        (
            own.signed(
                "provider.key",
                chip,
                devices,
                own.configured(|document| document.network = NetworkId(-239)),
            ),
            Rejection::GrantNetwork,
        ),
        (
            own.signed(
                "provider.key",
                chip,
                devices,
                own.configured(|document| document.limits.streams = 5),
            ),
            Rejection::GrantConfiguration,
        ),
    ];
    for (grant, reason) in grants {
        assert_eq!(own.appraise(grant), Err(reason));
    }
}

#[test]
fn a_grant_ends_with_the_second_that_it_names() {
    let own = Provider::new();
    let key = grant::read_key(&own.path("provider.key")).unwrap();
    let machine = of_bundle(&own.world).unwrap();
    let ends = |at| {
        let signed = machine
            .clone()
            .granted(&key, UnixTime(at), UnixSeconds(at - 1));
        own.appraise(signed.unwrap().encode())
    };
    assert!(ends(NOW).is_ok());
    assert_eq!(ends(NOW - 1), Err(Rejection::GrantExpired));
}

#[test]
fn a_changed_byte_is_shown_and_refused() {
    let own = Provider::new();
    let mut bytes = own.honest();
    let file = own.path("machine-grant.bin");
    let shown = program::lines(&["grant", "show", text(&file)]);
    assert_eq!(shown[0]["devices"].as_array().unwrap().len(), 3);
    // A byte of the chip.
    bytes[8 + 2 + 32 + 4 + 1] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let output = program::finish(&["grant", "show", text(&file)]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(program::parse(&output)[0]["signature"], "does not hold");
    assert_eq!(own.appraise(bytes), Err(Rejection::GrantSignature));
    fs::write(&file, [0; 921]).unwrap();
    let output = program::finish(&["grant", "show", text(&file)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}

fn of_bundle(world: &World) -> Result<Machine, GrantError> {
    Machine::of_bundle(&world.bundle(), &world.policy, &world.anchors, world.at)
}

#[test]
fn a_bundle_names_the_machine_that_its_evidence_is_of() {
    let own = Provider::new();
    // Without a grant, under the policy that asks for one: it is what is being made.
    let machine = of_bundle(&own.world).unwrap();
    let key = grant::read_key(&own.path("provider.key")).unwrap();
    let until = UnixTime(4_102_444_800);
    let signed = machine.granted(&key, until, UnixSeconds(NOW)).unwrap();
    assert_eq!(signed.encode(), own.honest());
}

#[test]
fn a_bundle_that_is_not_accepted_names_nothing() {
    let honest = World::genoa();
    let mut debuggable = honest.clone();
    debuggable.machine = debuggable.machine.with(Lie::Debug);
    let refused = of_bundle(&debuggable).unwrap_err();
    assert!(
        matches!(refused, GrantError::Refused("snp-debug")),
        "{refused}"
    );
    let mut under_a_vlek = honest.clone();
    under_a_vlek.machine = under_a_vlek.machine.with(Lie::Vlek);
    under_a_vlek.policy.tolerated.push(Weakness::SnpVlek);
    let refused = of_bundle(&under_a_vlek).unwrap_err();
    assert!(matches!(refused, GrantError::Uncertified), "{refused}");
}

#[test]
fn the_program_takes_no_bundle_of_a_simulated_machine() {
    let place = tempfile::tempdir().unwrap();
    let [key, bundle, out] =
        ["provider.key", "machine.bundle", "machine-grant.bin"].map(|name| place.path().join(name));
    new_key(&key);
    fs::write(&bundle, World::genoa().bundle().encode().unwrap()).unwrap();
    let at = NOW.to_string();
    let output = program::finish(&[
        "grant",
        "sign",
        "--key",
        text(&key),
        "--bundle",
        text(&bundle),
        "--at",
        &at,
        "--until",
        "2100-01-01T00:00:00Z",
        "--out",
        text(&out),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.contains("the bundle's evidence is refused ("),
        "{complaint}"
    );
    assert!(!out.exists());
}

#[test]
fn a_key_is_its_owners_alone_and_never_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let key = place.path().join("provider.key");
    let provider = new_key(&key);
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = program::finish(&["grant", "new-key", "--key", text(&key)]);
    assert_eq!(again.status.code(), Some(1));
    let shown = program::lines(&["grant", "show-key", "--key", text(&key)]);
    assert_eq!(shown[0]["provider"], provider.to_string());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let open = program::finish(&["grant", "show-key", "--key", text(&key)]);
    assert_eq!(open.status.code(), Some(1));
}

#[test]
fn what_is_past_is_not_signed_and_what_is_half_named_is_not_understood() {
    let own = Provider::new();
    let (key, configuration) = (own.path("provider.key"), own.path("launch-config.json"));
    let (chip, out) = (own.chip.to_string(), own.path("machine-grant.bin"));
    let sign = |more: &[&str]| {
        let mut arguments = vec!["grant", "sign", "--key", text(&key), "--out", text(&out)];
        arguments.extend(more);
        program::finish(&arguments).status.code()
    };
    let launched = ["--launch-config", text(&configuration)];
    let past = ["--chip", &chip, launched[0], launched[1], "--until", "1"];
    assert_eq!(sign(&past), Some(1));
    for half in [
        &["--until", "4102444800"][..],
        &["--chip", &chip, "--until", "4102444800"],
        &["--chip", &chip, launched[0], launched[1]],
        &[
            "--chip",
            "07",
            launched[0],
            launched[1],
            "--until",
            "4102444800",
        ],
        &[
            "--device",
            "01",
            launched[0],
            launched[1],
            "--until",
            "4102444800",
        ],
    ] {
        assert_eq!(sign(half), Some(2), "{half:?}");
    }
    assert!(!out.exists());
}
