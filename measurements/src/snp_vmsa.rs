//! The initial state of a vCPU (VMSA page) as QEMU and KVM set it for SEV-SNP.
//!
//! Offsets: AMD64 Architecture Programmer's Manual volume 2, table B-4 (save area of an
//! SEV-ES guest); values: KVM's reset state and QEMU's `target/i386`.

/// The launch CPUID signature (family, model, stepping) of QEMU's vCPU model names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VcpuType {
    /// `EPYC-v1` … `EPYC-v4`: Naples.
    Epyc,
    /// `EPYC-Rome`.
    Rome,
    /// `EPYC-Milan`.
    Milan,
    /// `EPYC-Genoa`.
    Genoa,
    /// `EPYC-Turin`.
    Turin,
}

/// A vCPU model whose launch state is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown vCPU model; known: EPYC, EPYC-Rome, EPYC-Milan, EPYC-Genoa, EPYC-Turin, and -vN")]
pub struct UnknownVcpuType;

impl VcpuType {
    /// Every model whose launch state is known.
    pub const ALL: [Self; 5] = [
        Self::Epyc,
        Self::Rome,
        Self::Milan,
        Self::Genoa,
        Self::Turin,
    ];

    /// QEMU's name of it, without a version.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epyc => "EPYC",
            Self::Rome => "EPYC-Rome",
            Self::Milan => "EPYC-Milan",
            Self::Genoa => "EPYC-Genoa",
            Self::Turin => "EPYC-Turin",
        }
    }

    /// CPUID leaf 1 EAX.
    #[must_use]
    pub const fn signature(self) -> u32 {
        match self {
            Self::Epyc => 0x0080_0f12,
            Self::Rome => 0x0083_0f10,
            Self::Milan => 0x00a0_0f11,
            Self::Genoa => 0x00a1_0f10,
            Self::Turin => 0x00b0_0f00,
        }
    }
}

impl std::str::FromStr for VcpuType {
    type Err = UnknownVcpuType;

    fn from_str(name: &str) -> Result<Self, UnknownVcpuType> {
        let base = match name.rsplit_once("-v") {
            Some((base, version)) if version.parse::<u8>().is_ok() => base,
            Some(_) | None => name,
        };
        match base {
            "EPYC" => Ok(Self::Epyc),
            "EPYC-Rome" => Ok(Self::Rome),
            "EPYC-Milan" => Ok(Self::Milan),
            "EPYC-Genoa" => Ok(Self::Genoa),
            "EPYC-Turin" => Ok(Self::Turin),
            _ => Err(UnknownVcpuType),
        }
    }
}

/// One page of save area.
pub type VmsaPage = [u8; 4096];

/// The save area of a vCPU that starts at `eip`.
#[must_use]
pub fn vmsa(eip: u32, vcpu: VcpuType, guest_features: u64) -> VmsaPage {
    let mut page = [0; 4096];
    // Segments: selector, attributes, limit, base.
    let code_base = u64::from(eip & 0xffff_0000);
    for (at, selector, attributes, base) in [
        (0x00, 0, 0x93, 0),              // es
        (0x10, 0xf000, 0x9b, code_base), // cs
        (0x20, 0, 0x93, 0),              // ss
        (0x30, 0, 0x93, 0),              // ds
        (0x40, 0, 0x93, 0),              // fs
        (0x50, 0, 0x93, 0),              // gs
        (0x60, 0, 0, 0),                 // gdtr
        (0x70, 0, 0x82, 0),              // ldtr
        (0x80, 0, 0, 0),                 // idtr
        (0x90, 0, 0x8b, 0),              // tr
    ] {
        segment(&mut page, at, selector, attributes, base);
    }
    for (at, value) in [
        (0x0d0, 0x1000),                      // efer: SVME
        (0x148, 0x40),                        // cr4: MCE
        (0x158, 0x10),                        // cr0: ET
        (0x160, 0x400),                       // dr7
        (0x168, 0xffff_0ff0),                 // dr6
        (0x170, 0x2),                         // rflags
        (0x178, u64::from(eip & 0xffff)),     // rip
        (0x268, 0x0007_0406_0007_0406),       // guest pat
        (0x310, u64::from(vcpu.signature())), // rdx
        (0x3b0, guest_features),              // sev_features
        (0x3e8, 0x1),                         // xcr0
    ] {
        put(&mut page, at, &u64::to_le_bytes(value));
    }
    put(&mut page, 0x408, &0x1f80u32.to_le_bytes()); // mxcsr
    put(&mut page, 0x410, &0x037fu16.to_le_bytes()); // x87 fcw
    page
}

fn segment(page: &mut VmsaPage, at: usize, selector: u16, attributes: u16, base: u64) {
    put(page, at, &selector.to_le_bytes());
    put(page, at.saturating_add(2), &attributes.to_le_bytes());
    put(page, at.saturating_add(4), &0xffffu32.to_le_bytes());
    put(page, at.saturating_add(8), &base.to_le_bytes());
}

/// Every offset above is a constant far inside the page; a write outside it would be lost.
fn put(page: &mut VmsaPage, at: usize, value: &[u8]) {
    for (to, from) in page.iter_mut().skip(at).zip(value) {
        *to = *from;
    }
}
