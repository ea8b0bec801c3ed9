"""Numbers as people read them: sizes in binary units, durations in seconds."""


def size(count: int) -> str:
    """Bytes in binary units, such as "41.1 MiB"."""
    # Imported late: it costs a third of keeper's start-up time.
    import humanize

    return humanize.naturalsize(count, binary=True)


def counted(count: int, noun: str) -> str:
    """A number with its noun, such as "1 page" or "2 pages"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
