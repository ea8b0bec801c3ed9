"""Text that a terminal shows as it is, in the room that it has."""


def printable(text: str) -> str:
    """Text without anything that a terminal would obey: control characters are spelt out."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def shortened(text: str, width: int) -> str:
    """Text of at most `width` characters: the middle goes, since names differ at the ends."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
