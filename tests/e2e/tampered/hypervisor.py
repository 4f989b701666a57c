"""What a hostile host starts in QEMU's place: QEMU itself, with one thing changed behind the host
agent's back. What is changed is a copy in DIRECTORY; nothing of the image or the model is touched.

usage: hypervisor.py QEMU DIRECTORY LIE ARGUMENTS...
"""

import os
import shutil
import struct
import sys


class Machine:
    """QEMU's arguments, and the place for changed copies."""

    def __init__(self, directory, arguments):
        self.directory = directory
        self.arguments = arguments

    def place(self, option):
        """Where the value of an option stands."""
        return self.arguments.index(option) + 1

    def drive(self, serial):
        """Where the drive with that serial stands, and its file."""
        for at, argument in enumerate(self.arguments):
            if argument.startswith(f"if=none,id={serial},"):
                return at, argument.split(",file=", 1)[1].replace(",,", ",")
        sys.exit(f"no drive {serial}")

    def copy(self, original, name):
        """A copy that may be changed."""
        path = os.path.join(self.directory, name)
        shutil.copyfile(original, path)
        return path

    def put(self, serial, path):
        """Gives a drive another file."""
        at, _ = self.drive(serial)
        head = self.arguments[at].split(",file=", 1)[0]
        self.arguments[at] = f"{head},file={path}"

    def changed_drive(self, serial, change):
        """Gives a drive a copy of its file that `change` has been at."""
        path = self.copy(self.drive(serial)[1], f"{serial}.img")
        change(path)
        self.put(serial, path)

    def changed_file(self, option, change):
        """Gives an option a copy of its file that `change` has been at."""
        path = self.copy(self.arguments[self.place(option)], option.strip("-"))
        change(path)
        self.arguments[self.place(option)] = path

    def configured(self, document):
        """A launch configuration's disk with another document."""
        path = os.path.join(self.directory, "launch-config.img")
        bytes_ = struct.pack("<I", len(document)) + document
        with open(path, "wb") as file:
            file.write(bytes_ + bytes(-len(bytes_) % 512))
        self.put("launch-config", path)


def flip(path, at):
    """Changes the lowest bit of one byte."""
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def append(path, tail):
    """Appends bytes."""
    with open(path, "ab") as file:
        file.write(tail)


def root_byte(machine):
    machine.changed_drive("root", lambda path: flip(path, 2 << 20))


def model_byte(machine):
    machine.changed_drive("model-0", lambda path: flip(path, os.path.getsize(path) // 2))


def short_root(machine):
    machine.changed_drive("root", lambda path: os.truncate(path, 2 << 20))


def swapped_disks(machine):
    root, model = machine.drive("root")[1], machine.drive("model-0")[1]
    machine.put("root", model)
    machine.put("model-0", root)


def other_model(machine):
    machine.put("model-0", os.path.join(machine.directory, "other-model.img"))


def other_configuration(machine):
    with open(os.path.join(machine.directory, "other-config.json"), "rb") as file:
        machine.configured(file.read())


def other_price(machine):
    with open(machine.drive("launch-config")[1], "rb") as file:
        (length,) = struct.unpack("<I", file.read(4))
        document = file.read(length)
    changed = document.replace(b'"completion":160', b'"completion":161')
    if changed == document:
        sys.exit("the launch configuration has no such price")
    machine.configured(changed)


def second_root(machine):
    machine.arguments += ["-drive", f"if=none,id=more,format=raw,readonly=on,"
                          f"file={machine.drive('root')[1]}",
                          "-device", "virtio-blk-pci,drive=more,serial=root,disable-legacy=on"]


def two_faced_root(machine):
    machine.put("root", f"nbd+unix:///?socket={machine.directory}/disk.sock")


def command_line(machine):
    machine.arguments[machine.place("-append")] += " debug"


def second_initrd(machine):
    name, content = b"added\0", b"by the host\n"
    entry = b"070701" + b"".join(b"%08X" % field for field in (
        1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)) + name
    end = b"070701" + b"".join(b"%08X" % field for field in (
        0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0)) + b"TRAILER!!!\0"

    def padded(part):
        return part + bytes(-len(part) % 4)

    def concatenate(path):
        append(path, bytes(-os.path.getsize(path) % 4))
        append(path, padded(entry) + padded(content) + padded(end))

    machine.changed_file("-initrd", concatenate)


def kernel(machine):
    def rename(path):
        """One letter of the version that the kernel's setup header names (boot protocol, 0x20e)."""
        with open(path, "rb") as file:
            file.seek(0x20E)
            (version,) = struct.unpack("<H", file.read(2))
        flip(path, 0x200 + version)

    machine.changed_file("-kernel", rename)


def firmware(machine):
    # Free space of the variable store, which the machine never looks at.
    machine.changed_file("-bios", lambda path: flip(path, 0x30000))


def vcpus(machine):
    machine.arguments[machine.place("-smp")] = "3"


def model_copy(machine):
    """Nothing is changed yet: the disk is a copy that may be changed later."""
    machine.changed_drive("model-0", lambda path: None)


LIES = {lie.__name__.replace("_", "-"): lie for lie in (
    root_byte, model_byte, short_root, swapped_disks, other_model, other_configuration, other_price,
    second_root, two_faced_root, command_line, second_initrd, kernel, firmware, vcpus, model_copy)}


def main():
    qemu, directory, lie, *arguments = sys.argv[1:]
    machine = Machine(directory, arguments)
    LIES[lie](machine)
    os.execv(qemu, [qemu] + machine.arguments)


main()
