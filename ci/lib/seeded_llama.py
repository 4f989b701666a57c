"""A model of the Llama family with about a thousand million weights from a seed, as a GGUF file: for
speed alone. Vocabulary and template are those of another file, whose header is read."""

import argparse
import random
import struct
import sys

# Bytes of a GGUF value by its type; 8 is a string, 9 an array.
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY, U32 = 8, 9, 4
ALIGNMENT = 32

WIDTH, LAYERS, HEADS, KV_HEADS, INNER = 2048, 22, 32, 4, 5632
HEAD = WIDTH // HEADS

# ggml's number of a layout, weights and bytes of its block, and the f16 of 0.02 / 74 (the deviation
# of such bytes) or less at these places, so that products stay moderate.
F32 = 0
LAYOUTS = {
    "Q8_0": (8, 32, 34, {0: 0x0C66}),
    "Q4_K": (12, 256, 144, {0: 0x0C66, 2: 0x0C66}),
}


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


class Header:
    """The metadata of a file, value by value as it lies there."""

    def __init__(self, path: str):
        with open(path, "rb") as file:
            self.raw = file.read(64 << 20)
        magic, version, _, count = struct.unpack_from("<4sIQQ", self.raw)
        if magic != b"GGUF" or version != 3:
            sys.exit(f"error: {path} is no GGUF file of version 3")
        self.at = 24
        self.values = {}
        for _ in range(count):
            key = self.text()
            start = self.at
            self.skip(self.number("<I"))
            self.values[key] = self.raw[start : self.at]

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str:
        length = self.number("<Q")
        self.at += length
        return self.raw[self.at - length : self.at].decode()

    def skip(self, kind: int) -> None:
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            of, count = self.number("<I"), self.number("<Q")
            for _ in range(count):
                self.skip(of)
        else:
            self.at += SIZES[kind]

    def items(self, key: str) -> int:
        """How many items an array has."""
        return struct.unpack_from("<Q", self.values[key], 8)[0]


def tensors(vocabulary: int) -> list[tuple[str, int, int]]:
    """Name, columns and rows; without rows a vector of floats."""
    key_width = HEAD * KV_HEADS
    found = [("token_embd.weight", WIDTH, vocabulary), ("output_norm.weight", WIDTH, 0)]
    for layer in range(LAYERS):
        parts = [
            ("attn_norm", WIDTH, 0),
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, key_width),
            ("attn_v", WIDTH, key_width),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_norm", WIDTH, 0),
            ("ffn_gate", WIDTH, INNER),
            ("ffn_up", WIDTH, INNER),
            ("ffn_down", INNER, WIDTH),
        ]
        found += [(f"blk.{layer}.{part}.weight", columns, rows) for part, columns, rows in parts]
    return found


def weights(source: random.Random, layout: str, columns: int, rows: int) -> bytes:
    if rows == 0:
        return struct.pack("<f", 1.0) * columns
    _, block, size, scales = LAYOUTS[layout]
    count = columns * rows // block
    data = bytearray(source.randbytes(count * size))
    for at, half in scales.items():
        for place, byte in enumerate(struct.pack("<H", half)):
            data[at + place :: size] = bytes([byte]) * count
    return bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--vocabulary-of", required=True, metavar="GGUF")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("out")
    options = parser.parse_args()
    header = Header(options.vocabulary_of)
    shape = {
        "llama.block_count": LAYERS,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": INNER,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.dimension_count": HEAD,
    }
    values = header.values | {key: struct.pack("<II", U32, of) for key, of in shape.items()}
    listed = tensors(header.items("tokenizer.ggml.tokens"))
    number, block, size, _ = LAYOUTS[options.layout]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(listed), len(values))
    head += b"".join(string(key) + value for key, value in values.items())
    offset = 0
    for name, columns, rows in listed:
        dimensions = [columns, rows] if rows else [columns]
        head += string(name) + struct.pack("<I", len(dimensions))
        head += struct.pack(f"<{len(dimensions)}Q", *dimensions)
        head += struct.pack("<IQ", number if rows else F32, offset)
        length = columns * rows // block * size if rows else columns * 4
        offset += -(-length // ALIGNMENT) * ALIGNMENT
    source = random.Random(options.seed)
    with open(options.out, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for _, columns, rows in listed:
            data = weights(source, options.layout, columns, rows)
            file.write(data + bytes(-len(data) % ALIGNMENT))


main()
