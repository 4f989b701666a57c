"""Looks for bytes in the memory of a running process.

Deliberately not here: what is looked for, and in which process.
"""

# Read at once; what lies across two pieces is seen in their overlap.
PIECE = 1 << 20


def holds(process, needle):
    """Whether any readable page of the process has these bytes."""
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as memory:
        for line in maps:
            span, permissions = line.split()[:2]
            start, end = (int(border, 16) for border in span.split("-"))
            if permissions[0] == "r" and held_between(memory, start, end, needle):
                return True
    return False


def held_between(memory, start, end, needle):
    while start < end:
        try:
            memory.seek(start)
            piece = memory.read(min(PIECE + len(needle), end - start))
        except (OSError, ValueError):
            return False  # the kernel's own pages, or a mapping that is gone
        if needle in piece:
            return True
        start += PIECE
    return False
