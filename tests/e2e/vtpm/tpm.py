"""A software TPM for one boot, read from the host's side: the guest needs no driver for it.

Starts swtpm, stands between it and QEMU (-tpmdev emulator) for as long as the machine runs, keeps
every TPM2_PCR_Extend that passes by, and reads the registers itself when the machine has ended.
Prints one JSON object: banks, each with its registers, and the extends in their order.

usage: tpm.py SWTPM DIRECTORY    (QEMU connects to DIRECTORY/tpm.sock)

Messages of the control channel: swtpm's documentation, swtpm_ioctls(3); of the TPM: TCG, TPM 2.0
Library part 3, numbers big-endian.
"""

import json
import os
import selectors
import socket
import struct
import subprocess
import sys

SHUTDOWN, SET_DATA_FD = 3, 16
PCR_EXTEND, PCR_READ = 0x182, 0x17E
BANKS = {0x0B: ("sha256", 32), 0x0C: ("sha384", 48)}
DIGEST_BYTES = {0x04: 20, 0x0B: 32, 0x0C: 48, 0x0D: 64}
REGISTERS = range(24)
LARGEST = 8192


def start(swtpm, directory):
    """swtpm's process and our ends of its control and data channels."""
    control, theirs = socket.socketpair()
    process = subprocess.Popen(
        [swtpm, "socket", "--tpm2", "--tpmstate", f"dir={directory}"]
        + ["--ctrl", f"type=unixio,clientfd={theirs.fileno()}"],
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    data, theirs = socket.socketpair()
    socket.send_fds(control, [struct.pack(">I", SET_DATA_FD)], [theirs.fileno()])
    theirs.close()
    if control.recv(4) != bytes(4):
        sys.exit("swtpm takes no data channel")
    return process, control, data


def read_whole(data, first):
    """A whole command or answer of the TPM: its length stands behind the tag."""
    message = first
    while len(message) < 6 or len(message) < struct.unpack_from(">I", message, 2)[0]:
        more = data.recv(LARGEST)
        if not more:
            sys.exit("the TPM's channel ended within a message")
        message += more
    return message


def extend_of(command):
    """The register and digests of a TPM2_PCR_Extend, None for any other command."""
    if struct.unpack_from(">I", command, 6)[0] != PCR_EXTEND:
        return None
    register, authorisation = struct.unpack_from(">II", command, 10)
    at = 18 + authorisation
    (count,) = struct.unpack_from(">I", command, at)
    at += 4
    extend = {"pcr": register}
    for _ in range(count):
        (algorithm,) = struct.unpack_from(">H", command, at)
        length = DIGEST_BYTES[algorithm]
        if algorithm in BANKS:
            extend[BANKS[algorithm][0]] = command[at + 2 : at + 2 + length].hex()
        at += 2 + length
    return extend


def pass_on(listener, control, data):
    """Relays between QEMU and swtpm until QEMU ends; returns the extends."""
    extends = []
    machine, _ = listener.accept()
    commands = None
    selector = selectors.DefaultSelector()
    selector.register(machine, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is commands:
                command = commands.recv(LARGEST)
                if not command:
                    selector.unregister(commands)
                    continue
                command = read_whole(commands, command)
                data.sendall(command)
                commands.sendall(read_whole(data, b""))
                extend = extend_of(command)
                if extend:
                    extends.append(extend)
                continue
            request, descriptors, _, _ = socket.recv_fds(machine, LARGEST, 1)
            if not request:
                return extends
            kind = struct.unpack_from(">I", request)[0]
            if kind == SET_DATA_FD:
                commands = socket.socket(fileno=descriptors[0])
                selector.register(commands, selectors.EVENT_READ)
                machine.sendall(bytes(4))
            elif kind == SHUTDOWN:
                # The machine ends, its TPM is still to be read.
                machine.sendall(bytes(4))
            else:
                control.sendall(request)
                machine.sendall(control.recv(LARGEST))


def read_register(data, algorithm, register):
    """TPM2_PCR_Read of one register of one bank."""
    bitmap = (1 << register).to_bytes(3, "little")
    selection = struct.pack(">IHB", 1, algorithm, 3) + bitmap
    data.sendall(struct.pack(">HII", 0x8001, 10 + len(selection), PCR_READ) + selection)
    answer = read_whole(data, b"")
    code = struct.unpack_from(">I", answer, 6)[0]
    length = BANKS[algorithm][1]
    if code or len(answer) != 10 + 4 + len(selection) + 4 + 2 + length:
        sys.exit(f"register {register} cannot be read: code {code:#x}, {len(answer)} bytes")
    return answer[-length:].hex()


def main():
    """One boot."""
    swtpm, directory = sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX)
    process, control, data = start(swtpm, directory)
    try:
        # The name appears when all is ready: whoever waits for it can start the machine.
        listener.bind(os.path.join(directory, "tpm.sock.part"))
        listener.listen(1)
        os.rename(f"{directory}/tpm.sock.part", f"{directory}/tpm.sock")
        extends = pass_on(listener, control, data)
        banks = {
            name: {register: read_register(data, algorithm, register) for register in REGISTERS}
            for algorithm, (name, _) in BANKS.items()
        }
        json.dump({"banks": banks, "extends": extends}, sys.stdout)
    finally:
        process.kill()
        process.wait()


main()
