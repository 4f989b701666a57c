"""What the unmodified openai SDK gets from ci/stack, and what the stack leaves behind.

Usage: sdk_test.py CI_STACK. Prints a line for each claim, then `N passed, M failed`; exits 1 when
one failed. Deliberately not here: refusals of evidence and payment, which tests/e2e/refusals has.
"""

import concurrent.futures
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import openai

import memory
import vectors
from claims import check, refusal, require

MODEL = "smollm2-135m-instruct"
QUESTION = [
    {"role": "user", "content": "What is the capital of France? Answer in one sentence."}
]
# Tokens of QUESTION in the model's own chat template.
PROMPT_TOKENS = 42

# Building comes first, when nothing is built.
READY_SECONDS = 1800
STOP_SECONDS = 20


class Stack:
    """ci/stack in a session of its own, with a directory of its own for temporary files."""

    def __init__(self, program, temporary, arguments):
        self.temporary = temporary
        self.process = subprocess.Popen(
            [program, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": temporary},
            start_new_session=True,
        )
        self.session = self.process.pid
        self.address = None

    def wait_until_ready(self):
        """Until its line with the address."""
        signal.alarm(READY_SECONDS)
        for line in self.process.stdout:
            if line.startswith("ready "):
                signal.alarm(0)
                self.address = line.split()[1]
                return
        raise SystemExit(f"ci/stack ended before it was ready, status {self.process.wait()}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def processes(self):
        """Ids of the live processes that the stack started."""
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                # After the name in parentheses: state, parent, process group, session.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue  # it ended meanwhile
            mark = f"TMPDIR={self.temporary}".encode()
            inside = int(fields[3]) == self.session or mark in environment.split(b"\0")
            if inside and fields[0] != "Z":
                found.append(int(folder.name))
        return found

    def program(self, name):
        """The process that runs this program."""
        named = [
            process
            for process in self.processes()
            if pathlib.Path(f"/proc/{process}/comm").read_text().strip() == name
        ]
        require(len(named) == 1, f"{len(named)} processes are called {name}")
        return named[0]

    def end(self):
        """Ends whatever is left, also after a failure."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        for process in self.processes():
            os.kill(process, signal.SIGKILL)


def connect(address):
    return openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=120)


def ask(client, **changes):
    request = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 16}
    return client.chat.completions.create(**{**request, **changes})


def streamed(client):
    """The text of a streamed answer, how many pieces it came in, and its usage."""
    pieces, usage = [], None
    for chunk in ask(client, stream=True, stream_options={"include_usage": True}):
        if chunk.choices and chunk.choices[0].delta.content:
            pieces.append(chunk.choices[0].delta.content)
        usage = chunk.usage or usage
    return "".join(pieces), len(pieces), usage


def lists_its_model(client):
    found = [model.id for model in client.models.list()]
    require(found == [MODEL], found)


def streams_an_answer(client):
    text, pieces, usage = streamed(client)
    require("Paris" in text, f"{len(text)} characters without the word")
    require(pieces > 1, f"{pieces} pieces")
    require(usage is not None and usage.prompt_tokens == PROMPT_TOKENS, usage)


def gives_a_whole_answer_with_its_usage(client):
    answer = ask(client)
    require("Paris" in answer.choices[0].message.content, "the word is not in the answer")
    usage = answer.usage
    require(usage.prompt_tokens == PROMPT_TOKENS, usage)
    require(1 <= usage.completion_tokens <= 16, usage)
    require(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage)


def says_that_a_model_is_not_there(client):
    error = refusal(openai.NotFoundError, lambda: ask(client, model="another"))
    require(error.code == "model_not_found", error.code)


def names_the_member_that_it_does_not_take(client):
    error = refusal(openai.BadRequestError, lambda: ask(client, user="somebody"))
    require(error.code == "unsupported-member", error.code)
    require(error.param == "user", error.param)


def refuses_to_shift_a_token_that_the_model_does_not_have(client):
    error = refusal(openai.BadRequestError, lambda: ask(client, logit_bias={"4000000000": 1}))
    require((error.code, error.param) == ("logit_bias_token", "logit_bias"), error.code)


def draws_the_likeliest_where_nothing_else_is_left(client):
    """One token to draw from is the greedy answer, whatever the temperature."""
    greedy = ask(client).choices[0].message.content
    for narrowed in ({"top_k": 1}, {"min_p": 1}):
        drawn = ask(client, temperature=1.5, extra_body=narrowed).choices[0].message.content
        require(drawn == greedy, f"another answer with {narrowed}")


def tells_how_probable_its_tokens_are(client):
    """The greedy token is the likeliest one, and the tokens make the text."""
    answer = ask(client, logprobs=True, top_logprobs=3).choices[0]
    told = answer.logprobs.content
    require("".join(one.token for one in told) == answer.message.content, len(told))
    for one in told:
        require(one.token.encode() == bytes(one.bytes), "a token is not its bytes")
        require(len(one.top_logprobs) == 3, len(one.top_logprobs))
        likeliest = max(other.logprob for other in one.top_logprobs)
        require(one.logprob == likeliest <= 0, (one.logprob, likeliest))
    error = refusal(openai.BadRequestError, lambda: ask(client, top_logprobs=3))
    require((error.code, error.param) == ("invalid-member", "top_logprobs"), error.code)


def writes_what_a_schema_says(client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
        "required": ["city", "sure"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    answer = ask(client, response_format=form, max_tokens=64).choices[0]
    require(answer.finish_reason == "stop", answer.finish_reason)
    found = json.loads(answer.message.content)
    require(list(found) == ["city", "sure"], list(found))
    require(isinstance(found["city"], str) and len(found["city"]) <= 12, "city")
    require(isinstance(found["sure"], bool), "sure")
    schema["properties"]["city"]["pattern"] = "^P"
    error = refusal(openai.BadRequestError, lambda: ask(client, response_format=form))
    require((error.code, error.param) == ("response_format_schema", "pattern"), error.code)


def gives_several_choices(client):
    """Choice i has the seed plus i; whole and streamed say the same."""
    drawn = {"temperature": 1, "seed": 7}
    alone = [ask(client, **{**drawn, "seed": 7 + i}).choices[0].message.content for i in (0, 1)]
    answer = ask(client, **drawn, n=2)
    texts = [choice.message.content for choice in answer.choices]
    require([choice.index for choice in answer.choices] == [0, 1], "index")
    require(texts == alone, "the choices are not those of their seeds")
    require(answer.usage.prompt_tokens == PROMPT_TOKENS, answer.usage)
    streamed = ["", ""]
    usage = None
    options = {"include_usage": True}
    for chunk in ask(client, **drawn, n=2, stream=True, stream_options=options):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
        usage = chunk.usage or usage
    require(streamed == texts, "the stream says something else")
    require(usage.completion_tokens == answer.usage.completion_tokens, usage)
    error = refusal(openai.BadRequestError, lambda: ask(client, n=9))
    require((error.code, error.param) == ("request-invalid-member", "n"), error.code)


def answers_in_the_shape_of_responses(client):
    request = {"model": MODEL, "input": QUESTION[0]["content"], "temperature": 0}
    answer = client.responses.create(**request, max_output_tokens=16)
    require("Paris" in answer.output_text, "the word is not in the answer")
    require(answer.usage.input_tokens == PROMPT_TOKENS, answer.usage)
    require(answer.store is False, "it says that it stored something")
    events = list(client.responses.create(**request, max_output_tokens=16, stream=True))
    require([event.sequence_number for event in events] == list(range(len(events))), "numbers")
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    require(text == answer.output_text, "the stream says something else")
    require(events[0].type == "response.created", events[0].type)
    last = events[-1]
    require(last.type == f"response.{answer.status}", (last.type, answer.status))
    require(last.response.output_text == text, "the last event says something else")
    cut = client.responses.create(**request, max_output_tokens=1)
    require(cut.status == "incomplete", cut.status)
    require(cut.incomplete_details.reason == "max_output_tokens", cut.incomplete_details)
    for member, value in (("store", True), ("previous_response_id", "resp_1")):
        refused = lambda: client.responses.create(**request, **{member: value})
        error = refusal(openai.BadRequestError, refused)
        require((error.code, error.param) == ("unsupported-member", member), error.code)


def is_healthy_and_counts(client):
    base = str(client.base_url).removesuffix("/").removesuffix("/v1")
    # The port takes no request under another name than its own.
    health = urllib.request.urlopen(f"{base}/health", timeout=120)
    require(health.status == 200, health.status)
    metrics = urllib.request.urlopen(f"{base}/metrics", timeout=120).read().decode()
    counted = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[0] != "#")
    require(int(counted["cocoon_answers_total"]) > 0, "no answer was counted")
    charged = int(counted["cocoon_charged_nano_total"])
    require(0 < charged <= int(counted["cocoon_channel_signed_nano"]), counted)
    require(counted["cocoon_attested"] == "1", counted["cocoon_attested"])


def refuses_functions_that_its_model_cannot_call(client):
    """The template of this model has none; forbidden calls need none."""
    tools = [{"type": "function", "function": {"name": "now", "description": "The time."}}]
    for choice in ("auto", "required"):
        asked = lambda: ask(client, tools=tools, tool_choice=choice)
        error = refusal(openai.BadRequestError, asked)
        require((error.code, error.param) == ("tools_not_supported", "tools"), error.code)
    answer = ask(client, tools=tools, tool_choice="none").choices[0]
    require("Paris" in answer.message.content, "the word is not in the answer")
    require(answer.message.tool_calls is None, "a call")


def continues_a_text(client):
    request = {"model": MODEL, "prompt": "The capital of France is", "temperature": 0}
    answer = client.completions.create(**request, max_tokens=8)
    require(answer.object == "text_completion", answer.object)
    require("Paris" in answer.choices[0].text, "the word is not in the text")
    require(answer.usage.completion_tokens <= 8, answer.usage)
    pieces = client.completions.create(**request, max_tokens=8, stream=True)
    text = "".join(piece.choices[0].text for piece in pieces if piece.choices)
    require(text == answer.choices[0].text, "the stream says something else")
    for member, value in (("echo", True), ("suffix", "x"), ("best_of", 2)):
        refused = lambda: client.completions.create(**request, **{member: value})
        error = refusal(openai.BadRequestError, refused)
        require((error.code, error.param) == ("unsupported-member", member), error.code)


def streams_three_answers_at_once(client):
    with concurrent.futures.ThreadPoolExecutor(3) as three:
        answers = list(three.map(lambda _: streamed(client)[0], range(3)))
    require(all("Paris" in text for text in answers), "an answer without the word")
    require(len(set(answers)) == 1, "temperature 0, and the answers differ")


CLAIMS = [
    lists_its_model,
    streams_an_answer,
    gives_a_whole_answer_with_its_usage,
    says_that_a_model_is_not_there,
    names_the_member_that_it_does_not_take,
    refuses_to_shift_a_token_that_the_model_does_not_have,
    draws_the_likeliest_where_nothing_else_is_left,
    tells_how_probable_its_tokens_are,
    writes_what_a_schema_says,
    refuses_functions_that_its_model_cannot_call,
    gives_several_choices,
    answers_in_the_shape_of_responses,
    continues_a_text,
    streams_three_answers_at_once,
    is_healthy_and_counts,
]


def leaves_neither_prompt_nor_answer_in_the_engine(stack):
    """Neither is in its memory once the request is over. serve's memory: guest/serve/tests."""
    client = connect(stack.address)
    canary = secrets.token_urlsafe(24)
    question = [{"role": "user", "content": f"Repeat this word: {canary}. Then say why."}]
    answer = ask(client, messages=question, max_tokens=24).choices[0].message.content
    require(len(answer) > 20, f"an answer of {len(answer)} characters")
    for title, text in (("prompt", canary), ("answer", answer[:20])):
        needle = text.encode()
        require(memory.holds(os.getpid(), needle), "the search finds nothing at all")
        require(not memory.holds(stack.program("engine"), needle), f"the {title} is there")


def stops_on_a_signal(stack):
    require(len(stack.processes()) > 1, "no process was seen while it ran")
    require(os.listdir(stack.temporary), "no temporary file was seen while it ran")
    status = stack.stop()
    require(status == 0, f"status {status}")


def leaves_no_process(stack):
    left = stack.processes()
    require(not left, left)


def leaves_no_temporary_file(stack):
    left = os.listdir(stack.temporary)
    require(not left, left)


STOPPING = [stops_on_a_signal, leaves_no_process, leaves_no_temporary_file]
LAST_CLAIMS = [leaves_neither_prompt_nor_answer_in_the_engine, *STOPPING]


def stack_holds(program, arguments, claims, last_claims):
    """Starts a stack, checks the claims, and ends it; how many of them failed."""
    with tempfile.TemporaryDirectory(prefix="cocoon-sdk.") as temporary:
        stack = Stack(program, temporary, arguments)
        try:
            began = time.monotonic()
            stack.wait_until_ready()
            print(f"ready   {stack.address} ({time.monotonic() - began:.1f} s)", flush=True)
            return check(claims, connect(stack.address)) + check(last_claims, stack)
        finally:
            stack.end()


def main():
    # The stack is on this machine; no proxy comes between.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stacks = (
        ([], CLAIMS, LAST_CLAIMS),
        (vectors.ARGUMENTS, vectors.CLAIMS, vectors.LAST_CLAIMS + STOPPING),
    )
    failed = sum(stack_holds(sys.argv[1], *stack) for stack in stacks)
    claims = sum(len(first) + len(last) for _, first, last in stacks)
    print(f"{claims - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
