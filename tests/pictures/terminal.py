"""What a program wrote on a terminal, as an SVG that needs no font of its own."""

import re
from html import escape

WIDTH, HEIGHT, MARGIN = 8.0, 19, 16
_BOLD = "\x1b[1m"
_CODES = re.compile("\x1b" + r"\[[0-9;?]*[A-Za-z]")
_STYLE = (
    "rect{fill:#14181b}"
    "text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "fill:#e6e9eb}"
    ".b{font-weight:bold}.s{fill:#7cc4f5}"
)


def as_svg(text: str, title: str) -> str:
    """An SVG of the lines of a text; bold is the only style that it knows.

    Every word is put where it stands on the terminal, so that columns stay
    columns in whatever fixed-width font there is.
    """
    lines = text.rstrip("\n").split("\n")
    columns = max(len(_CODES.sub("", line)) for line in lines)
    width = round(2 * MARGIN + columns * WIDTH)
    height = 2 * MARGIN + len(lines) * HEIGHT
    rows = [_row(line, MARGIN + (at + 0.75) * HEIGHT) for at, line in enumerate(lines) if line]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect width="{width}" height="{height}" rx="8"/>\n' + "\n".join(rows) + "\n</svg>\n"
    )


def _row(line: str, y: float) -> str:
    words = []
    for found in re.finditer(r"\S+", _CODES.sub("", line)):
        x = MARGIN + found.start() * WIDTH
        # Fonts differ in how wide they take a word to be: this one is as wide as on a terminal.
        length = len(found[0]) * WIDTH
        words.append(
            f'<tspan x="{x:g}" textLength="{length:g}" lengthAdjust="spacingAndGlyphs">'
            f"{escape(found[0])}</tspan>"
        )
    style = ' class="b"' if _BOLD in line else ' class="s"' if line.startswith("$ ") else ""
    return f'<text y="{y:g}"{style}>{"".join(words)}</text>'
