//! What is computed is what is launched: the pinned QEMU, started with the arguments of a launch,
//! hands out the ACPI files that `measurements` computes for the shape.
//!
//! Nothing of the guest runs. QEMU's test protocol imitates what firmware writes to the machine,
//! and stand-ins take the places of devices that no test has: QEMU describes functions by their
//! slots only.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use host_agent::launch::argv::{Machine, Serial};
use host_agent::launch::shape::{Accelerator, SHAPES, Shape};
use measurements::acpi::{AcpiFiles, QemuProfile};
use protocol::digest::ConfigDigest;

const DISK_BYTES: u64 = 1 << 20;
const DIRECTORY: u16 = 0x19;
/// Guest addresses for transfers, while no firmware uses memory.
const ACCESS: u64 = 0x10_0000;
const BUFFER: u64 = 0x20_0000;

/// 1, 2, 8 and 64 vCPUs; memory around 2.75 GiB; with and without a device behind a root port.
fn shapes() -> Vec<Shape> {
    let mut shapes = SHAPES.to_vec();
    for vcpus in [1, 2, 8, 64] {
        for memory_mib in [2048, 2816] {
            for gpus in [0, 1] {
                shapes.push(Shape {
                    vcpus,
                    memory_mib,
                    gpus,
                    model_disks: if vcpus == 8 { 4 } else { 1 },
                    ..SHAPES[0]
                });
            }
        }
    }
    shapes
}

fn machine(shape: Shape, serial: Serial, folder: &Path) -> Machine {
    let disk = folder.join("disk");
    let file = std::fs::File::create(&disk).unwrap();
    file.set_len(DISK_BYTES).unwrap();
    let gpus = (0..shape.gpus).map(|at| format!("0000:{at:02x}:00.0").parse().unwrap());
    Machine {
        shape,
        hardware: shape.machine(serial.into()).unwrap(),
        accelerator: Accelerator::Tdx,
        firmware: disk.clone(),
        kernel: disk.clone(),
        initrd: disk.clone(),
        command_line: "panic=-1".to_owned(),
        root: disk.clone(),
        configuration: disk.clone(),
        models: vec![disk.clone(); usize::from(shape.model_disks)],
        gpus: gpus.collect(),
        vhost_socket: disk,
        config_digest: ConfigDigest([7; 32]),
        serial,
    }
}

/// The arguments of a launch with TDX, for a machine that nothing but QEMU is needed for.
fn stand_in(machine: &Machine) -> Vec<OsString> {
    let launched = machine.arguments();
    let mut launched = launched.iter().map(|one| one.to_str().unwrap());
    let mut out: Vec<String> = Vec::new();
    while let Some(option) = launched.next() {
        if ["-nodefaults", "-no-user-config", "-no-reboot"].contains(&option) {
            out.push(option.to_owned());
            continue;
        }
        let value = launched.next().unwrap();
        let replaced = match (option, value.split([',', '=']).next().unwrap()) {
            ("-bios" | "-kernel" | "-initrd" | "-append" | "-chardev", _)
            | ("-object", "tdx-guest" | "iommufd") => continue,
            ("-accel", _) => "tcg".to_owned(),
            ("-cpu", _) => "max,vendor=GenuineIntel,phys-bits=46".to_owned(),
            ("-machine", _) => {
                let confidential = ",kernel-irqchip=split,confidential-guest-support=tee0";
                value.strip_suffix(confidential).unwrap().to_owned()
            }
            ("-serial", _) => "null".to_owned(),
            ("-device", "vhost-user-vsock-pci") => value.replace(
                "vhost-user-vsock-pci,chardev=vsock",
                "virtio-rng-pci,disable-legacy=on",
            ),
            ("-device", "vfio-pci") => {
                let bus = value.split(',').find(|part| part.starts_with("bus="));
                format!("pci-testdev,membar=16G,{}", bus.unwrap())
            }
            (_, _) => value.to_owned(),
        };
        out.push(option.to_owned());
        out.push(replaced);
    }
    out.into_iter().map(OsString::from).collect()
}

/// QEMU standing still, and the connection of its test protocol.
struct Qemu {
    process: Child,
    stream: BufReader<UnixStream>,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Qemu {
    fn start(program: &str, arguments: &[OsString], folder: &Path) -> Self {
        let socket = folder.join("qtest");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let process = Command::new(program)
            .args(arguments)
            .arg("-S")
            .arg("-qtest")
            .arg(format!("unix:{}", socket.display()))
            .args(["-qtest-log", "none"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stream = BufReader::new(listener.accept().unwrap().0);
        Self { process, stream }
    }

    fn command(&mut self, text: &str) -> String {
        writeln!(self.stream.get_mut(), "{text}").unwrap();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            if line.starts_with("IRQ") {
                continue;
            }
            let answer = line.trim_end().strip_prefix("OK");
            return answer
                .unwrap_or_else(|| panic!("QEMU answers {line:?} to {text:?}"))
                .trim()
                .to_owned();
        }
    }

    fn configure(&mut self, device: u32, register: u32, value: u32, letter: char) {
        let address = 0x8000_0000_u32 | device << 11 | register & !3;
        self.command(&format!("outl 0xcf8 {address:#x}"));
        let port = 0xcfc + (register & 3);
        self.command(&format!("out{letter} {port:#x} {value:#x}"));
    }

    /// PCI Express window, power management ports, and the BAR of the first device.
    fn imitate_firmware(&mut self, window: u64) {
        let window = window.to_le_bytes();
        let (low, high) = window.split_at(4);
        let half = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        self.configure(0, 0x64, 0, 'l');
        self.configure(0, 0x60, 0xe000_0001, 'l');
        self.configure(0x1f, 0x40, 0x601, 'l');
        self.configure(0x1f, 0x44, 0x80, 'b');
        self.configure(1, 0x20, half(low), 'l');
        self.configure(1, 0x24, half(high), 'l');
        self.configure(1, 0x04, 6, 'w');
    }

    fn item(&mut self, selector: u16, length: u32) -> Vec<u8> {
        let control = u32::from(selector) << 16 | 8 | 2;
        let mut access = control.to_be_bytes().to_vec();
        access.extend(length.to_be_bytes());
        access.extend(BUFFER.to_be_bytes());
        let access = BASE64.encode(access);
        self.command(&format!("b64write {ACCESS:#x} 0x10 {access}"));
        self.command("outl 0x514 0x0");
        let address = u32::try_from(ACCESS).unwrap().swap_bytes();
        self.command(&format!("outl 0x518 {address:#x}"));
        let text = self.command(&format!("b64read {BUFFER:#x} {length:#x}"));
        BASE64.decode(text).unwrap()
    }

    fn file(&mut self, name: &str) -> Vec<u8> {
        let big = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        let count = big(&self.item(DIRECTORY, 4));
        let directory = self.item(DIRECTORY, 4 + 64 * count);
        let entry = directory[4..].chunks(64).find(|entry| {
            let end = entry[8..].iter().position(|byte| *byte == 0).unwrap();
            &entry[8..8 + end] == name.as_bytes()
        });
        let entry = entry.unwrap_or_else(|| panic!("QEMU has no file {name}"));
        let selector = u16::from_be_bytes([entry[4], entry[5]]);
        self.item(selector, big(&entry[..4]))
    }
}

#[test]
#[ignore = "needs the pinned QEMU: ci/acpi"]
fn the_pinned_qemu_hands_out_the_computed_files_for_every_shape() {
    #[allow(clippy::disallowed_methods, reason = "a test's input: which QEMU")]
    let program = std::env::var("COCOON_QEMU").expect("COCOON_QEMU names the pinned QEMU");
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for shape in shapes() {
        for serial in [Serial::Absent, Serial::Output] {
            if serial == Serial::Output && shape.vcpus > 2 {
                continue;
            }
            let machine = machine(shape, serial, folder.path());
            let computed = AcpiFiles::of(QemuProfile::Qemu11_1_3, &machine.hardware).unwrap();
            let mut qemu = Qemu::start(&program, &stand_in(&machine), folder.path());
            qemu.imitate_firmware(machine.hardware.window().start);
            let expected = [
                ("etc/table-loader", computed.loader),
                ("etc/acpi/rsdp", computed.root_pointer),
                ("etc/acpi/tables", computed.tables),
            ];
            for (name, bytes) in expected {
                let handed_out = qemu.file(name);
                let differ = (0..).zip(handed_out.iter().zip(&bytes));
                let mut differ = differ.filter(|(_, (found, wanted))| found != wanted);
                assert_eq!(differ.next(), None, "{name} of {shape:?}");
                assert_eq!(handed_out.len(), bytes.len(), "{name} of {shape:?}");
            }
            compared += 1;
        }
    }
    println!("{compared} shapes: the pinned QEMU's ACPI files are the computed ones");
}
