"""QEMU's test protocol: starts a machine and reads what it hands to its firmware over fw_cfg."""

import base64
import os
import shutil
import socket
import struct
import subprocess
import tempfile

DIRECTORY = 0x19
BOOT_MENU = 0x0E
# Guest addresses used for transfers while no firmware runs, or behind what it uses at the end.
ACCESS, BUFFER = 0x100000, 0x200000
READ_SELECTED = 8 | 2


class Machine:
    """A machine under test. With `firmware` it runs; without, it stands still."""

    def __init__(self, qemu, arguments, firmware=None):
        self.directory = tempfile.mkdtemp(prefix="cocoon-capture-", dir="/dev/shm")
        path = os.path.join(self.directory, "qtest")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(60)
        self.memory = os.path.join(self.directory, "memory")
        line = [argument.replace("@MEMORY@", self.memory) for argument in arguments]
        start = ["-bios", firmware] if firmware else ["-S"]
        line += ["-qtest", f"unix:{path}", "-qtest-log", "none", *start]
        self.process = subprocess.Popen([qemu, *line], stdin=subprocess.DEVNULL)
        self.connection, _ = listener.accept()
        listener.close()
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.connection.close()
        shutil.rmtree(self.directory)

    def _line(self):
        while b"\n" not in self.pending:
            received = self.connection.recv(1 << 16)
            if not received:
                raise SystemExit("QEMU ended")
            self.pending += received
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode()

    def command(self, text):
        self.connection.sendall(text.encode() + b"\n")
        while True:
            line = self._line()
            if not line.startswith("IRQ"):
                break
        if not line.startswith("OK"):
            raise SystemExit(f"QEMU answers {line!r} to {text!r}")
        return line[3:]

    def configure(self, device, function, register, value, width):
        """Writes PCI configuration space of bus 0, as firmware does."""
        address = 0x80000000 | device << 11 | function << 8 | register & ~3
        letter = {1: "b", 2: "w", 4: "l"}[width]
        self.command(f"outl 0xcf8 {address:#x}")
        self.command(f"out{letter} {0xCFC + (register & 3):#x} {value:#x}")

    def imitate_firmware(self, window):
        """The registers that decide about the tables, as edk2 sets them: the PCI Express window,
        the power management ports, and the 64-bit BAR of the first device."""
        self.configure(0, 0, 0x64, 0, 4)
        self.configure(0, 0, 0x60, 0xE0000001, 4)
        self.configure(0x1F, 0, 0x40, 0x601, 4)
        self.configure(0x1F, 0, 0x44, 0x80, 1)
        self.configure(1, 0, 0x20, window & 0xFFFFFFFF, 4)
        self.configure(1, 0, 0x24, window >> 32, 4)
        self.configure(1, 0, 0x04, 6, 2)

    def item(self, selector, length):
        """An item of fw_cfg."""
        access = struct.pack(">IIQ", selector << 16 | READ_SELECTED, length, BUFFER)
        saved = [self.read(ACCESS, len(access)), self.read(BUFFER, length)]
        self.write(ACCESS, access)
        swapped = int.from_bytes(struct.pack(">I", ACCESS), "little")
        self.command("outl 0x514 0x0")
        self.command(f"outl 0x518 {swapped:#x}")
        found = self.read(BUFFER, length)
        self.write(ACCESS, saved[0])
        self.write(BUFFER, saved[1])
        return found

    def read(self, address, length):
        if length == 0:
            return b""
        return base64.b64decode(self.command(f"b64read {address:#x} {length:#x}"))

    def write(self, address, data):
        if data:
            text = base64.b64encode(data).decode()
            self.command(f"b64write {address:#x} {len(data):#x} {text}")

    def files(self):
        """Names of fw_cfg's files, with selector and length."""
        (count,) = struct.unpack(">I", self.item(DIRECTORY, 4))
        raw = self.item(DIRECTORY, 4 + 64 * count)[4:]
        found = {}
        for at in range(0, len(raw), 64):
            length, selector, _, name = struct.unpack(">IHH56s", raw[at : at + 64])
            found[name.rstrip(b"\0").decode()] = (selector, length)
        return found
