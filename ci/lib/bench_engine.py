"""The table of `ci/bench engine`: our engine beside llama.cpp, run after run in turn on the same
files with the same threads; medians of both, and of the ratios of neighbouring runs.

What is asked of each case stands in CASES: at least, and aimed at."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    name: str
    least: float
    aim: float
    ours: list[str]
    peer: list[str]
    # Which figure of our document; and the peer's program.
    figure: str
    program: str = "llama-bench"
    batch: int = 1


def cold(tokens: int) -> list[str]:
    """Long runs need no run before them to be warm."""
    return ["--no-warmup"] if tokens > 1000 else []


def decode(depth: int, tokens: int, least: float, aim: float) -> Case:
    deep = f", depth {depth}" if depth else ""
    return Case(
        f"decode, 1 stream{deep}", least, aim,
        ["--prompt", "0", "--depth", str(depth), "--generate", str(tokens)],
        ["-p", "0", "-n", str(tokens), "-d", str(depth), *cold(depth)],
        "decode_tokens_per_s",
    )


def prefill(tokens: int, least: float, aim: float) -> Case:
    return Case(
        f"prefill {tokens}", least, aim,
        ["--prompt", str(tokens), "--generate", "0"],
        ["-p", str(tokens), "-n", "0", *cold(tokens)],
        "prefill_tokens_per_s",
    )


def streams(batch: int, tokens: int, least: float, aim: float) -> Case:
    return Case(
        f"decode, {batch} streams", least, aim,
        ["--prompt", "16", "--generate", str(tokens), "--batch", str(batch)],
        ["-npp", "16", "-ntg", str(tokens), "-npl", str(batch), "-c", str(batch * (tokens + 32))],
        "decode_tokens_per_s", "llama-batched-bench", batch,
    )


CASES = [
    prefill(512, 1.15, 2.0),
    prefill(2048, 1.15, 2.0),
    decode(0, 64, 1.15, 1.6),
    decode(4096, 16, 1.3, 2.0),
    streams(8, 32, 1.5, 2.5),
    streams(32, 16, 1.5, 2.5),
]
# Of Q4_1 more is asked in prefill.
LEAST_Q4_1_PREFILL = 2.0


@dataclass
class Line:
    name: str
    least: float
    aim: float
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    # Smaller is better: memory and time.
    cost: bool = False

    def ratio(self) -> float:
        return statistics.median(a / b for a, b in zip(self.ours, self.peer))

    def met(self) -> str:
        ratio = self.ratio()
        reaches = (lambda bound: ratio <= bound) if self.cost else (lambda bound: ratio >= bound)
        return "aim" if reaches(self.aim) else "met" if reaches(self.least) else "MISSED"


@dataclass(frozen=True)
class Run:
    out: str
    seconds: float
    resident: int


def run(command: list[str]) -> Run:
    """Runs a program to its end; its output, time, and greatest memory."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"error: {command[0]} ended with status {status}")
    return Run(out, time.monotonic() - began, usage.ru_maxrss * 1024)


class Bench:
    def __init__(self, options: argparse.Namespace, model: str):
        self.options = options
        self.model = model
        self.threads = str(options.threads)

    def ours(self, arguments: list[str]) -> Run:
        fixed = ["--model", self.model, "--threads", self.threads, "--json"]
        return run([self.options.engine, *fixed, *arguments])

    def peer(self, program: str, arguments: list[str]) -> Run:
        path = os.path.join(self.options.peer, program)
        if program == "llama-bench":
            arguments = ["-r", "1", "-o", "json", *arguments]
        else:
            arguments = ["--output-format", "jsonl", *arguments]
        return run([path, "-m", self.model, "-t", self.threads, *arguments])

    def pair(self, case: Case) -> tuple[float, float]:
        ours = json.loads(self.ours(case.ours).out)[case.figure]
        out = self.peer(case.program, case.peer).out
        if case.program == "llama-bench":
            return ours, json.loads(out)[0]["avg_ts"]
        found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return ours, found[-1]["speed_tg"]

    def costs(self, load: Line, memory: Line) -> None:
        """From start to the first token, and memory after 512 tokens of prompt."""
        one = self.ours(["--prompt", "1", "--generate", "1"])
        other = self.peer("llama-bench", ["-p", "0", "-n", "1", "--no-warmup"])
        load.ours.append(one.seconds)
        load.peer.append(other.seconds)
        memory.ours.append(self.ours(["--prompt", "512", "--generate", "1"]).resident)
        memory.peer.append(self.peer("llama-bench", ["-p", "512", "-n", "1"]).resident)


def measure(options: argparse.Namespace, name: str, model: str) -> dict:
    bench = Bench(options, model)
    lines = []
    for case in CASES:
        more = name == "Q4_1" and case.name.startswith("prefill")
        lines.append(Line(case.name, LEAST_Q4_1_PREFILL if more else case.least, case.aim))
    load = Line("start to first token, s", 1.0, 0.5, cost=True)
    memory = Line("resident memory, MB", 1.0, 0.9, cost=True)
    roofs = []
    for number in range(options.pairs):
        print(f"{name}: pair {number + 1} of {options.pairs}", file=sys.stderr)
        for case, line in zip(CASES, lines):
            ours, peer = bench.pair(case)
            line.ours.append(ours)
            line.peer.append(peer)
        bench.costs(load, memory)
        roof = run([options.engine, "--roof", "--threads", str(options.threads)])
        roofs.append(json.loads(roof.out)["bytes_per_s"])
    memory.ours = [bytes / 1e6 for bytes in memory.ours]
    memory.peer = [bytes / 1e6 for bytes in memory.peer]
    roof = statistics.median(roofs)
    decoded = statistics.median(lines[2].ours)
    return {
        "model": name,
        "lines": [
            {
                "case": line.name,
                "ours": statistics.median(line.ours),
                "peer": statistics.median(line.peer),
                "ratio": line.ratio(),
                "ratios": [a / b for a, b in zip(line.ours, line.peer)],
                "least": line.least,
                "aim": line.aim,
                "met": line.met(),
            }
            for line in [*lines, load, memory]
        ],
        "roof_bytes_per_s": roof,
        # A step reads the whole file but the vocabulary's names: the head is the embedding.
        "share_of_roof": decoded * os.path.getsize(model) / roof,
    }


def machine() -> dict:
    with open("/proc/cpuinfo", encoding="ascii") as file:
        text = file.read()
    values = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), value.strip())
    flags = values.get("flags", "").split()
    sets = ["avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "amx_int8"]
    return {
        "processor": values.get("model name", platform.machine()),
        "processors": os.cpu_count(),
        "sets": [name for name in sets if name in flags],
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def show(document: dict) -> None:
    before = document["machine"]
    print(
        f"{before['processors']} x {before['processor']} ({' '.join(before['sets'])}), "
        f"{document['threads']} threads, load {before['load'][0]} before and "
        f"{document['load_after']} after, medians of {document['pairs']} pairs"
    )
    for model in document["models"]:
        print(f"\n{model['model']}: tokens/s        ours   llama.cpp   ratio  at least   aim")
        for line in model["lines"]:
            print(
                f"  {line['case']:<26}{line['ours']:8.2f}{line['peer']:12.2f}"
                f"{line['ratio']:8.2f}{line['least']:9.2f}{line['aim']:7.2f}  {line['met']}"
            )
        print(
            f"  decode reads {model['share_of_roof']:.0%} of the "
            f"{model['roof_bytes_per_s'] / 1e9:.1f} GB/s that the threads read in this run"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("models", nargs="+", metavar="NAME=FILE")
    options = parser.parse_args()
    document = {"machine": machine(), "threads": options.threads, "pairs": options.pairs}
    models = [model.partition("=") for model in options.models]
    document["models"] = [measure(options, name, path) for name, _, path in models]
    document["load_after"] = round(os.getloadavg()[0], 1)
    if options.json:
        print(json.dumps(document))
    else:
        show(document)


main()
