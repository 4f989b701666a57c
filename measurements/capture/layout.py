"""The machines that host-agent launches, written down a second time: QEMU's arguments for a shape.

What differs from a launch: plain emulation, an empty disk for every disk, another virtio device in
the slot of vsock, and PCI test devices for GPUs; QEMU's tables know functions by their slots only.
"""

from dataclasses import dataclass

GIB = 1 << 30
MACHINE = "pc-q35-11.1,smm=off,pic=off,hpet=off,usb=off,vmport=off,sata=off,smbus=off"


@dataclass(frozen=True)
class Shape:
    vcpus: int
    memory_mib: int
    gpus: int = 0
    model_disks: int = 1
    serial: bool = False
    # A device in the slot of each GPU, or an empty slot behind the root port.
    bar_gib: int = 16

    def __str__(self):
        parts = (self.vcpus, self.memory_mib, self.gpus, self.model_disks, int(self.serial))
        return " ".join(map(str, parts))

    @property
    def ranges(self):
        """Memory below and above 4 GiB: start and end."""
        memory = self.memory_mib << 20
        if memory < 2816 << 20:
            return [(0, memory)]
        return [(0, 2 * GIB), (4 * GIB, 2 * GIB + memory)]

    @property
    def window_mib(self):
        if self.gpus == 0:
            return 64 << 10
        return (1 << (self.gpus - 1).bit_length()) << 20

    @property
    def window(self):
        length = self.window_mib << 20
        above = max(4 * GIB, self.ranges[-1][1])
        return -(-above // length) * length

    def arguments(self, disk):
        """QEMU's arguments; @MEMORY@ is a sparse file."""
        count, mib = self.vcpus, self.window_mib
        line = ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        line += ["-accel", "tcg", "-cpu", "max,vendor=GenuineIntel,phys-bits=46"]
        line += ["-machine", f"{MACHINE},memory-backend=mem0"]
        line += ["-smp", f"cpus={count},maxcpus={count},sockets=1,cores={count},threads=1"]
        line += ["-m", str(self.memory_mib)]
        memory = f"id=mem0,size={self.memory_mib}M,share=on,mem-path=@MEMORY@"
        line += ["-object", f"memory-backend-file,{memory}"]
        line += ["-global", f"q35-pcihost.pci-hole64-size={mib}M"]
        line += ["-fw_cfg", f"name=opt/ovmf/X-PciMmio64Mb,string={mib}"]
        line += ["-smbios", "type=4,processor-id=1"]
        for slot in range(1, 4 + self.model_disks):
            place = f"disable-legacy=on,bus=pcie.0,addr={slot:#x}"
            if slot == 3:
                line += ["-device", f"virtio-rng-pci,{place}"]
                continue
            line += ["-drive", f"if=none,id=d{slot},format=raw,readonly=on,file={disk}"]
            line += ["-device", f"virtio-blk-pci,drive=d{slot},{place}"]
        for at in range(self.gpus):
            place = f"bus=pcie.0,addr={0x10 + at:#x},chassis={at + 1},slot={at + 1}"
            line += ["-device", f"pcie-root-port,id=gpu{at},{place},hotplug=off"]
            line += ["-device", f"pci-testdev,membar={self.bar_gib}G,bus=gpu{at}"]
        if self.serial:
            line += ["-serial", "null"]
        return line


# vCPUs, MiB, GPUs, model disks, serial port.
GOLDEN = [
    Shape(1, 1024),
    Shape(1, 4096),
    Shape(2, 2048),
    Shape(2, 2048, serial=True),
    Shape(2, 2815),
    Shape(2, 2816),
    Shape(2, 2048, gpus=1),
    Shape(8, 2048),
    Shape(8, 16384),
    Shape(8, 16384, model_disks=4),
    Shape(8, 16384, gpus=1),
    Shape(9, 65536, gpus=2),
    Shape(16, 65536),
    Shape(64, 2048),
    Shape(64, 262144, gpus=1),
    Shape(64, 262144, gpus=8, model_disks=2),
    Shape(192, 1048576, gpus=8),
    Shape(254, 1048576),
]
