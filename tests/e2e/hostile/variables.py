"""Adds variables to a copy of the firmware's file, as a host that owns the flash memory can.

usage: variables.py FIRMWARE OUT
"""

import struct
import sys
import uuid

STORE_HEADER = 28
SYSTEMD_STUB = uuid.UUID("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
MEMORY_OVERWRITE = uuid.UUID("e20939be-32d4-41be-a150-897f85d49829")
COMMAND_LINE = "init=/bin/sh cocoon.debug=1 lockdown=none".encode("utf-16-le") + b"\0\0"
VARIABLES = [
    (SYSTEMD_STUB, "LoaderEntryOneShot", "debug.conf".encode("utf-16-le") + b"\0\0"),
    (SYSTEMD_STUB, "KernelCommandLine", COMMAND_LINE),
    (GLOBAL, "OsIndications", b"\x01\0\0\0\0\0\0\0"),
    (MEMORY_OVERWRITE, "MemoryOverwriteRequestControl", b"\x11"),
]


def variable(vendor, name, data):
    """One entry of an authenticated variable store (edk2, VariableFormat.h)."""
    name = name.encode("utf-16-le") + b"\0\0"
    head = struct.pack("<HBBIQ16xIII", 0x55AA, 0x3F, 0, 7, 0, 0, len(name), len(data))
    entry = head + vendor.bytes_le + name + data
    return entry + b"\xff" * (-len(entry) % 4)


def main(firmware, out):
    flash = bytearray(open(firmware, "rb").read())
    if flash[0x28:0x2C] != b"_FVH":
        sys.exit("the firmware does not begin with a volume of variables")
    at = struct.unpack_from("<H", flash, 0x30)[0] + STORE_HEADER
    entries = b"".join(variable(*each) for each in VARIABLES)
    if flash[at : at + len(entries)].strip(b"\xff"):
        sys.exit("the volume of variables is not empty")
    flash[at : at + len(entries)] = entries
    open(out, "wb").write(flash)


main(*sys.argv[1:])
