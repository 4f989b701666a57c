//! How what a machine measured differs from a release: every register beside what each shape of the
//! same kind must hold, and every model beside the pinned ones. For people: the verdict decides.

use protocol::digest::ModelDigest;
use protocol::gpu_evidence::DeviceKind;
use protocol::reference_values::{
    DeviceSet, ExpectedRegisters, Origin, ReferenceValues, ShapeReference,
};
use serde::Serialize;
use verifier::{DocumentDigest, MeasuredRegisters};

/// A machine beside a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Version of the release's image.
    pub image: String,
    /// What the image is meant for, `release` or `research`.
    pub profile: &'static str,
    /// SHA-256 of the reference values' text.
    pub digest: DocumentDigest,
    /// The shapes of the machine's kind, those with the fewest differences first.
    pub shapes: Vec<ShapeDifference>,
    /// The loaded models.
    pub models: Vec<ModelDifference>,
}

/// A machine beside one shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShapeDifference {
    /// The shape's name.
    pub shape: String,
    /// Number of vCPUs.
    pub vcpus: u16,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Sets of GPUs of which it must have one.
    pub devices: Vec<DeviceSet>,
    /// Each register.
    pub registers: Vec<RegisterDifference>,
}

/// One register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegisterDifference {
    /// Its name.
    pub register: &'static str,
    /// What the release expects.
    pub expected: String,
    /// What the report says.
    pub measured: String,
    /// How the expected value is known.
    pub origin: Origin,
    /// Whether the two are equal.
    pub equal: bool,
}

/// One loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelDifference {
    /// Its digest.
    pub digest: ModelDigest,
    /// The name under which clients ask for it.
    pub name: String,
    /// The release's name for it; none if the release does not have it.
    pub pinned_as: Option<String>,
}

impl Difference {
    /// Puts a machine beside a release.
    #[must_use]
    pub fn of(
        measured: Option<&MeasuredRegisters>,
        models: &[(String, ModelDigest)],
        release: &ReferenceValues,
    ) -> Self {
        let beside = |shape| ShapeDifference::of(measured?, shape);
        let mut shapes: Vec<_> = release.shapes.iter().filter_map(beside).collect();
        shapes.sort_by_key(ShapeDifference::count);
        let models = models.iter().map(|(name, digest)| ModelDifference {
            digest: *digest,
            name: name.clone(),
            pinned_as: pinned_as(*digest, release),
        });
        Self {
            image: release.image.to_string(),
            profile: match release.profile {
                protocol::reference_values::Profile::Release => "release",
                protocol::reference_values::Profile::Research => "research",
            },
            digest: DocumentDigest::of_references(release),
            shapes,
            models: models.collect(),
        }
    }
}

fn pinned_as(digest: ModelDigest, release: &ReferenceValues) -> Option<String> {
    let mut models = release.models.iter();
    let found = models.find(|model| model.digest == digest);
    found.map(|model| model.name.clone())
}

impl ShapeDifference {
    /// `None` for a shape of another kind of machine.
    fn of(measured: &MeasuredRegisters, shape: &ShapeReference) -> Option<Self> {
        Some(Self {
            shape: shape.shape.clone(),
            vcpus: shape.vcpus,
            memory_mib: shape.memory_mib,
            devices: shape.devices.clone(),
            registers: registers(measured, &shape.registers)?,
        })
    }

    fn count(&self) -> usize {
        let differing = self.registers.iter().filter(|register| !register.equal);
        differing.count()
    }
}

fn registers(
    measured: &MeasuredRegisters,
    expected: &ExpectedRegisters,
) -> Option<Vec<RegisterDifference>> {
    let one = |register, expected: String, measured: String, origin| RegisterDifference {
        register,
        equal: expected == measured,
        expected,
        measured,
        origin,
    };
    match (measured, expected) {
        (MeasuredRegisters::SevSnp(digest), ExpectedRegisters::SevSnp { launch_digest, .. }) => {
            let (expected, measured) = (launch_digest.to_string(), digest.to_string());
            Some(vec![one(
                "MEASUREMENT",
                expected,
                measured,
                Origin::Computed,
            )])
        }
        (
            MeasuredRegisters::Tdx {
                mrtd: found,
                rtmrs: [found0, found1, found2],
            },
            ExpectedRegisters::Tdx {
                mrtd,
                rtmr0,
                rtmr1,
                rtmr2,
            },
        ) => {
            let rtmr =
                |name, expected: &protocol::reference_values::ExpectedRtmr, found: String| {
                    one(name, expected.value.to_string(), found, expected.origin)
                };
            Some(vec![
                one(
                    "MRTD",
                    mrtd.to_string(),
                    found.to_string(),
                    Origin::Computed,
                ),
                rtmr("RTMR0", rtmr0, found0.to_string()),
                rtmr("RTMR1", rtmr1, found1.to_string()),
                rtmr("RTMR2", rtmr2, found2.to_string()),
            ])
        }
        (MeasuredRegisters::SevSnp(_), ExpectedRegisters::Tdx { .. })
        | (MeasuredRegisters::Tdx { .. }, ExpectedRegisters::SevSnp { .. }) => None,
    }
}

/// The usual name of a kind of device.
pub(crate) const fn device_name(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Hopper => "hopper",
        DeviceKind::Blackwell => "blackwell",
        DeviceKind::Ls10 => "ls10",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::digest::{LaunchDigest, Mrtd, Rtmr};
    use protocol::reference_values::{ExpectedRtmr, ImageVersion, ModelReference, Profile};

    fn tdx(name: &str, bytes: [u8; 4]) -> ShapeReference {
        let rtmr = |byte| ExpectedRtmr {
            value: Rtmr([byte; 48]),
            origin: Origin::Captured,
        };
        let [mrtd, rtmr0, rtmr1, rtmr2] = bytes;
        shape(
            name,
            ExpectedRegisters::Tdx {
                mrtd: Mrtd([mrtd; 48]),
                rtmr0: rtmr(rtmr0),
                rtmr1: rtmr(rtmr1),
                rtmr2: rtmr(rtmr2),
            },
        )
    }

    fn shape(name: &str, registers: ExpectedRegisters) -> ShapeReference {
        ShapeReference {
            shape: name.to_owned(),
            vcpus: 2,
            memory_mib: 2048,
            registers,
            devices: Vec::new(),
        }
    }

    fn release() -> ReferenceValues {
        let snp = ExpectedRegisters::SevSnp {
            vcpu_type: "EPYC-v4".to_owned(),
            guest_features: 1,
            launch_digest: LaunchDigest([9; 48]),
        };
        ReferenceValues {
            version: 1,
            image: ImageVersion {
                major: 0,
                minor: 1,
                patch: 0,
            },
            profile: Profile::Release,
            shapes: vec![
                shape("snp", snp),
                tdx("far", [1, 8, 8, 8]),
                tdx("near", [1, 2, 3, 8]),
            ],
            models: vec![ModelReference {
                name: "known".to_owned(),
                digest: ModelDigest([5; 32]),
            }],
        }
    }

    fn measured() -> MeasuredRegisters {
        MeasuredRegisters::Tdx {
            mrtd: Mrtd([1; 48]),
            rtmrs: [Rtmr([2; 48]), Rtmr([3; 48]), Rtmr([4; 48])],
        }
    }

    #[test]
    fn the_nearest_shape_comes_first_and_names_the_registers_that_differ() {
        let found = Difference::of(Some(&measured()), &[], &release());
        let names: Vec<&str> = found.shapes.iter().map(|one| one.shape.as_str()).collect();
        assert_eq!(names, ["near", "far"]);
        let [near, _] = found.shapes.as_slice() else {
            unreachable!("two shapes")
        };
        let differing = near.registers.iter().filter(|one| !one.equal);
        let differing: Vec<_> = differing
            .map(|one| (one.register, &one.expected[..2], &one.measured[..2]))
            .collect();
        assert_eq!(differing, [("RTMR2", "08", "04")]);
    }

    #[test]
    fn a_machine_that_says_nothing_is_beside_no_shape() {
        assert_eq!(Difference::of(None, &[], &release()).shapes, []);
    }

    #[test]
    fn a_model_is_pinned_by_its_digest_whatever_it_is_called() {
        let models = [
            ("mine".to_owned(), ModelDigest([5; 32])),
            ("known".to_owned(), ModelDigest([6; 32])),
        ];
        let found = Difference::of(None, &models, &release());
        let pinned: Vec<_> = found.models.into_iter().map(|one| one.pinned_as).collect();
        assert_eq!(pinned, [Some("known".to_owned()), None]);
    }
}
