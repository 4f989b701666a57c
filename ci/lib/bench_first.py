"""Time to first token of a new prompt beside answers that are being written: llama.cpp's own
server, as `engine-bench --first` measures ours.

The same text arrives at both. Ours is asked through the engine's socket, llama.cpp through its
server's HTTP on the loopback interface, which costs it less than a millisecond a request; neither
may keep a prompt of before. Times are taken where the asking is done."""

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

# As in guest/engine/src/bench/first.rs.
WORDS = [" the", " of", " and", " to", " in", " is", " it", " on"]
BESIDE_WORDS = 16
BETWEEN = 8
# Tokens that an answer beside may have more than it needs: what asks may be slow to hear.
SPARE = 512
# How long a server may take to load its model, or to say anything.
PATIENCE = 120


def ordinary() -> list[str]:
    """Real-time threads of one priority do not make way for each other: what is sent would wait for
    what computes. So such runs go back to ordinary scheduling, before everything else's."""
    if os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
        return ["chrt", "-o", "0", "nice", "-n", "-20"]
    return []


def text(number: int, words: int) -> str:
    """Begins with another word each time."""
    return "".join(WORDS[(number + at) % len(WORDS)] for at in range(words))


class Answer(threading.Thread):
    """One streamed answer; when its pieces came."""

    def __init__(self, port: int, prompt: str, tokens: int):
        super().__init__(daemon=True)
        self.asked = time.monotonic()
        self.pieces: list[float] = []
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        request = {
            "prompt": prompt, "n_predict": tokens, "stream": True, "ignore_eos": True,
            "temperature": 0, "top_k": 1, "cache_prompt": False,
        }
        self.connection.request(
            "POST", "/completion", json.dumps(request), {"content-type": "application/json"}
        )
        self.prompt_tokens = 0
        self.start()

    def run(self) -> None:
        try:
            with self.connection.getresponse() as response:
                while line := response.readline():
                    if not line.startswith(b"data: "):
                        continue
                    self.pieces.append(time.monotonic())
                    # The last piece says what the prompt was.
                    if b'"stop":true' in line:
                        self.prompt_tokens = json.loads(line[6:])["tokens_evaluated"]
                        return
        except (OSError, http.client.HTTPException):
            pass  # the server was ended

    def until(self, pieces: int) -> None:
        end = time.monotonic() + PATIENCE
        while len(self.pieces) < pieces:
            if not self.is_alive() or time.monotonic() > end:
                sys.exit("error: llama-server's answer ended early")
            time.sleep(0.002)


class Server:
    """llama-server on a free port, with a place for each answer."""

    def __init__(self, program: str, model: str, threads: str, places: int, context: int):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.child = subprocess.Popen(
            [
                *ordinary(), program, "-m", model, "-t", threads, "-tb", threads,
                "-np", str(places), "-c", str(places * context), "--no-kv-unified",
                "--host", "127.0.0.1", "--port", str(self.port), "--offline",
                "--cache-ram", "0", "--ctx-checkpoints", "0", "-sps", "0",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> "Server":
        end = time.monotonic() + PATIENCE
        while not self.healthy():
            if self.child.poll() is not None or time.monotonic() > end:
                self.child.kill()
                sys.exit("error: llama-server does not get ready")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.wait()

    def healthy(self) -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False


def stall(beside: list[Answer], begin: float, end: float) -> float:
    """The longest time of the wait in which none of the answers beside it got a token."""
    pieces = sorted(at for answer in beside for at in list(answer.pieces) if begin < at < end)
    return max(b - a for a, b in zip([begin, *pieces], [*pieces, end]))


def of_peer(program: str, model: str, threads: str, prompt: int, beside: int, tries: int) -> list:
    """As `engine-bench --first` says it, of llama-server."""
    tokens = SPARE + (2 * BETWEEN + prompt // 4) * tries
    found = []
    with Server(program, model, threads, beside + 1, tokens + prompt + BESIDE_WORDS) as server:
        written = [Answer(server.port, text(at, BESIDE_WORDS), tokens) for at in range(beside)]
        for number in range(beside, beside + tries):
            for answer in written:
                answer.until(len(answer.pieces) + BETWEEN)
            new = Answer(server.port, text(number, prompt), 1)
            new.join(PATIENCE)
            if not new.prompt_tokens:
                sys.exit("error: llama-server does not answer")
            found.append({
                "prompt_tokens": new.prompt_tokens,
                "first_s": new.pieces[0] - new.asked,
                "stall_s": stall(written, new.asked, new.pieces[0]),
            })
    return found


def median_of(found: list, name: str, prompt: int) -> float:
    """The median of the tries; both must have had the prompt that was meant."""
    for one in found:
        if abs(one["prompt_tokens"] - prompt) > 1:
            sys.exit(f"error: a prompt of {one['prompt_tokens']} tokens instead of {prompt}")
    return statistics.median(one[name] for one in found)
