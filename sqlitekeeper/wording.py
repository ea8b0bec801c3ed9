"""Numbers as people read them: sizes in binary units, durations in minutes, hours or days."""


def size(count: int) -> str:
    """Bytes in binary units, such as "41.1 MiB"."""
    # Imported late: it costs a third of keeper's start-up time.
    import humanize

    return humanize.naturalsize(count, binary=True)


def counted(count: int, noun: str) -> str:
    """A number with its noun, such as "1 page" or "2 pages"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def span(seconds: float) -> str:
    """A time, such as "12 minutes", "25.5 hours" or, from two days on, "3.2 days".

    Exact enough to choose a backup by: humanize (4.17) says "a month" from 16 to 45 days.
    """
    hours = seconds / 3600
    if abs(hours) < 1:
        return f"{seconds / 60:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def stored_text(plain_bytes: int, stored_bytes: int, encoding: str) -> str:
    """A snapshot's size, and what is stored of it: "11.8 MiB (225.7 KiB delta)"."""
    whole = size(plain_bytes)
    return whole if encoding == "plain" else f"{whole} ({size(stored_bytes)} {encoding})"
