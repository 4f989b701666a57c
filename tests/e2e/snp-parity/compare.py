"""Compares `measure snp` with PyPI sev-snp-measure on generated launches.

usage: compare.py MEASURE FIRMWARE FIRMWARE_WITHOUT_HASHES

Kernels and initrds are made up: both programs only hash them. Exits with 1 at a difference.
"""

import json
import pathlib
import random
import subprocess
import sys
import tempfile

from sevsnpmeasure import guest, vcpu_types, vmm_types

LAUNCHES = 64
MODELS = ["EPYC", "EPYC-v4", "EPYC-Rome-v2", "EPYC-Milan", "EPYC-Milan-v2", "EPYC-Genoa", "EPYC-Genoa-v1"]
COMMAND_LINES = ["", " ", "console=ttyS0", "a b  c ", "quiet cocoon.root=sha256:4096:1:1:00:00 ä"]


def launches(folder):
    """The same launches in every run: none of the values matters, their combinations do."""
    chance = random.Random(20261126)
    for number in range(LAUNCHES):
        launch = {
            "vcpus": chance.choice([1, 2, 3, 8, 33, 64, 128]),
            "model": chance.choice(MODELS),
            "features": chance.choice([0x0, 0x1, 0x21, 0x3FFF]),
            "kernel": None,
            "initrd": None,
            "cmdline": "",
        }
        # One launch in eight is of the firmware alone.
        if number % 8:
            for part in ("kernel", "initrd"):
                path = folder / f"{part}-{number}"
                path.write_bytes(chance.randbytes(chance.choice([0, 1, 4095, 4096, 70000])))
                launch[part] = str(path)
            launch["cmdline"] = chance.choice(COMMAND_LINES)
        yield launch


def theirs(firmware, launch):
    return guest.snp_calc_launch_digest(
        launch["vcpus"],
        vcpu_types.CPU_SIGS[launch["model"]],
        firmware,
        launch["kernel"],
        launch["initrd"],
        launch["cmdline"],
        launch["features"],
        "",
        vmm_type=vmm_types.VMMType.QEMU,
    ).hex()


def ours(program, firmware, launch):
    command = [program, "snp", "--firmware", firmware, "--vcpus", str(launch["vcpus"])]
    command += ["--vcpu-type", launch["model"], "--guest-features", hex(launch["features"])]
    if launch["kernel"] is not None:
        command += ["--kernel", launch["kernel"], "--initrd", launch["initrd"]]
        command += ["--cmdline", launch["cmdline"]]
    return subprocess.run(command, capture_output=True, text=True)


def main():
    program, firmware, without_hashes = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        equal = 0
        for launch in launches(pathlib.Path(name)):
            expected = theirs(firmware, launch)
            run = ours(program, firmware, launch)
            found = json.loads(run.stdout)["launch_digest"] if run.returncode == 0 else run.stderr
            if found != expected:
                sys.exit(f"{launch}: {found} != {expected}")
            equal += 1
        # Firmware that cannot verify a kernel: both refuse, and say what is missing.
        try:
            theirs(without_hashes, launch)
            sys.exit("sev-snp-measure takes firmware without a table of kernel hashes")
        except RuntimeError as error:
            refusal = str(error)
        run = ours(program, without_hashes, launch)
        if run.returncode != 2 or run.stdout or "SNP kernel hashes" not in run.stderr:
            sys.exit(f"expected a refusal like {refusal!r}: {run}")
        alone = dict(launch, kernel=None, initrd=None, cmdline="")
        run = ours(program, without_hashes, alone)
        if json.loads(run.stdout)["launch_digest"] != theirs(without_hashes, alone):
            sys.exit(f"the same firmware alone differs: {run}")
        run = ours(program, firmware, dict(launch, model="Opteron_G5"))
        if run.returncode != 2 or "unknown vCPU model" not in run.stderr:
            sys.exit(f"expected a refusal: {run}")
    print(f"{equal} of {LAUNCHES} launch digests are equal; both refuse firmware without kernel hashes")


if __name__ == "__main__":
    main()
