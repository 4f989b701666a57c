//! The two ioctls by which a machine reads its own registers.
//!
//! Layouts: `linux/sev-guest.h` and `linux/tdx-guest.h`. What the bytes mean is `attest`'s part.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{CallFailed, Result};

/// `_IOWR('S', 0, struct snp_guest_request_ioctl)`.
const SNP_GET_REPORT: libc::c_ulong = 0xc020_5300;
/// `_IOWR('T', 1, struct tdx_report_req)`.
const TDX_CMD_GET_REPORT0: libc::c_ulong = 0xc440_5401;
/// The version of guest messages that every SNP firmware takes.
const SNP_MESSAGE_VERSION: u8 = 1;

/// Bytes of `struct snp_report_resp`: a message header, then the report.
pub const SNP_RESPONSE_BYTES: usize = 4000;
/// Bytes of a TDREPORT.
pub const TD_REPORT_BYTES: usize = 1024;

/// `struct snp_guest_request_ioctl`.
#[repr(C)]
struct SnpGuestRequest {
    message_version: u8,
    request: *const SnpReportRequest,
    response: *mut [u8; SNP_RESPONSE_BYTES],
    exit_information: u64,
}

/// `struct snp_report_req`.
#[repr(C)]
struct SnpReportRequest {
    user_data: [u8; 64],
    vmpl: u32,
    reserved: [u8; 28],
}

/// `struct tdx_report_req`.
#[repr(C)]
struct TdxReportRequest {
    report_data: [u8; 64],
    report: [u8; TD_REPORT_BYTES],
}

/// The response of SNP_GET_REPORT on `/dev/sev-guest` for `data` at VMPL 0; the firmware
/// authenticates it to the kernel, so the host cannot have made it up.
///
/// # Errors
/// That of the call.
pub fn snp_report(device: BorrowedFd<'_>, data: &[u8; 64]) -> Result<[u8; SNP_RESPONSE_BYTES]> {
    let request = SnpReportRequest {
        user_data: *data,
        vmpl: 0,
        reserved: [0; 28],
    };
    let mut response = [0; SNP_RESPONSE_BYTES];
    let mut message = SnpGuestRequest {
        message_version: SNP_MESSAGE_VERSION,
        request: &raw const request,
        response: &raw mut response,
        exit_information: 0,
    };
    // SAFETY: the message and both buffers that it points to are live, of the kernel's layout
    // and length, and outlast the call.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), SNP_GET_REPORT, &raw mut message) };
    nix::errno::Errno::result(done).map_err(CallFailed::of("ioctl"))?;
    Ok(response)
}

/// The TDREPORT of TDX_CMD_GET_REPORT0 on `/dev/tdx_guest` for `data`; it comes from the TDX
/// module, not from the host.
///
/// # Errors
/// That of the call.
pub fn td_report(device: BorrowedFd<'_>, data: &[u8; 64]) -> Result<[u8; TD_REPORT_BYTES]> {
    let mut message = TdxReportRequest {
        report_data: *data,
        report: [0; TD_REPORT_BYTES],
    };
    // SAFETY: the message is live and of the kernel's layout and length.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), TDX_CMD_GET_REPORT0, &raw mut message) };
    nix::errno::Errno::result(done).map_err(CallFailed::of("ioctl"))?;
    Ok(message.report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};
    use std::os::fd::AsFd as _;

    /// `_IOWR(kind, number, size)` of `asm-generic/ioctl.h`.
    fn read_write(kind: u8, number: u8, size: usize) -> libc::c_ulong {
        let size = libc::c_ulong::try_from(size).unwrap();
        3 << 30 | size << 16 | libc::c_ulong::from(kind) << 8 | libc::c_ulong::from(number)
    }

    #[test]
    fn request_numbers_and_layouts_are_those_of_the_kernel() {
        assert_eq!(size_of::<SnpReportRequest>(), 96);
        assert_eq!(offset_of!(SnpGuestRequest, request), 8);
        assert_eq!(offset_of!(SnpGuestRequest, exit_information), 24);
        let snp = read_write(b'S', 0, size_of::<SnpGuestRequest>());
        assert_eq!(snp, SNP_GET_REPORT);
        let tdx = read_write(b'T', 1, size_of::<TdxReportRequest>());
        assert_eq!(tdx, TDX_CMD_GET_REPORT0);
    }

    #[test]
    fn a_device_that_is_none_is_refused() {
        let null = std::fs::File::open("/dev/null").unwrap();
        for error in [
            snp_report(null.as_fd(), &[0; 64]).unwrap_err(),
            td_report(null.as_fd(), &[0; 64]).unwrap_err(),
        ] {
            assert_eq!(error.errno, libc::ENOTTY);
        }
    }
}
