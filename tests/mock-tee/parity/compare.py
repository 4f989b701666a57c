"""Compares mock-tee's SEV-SNP measurement (crate sev) with PyPI sev-snp-measure.

usage: compare.py MOCK_TEE FIRMWARE

FIRMWARE is an unpacked OVMF.fd with a table of kernel hashes. Kernel and initrd are made up here:
both tools only hash them. Exits with 1 at the first difference.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from sevsnpmeasure import guest, vcpu_types, vmm_types

CASES = [
    (vcpus, model, features, command_line)
    for vcpus in (1, 2, 8)
    for model in ("EPYC-v4", "EPYC-Genoa", "EPYC-Milan")
    for features in (0x1, 0x21)
    for command_line in ("", "console=ttyS0 cocoon.root=sha256:4096:1:1:00:00")
]


def by_mock_tee(program, record, folder):
    path = folder / "launch.json"
    path.write_text(json.dumps(record))
    run = [program, "measure", "--tee", "sev-snp", "--launch", path]
    lines = subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("measurement ")]
    return line.removeprefix("measurement ")


def main():
    program, firmware = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        kernel, initrd = folder / "kernel", folder / "initrd"
        kernel.write_bytes(b"kernel" * 1000)
        initrd.write_bytes(b"initrd" * 1000)
        for vcpus, model, features, command_line in CASES:
            expected = guest.snp_calc_launch_digest(
                vcpus,
                vcpu_types.CPU_SIGS[model],
                firmware,
                str(kernel),
                str(initrd),
                command_line,
                features,
                "",
                vmm_type=vmm_types.VMMType.QEMU,
            ).hex()
            record = {
                "pid": None,
                "shape": {
                    "vcpus": vcpus,
                    "memory_mib": 2048,
                    "vcpu_type": model,
                    "guest_features": features,
                },
                "host_data": "00" * 32,
                "artifacts": {
                    "firmware": firmware,
                    "kernel": str(kernel),
                    "initrd": str(initrd),
                    "cmdline": command_line,
                },
            }
            found = by_mock_tee(program, record, folder)
            if found != expected:
                sys.exit(f"{vcpus} x {model}, {features:#x}, {command_line!r}: {found} != {expected}")
    print(f"{len(CASES)} of {len(CASES)} measurements are equal")


if __name__ == "__main__":
    main()
