//! Which deviation of the inputs leads to a launch digest.

use protocol::digest::LaunchDigest;

use super::{Cause, Input, OtherImage, other_command_lines};
use crate::firmware::Firmware;
use crate::release::BootArtifacts;
use crate::snp::{DirectBoot, MeasuredFirmware, MeasuredLaunch, SnpError, SnpShape};
use crate::snp_vmsa::VcpuType;

/// Bits of SEV_FEATURES that are tried.
const FEATURE_BITS: u32 = 24;

/// The fewest deviations from `artifacts` on `shape` that lead to `found`: none when it is the
/// expected digest, `None` when no known alternative leads to it.
///
/// # Errors
/// Those of the expected artifacts; an alternative that cannot be measured is passed over.
pub fn explain(
    artifacts: &BootArtifacts,
    others: &[OtherImage],
    shape: &SnpShape,
    found: &LaunchDigest,
) -> Result<Option<Vec<Cause>>, SnpError> {
    let firmware = Firmware::parse(&artifacts.firmware)?;
    let measured = MeasuredFirmware::new(&firmware)?;
    let mut search = Search {
        shape,
        found,
        best: None,
    };
    search.launch(&measured.with(Some(&artifacts.boot()))?, &[], Features::All);
    search.boots(&measured, artifacts);
    for other in others {
        search.parts(&measured, artifacts, other);
    }
    Ok(search.best)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Features {
    All,
    Expected,
}

struct Search<'s> {
    shape: &'s SnpShape,
    found: &'s LaunchDigest,
    best: Option<Vec<Cause>>,
}

impl Search<'_> {
    /// Tries every shape on a launch that deviates by `so_far`.
    fn launch(&mut self, launch: &MeasuredLaunch, so_far: &[Cause], features: Features) {
        let expected = self.shape.guest_features;
        let mut tried = vec![expected];
        if features == Features::All {
            tried.push(0);
            tried.extend((0..FEATURE_BITS).map(|bit| expected ^ (1 << bit)));
        }
        for vcpu_type in VcpuType::ALL {
            for guest_features in &tried {
                let mut counts = launch.by_vcpus(vcpu_type, *guest_features);
                if let Some((vcpus, _)) = counts.find(|(_, digest)| digest == self.found) {
                    self.take(so_far, vcpus, vcpu_type, *guest_features);
                }
            }
        }
    }

    fn take(&mut self, so_far: &[Cause], vcpus: u16, vcpu_type: VcpuType, guest_features: u64) {
        let mut causes = so_far.to_vec();
        let shape = self.shape;
        if vcpus != shape.vcpus {
            causes.push(Cause::new(Input::VcpuCount, shape.vcpus, vcpus));
        }
        if vcpu_type != shape.vcpu_type {
            let (expected, found) = (shape.vcpu_type.name(), vcpu_type.name());
            causes.push(Cause::new(Input::VcpuType, expected, found));
        }
        if guest_features != shape.guest_features {
            causes.push(Cause::new(
                Input::GuestFeatures,
                format_args!("{:#x}", shape.guest_features),
                format_args!("{guest_features:#x}"),
            ));
        }
        if self
            .best
            .as_ref()
            .is_none_or(|best| causes.len() < best.len())
        {
            self.best = Some(causes);
        }
    }

    fn variant(
        &mut self,
        measured: &MeasuredFirmware<'_>,
        boot: Option<&DirectBoot<'_>>,
        cause: Cause,
    ) {
        // Firmware that cannot launch this is no explanation.
        if let Ok(launch) = measured.with(boot) {
            self.launch(&launch, &[cause], Features::Expected);
        }
    }

    /// The expected firmware with a part left out, or with another command line.
    fn boots(&mut self, measured: &MeasuredFirmware<'_>, artifacts: &BootArtifacts) {
        let boot = artifacts.boot();
        let absent = |input, what: &str| Cause::new(input, what, "none");
        self.variant(measured, None, absent(Input::Kernel, "a measured kernel"));
        let without = DirectBoot {
            initrd: b"",
            ..boot
        };
        self.variant(
            measured,
            Some(&without),
            absent(Input::Initrd, "the initrd"),
        );
        for (line, difference) in other_command_lines(boot.command_line) {
            let other = DirectBoot {
                command_line: &line,
                ..boot
            };
            let cause = Cause::new(Input::CommandLine, boot.command_line, difference);
            self.variant(measured, Some(&other), cause);
        }
    }

    /// The expected image with one part of another, and the whole other image.
    fn parts(
        &mut self,
        measured: &MeasuredFirmware<'_>,
        artifacts: &BootArtifacts,
        other: &OtherImage,
    ) {
        let (boot, parts) = (artifacts.boot(), other.artifacts.boot());
        let of = |input, what: &str| {
            let expected = format!("the release's {what}");
            Cause::new(input, expected, format_args!("that of {}", other.name))
        };
        let (kernel, initrd) = (parts.kernel, parts.initrd);
        let command_line = parts.command_line;
        let causes = [
            of(Input::Kernel, "kernel"),
            of(Input::Initrd, "initrd"),
            Cause::new(Input::CommandLine, boot.command_line, command_line),
        ];
        let swapped = [
            DirectBoot { kernel, ..boot },
            DirectBoot { initrd, ..boot },
            DirectBoot {
                command_line,
                ..boot
            },
        ];
        for (boot, cause) in swapped.iter().zip(causes.clone()) {
            self.variant(measured, Some(boot), cause);
        }
        if let Ok(launch) = measured.with(Some(&parts)) {
            self.launch(&launch, &causes, Features::Expected);
        }
        let Ok(firmware) = Firmware::parse(&other.artifacts.firmware) else {
            return;
        };
        let Ok(measured) = MeasuredFirmware::new(&firmware) else {
            return;
        };
        let cause = of(Input::Firmware, "firmware");
        self.variant(&measured, Some(&boot), cause.clone());
        if let Ok(launch) = measured.with(Some(&parts)) {
            let causes = [&[cause], causes.as_slice()].concat();
            self.launch(&launch, &causes, Features::Expected);
        }
    }
}
