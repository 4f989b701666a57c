//! Machine grants: where the policy names providers, one of them granted this very machine, for
//! this configuration and until now at least. `docs/spec/machine-grant.md`.
//!
//! A chip that no certificate names is never a granted one: its report would pass for any.

use protocol::digest::{ConfigDigest, ProviderKey};
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::launch_configuration::LaunchConfiguration;
use protocol::machine_grant::SignedGrant;

use crate::checks::{Checks, Subject};
use crate::nvidia::DeviceFacts;
use crate::policy::{Allowed, AppraisalPolicy};
use crate::rejection::Rejection;
use crate::result::ReportedChip;
use crate::time::UnixTime;

const GRANT: Subject = Subject::of("machine-grant");
const SIGNED: &[Rejection] = Rejection::GrantMissing.through(Rejection::GrantSignature);
const MATCHES: &[Rejection] = &[
    Rejection::GrantNetwork,
    Rejection::ChipNotCertified,
    Rejection::GrantChip,
    Rejection::GrantDevices,
    Rejection::GrantConfiguration,
    Rejection::GrantExpired,
];

/// The machine that a grant is held against; `None` for what could not be read of it.
#[derive(Debug)]
pub(crate) struct Granted<'m> {
    pub(crate) chip: Option<ReportedChip>,
    pub(crate) configuration: Option<&'m LaunchConfiguration>,
    pub(crate) digest: ConfigDigest,
    pub(crate) devices: Option<&'m [DeviceFacts]>,
}

/// Whose machine it is, and until when that holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ownership {
    pub(crate) provider: ProviderKey,
    pub(crate) not_after: UnixTime,
}

/// `docs/spec/evidence.md` §6.9; nothing where the policy takes every provider.
pub(crate) fn plan(checks: &mut Checks<'_>) {
    if checks.terms.policy.providers != Allowed::Every {
        checks.plan(GRANT, SIGNED);
        checks.plan(GRANT, MATCHES);
    }
}

/// The stapled grant, held against the machine. `None` where the policy takes every provider, or
/// the grant cannot be believed; whether it matches, the list of checks says.
pub(crate) fn check(
    stapled: &Endorsements,
    machine: &Granted<'_>,
    checks: &mut Checks<'_>,
) -> Option<Ownership> {
    let policy = checks.terms.policy;
    if policy.providers == Allowed::Every {
        return None;
    }
    let bytes = stapled.get(EndorsementKind::MachineGrant);
    let found = format_args!("{} bytes", bytes.map_or(0, <[u8]>::len));
    let signed = checks.steps(GRANT, SIGNED, found, read(bytes, policy))?;
    check_machine(&signed, machine, checks);
    Some(Ownership {
        provider: signed.provider,
        not_after: UnixTime(signed.grant.not_after),
    })
}

fn read(bytes: Option<&[u8]>, policy: &AppraisalPolicy) -> Result<SignedGrant, Rejection> {
    let bytes = bytes.ok_or(Rejection::GrantMissing)?;
    let signed = SignedGrant::decode(bytes).map_err(|_| Rejection::GrantMalformed)?;
    if !policy.providers.accepts(&signed.provider) {
        return Err(Rejection::GrantProvider);
    }
    let holds = signed.is_signed();
    holds.then_some(signed).ok_or(Rejection::GrantSignature)
}

fn check_machine(signed: &SignedGrant, machine: &Granted<'_>, checks: &mut Checks<'_>) {
    let grant = &signed.grant;
    if let Some(configuration) = machine.configuration {
        let holds = grant.network == configuration.network;
        checks.expect(GRANT, Rejection::GrantNetwork, grant.network.0, holds);
    }
    if let Some(chip) = &machine.chip {
        let certified = chip.certified();
        let holds = certified.is_some();
        checks.expect(GRANT, Rejection::ChipNotCertified, chip.claimed(), holds);
        let holds = certified == Some(&grant.chip);
        checks.expect(GRANT, Rejection::GrantChip, grant.chip, holds);
    }
    if let Some(devices) = machine.devices {
        let found = format_args!("{} granted, {} report", grant.devices.len(), devices.len());
        let mut reporting: Vec<_> = devices.iter().map(|device| &device.serial).collect();
        reporting.sort_unstable();
        let holds = grant.devices.iter().eq(reporting);
        checks.expect(GRANT, Rejection::GrantDevices, found, holds);
    }
    let (digest, end) = (grant.configuration, UnixTime(grant.not_after));
    let holds = digest == machine.digest;
    checks.expect(GRANT, Rejection::GrantConfiguration, digest, holds);
    let holds = checks.terms.at <= end;
    checks.expect(GRANT, Rejection::GrantExpired, end, holds);
}
