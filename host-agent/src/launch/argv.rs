//! QEMU's arguments, built from types: a pure function, compared with golden text.
//!
//! No argument is ever parsed by a shell, and no value can add an option: commas in paths are
//! doubled as QEMU's option syntax wants. Deliberately not here: processes and files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use measurements::acpi::{QemuProfile, SLOT_GPU, SLOT_ROOT, SLOTS_WITHOUT_MODELS};
use measurements::machine::{Machine as Hardware, SerialPort};
use measurements::smbios::PROCESSOR_ID;
use protocol::digest::ConfigDigest;
use protocol::launch_configuration as document;

use super::pci::PciAddress;
use super::shape::{Accelerator, Shape};

/// The guest's address on its own vsock.
pub const GUEST_CID: u32 = 3;
/// Serial number of the disk with the root file system.
pub const ROOT_SERIAL: &str = "root";

/// Debugging off, migration agent off, SMT allowed; bit 17 is reserved and must be one
/// (SEV-SNP ABI specification, guest policy).
const SNP_POLICY: &str = "0x30000";
/// Position of the encryption bit and the address bits it takes, as CPUID 0x8000001F reports them
/// on EPYC 9004 and later.
const SNP_CBIT: &str = "cbitpos=51,reduced-phys-bits=1";
/// The host's quote generation service listens here (vsock, host side).
const QUOTE_SERVICE_PORT: u32 = 4050;
/// No process, privilege or scheduling change for whoever breaks out of the machine model.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// Slots on bus 0 of what every machine has; `docs/spec/measurements.md`, RTMR0.
const SLOT_CONFIGURATION: u8 = 2;
const SLOT_VSOCK: u8 = 3;
const _: () = assert!(SLOT_ROOT == 1 && SLOTS_WITHOUT_MODELS == SLOT_VSOCK);
/// The build whose tables are known, as its newest machine type: another QEMU refuses it.
const PROFILE: QemuProfile = QemuProfile::Qemu11_1_3;

/// Where the guest's serial port goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serial {
    /// There is none, as in every release.
    Absent,
    /// To QEMU's output, which the caller caps; for the research image only.
    Output,
}

impl From<Serial> for SerialPort {
    fn from(serial: Serial) -> Self {
        match serial {
            Serial::Absent => Self::Absent,
            Serial::Output => Self::Present,
        }
    }
}

/// Everything that one machine is started with.
#[derive(Debug, Clone)]
pub struct Machine {
    /// vCPUs, memory and features.
    pub shape: Shape,
    /// The shape as the guest sees it.
    pub hardware: Hardware,
    /// What runs it.
    pub accelerator: Accelerator,
    /// The firmware with a table of kernel hashes.
    pub firmware: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial file system, with init in it.
    pub initrd: PathBuf,
    /// The kernel's command line, with the root's verity parameters.
    pub command_line: String,
    /// Disk with the root file system.
    pub root: PathBuf,
    /// Disk with the launch configuration.
    pub configuration: PathBuf,
    /// Disks with models, in the order of the launch configuration.
    pub models: Vec<PathBuf>,
    /// GPUs of the host, bound to vfio, as many as the shape has.
    pub gpus: Vec<PciAddress>,
    /// Socket of the vsock device's process.
    pub vhost_socket: PathBuf,
    /// Goes to HOST_DATA or MRCONFIGID.
    pub config_digest: ConfigDigest,
    /// The serial port.
    pub serial: Serial,
}

impl Machine {
    /// QEMU's arguments, without the program.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut line = CommandLine::default();
        line.flags(&["-nodefaults", "-no-user-config", "-no-reboot"]);
        line.pair("-display", "none").pair("-sandbox", SANDBOX);
        self.processor(&mut line);
        let vcpus = self.shape.vcpus;
        let topology = format!("cpus={vcpus},maxcpus={vcpus},sockets=1,cores={vcpus},threads=1");
        line.pair("-smp", topology);
        line.pair("-m", self.shape.memory_mib.to_string());
        self.window(&mut line);
        line.pair("-smbios", format!("type=4,processor-id={PROCESSOR_ID}"));
        line.pair(
            "-object",
            format!(
                "memory-backend-memfd,id=mem0,size={}M,share=on",
                self.shape.memory_mib
            ),
        );
        line.pair("-bios", &self.firmware);
        line.pair("-kernel", &self.kernel);
        line.pair("-initrd", &self.initrd);
        line.pair("-append", &self.command_line);
        line.disk(SLOT_ROOT, ROOT_SERIAL, &self.root);
        line.disk(
            SLOT_CONFIGURATION,
            document::DISK_SERIAL,
            &self.configuration,
        );
        for (at, model) in (0_u8..).zip(&self.models) {
            let slot = SLOT_VSOCK.saturating_add(1).saturating_add(at);
            line.disk(slot, &format!("model-{at}"), model);
        }
        line.option("-chardev", "socket,id=vsock,path=", &self.vhost_socket, "");
        line.pair(
            "-device",
            format!("vhost-user-vsock-pci,chardev=vsock,bus=pcie.0,addr={SLOT_VSOCK:#x}"),
        );
        self.gpus(&mut line);
        match self.serial {
            Serial::Absent => {}
            Serial::Output => {
                line.pair("-serial", "stdio");
            }
        }
        line.0
    }

    /// Where 64-bit BARs go: fixed by the shape, so that neither the host's address width nor the
    /// devices' sizes reach the tables.
    fn window(&self, line: &mut CommandLine) {
        let mib = self.hardware.window_mib();
        line.pair("-global", format!("q35-pcihost.pci-hole64-size={mib}M"));
        line.pair(
            "-fw_cfg",
            format!("name=opt/ovmf/X-PciMmio64Mb,string={mib}"),
        );
    }

    /// A root port for each GPU; without hotplug, its description is the slot and what is behind.
    fn gpus(&self, line: &mut CommandLine) {
        if !self.gpus.is_empty() {
            line.pair("-object", "iommufd,id=iommufd0");
        }
        for (at, gpu) in (0_u8..).zip(&self.gpus) {
            let (slot, number) = (SLOT_GPU.saturating_add(at), at.saturating_add(1));
            let port = format!(
                "pcie-root-port,id=gpu-{at},bus=pcie.0,addr={slot:#x},chassis={number},\
                 slot={number},hotplug=off"
            );
            line.pair("-device", port);
            let device = format!("vfio-pci,host={gpu},bus=gpu-{at},iommufd=iommufd0");
            line.pair("-device", device);
        }
    }

    fn processor(&self, line: &mut CommandLine) {
        // What QEMU forces on a TD is set for every machine, and there is no timer, disk or bus
        // controller that the guest does not use.
        let machine = format!(
            "{},smm=off,pic=off,hpet=off,usb=off,vmport=off,sata=off,smbus=off,memory-backend=mem0",
            PROFILE.machine_type()
        );
        let confidential =
            format!("{machine},kernel-irqchip=split,confidential-guest-support=tee0");
        match self.accelerator {
            Accelerator::Emulation(_) => {
                line.pair("-accel", "tcg,thread=multi");
                // Emulated `rep movsb` is slower than the loops that the kernel takes without it.
                line.pair("-cpu", "max,-erms").pair("-machine", machine);
            }
            Accelerator::Snp => {
                let host_data = BASE64.encode(document::host_data(&self.config_digest).0);
                line.pair("-accel", "kvm");
                line.pair("-cpu", self.shape.vcpu_type);
                line.pair("-machine", confidential).pair(
                    "-object",
                    format!(
                        "sev-snp-guest,id=tee0,policy={SNP_POLICY},{SNP_CBIT},\
                         kernel-hashes=on,host-data={host_data}"
                    ),
                );
            }
            Accelerator::Tdx => {
                let register = BASE64.encode(document::mr_config_id(&self.config_digest).0);
                line.pair("-accel", "kvm").pair("-cpu", "host");
                line.pair("-machine", confidential).pair(
                    "-object",
                    format!(
                        "tdx-guest,id=tee0,mrconfigid={register},\
                         quote-generation-socket.type=vsock,quote-generation-socket.cid=2,\
                         quote-generation-socket.port={QUOTE_SERVICE_PORT}"
                    ),
                );
            }
        }
    }
}

/// Arguments of the process that is the guest's vsock device.
#[must_use]
pub fn vsock_device_arguments(vhost_socket: &Path, uds: &Path) -> Vec<OsString> {
    let mut line = CommandLine::default();
    line.pair("--guest-cid", GUEST_CID.to_string());
    line.pair("--socket", vhost_socket).pair("--uds-path", uds);
    line.pair("--tx-buffer-size", TX_BUFFER_BYTES.to_string());
    line.0
}

/// With its default the device (0.3.0) drops what the guest writes beyond 32 KiB at once, and the
/// connection hangs; below it, it asks the guest to wait.
const TX_BUFFER_BYTES: u32 = 28_672;

#[derive(Default)]
struct CommandLine(Vec<OsString>);

impl CommandLine {
    fn flags(&mut self, names: &[&str]) {
        self.0.extend(names.iter().map(OsString::from));
    }

    fn pair(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.as_ref().to_owned());
        self
    }

    /// An option with a path in it: `before`, the path with its commas doubled, `after`.
    fn option(&mut self, name: &str, before: &str, path: &Path, after: &str) -> &mut Self {
        let mut value = before.as_bytes().to_vec();
        if path.is_relative() {
            // QEMU takes what stands before a colon of a plain relative path for a protocol.
            value.extend_from_slice(b"./");
        }
        for byte in path.as_os_str().as_bytes() {
            value.push(*byte);
            if *byte == b',' {
                value.push(b',');
            }
        }
        value.extend_from_slice(after.as_bytes());
        self.pair(name, OsString::from_vec(value))
    }

    /// A read-only virtio-blk disk; its serial number is its name in the guest.
    fn disk(&mut self, slot: u8, serial: &str, image: &Path) {
        let before = format!("if=none,id={serial},format=raw,readonly=on,file=");
        self.option("-drive", &before, image, "").pair(
            "-device",
            format!(
                "virtio-blk-pci,drive={serial},serial={serial},disable-legacy=on,bus=pcie.0,\
                 addr={slot:#x}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::shape::SHAPES;
    use protocol::tee::TeeKind;

    fn machine(accelerator: Accelerator) -> Machine {
        Machine {
            shape: SHAPES[0],
            hardware: SHAPES[0].machine(SerialPort::Absent).unwrap(),
            accelerator,
            firmware: "s/launch/OVMF.fd".into(),
            kernel: "s/launch/bzImage".into(),
            initrd: "s/launch/initrd".into(),
            command_line: "panic=-1 cocoon.root=sha256:4096:7:7:00:11".to_owned(),
            root: "image/root.img".into(),
            configuration: "s/launch-config.img".into(),
            models: vec!["model/model.img".into()],
            gpus: Vec::new(),
            vhost_socket: "s/vhost.sock".into(),
            config_digest: ConfigDigest([0xab; 32]),
            serial: Serial::Absent,
        }
    }

    /// Arguments as lines: an option and its value.
    fn text(machine: &Machine) -> String {
        let mut lines = String::new();
        for argument in machine.arguments() {
            let argument = argument.into_string().unwrap();
            let separator = if argument.starts_with('-') { '\n' } else { ' ' };
            lines.push(separator);
            lines.push_str(&argument);
        }
        lines.trim().to_owned()
    }

    const HEAD: &str = "-nodefaults
-no-user-config
-no-reboot
-display none
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

    const TAIL: &str = "-smp cpus=2,maxcpus=2,sockets=1,cores=2,threads=1
-m 2048
-global q35-pcihost.pci-hole64-size=65536M
-fw_cfg name=opt/ovmf/X-PciMmio64Mb,string=65536
-smbios type=4,processor-id=1
-object memory-backend-memfd,id=mem0,size=2048M,share=on
-bios s/launch/OVMF.fd
-kernel s/launch/bzImage
-initrd s/launch/initrd
-append panic=-1 cocoon.root=sha256:4096:7:7:00:11
-drive if=none,id=root,format=raw,readonly=on,file=./image/root.img
-device virtio-blk-pci,drive=root,serial=root,disable-legacy=on,bus=pcie.0,addr=0x1
-drive if=none,id=launch-config,format=raw,readonly=on,file=./s/launch-config.img
-device virtio-blk-pci,drive=launch-config,serial=launch-config,disable-legacy=on,bus=pcie.0,\
addr=0x2
-drive if=none,id=model-0,format=raw,readonly=on,file=./model/model.img
-device virtio-blk-pci,drive=model-0,serial=model-0,disable-legacy=on,bus=pcie.0,addr=0x4
-chardev socket,id=vsock,path=./s/vhost.sock
-device vhost-user-vsock-pci,chardev=vsock,bus=pcie.0,addr=0x3";

    #[test]
    fn emulation_is_qemus_own_and_has_no_tee() {
        let middle = "-accel tcg,thread=multi
-cpu max,-erms
-machine pc-q35-11.1,smm=off,pic=off,hpet=off,usb=off,vmport=off,sata=off,smbus=off,\
memory-backend=mem0";
        for tee in [TeeKind::SevSnp, TeeKind::Tdx] {
            let found = text(&machine(Accelerator::Emulation(tee)));
            assert_eq!(found, format!("{HEAD}\n{middle}\n{TAIL}"));
            assert!(!found.contains("kvm"));
        }
    }

    #[test]
    fn snp_measures_the_kernel_and_carries_the_configuration_digest() {
        let middle = "-accel kvm
-cpu EPYC-v4
-machine pc-q35-11.1,smm=off,pic=off,hpet=off,usb=off,vmport=off,sata=off,smbus=off,\
memory-backend=mem0,kernel-irqchip=split,confidential-guest-support=tee0
-object sev-snp-guest,id=tee0,policy=0x30000,cbitpos=51,reduced-phys-bits=1,kernel-hashes=on,\
host-data=q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=";
        let found = text(&machine(Accelerator::Snp));
        assert_eq!(found, format!("{HEAD}\n{middle}\n{TAIL}"));
    }

    #[test]
    fn tdx_carries_the_configuration_digest_and_zeros() {
        let middle = "-accel kvm
-cpu host
-machine pc-q35-11.1,smm=off,pic=off,hpet=off,usb=off,vmport=off,sata=off,smbus=off,\
memory-backend=mem0,kernel-irqchip=split,confidential-guest-support=tee0
-object tdx-guest,id=tee0,\
mrconfigid=q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6sAAAAAAAAAAAAAAAAAAAAA,\
quote-generation-socket.type=vsock,quote-generation-socket.cid=2,\
quote-generation-socket.port=4050";
        let found = text(&machine(Accelerator::Tdx));
        assert_eq!(found, format!("{HEAD}\n{middle}\n{TAIL}"));
    }

    #[test]
    fn a_path_cannot_add_an_option() {
        let mut machine = machine(Accelerator::Snp);
        machine.root = "nbd:a,readonly=off".into();
        assert!(text(&machine).contains("file=./nbd:a,,readonly=off\n"));
        machine.root = "/images/root.img".into();
        assert!(text(&machine).contains("file=/images/root.img\n"));
    }

    #[test]
    fn each_gpu_is_behind_a_port_at_its_own_slot_and_widens_the_window() {
        let mut machine = machine(Accelerator::Tdx);
        let shape = SHAPES.iter().find(|shape| shape.gpus == 1).unwrap();
        machine.hardware = shape.machine(SerialPort::Absent).unwrap();
        machine.gpus = vec!["0000:41:00.0".parse().unwrap()];
        let found = text(&machine);
        assert!(found.contains("-global q35-pcihost.pci-hole64-size=1048576M\n"));
        assert!(found.ends_with(
            "-object iommufd,id=iommufd0
-device pcie-root-port,id=gpu-0,bus=pcie.0,addr=0x10,chassis=1,slot=1,hotplug=off
-device vfio-pci,host=0000:41:00.0,bus=gpu-0,iommufd=iommufd0"
        ));
    }

    #[test]
    fn the_serial_port_is_there_only_when_asked_for() {
        let mut machine = machine(Accelerator::Emulation(TeeKind::SevSnp));
        assert!(!text(&machine).contains("serial stdio"));
        machine.serial = Serial::Output;
        assert!(text(&machine).ends_with("-serial stdio"));
    }

    #[test]
    fn the_vsock_device_gets_the_guests_address_and_two_sockets() {
        let found = vsock_device_arguments(Path::new("s/vhost.sock"), Path::new("s/vsock"));
        let expected = [
            "--guest-cid",
            "3",
            "--socket",
            "s/vhost.sock",
            "--uds-path",
            "s/vsock",
            "--tx-buffer-size",
            "28672",
        ];
        assert_eq!(found, expected);
    }
}
