//! Launching one guest: from typed shapes and checked artifacts to QEMU's arguments, the disks, the
//! launch record and the child processes.
//!
//! Order: [`artifacts`] checks and seals the image, [`configuration`] reads the launch
//! configuration, [`argv`] builds the command line (pure), [`state`] owns the directory,
//! [`children`] runs and ends the processes. Deliberately not here: the order of a whole run
//! (`up`), the sockets to the guest (`relay`, `control`), and any shell.

pub mod argv;
pub mod artifacts;
pub mod children;
pub mod configuration;
pub mod pci;
pub mod shape;
pub mod state;
