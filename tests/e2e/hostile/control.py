"""Boots a stock kernel with the hostile table, and shows that the table reads the guest's memory.

Once its bytecode has written the beginning of a page to the port, the machine is stopped and the
same memory is read from outside. usage: control.py WORK COMMAND...
"""

import json
import os
import socket
import subprocess
import sys
import time

WORK, COMMAND = sys.argv[1], sys.argv[2:]
PORT, QMP, MEMORY = (f"{WORK}/{name}" for name in ("control.port", "control.qmp", "control.memory"))
MARKS = (b"loaded:\0", b"begun:\0")
LENGTH = 64
SECONDS = 300


def written():
    try:
        return open(PORT, "rb").read()
    except FileNotFoundError:
        return b""


def after(mark):
    """What the bytecode wrote behind that mark, if all of it is there."""
    found = written()
    at = found.find(mark)
    read = found[at + len(mark) : at + len(mark) + LENGTH]
    return read if at >= 0 and len(read) == LENGTH else None


def memory():
    monitor = socket.socket(socket.AF_UNIX)
    monitor.connect(QMP)
    lines = monitor.makefile("rw")
    page = {"val": 0x01000000, "size": LENGTH, "filename": MEMORY}
    for name, arguments in (("qmp_capabilities", {}), ("stop", {}), ("pmemsave", page)):
        lines.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        lines.flush()
        while "return" not in (answer := json.loads(lines.readline())):
            if "error" in answer:
                sys.exit(f"{name}: {answer}")
    return open(MEMORY, "rb").read()


machine = subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL)
try:
    until = time.monotonic() + SECONDS
    while any(after(mark) is None for mark in MARKS):
        if machine.poll() is not None or time.monotonic() > until:
            sys.exit(f"the bytecode did not act; the port has {written()!r}")
        time.sleep(0.2)
    held = memory()
finally:
    machine.kill()
    machine.wait()
for mark in MARKS:
    if after(mark) != held or not held.strip(b"\0"):
        sys.exit(f"{mark!r} {after(mark)!r} is not what memory holds: {held!r}")
print(f"the bytecode wrote {LENGTH} bytes of the stock kernel's code to the host's port")
