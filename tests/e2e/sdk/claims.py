"""How a claim says that it does not hold, and how claims are checked and told."""

import time


def require(held, found):
    if not held:
        raise AssertionError(found)


def refusal(kind, ask):
    """The exception of this kind, and no other, that a request ends with."""
    try:
        ask()
    except kind as error:
        return error
    raise AssertionError("it was answered")


def check(claims, subject):
    """How many of the claims failed."""
    failed = 0
    for claim in claims:
        title = claim.__name__.replace("_", " ")
        began = time.monotonic()
        try:
            claim(subject)
            print(f"ok      {title} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as error:  # whatever it is, the claim does not hold
            failed += 1
            print(f"FAILED  {title}: {type(error).__name__}: {error}", flush=True)
    return failed
