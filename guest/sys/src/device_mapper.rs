//! Device-mapper devices by ioctl (`linux/dm-ioctl.h`).
//!
//! The text of a target's parameters is the caller's part.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::{CallFailed, Result};

/// Bytes of `struct dm_ioctl`.
const HEADER_BYTES: usize = 312;
/// Bytes of `struct dm_target_spec`.
const SPEC_BYTES: usize = 40;
/// Bytes of the whole message, header and payload.
const MESSAGE_BYTES: usize = 4096;
/// `_IOWR(0xfd, 0, struct dm_ioctl)`; a command's number is added to it.
const REQUEST: libc::c_ulong = 0xc138_fd00;
/// The interface version that is asked for; the kernel takes any 4.x.
const VERSION: [u32; 3] = [4, 0, 0];
const READ_ONLY: u32 = 1;
const STATUS_NOT_TABLE: u32 = 0;

/// Bytes of `dm_ioctl.name`, with its final NUL.
const NAME_BYTES: usize = 128;

mod offset {
    //! Offsets of the members that are used.
    pub(super) const DATA_SIZE: usize = 12;
    pub(super) const DATA_START: usize = 16;
    pub(super) const TARGET_COUNT: usize = 20;
    pub(super) const FLAGS: usize = 28;
    pub(super) const DEVICE: usize = 40;
    pub(super) const NAME: usize = 48;
}

#[derive(Clone, Copy)]
enum Command {
    Create,
    Remove,
    Resume,
    LoadTable,
    TableStatus,
}

impl Command {
    const fn request(self) -> libc::c_ulong {
        let number = match self {
            Self::Create => 3,
            Self::Remove => 4,
            Self::Resume => 6,
            Self::LoadTable => 9,
            Self::TableStatus => 12,
        };
        REQUEST | number
    }
}

/// Number of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceNumber {
    /// Its driver.
    pub major: u32,
    /// Its number among the driver's devices.
    pub minor: u32,
}

/// One linear range of a device that a target serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Kind of the target, such as `verity`.
    pub kind: &'static str,
    /// Length of the device, in sectors of 512 bytes.
    pub sectors: u64,
    /// Parameters in the text form of that kind.
    pub parameters: String,
}

/// The control node of device-mapper.
#[derive(Debug)]
pub struct DeviceMapper {
    control: File,
}

impl DeviceMapper {
    /// Opens the control node.
    ///
    /// # Errors
    /// That of opening it.
    pub fn open(node: &Path) -> Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open(node);
        let control = control.map_err(|error| CallFailed {
            call: "open",
            errno: error.raw_os_error().unwrap_or(0),
        })?;
        Ok(Self { control })
    }

    /// Makes a device without a table.
    ///
    /// # Errors
    /// That of the call; `EINVAL` for a name that does not fit.
    pub fn create(&self, name: &str) -> Result<DeviceNumber> {
        let message = self.call(Command::Create, Message::new(name, READ_ONLY)?)?;
        message.device().ok_or(TOO_LONG)
    }

    /// Loads a read-only table; it is in force after the next [`DeviceMapper::resume`].
    ///
    /// # Errors
    /// That of the call; `EINVAL` for parameters that the target refuses.
    pub fn load(&self, name: &str, target: &Target) -> Result<()> {
        let mut message = Message::new(name, READ_ONLY)?;
        message.put_target(target)?;
        self.call(Command::LoadTable, message).map(drop)
    }

    /// Puts the loaded table in force.
    ///
    /// # Errors
    /// That of the call.
    pub fn resume(&self, name: &str) -> Result<()> {
        let message = Message::new(name, READ_ONLY)?;
        self.call(Command::Resume, message).map(drop)
    }

    /// The status line of the device's one target.
    ///
    /// # Errors
    /// That of the call.
    pub fn status(&self, name: &str) -> Result<String> {
        let message = Message::new(name, STATUS_NOT_TABLE)?;
        let answer = self.call(Command::TableStatus, message)?;
        Ok(answer.first_status().unwrap_or_default())
    }

    /// Removes the device.
    ///
    /// # Errors
    /// That of the call; `EBUSY` while it is in use.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.call(Command::Remove, Message::new(name, 0)?).map(drop)
    }

    fn call(&self, command: Command, mut message: Message) -> Result<Message> {
        let (control, request) = (self.control.as_raw_fd(), command.request());
        // SAFETY: the kernel reads and writes at most the length that stands in the message's
        // header, and that is the length of this live array.
        let done = unsafe { libc::ioctl(control, request, message.bytes.as_mut_ptr()) };
        nix::errno::Errno::result(done).map_err(CallFailed::of("ioctl"))?;
        Ok(message)
    }
}

const TOO_LONG: CallFailed = CallFailed {
    call: "ioctl",
    errno: libc::EINVAL,
};

/// A `struct dm_ioctl` and its payload.
struct Message {
    bytes: Box<[u8; MESSAGE_BYTES]>,
}

impl Message {
    fn new(name: &str, flags: u32) -> Result<Self> {
        if name.is_empty() || name.len() >= NAME_BYTES || name.contains('\0') {
            return Err(TOO_LONG);
        }
        let mut message = Self {
            bytes: Box::new([0; MESSAGE_BYTES]),
        };
        let version = VERSION.map(u32::to_le_bytes);
        message.put(0, version.as_flattened())?;
        message.put_u32(offset::DATA_SIZE, MESSAGE_BYTES)?;
        message.put_u32(offset::DATA_START, HEADER_BYTES)?;
        message.put(offset::FLAGS, &flags.to_le_bytes())?;
        message.put(offset::NAME, name.as_bytes())?;
        Ok(message)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let end = at.checked_add(bytes.len()).ok_or(TOO_LONG)?;
        let place = self.bytes.get_mut(at..end).ok_or(TOO_LONG)?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn put_u32(&mut self, at: usize, value: usize) -> Result<()> {
        let value = u32::try_from(value).map_err(|_| TOO_LONG)?;
        self.put(at, &value.to_le_bytes())
    }

    /// `struct dm_target_spec` and the parameters, NUL-terminated and padded to 8.
    fn put_target(&mut self, target: &Target) -> Result<()> {
        let text = target.parameters.as_bytes();
        let next = SPEC_BYTES.saturating_add(text.len()).saturating_add(1);
        let next = next.next_multiple_of(8);
        if HEADER_BYTES.saturating_add(next) > MESSAGE_BYTES
            || target.kind.len() >= 16
            || target.parameters.contains('\0')
        {
            return Err(TOO_LONG);
        }
        self.put_u32(offset::TARGET_COUNT, 1)?;
        let spec = HEADER_BYTES;
        self.put(spec.saturating_add(8), &target.sectors.to_le_bytes())?;
        self.put_u32(spec.saturating_add(20), next)?;
        self.put(spec.saturating_add(24), target.kind.as_bytes())?;
        self.put(spec.saturating_add(SPEC_BYTES), text)
    }

    /// The `dev` member, in the kernel's wide encoding (`huge_encode_dev`).
    fn device(&self) -> Option<DeviceNumber> {
        let encoded = self.bytes.get(offset::DEVICE..)?.first_chunk()?;
        let encoded = u32::try_from(u64::from_le_bytes(*encoded)).ok()?;
        Some(DeviceNumber {
            major: (encoded >> 8) & 0xfff,
            minor: (encoded & 0xff) | ((encoded >> 12) & 0xf_ff00),
        })
    }

    /// The text behind the first `struct dm_target_spec` of an answer.
    fn first_status(&self) -> Option<String> {
        let start = self.bytes.get(offset::DATA_START..)?.first_chunk()?;
        let start = usize::try_from(u32::from_le_bytes(*start)).ok()?;
        let text = self.bytes.get(start.checked_add(SPEC_BYTES)?..)?;
        let end = text.iter().position(|byte| *byte == 0)?;
        String::from_utf8(text.get(..end)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<const N: usize>(message: &Message, offset: usize) -> [u8; N] {
        *message.bytes[offset..].first_chunk().unwrap()
    }

    #[test]
    fn a_table_message_has_the_kernels_layout() {
        let mut message = Message::new("root", READ_ONLY).unwrap();
        let target = Target {
            kind: "verity",
            sectors: 800,
            parameters: "1 254:0".to_string(),
        };
        message.put_target(&target).unwrap();
        assert_eq!(at::<12>(&message, 0), [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(u32::from_le_bytes(at(&message, 12)), 4096);
        assert_eq!(u32::from_le_bytes(at(&message, 16)), 312);
        assert_eq!(u32::from_le_bytes(at(&message, 20)), 1);
        assert_eq!(u32::from_le_bytes(at(&message, 28)), READ_ONLY);
        assert_eq!(&at::<5>(&message, 48), b"root\0");
        assert_eq!(u64::from_le_bytes(at(&message, 312)), 0);
        assert_eq!(u64::from_le_bytes(at(&message, 320)), 800);
        assert_eq!(u32::from_le_bytes(at(&message, 332)), 48);
        assert_eq!(&at::<7>(&message, 336), b"verity\0");
        assert_eq!(&at::<8>(&message, 352), b"1 254:0\0");
    }

    #[test]
    fn request_numbers_are_those_of_the_kernel() {
        assert_eq!(Command::Create.request(), 0xc138_fd03);
        assert_eq!(Command::TableStatus.request(), 0xc138_fd0c);
    }

    #[test]
    fn reads_the_device_number_of_an_answer() {
        let mut message = Message::new("root", 0).unwrap();
        message
            .put(offset::DEVICE, &0xfd00_u64.to_le_bytes())
            .unwrap();
        let number = DeviceNumber {
            major: 253,
            minor: 0,
        };
        assert_eq!(message.device(), Some(number));
        message
            .put(offset::DEVICE, &0x0010_fd01_u64.to_le_bytes())
            .unwrap();
        assert_eq!(message.device().unwrap().minor, 0x101);
    }

    #[test]
    fn refuses_names_and_tables_that_do_not_fit() {
        for name in ["", "a\0b", &"n".repeat(128)] {
            assert!(Message::new(name, 0).is_err());
        }
        let target = |parameters: String| Target {
            kind: "verity",
            sectors: 8,
            parameters,
        };
        let mut message = Message::new("root", 0).unwrap();
        let longest = "p".repeat(MESSAGE_BYTES - HEADER_BYTES - SPEC_BYTES - 1);
        assert!(message.put_target(&target(longest.clone() + "p")).is_err());
        assert!(message.put_target(&target(longest)).is_ok());
        assert!(message.put_target(&target("a\0".to_string())).is_err());
    }

    #[test]
    fn reads_the_status_line() {
        let mut message = Message::new("root", 0).unwrap();
        message.put(HEADER_BYTES + SPEC_BYTES, b"C\0").unwrap();
        assert_eq!(message.first_status().as_deref(), Some("C"));
    }
}
