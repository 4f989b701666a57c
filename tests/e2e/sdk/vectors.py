"""What the openai SDK gets from a stack whose model gives vectors: the tiny seeded encoder of
tests/fixtures/models/bert, so that they are compared with those of `transformers`.

Deliberately not here: models that answer (`sdk_test.py`)."""

import os
import pathlib
import secrets
import struct

import openai

import memory
from claims import refusal, require

FIXTURE = pathlib.Path(__file__).resolve().parents[2] / "fixtures/models/bert"
MODEL = "tiny-bert"
ARGUMENTS = ["--model", str(FIXTURE / "model.gguf"), "--name", MODEL]
WIDTH = 64
# What the fixture's vectors are made of: so many of the first tokens of its prompt.
LENGTHS = [1, 7, 24]
TOLERANCE = 1e-4


def expected():
    """The vectors of the prompt's beginnings, as `transformers` has them."""
    numbers = struct.unpack(f"<{WIDTH * len(LENGTHS)}f", (FIXTURE / "vectors.f32").read_bytes())
    return [numbers[at * WIDTH :][:WIDTH] for at in range(len(LENGTHS))]


def prompt(length):
    return [(37 * at + 3) % 260 for at in range(length)]


def same(found, other):
    """Within the tolerance of the greatest element."""
    most = max(abs(one) for one in other)
    error = max(abs(one - two) for one, two in zip(found, other, strict=True))
    require(error <= TOLERANCE * most, f"{error} of {most}")


def embed(client, **changes):
    return client.embeddings.create(**{"model": MODEL, "input": "one text", **changes})


def lists_a_model_that_gives_vectors(client):
    found = [model.id for model in client.models.list()]
    require(found == [MODEL], found)


def gives_the_vectors_of_transformers(client):
    answer = embed(client, input=[prompt(length) for length in LENGTHS])
    require([one.index for one in answer.data] == [0, 1, 2], "index")
    for one, vector in zip(answer.data, expected(), strict=True):
        same(one.embedding, vector)
    require(answer.usage.prompt_tokens == sum(LENGTHS), answer.usage)
    require(answer.usage.total_tokens == sum(LENGTHS), answer.usage)


def gives_the_same_vector_as_floats_and_in_company(client):
    """The SDK asks for base64 where nobody says how."""
    alone = embed(client).data[0].embedding
    floats = embed(client, encoding_format="float").data[0].embedding
    # A decimal of a 32-bit float is read as a 64-bit one.
    narrowed = list(struct.unpack(f"<{WIDTH}f", struct.pack(f"<{WIDTH}f", *floats)))
    require(list(alone) == narrowed, "another vector as floats")
    beside = embed(client, input=["another", "one text", "a third text"]).data
    require(list(beside[1].embedding) == list(alone), "another vector in company")
    require(list(beside[0].embedding) != list(alone), "two texts with one vector")


def names_what_no_vector_is_made_of(client):
    for changes, code, member in (
        ({"dimensions": WIDTH // 2}, "dimensions_not_supported", "dimensions"),
        ({"input": [[4_000]]}, "embedding_input_token", "input"),
        ({"user": "somebody"}, "unsupported-member", "user"),
    ):
        error = refusal(openai.BadRequestError, lambda: embed(client, **changes))
        require((error.code, error.param) == (code, member), (error.code, error.param))
    error = refusal(openai.NotFoundError, lambda: embed(client, model="another"))
    require(error.code == "model_not_found", error.code)


def refuses_to_answer_with_a_model_that_gives_vectors(client):
    chat = [{"role": "user", "content": "Hello"}]
    asked = lambda: client.chat.completions.create(model=MODEL, messages=chat, max_tokens=4)
    error = refusal(openai.BadRequestError, asked)
    require((error.code, error.param) == ("model_embeds_only", "model"), error.code)


CLAIMS = [
    lists_a_model_that_gives_vectors,
    gives_the_vectors_of_transformers,
    gives_the_same_vector_as_floats_and_in_company,
    names_what_no_vector_is_made_of,
    refuses_to_answer_with_a_model_that_gives_vectors,
]


def leaves_neither_text_nor_vector_in_the_engine(stack):
    client = openai.OpenAI(base_url=stack.address, api_key="none", max_retries=0, timeout=120)
    canary = secrets.token_urlsafe(24)
    vector = embed(client, input=canary).data[0].embedding
    bytes_of_vector = struct.pack(f"<{WIDTH}f", *vector)
    for title, needle in (
        ("text", canary.encode()),
        ("text in lower case", canary.lower().encode()),
        ("vector", bytes_of_vector),
    ):
        require(memory.holds(os.getpid(), needle), "the search finds nothing at all")
        require(not memory.holds(stack.program("engine"), needle), f"the {title} is there")


LAST_CLAIMS = [leaves_neither_text_nor_vector_in_the_engine]
