"""Pages in a real browser: Debian's chromium, without a window and without the network."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

PROGRAM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    PROGRAM is None, reason="needs a browser: apt-get install chromium"
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
    " --disable-dev-shm-usage --enable-logging=stderr --virtual-time-budget=1000"
)
# Chromium has no window narrower than 500 pixels, so the page is looked at in a frame.
OUTSIDE = """<!DOCTYPE html><iframe id="page" style="width:{width}px;height:900px;border:0"
srcdoc="{page}"></iframe><pre id="seen"></pre><script>
document.getElementById("page").onload = function () {{
  const inside = this.contentDocument;
  document.getElementById("seen").textContent = JSON.stringify({{
    width: inside.documentElement.clientWidth,
    needed: inside.documentElement.scrollWidth,
    text: inside.body.innerText,
    scripts: inside.scripts.length,
    headings: [...inside.querySelectorAll("h1,h2,h3")].map(h => h.tagName),
    charts: [...inside.querySelectorAll("svg[role=img]")].map(one => [
      ...one.getAttribute("aria-labelledby").split(" ")
    ].map(id => inside.getElementById(id).textContent)),
    twice: [...inside.querySelectorAll("[id]")].map(one => one.id)
      .filter((id, i, all) => all.indexOf(id) !== i),
  }});
}};
</script>"""


@dataclass(frozen=True)
class Seen:
    """What the browser made of a page; `console` has whatever it complained about."""

    facts: dict[str, Any]
    console: list[str]


def browse(page: Path) -> tuple[str, list[str]]:
    """Open a file as it is: its DOM afterwards, and the lines of the console."""
    assert PROGRAM
    with TemporaryDirectory() as profile:
        done = subprocess.run(
            [PROGRAM, *FLAGS.split(), f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def photograph(page: Path, picture: Path, *, width: int, height: int) -> None:
    """Write a PNG of the top of a page, by daylight, in a window of so many pixels."""
    assert PROGRAM
    with TemporaryDirectory() as profile:
        subprocess.run(
            [
                *[PROGRAM, *FLAGS.split(), f"--user-data-dir={profile}", "--hide-scrollbars"],
                *["--force-device-scale-factor=0.8", f"--window-size={width},{height}"],
                *[f"--screenshot={picture}", page.as_uri()],
            ],
            capture_output=True,
            check=True,
            timeout=60,
        )


def list_destinations(page: Path, width: int) -> Seen:
    """Open a copy of a page, `width` pixels wide, and measure it."""
    outside = page.with_name(f"outside-{width}.html")
    outside.write_text(OUTSIDE.format(width=width, page=html.escape(page.read_text())))
    dom, console = browse(outside)
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    return Seen(json.loads(html.unescape(found[1])), console)
