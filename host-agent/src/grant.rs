//! Signing machine grants: what a provider's key says of its machines, for clients whose policy
//! names that provider. `docs/spec/machine-grant.md`.
//!
//! Needs no chain and no network: the key can stay on a machine that serves nobody. Deliberately
//! not here: whether a grant is believed (`verifier`).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::SigningKey;
use protocol::digest::{ConfigDigest, ProviderKey};
use protocol::machine_grant::{ChipIdentity, MAX_SERIAL_BYTES, MachineGrant, SignedGrant};
use protocol::ton::NetworkId;
use verifier::{
    Allowed, AppraisalPolicy, Bundle, DocumentDigest, Pin, TrustAnchors, UnixTime, appraise_bundle,
};

use crate::clock::UnixSeconds;
use crate::launch::configuration::MeasuredConfiguration;
use crate::wallet::{self, WalletError};

/// A grant is at most this long: `docs/spec/machine-grant.md` §1.
pub const MAX_BYTES: u64 = 920;

/// A grant cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The provider's key cannot be used.
    #[error(transparent)]
    Key(#[from] WalletError),
    /// The machine's own evidence is not accepted.
    #[error("the bundle's evidence is refused ({0})")]
    Refused(&'static str),
    /// No certificate names the chip: a grant of it would match nothing.
    #[error("no certificate names the chip of the bundle's evidence")]
    Uncertified,
    /// It would be void at once.
    #[error("the grant would end at {0}, which is past")]
    Past(UnixTime),
    /// More devices than a machine has, or a serial number that no certificate has.
    #[error("the machine's devices are more than a grant can name")]
    Devices,
    /// The grant cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The serial number of a device's leaf certificate. Its text is hex, as `openssl x509 -serial`
/// prints it: a number, without the sign byte that certificates carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSerial(Vec<u8>);

/// Text that is no serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the hex digits of a number of at most 20 bytes, not 0")]
pub struct SerialError;

impl FromStr for DeviceSerial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, SerialError> {
        let digits: Option<Vec<u8>> = text.chars().map(nibble).collect();
        let digits = digits.ok_or(SerialError)?;
        let (pairs, odd) = digits.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(SerialError);
        }
        let bytes = pairs.iter().map(|[high, low]| (high << 4) | low);
        let mut number: Vec<u8> = bytes.skip_while(|byte| *byte == 0).collect();
        let first = number.first().ok_or(SerialError)?;
        if number.len() >= MAX_SERIAL_BYTES {
            return Err(SerialError);
        }
        if first & 0x80 != 0 {
            number.insert(0, 0);
        }
        Ok(Self(number))
    }
}

fn nibble(digit: char) -> Option<u8> {
    digit.to_digit(16).and_then(|value| value.try_into().ok())
}

/// What a grant says of a machine, whoever signs it and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The processor.
    pub chip: ChipIdentity,
    /// Its GPUs and switches.
    pub devices: BTreeSet<Vec<u8>>,
    /// The network on which it earns.
    pub network: NetworkId,
    /// What it is launched with.
    pub configuration: ConfigDigest,
}

impl Machine {
    /// The machine of these names, launched with this configuration.
    #[must_use]
    pub fn named(
        chip: ChipIdentity,
        devices: &[DeviceSerial],
        launched: &MeasuredConfiguration,
    ) -> Self {
        Self {
            chip,
            devices: devices.iter().map(|serial| serial.0.clone()).collect(),
            network: launched.document.network,
            configuration: launched.digest,
        }
    }

    /// The machine whose evidence a bundle holds. The evidence has to be accepted, whatever grant
    /// it carries, by the bundle's own reference values: a grant says whose the machine is, not
    /// what it runs.
    ///
    /// # Errors
    /// `Refused` with the rejection's code; `Uncertified`.
    pub fn of_bundle(
        bundle: &Bundle,
        policy: &AppraisalPolicy,
        anchors: &TrustAnchors,
        at: UnixTime,
    ) -> Result<Self, GrantError> {
        let policy = AppraisalPolicy {
            providers: Allowed::Every,
            ..policy.clone()
        };
        let pin = Pin::Digest(DocumentDigest::of_references(&bundle.references));
        let found = appraise_bundle(bundle, pin, &policy, anchors, at).result;
        let found = found.map_err(|rejection| GrantError::Refused(rejection.code()))?;
        let chip = found.chip().certified().ok_or(GrantError::Uncertified)?;
        Ok(Self {
            chip: *chip,
            devices: found.devices().iter().map(|d| d.serial.clone()).collect(),
            network: found.launch_configuration().network,
            configuration: found.statement().configuration,
        })
    }

    /// The same machine, launched with another configuration.
    #[must_use]
    pub fn launched_with(self, launched: &MeasuredConfiguration) -> Self {
        Self {
            network: launched.document.network,
            configuration: launched.digest,
            ..self
        }
    }

    /// The provider's grant of this machine.
    ///
    /// # Errors
    /// `Past`, and `Devices` for what no verifier would read.
    pub fn granted(
        self,
        key: &SigningKey,
        until: UnixTime,
        now: UnixSeconds,
    ) -> Result<SignedGrant, GrantError> {
        if until.0 <= now.0 {
            return Err(GrantError::Past(until));
        }
        let grant = MachineGrant {
            network: self.network,
            chip: self.chip,
            devices: self.devices,
            configuration: self.configuration,
            not_after: until.0,
        };
        let signed = grant.sign(key);
        match SignedGrant::decode(&signed.encode()) {
            Ok(read) if read == signed => Ok(signed),
            Ok(_) | Err(_) => Err(GrantError::Devices),
        }
    }
}

/// Reads a provider's key: a file like the wallet's.
///
/// # Errors
/// `Key`.
pub fn read_key(path: &Path) -> Result<SigningKey, GrantError> {
    Ok(SigningKey::from_bytes(&*wallet::read_seed(path)?))
}

/// The public half, by which policies name the provider.
#[must_use]
pub fn provider(key: &SigningKey) -> ProviderKey {
    ProviderKey(key.verifying_key().to_bytes())
}

/// Writes a grant, whole or not at all: a running agent may be about to staple what is there.
///
/// # Errors
/// `Write`.
pub fn write(signed: &SignedGrant, path: &Path) -> Result<(), GrantError> {
    let failed = |source| GrantError::Write {
        path: path.to_owned(),
        source,
    };
    let mut beside = path.to_owned().into_os_string();
    beside.push(".new");
    let mut file = File::create(&beside).map_err(failed)?;
    file.write_all(&signed.encode())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path))
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use protocol::digest::ChipId;

    const NOW: UnixSeconds = UnixSeconds(1_795_305_600);

    fn launched() -> MeasuredConfiguration {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("launch-config.json");
        let bytes = samples::configuration().to_canonical_bytes().unwrap();
        fs::write(&path, bytes).unwrap();
        MeasuredConfiguration::read(&path).unwrap()
    }

    fn machine(devices: &[DeviceSerial]) -> Machine {
        Machine::named(ChipIdentity::SevSnp(ChipId([7; 64])), devices, &launched())
    }

    #[test]
    fn a_grant_says_what_was_given_and_holds_under_the_key() {
        let serials = ["00AB", "17"].map(|text| text.parse().unwrap());
        let key = samples::key();
        let end = UnixTime(NOW.0 + 1);
        let signed = machine(&serials).granted(&key, end, NOW).unwrap();
        assert!(signed.is_signed());
        assert_eq!(signed.provider, provider(&key));
        assert_eq!(signed.grant.network, samples::NETWORK);
        assert_eq!(signed.grant.configuration, launched().digest);
        assert_eq!(signed.grant.devices, [vec![0, 0xab], vec![0x17]].into());
        assert_eq!(signed.grant.not_after, end.0);
    }

    #[test]
    fn what_is_past_or_names_too_many_devices_is_not_signed() {
        let key = samples::key();
        let past = machine(&[]).granted(&key, UnixTime(NOW.0), NOW);
        assert!(matches!(past, Err(GrantError::Past(_))));
        let serial = |number| DeviceSerial(vec![number; MAX_SERIAL_BYTES]);
        let many: Vec<DeviceSerial> = (1..=33).map(serial).collect();
        let end = UnixTime(NOW.0 + 1);
        let crowd = machine(&many).granted(&key, end, NOW);
        assert!(matches!(crowd, Err(GrantError::Devices)));
        let longest = machine(&many[..32]).granted(&key, end, NOW).unwrap();
        assert_eq!(u64::try_from(longest.encode().len()), Ok(MAX_BYTES));
    }

    #[test]
    fn a_serial_number_is_read_as_certificates_hold_it() {
        for (text, bytes) in [
            ("0102", &[1, 2][..]),
            ("000001", &[1]),
            ("7f", &[0x7f]),
            ("80", &[0, 0x80]),
            ("0080", &[0, 0x80]),
            ("aB", &[0, 0xab]),
        ] {
            assert_eq!(text.parse(), Ok(DeviceSerial(bytes.to_vec())), "{text}");
        }
        let longest = [&[0][..], &[0xff; 20]].concat();
        assert_eq!("ff".repeat(20).parse(), Ok(DeviceSerial(longest)));
        for text in ["", "1", "0", "00", "0g", "01:02", "-1", "é1"] {
            assert_eq!(text.parse::<DeviceSerial>(), Err(SerialError), "{text}");
        }
        for text in ["01".repeat(21), "ff".repeat(21)] {
            assert_eq!(text.parse::<DeviceSerial>(), Err(SerialError), "{text}");
        }
    }

    #[test]
    fn a_grant_is_replaced_whole_and_nothing_is_left_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("machine-grant.bin");
        for seconds in [1, 2] {
            let end = UnixTime(NOW.0 + seconds);
            let signed = machine(&[]).granted(&samples::key(), end, NOW).unwrap();
            write(&signed, &path).unwrap();
            assert_eq!(
                SignedGrant::decode(&fs::read(&path).unwrap()),
                Ok(signed.clone())
            );
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        let nowhere = place.path().join("nowhere").join("grant");
        let signed = machine(&[]).granted(&samples::key(), UnixTime(NOW.0 + 1), NOW);
        let refused = write(&signed.unwrap(), &nowhere);
        assert!(matches!(refused, Err(GrantError::Write { .. })));
    }
}
