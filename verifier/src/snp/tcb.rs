//! Firmware levels. Their order in the 8 bytes of TCB_VERSION changed with Turin.

use serde::{Deserialize, Serialize};

use super::product::{Cpuid, Product};

/// Security version numbers of the firmware's components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcb {
    /// FMC firmware, from Turin on; 0 before.
    pub fmc: u8,
    /// Boot loader.
    pub bootloader: u8,
    /// Secure processor's operating system.
    pub tee: u8,
    /// SEV-SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

/// The 8 bytes as a report holds them, before the product is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TcbVersion(pub(crate) [u8; 8]);

impl core::fmt::Display for Tcb {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "fmc {} bootloader {} tee {} snp {} microcode {}",
            self.fmc, self.bootloader, self.tee, self.snp, self.microcode
        )
    }
}

impl TcbVersion {
    /// The components; `None` when a reserved byte is not zero.
    pub(crate) const fn components(self, product: Product) -> Option<Tcb> {
        let (fmc, [bootloader, tee, snp, microcode]) = match (product, self.0) {
            (Product::Milan | Product::Genoa, [b, t, 0, 0, 0, 0, s, m]) => (0, [b, t, s, m]),
            (Product::Turin, [fmc, b, t, s, 0, 0, 0, m]) => (fmc, [b, t, s, m]),
            (Product::Milan | Product::Genoa | Product::Turin, _) => return None,
        };
        Some(Tcb {
            fmc,
            bootloader,
            tee,
            snp,
            microcode,
        })
    }
}

impl Tcb {
    /// Whether every component is at least the other's.
    pub(crate) const fn covers(&self, minimum: &Self) -> bool {
        self.fmc >= minimum.fmc
            && self.bootloader >= minimum.bootloader
            && self.tee >= minimum.tee
            && self.snp >= minimum.snp
            && self.microcode >= minimum.microcode
    }
}

/// Minimum firmware levels of one kind of processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcbMinimum {
    /// Product line.
    pub product: Product,
    /// CPUID model, because microcode numbers differ between models; `null` for every model.
    pub model: Option<u8>,
    /// CPUID stepping; `null` for every stepping.
    pub stepping: Option<u8>,
    /// Minimum of each component.
    pub tcb: Tcb,
    /// Bits that both mitigation vectors must have; other than 0 refuses reports before version 5,
    /// which have no vectors.
    pub mitigations: u64,
}

impl TcbMinimum {
    /// Whether this entry is for the processor. A report without a processor's name (version 2)
    /// matches only entries for every model and stepping.
    pub(crate) fn is_for(&self, product: Product, cpuid: Option<Cpuid>) -> bool {
        let fits = |wanted: Option<u8>, is: Option<u8>| wanted.is_none() || wanted == is;
        let [model, stepping] = match cpuid {
            Some(Cpuid([_, model, stepping])) => [Some(model), Some(stepping)],
            None => [None; 2],
        };
        self.product == product && fits(self.model, model) && fits(self.stepping, stepping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/spec/evidence.md §7.2.
    #[test]
    fn turin_has_another_order_of_components() {
        let bytes = TcbVersion([1, 3, 2, 5, 0, 0, 0, 97]);
        let turin = Tcb {
            fmc: 1,
            bootloader: 3,
            tee: 2,
            snp: 5,
            microcode: 97,
        };
        assert_eq!(bytes.components(Product::Turin), Some(turin));
        assert_eq!(bytes.components(Product::Genoa), None);
        let genoa = TcbVersion([10, 0, 0, 0, 0, 0, 27, 86]);
        assert_eq!(genoa.components(Product::Turin), None);
        assert!(genoa.components(Product::Genoa).is_some());
    }

    #[test]
    fn one_component_below_the_minimum_is_below() {
        let minimum = Tcb {
            fmc: 1,
            bootloader: 1,
            tee: 1,
            snp: 1,
            microcode: 1,
        };
        assert!(minimum.covers(&minimum));
        for lower in [
            Tcb { fmc: 0, ..minimum },
            Tcb {
                bootloader: 0,
                ..minimum
            },
            Tcb { tee: 0, ..minimum },
            Tcb { snp: 0, ..minimum },
            Tcb {
                microcode: 0,
                ..minimum
            },
        ] {
            assert!(!lower.covers(&minimum), "{lower:?}");
        }
    }
}
