//! The machine that a guest sees, as `host-agent` launches it: what RTMR0 depends on besides the
//! firmware. `docs/spec/measurements.md`, section RTMR0, holds the layout.
//!
//! Deliberately not here: names of shapes and command lines, which are `host-agent`'s, and whose
//! test compares them with this through the pinned QEMU.

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Memory below 4 GiB ends at this address when there is more than [`ALL_BELOW`] of it.
const LOW_MEMORY: u64 = 2 * GIB;
/// Smaller memories lie below 4 GiB as a whole.
const ALL_BELOW: u64 = 2816 * MIB;
const FOUR_GIB: u64 = 4 * GIB;

/// Devices of a machine: bounds that the fixed slots have room for.
pub const MAX_MODEL_DISKS: u8 = 4;
/// See [`MAX_MODEL_DISKS`].
pub const MAX_GPUS: u8 = 8;
/// With more, QEMU gives SMBIOS in its 64-bit form and, from 256 on, APIC ids of more than a byte.
pub const MAX_VCPUS: u16 = 254;
/// The firmware's own sections end below this address.
pub const MIN_MEMORY: u64 = 256 * MIB;
/// One memory device in SMBIOS, and addresses that every supported host has.
pub const MAX_MEMORY: u64 = 2048 * GIB - GIB;

/// Window for 64-bit BARs of a machine without GPUs.
const WINDOW_WITHOUT_GPUS: u64 = 64 * GIB;
/// Window for each GPU; the whole is rounded up to a power of two.
const WINDOW_PER_GPU: u64 = 1024 * GIB;

/// Whether the machine has an ISA serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialPort {
    /// As in every release.
    Absent,
    /// The research image's console.
    Present,
}

/// What a machine is made of, not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineParts {
    /// vCPUs, in one socket.
    pub vcpus: u16,
    /// Memory in bytes.
    pub memory: u64,
    /// Disks with models, besides those with root and launch configuration.
    pub model_disks: u8,
    /// GPUs, each behind a root port of its own.
    pub gpus: u8,
    /// The serial port.
    pub serial: SerialPort,
}

/// A machine that this version does not launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// The number of vCPUs.
    #[error("a machine has 1 to {MAX_VCPUS} vCPUs, not {found}")]
    Vcpus {
        /// As given.
        found: u16,
    },
    /// The memory.
    #[error("a machine has {MIN_MEMORY} to {MAX_MEMORY} bytes of memory in whole MiB, not {found}")]
    Memory {
        /// As given.
        found: u64,
    },
    /// The number of model disks.
    #[error("a machine has 1 to {MAX_MODEL_DISKS} model disks, not {found}")]
    ModelDisks {
        /// As given.
        found: u8,
    },
    /// The number of GPUs.
    #[error("a machine has at most {MAX_GPUS} GPUs, not {found}")]
    Gpus {
        /// As given.
        found: u8,
    },
}

/// A stretch of guest physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
}

impl Range {
    /// The address behind the last one.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

/// A machine that `host-agent` can launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    parts: MachineParts,
    /// At most [`MAX_VCPUS`].
    vcpus: u8,
}

impl TryFrom<MachineParts> for Machine {
    type Error = MachineError;

    fn try_from(parts: MachineParts) -> Result<Self, MachineError> {
        let allowed = (1..=MAX_VCPUS).contains(&parts.vcpus);
        let vcpus = u8::try_from(parts.vcpus).ok().filter(|_| allowed);
        let vcpus = vcpus.ok_or(MachineError::Vcpus { found: parts.vcpus })?;
        let found = parts.memory;
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&found) || !found.is_multiple_of(MIB) {
            return Err(MachineError::Memory { found });
        }
        if !(1..=MAX_MODEL_DISKS).contains(&parts.model_disks) {
            let found = parts.model_disks;
            return Err(MachineError::ModelDisks { found });
        }
        if parts.gpus > MAX_GPUS {
            return Err(MachineError::Gpus { found: parts.gpus });
        }
        Ok(Self { parts, vcpus })
    }
}

impl Machine {
    /// vCPUs, at least one.
    #[must_use]
    pub const fn vcpus(&self) -> u8 {
        self.vcpus
    }

    /// Memory in bytes.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.parts.memory
    }

    /// Disks with models.
    #[must_use]
    pub const fn model_disks(&self) -> u8 {
        self.parts.model_disks
    }

    /// GPUs.
    #[must_use]
    pub const fn gpus(&self) -> u8 {
        self.parts.gpus
    }

    /// The serial port.
    #[must_use]
    pub const fn serial(&self) -> SerialPort {
        self.parts.serial
    }

    /// Where memory lies.
    #[must_use]
    pub fn memory_ranges(&self) -> Vec<Range> {
        let memory = self.parts.memory;
        if memory < ALL_BELOW {
            let (start, length) = (0, memory);
            return vec![Range { start, length }];
        }
        vec![
            Range {
                start: 0,
                length: LOW_MEMORY,
            },
            Range {
                start: FOUR_GIB,
                length: memory.saturating_sub(LOW_MEMORY),
            },
        ]
    }

    /// Where memory below 4 GiB ends.
    #[must_use]
    pub const fn low_memory_end(&self) -> u64 {
        if self.parts.memory < ALL_BELOW {
            self.parts.memory
        } else {
            LOW_MEMORY
        }
    }

    /// Where 64-bit BARs lie: of a fixed size for each number of GPUs, at the first multiple of it
    /// above memory. So it does not depend on the host's address width.
    #[must_use]
    pub fn window(&self) -> Range {
        let length = match u64::from(self.parts.gpus) {
            0 => WINDOW_WITHOUT_GPUS,
            gpus => WINDOW_PER_GPU.saturating_mul(gpus.next_power_of_two()),
        };
        let above = self.memory_ranges().into_iter().map(Range::end).max();
        let above = above.unwrap_or_default().max(FOUR_GIB);
        let start = above.checked_next_multiple_of(length).unwrap_or(u64::MAX);
        Range { start, length }
    }

    /// The window's size in MiB, as `opt/ovmf/X-PciMmio64Mb` and `pci-hole64-size` say it.
    #[must_use]
    pub fn window_mib(&self) -> u64 {
        self.window().length.div_euclid(MIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: MachineParts = MachineParts {
        vcpus: 2,
        memory: 2 * GIB,
        model_disks: 1,
        gpus: 0,
        serial: SerialPort::Absent,
    };

    #[test]
    fn refuses_what_the_fixed_layout_has_no_room_for() {
        for vcpus in [0, 255, 256] {
            let refused = Machine::try_from(MachineParts { vcpus, ..PARTS });
            assert_eq!(refused, Err(MachineError::Vcpus { found: vcpus }));
        }
        for memory in [0, MIN_MEMORY - MIB, 2 * GIB + 1, MAX_MEMORY + MIB, u64::MAX] {
            let refused = Machine::try_from(MachineParts { memory, ..PARTS });
            assert_eq!(refused, Err(MachineError::Memory { found: memory }));
        }
        for model_disks in [0, 5] {
            let refused = Machine::try_from(MachineParts {
                model_disks,
                ..PARTS
            });
            let found = model_disks;
            assert_eq!(refused, Err(MachineError::ModelDisks { found }));
        }
        let refused = Machine::try_from(MachineParts { gpus: 9, ..PARTS });
        assert_eq!(refused, Err(MachineError::Gpus { found: 9 }));
    }

    #[test]
    fn the_window_is_aligned_to_its_own_size_and_above_memory() {
        let window = |memory, gpus| {
            let parts = MachineParts {
                memory,
                gpus,
                ..PARTS
            };
            Machine::try_from(parts).unwrap().window()
        };
        assert_eq!(window(2 * GIB, 0).start, 64 * GIB);
        assert_eq!(window(62 * GIB, 0).start, 64 * GIB);
        assert_eq!(window(63 * GIB, 0).start, 128 * GIB);
        assert_eq!(window(4 * GIB, 1).start, 1024 * GIB);
        assert_eq!(window(4 * GIB, 3).length, 4096 * GIB);
    }
}
