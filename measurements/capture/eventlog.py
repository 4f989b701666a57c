"""The firmware's event log of a boot with a software TPM, and what of RTMR0 no emulation shows."""

import hashlib
import mmap
import os
import re
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass

from qtest import Machine

DIGEST_BYTES = {0x4: 20, 0xB: 32, 0xC: 48, 0xD: 64}
SHA384 = 0xC
SEPARATOR, HANDOFF_TABLES, BOOT_VARIABLE = 0x4, 0x80000009, 0x80000002
HEADER = b"Spec ID Event03\0"
LAST_EVENT = b"Exit Boot Services Returned with Success"
# The log lies at the end of memory below 4 GiB.
TAIL = 192 << 20


@dataclass(frozen=True)
class Event:
    register: int
    kind: int
    digest: bytes
    data: bytes

    @property
    def is_of_boot(self):
        return self.kind in (HANDOFF_TABLES, BOOT_VARIABLE)

    @property
    def name(self):
        if self.kind == SEPARATOR:
            return "separator"
        if self.kind == HANDOFF_TABLES:
            return "SMBIOS"
        (units,) = struct.unpack("<Q", self.data[16:24])
        return self.data[32 : 32 + 2 * units].decode("utf-16-le")


def parse(memory, at):
    """Events of a log whose first one, in the old form, begins at `at`."""
    (length,) = struct.unpack("<I", memory[at + 28 : at + 32])
    at += 32 + length
    events = []
    while True:
        register, kind, count = struct.unpack("<III", memory[at : at + 12])
        if not 0 < count < 5 or register > 23:
            return events
        at += 12
        digests = {}
        for _ in range(count):
            (algorithm,) = struct.unpack("<H", memory[at : at + 2])
            if algorithm not in DIGEST_BYTES:
                return events
            end = at + 2 + DIGEST_BYTES[algorithm]
            digests[algorithm] = memory[at + 2 : end]
            at = end
        (length,) = struct.unpack("<I", memory[at : at + 4])
        data = memory[at + 4 : at + 4 + length]
        events.append(Event(register, kind, digests.get(SHA384, b""), data))
        at += 4 + length


def logs(memory):
    at = memory.find(HEADER)
    while at >= 0:
        yield parse(memory, at - 32)
        at = memory.find(HEADER, at + 1)


def low_memory(machine, shape):
    """What lies at the end of memory below 4 GiB."""
    start = max(0, shape.ranges[0][1] - TAIL)
    with open(machine.memory, "rb") as file:
        file.seek(start)
        return file.read(shape.ranges[0][1] - start)


def wait_for_tables(machine, shape, patience):
    """Until the firmware has installed the ACPI tables: QEMU does not make them again."""
    for _ in range(patience):
        time.sleep(1)
        if re.search(rb"DSDT.{4}\x01.BOCHS BXPC", low_memory(machine, shape), re.DOTALL):
            return
    raise SystemExit("the firmware did not install the ACPI tables in time")


def measured_boot(options, shape, disk):
    """Boots with a software TPM and returns the longest log in memory."""
    with tempfile.TemporaryDirectory() as state:
        setup = [options.swtpm_setup, "--tpm2", "--tpmstate", state, "--createek"]
        setup += ["--pcr-banks", "sha256,sha384", "--overwrite"]
        subprocess.run(setup, check=True, stdout=subprocess.DEVNULL)
        control = os.path.join(state, "control")
        tpm = [options.swtpm, "socket", "--tpm2", "--tpmstate", f"dir={state}"]
        tpm += ["--ctrl", f"type=unixio,path={control}", "--flags", "startup-clear"]
        process = subprocess.Popen(tpm)
        try:
            while not os.path.exists(control):
                time.sleep(0.1)
            line = shape.arguments(disk) + options.boot
            line += ["-chardev", f"socket,id=tpm,path={control}"]
            line += ["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]
            with Machine(options.qemu, line, options.firmware) as machine:
                return await_log(machine, shape, options.patience)
        finally:
            process.kill()
            process.wait()


def await_log(machine, shape, patience):
    for _ in range(patience):
        time.sleep(1)
        found = max(logs(low_memory(machine, shape)), key=len, default=[])
        if any(event.data == LAST_EVENT for event in found):
            return found
    raise SystemExit("the firmware did not start the kernel in time")


def sections(firmware):
    """TDX metadata: offset, bytes in the file, address, length, kind."""
    with open(firmware, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        at = data.find(b"TDVF")
        _, version, count = struct.unpack("<III", data[at + 4 : at + 16])
        if version != 1 or data.find(b"TDVF", at + 1) >= 0:
            raise SystemExit("the firmware has no single table of TDX metadata")
        at += 16
        return [struct.unpack("<IIQQII", data[at + 32 * i : at + 32 * i + 32]) for i in range(count)]


def configuration_volume(firmware):
    offset, length = next(one[:2] for one in sections(firmware) if one[4] == 1)
    with open(firmware, "rb") as file:
        file.seek(offset)
        return hashlib.sha384(file.read(length)).digest()


def td_hob(firmware, shape):
    """QEMU makes it for a real TD only: memory, and which parts of it the firmware has accepted."""
    found = sections(firmware)
    accepted = sorted(one[2:4] for one in found if one[4] in (2, 3))
    base = next(one[2] for one in found if one[4] == 2)
    pieces = []
    for start, end in shape.ranges:
        for address, length in accepted:
            if start <= address and address + length <= end:
                pieces += [(7, start, address - start), (0, address, length)]
                start = address + length
        pieces.append((7, start, end - start))
    pieces = [piece for piece in pieces if piece[2]]
    end = base + 56 + 48 * len(pieces) + 8
    data = struct.pack("<HHIII4QQ", 1, 56, 0, 9, 0, 0, 0, 0, 0, end)
    for kind, start, length in pieces:
        data += struct.pack("<HHI16xIIQQ", 3, 48, 0, kind, 7, start, length)
    return hashlib.sha384(data).digest()
