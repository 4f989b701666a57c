"""The rows of `ci/bench two`: what two engines at once, each with as many threads as one alone, get
out of the machine, as a part of what one alone does; and the same of llama.cpp. Threads that wait
for each other by spinning would take the processors from those that compute."""

import argparse
import json
import os
import statistics
import subprocess
import sys

from bench_first import ordinary

# What is asked of us: two lose a fifth at most, for they read twice the weights.
LEAST = 0.8
STREAMS = 8
TOKENS = 96


def at_once(commands: list[list[str]]) -> list[str]:
    """What they print, all started before any is waited for."""
    children = [
        subprocess.Popen(
            [*ordinary(), *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for command in commands
    ]
    said = [child.communicate()[0] for child in children]
    for command, child in zip(commands, children):
        if child.returncode != 0:
            sys.exit(f"error: {command[0]} ended with status {child.returncode}")
    return said


def ours(options: argparse.Namespace, model: str) -> tuple[list[str], object]:
    command = [
        options.engine, "--model", model, "--threads", str(options.threads), "--prompt", "16",
        "--generate", str(TOKENS), "--batch", str(STREAMS), "--json",
    ]
    return command, lambda said: json.loads(said)["decode_tokens_per_s"]


def peers(options: argparse.Namespace, model: str) -> tuple[list[str], object]:
    command = [
        os.path.join(options.peer, "llama-batched-bench"), "-m", model,
        "-t", str(options.threads), "--output-format", "jsonl", "-npp", "16",
        "-ntg", str(TOKENS), "-npl", str(STREAMS), "-c", str(STREAMS * (TOKENS + 32)),
    ]

    def rate(said: str) -> float:
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return lines[-1]["speed_tg"]

    return command, rate


def measure(options: argparse.Namespace, name: str, model: str) -> dict:
    whose = {"ours": ours(options, model), "llama.cpp": peers(options, model)}
    found = {who: [] for who in whose}
    for number in range(options.pairs):
        print(f"{name}: round {number + 1} of {options.pairs}", file=sys.stderr)
        for who, (command, rate) in whose.items():
            alone = rate(at_once([command])[0])
            two = [rate(said) for said in at_once([command, command])]
            found[who].append({"alone": alone, "two": two, "ratio": sum(two) / alone})
    ratios = {
        who: statistics.median(one["ratio"] for one in rounds) for who, rounds in found.items()
    }
    return {"model": name, "rounds": found, "ratios": ratios, "least": LEAST}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("models", nargs="+", metavar="NAME=FILE")
    options = parser.parse_args()
    models = [model.partition("=") for model in options.models]
    documents = [measure(options, name, path) for name, _, path in models]
    if options.json:
        print(json.dumps(documents))
        return
    print(
        f"decode of {STREAMS} streams, {options.threads} threads, {os.cpu_count()} processors, "
        f"medians of {options.pairs}: tokens/s"
    )
    for document in documents:
        for who, rounds in document["rounds"].items():
            alone = statistics.median(one["alone"] for one in rounds)
            two = statistics.median(sum(one["two"]) for one in rounds)
            ratio = document["ratios"][who]
            met = "" if who != "ours" else "  met" if ratio >= LEAST else "  MISSED"
            print(
                f"  {document['model']:<8}{who:<10} alone {alone:8.1f}, two at once {two:8.1f}, "
                f"ratio {ratio:.2f}{f', at least {LEAST}{met}' if met else ''}"
            )


main()
