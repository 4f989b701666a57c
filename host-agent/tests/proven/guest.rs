//! A guest that asks about vouchers at the control socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use messages::framing::frame;
use messages::host_control::{GuestMessage, HostMessage, VoucherDecision};
use protocol::voucher::SignedVoucher;

pub(crate) struct Guest(UnixStream);

impl Guest {
    /// At the socket in a state directory.
    pub(crate) fn dial(state: &Path) -> Self {
        Self(UnixStream::connect(state.join("control")).unwrap())
    }

    /// The decision; none when the host is gone.
    pub(crate) fn ask(&mut self, voucher: SignedVoucher) -> Option<VoucherDecision> {
        let message = GuestMessage::VoucherQuestion {
            question: 1,
            voucher: Box::new(voucher),
        };
        self.0.write_all(&frame(&message.encode())).ok()?;
        let mut header = [0; 4];
        self.0.read_exact(&mut header).ok()?;
        let mut payload = vec![0; u32::from_le_bytes(header) as usize];
        self.0.read_exact(&mut payload).ok()?;
        match HostMessage::decode(&payload).unwrap() {
            HostMessage::VoucherAnswer { decision, .. } => Some(decision),
            HostMessage::Endorsements(_) => panic!("not an answer"),
        }
    }
}
