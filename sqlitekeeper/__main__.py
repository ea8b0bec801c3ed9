"""The `keeper` command, also as `python -m sqlitekeeper`."""

import _thread
import atexit
import gc
import os
import sys
import time

# Without modules that take longer to import than the rest of this one.
SIGINT = 2
MAIN_THREAD = _thread.get_ident()
# Python's own 700 would have it look for cycles all the time while keeper is loaded.
COLLECT_AFTER_OBJECTS = 50_000


def _raise_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Re-raise a signal that arrived inside a callback, where Python swallows exceptions.

    Only the main thread hears signals; a worker that is told to end asks again by itself.
    """
    if not isinstance(ignored.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
    elif _thread.get_ident() == MAIN_THREAD:
        number: int = getattr(ignored.exc_value, "number", SIGINT)
        # Not now: it would be ignored here, too.
        _thread.start_new_thread(_send_soon, (number,))


def _send_soon(number: int) -> None:
    time.sleep(0.01)
    os.kill(os.getpid(), number)


def main() -> None:
    """Run the command line and exit with its status."""
    if sys.argv[1:] == ["--version"]:
        # Without click, which alone would take most of the time.
        from sqlitekeeper.cli.version import version_text

        try:
            print(version_text(), flush=True)
            return
        except OSError:
            pass  # nobody reads it, or it has no room: that is heard of below
    sys.unraisablehook = _raise_again
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    # At its end Python would look through all that was loaded, which takes 15 ms.
    atexit.register(gc.freeze)
    try:
        from sqlitekeeper.cli.app import run_command_line

        status = run_command_line(sys.argv[1:])
    except KeyboardInterrupt:
        # So early that there is nothing to say: not all of keeper was loaded yet.
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
