"""Charts drawn in a process of their own: `python -m fim_assets.corpus_report.drawing`.

What draws them is V8. Where it cannot have the address space that it reserves (`ulimit -v`), or no
thread, it ends its process, which must not be the run's.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from fim_assets.io.child_process import own_process

Chart = dict[str, Any]
"""A chart as Vega-Lite specifies it."""

_SECONDS = 600
"""Far more than thousands of partitions take: what still draws then will not come to an end."""


class DrawingError(RuntimeError):
    """Charts that cannot be drawn; the message says why."""


def draw(charts: Sequence[Chart]) -> list[str]:
    """Draw charts: an SVG element each.

    Raises:
        DrawingError: If the process that draws them fails, is ended, or does not come to an end.
    """
    command, env = own_process("fim_assets.corpus_report.drawing")
    content = json.dumps(charts).encode()
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and this module
            command, input=content, env=env, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DrawingError(f"they were not drawn after {_SECONDS} seconds") from error
    except OSError as error:
        raise DrawingError(f"no process to draw them can be started: {error}") from error
    if done.returncode:
        end = f"{_how(done.returncode)}{_why(done.stderr)}"
        raise DrawingError(f"the process that draws them ended {end}")
    drawn: list[str] = json.loads(done.stdout)
    return drawn


def _how(status: int) -> str:
    if status > 0:
        return f"with exit status {status}"
    known = {number.value: number.name for number in signal.Signals}
    return f"by signal {known.get(-status, -status)}"


def _why(stderr: bytes) -> str:
    """The line that names the error, of what a process said; a trace of addresses may follow it."""
    lines = [line.strip("# \t.:") for line in stderr.decode("utf-8", "replace").splitlines()]
    named = [line for line in lines if "Fatal" in line or "Error: " in line]
    return f": {named[0][:200]}" if named else ""


def to_svg(chart: Chart) -> str:
    """Draw a chart in this process, which that may end: an SVG element."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(chart, allowed_base_urls=[])
    return svg


if __name__ == "__main__":
    elements = [to_svg(chart) for chart in json.load(sys.stdin.buffer)]
    sys.stdout.buffer.write(json.dumps(elements).encode())
