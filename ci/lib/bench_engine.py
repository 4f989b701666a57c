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

import bench_first


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
# New prompts that arrive beside answers that are being written, in each run; and these answers.
FIRST_PROMPTS = (128, 512)
BESIDE = 8
TRIES = 3
# What decode reads of the memory's bandwidth is said of this row.
ROOF_ROW = "decode, 1 stream"


@dataclass
class Line:
    name: str
    # None: nothing is asked.
    least: float | None
    aim: float | None
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    # Smaller is better: memory and time.
    cost: bool = False

    def ratio(self) -> float:
        return statistics.median(a / b for a, b in zip(self.ours, self.peer))

    def met(self) -> str:
        if self.least is None or self.aim is None:
            return ""
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

    def first(self, prompt: int) -> dict[str, tuple[float, float]]:
        """How long a new prompt waits for its first token beside others, and they for theirs."""
        asked = ["--first", str(prompt), "--batch", str(BESIDE), "--tries", str(TRIES)]
        fixed = ["--model", self.model, "--threads", self.threads]
        ours = json.loads(run([*bench_first.ordinary(), self.options.engine, *fixed, *asked]).out)
        server = os.path.join(self.options.peer, "llama-server")
        peer = bench_first.of_peer(server, self.model, self.threads, prompt, BESIDE, TRIES)
        return {
            name: tuple(bench_first.median_of(found, name, prompt) for found in (ours, peer))
            for name in ("first_s", "stall_s")
        }

    def costs(self, load: Line, memory: Line) -> None:
        """From start to the first token, and memory after 512 tokens of prompt."""
        one = self.ours(["--prompt", "1", "--generate", "1"])
        other = self.peer("llama-bench", ["-p", "0", "-n", "1", "--no-warmup"])
        load.ours.append(one.seconds)
        load.peer.append(other.seconds)
        memory.ours.append(self.ours(["--prompt", "512", "--generate", "1"]).resident)
        memory.peer.append(self.peer("llama-bench", ["-p", "512", "-n", "1"]).resident)


def first_lines() -> dict[int, tuple[Line, Line]]:
    """1.3 times better, and twice, as parts of the peer's time; of the wait of the others nothing
    is asked."""
    return {
        prompt: (
            Line(f"first token of {prompt}, load {BESIDE}, s", 0.77, 0.5, cost=True),
            Line("  longest wait beside it, s", None, None, cost=True),
        )
        for prompt in FIRST_PROMPTS
    }


def measure(options: argparse.Namespace, name: str, model: str) -> dict:
    bench = Bench(options, model)
    wanted = lambda row: options.rows in row
    cases = [case for case in CASES if wanted(case.name)]
    lines = []
    for case in cases:
        more = name == "Q4_1" and case.name.startswith("prefill")
        lines.append(Line(case.name, LEAST_Q4_1_PREFILL if more else case.least, case.aim))
    firsts = {prompt: rows for prompt, rows in first_lines().items() if wanted(rows[0].name)}
    load = Line("start to first token, s", 1.0, 0.5, cost=True)
    memory = Line("resident memory, MB", 1.0, 0.9, cost=True)
    costs = [load, memory] if wanted(load.name) or wanted(memory.name) else []
    roofs = []
    for number in range(options.pairs):
        print(f"{name}: pair {number + 1} of {options.pairs}", file=sys.stderr)
        for case, line in zip(cases, lines):
            ours, peer = bench.pair(case)
            line.ours.append(ours)
            line.peer.append(peer)
        for prompt, rows in firsts.items():
            for line, (ours, peer) in zip(rows, bench.first(prompt).values()):
                line.ours.append(ours)
                line.peer.append(peer)
        if costs:
            bench.costs(load, memory)
        roof = run([options.engine, "--roof", "--threads", str(options.threads)])
        roofs.append(json.loads(roof.out)["bytes_per_s"])
    memory.ours = [bytes / 1e6 for bytes in memory.ours]
    memory.peer = [bytes / 1e6 for bytes in memory.peer]
    roof = statistics.median(roofs)
    decoded = [statistics.median(line.ours) for line in lines if line.name == ROOF_ROW]
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
            for line in [*lines, *(row for rows in firsts.values() for row in rows), *costs]
        ],
        "roof_bytes_per_s": roof,
        # A step reads the whole file but the vocabulary's names: the head is the embedding.
        "share_of_roof": decoded[0] * os.path.getsize(model) / roof if decoded else None,
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


def asked(bound: float | None) -> str:
    return "" if bound is None else f"{bound:.2f}"


def show(document: dict) -> None:
    before = document["machine"]
    print(
        f"{before['processors']} x {before['processor']} ({' '.join(before['sets'])}), "
        f"{document['threads']} threads, load {before['load'][0]} before and "
        f"{document['load_after']} after, medians of {document['pairs']} pairs"
    )
    for model in document["models"]:
        print(f"\n{model['model']}: tokens/s            ours   llama.cpp   ratio  at least   aim")
        for line in model["lines"]:
            print(
                f"  {line['case']:<30}{line['ours']:8.2f}{line['peer']:12.2f}"
                f"{line['ratio']:8.2f}{asked(line['least']):>9}{asked(line['aim']):>7}"
                f"  {line['met']}"
            )
        if model["share_of_roof"] is None:
            continue
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
    parser.add_argument("--rows", default="", help="only rows whose name has this in it")
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
