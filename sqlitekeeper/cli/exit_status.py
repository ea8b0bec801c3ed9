"""One exit status out of many results."""

from collections.abc import Sequence

CHECK_FAILED = 12
SOME_FAILED = 3
FAILED = 1


def combined(codes: Sequence[int]) -> int:
    """The status of a run whose databases ended with `codes` (0: all well).

    A check that failed wins; else 3 when some databases are done and some are
    not; else what all of them failed with, or 1 when they differ.
    """
    bad = [code for code in codes if code]
    if not bad:
        return 0
    if CHECK_FAILED in bad:
        return CHECK_FAILED
    if len(bad) < len(codes):
        return SOME_FAILED
    return bad[0] if len(set(bad)) == 1 else FAILED
