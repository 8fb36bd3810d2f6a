"""Marks and axes as an SVG element whose colours are the page's CSS variables.

One SVG serves light and dark: the page that holds it defines `--accent`, `--alarm`, `--band`,
`--bg`, `--fg`, `--grid` and `--muted`.
"""

from collections.abc import Mapping
from math import ceil, floor, log, log10, sqrt
from typing import NamedTuple
from xml.etree import ElementTree as ET

from markupsafe import Markup

Ends = tuple[float, float]
"""Two positions on an axis, in the units of the data."""

_TRIANGLE = sqrt(3) / 2  # half the height of one whose side is 2


class Margins(NamedTuple):
    """Pixels around a plot; by default there is room for axes."""

    left: int = 60
    right: int = 20
    top: int = 8
    bottom: int = 42


_FOR_AXES = Margins()


class Plot:
    """A rectangle of `width` by `height` pixels; what is added later lies above.

    `x` and `y` are what left and right, bottom and top of the rectangle stand for. Text may be
    anything that is printable.
    """

    def __init__(
        self, width: int, height: int, x: Ends, y: Ends, margins: Margins = _FOR_AXES
    ) -> None:
        self._width, self._height, self._x_ends, self._y_ends = width, height, x, y
        full = (margins.left + width + margins.right, margins.top + height + margins.bottom)
        self._svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", fill="none")
        self._svg.attrib |= dict(zip(("width", "height"), map(str, full), strict=True))
        self._svg.set("viewBox", "{} {} {} {}".format(-margins.left, -margins.top, *full))

    def svg(self) -> Markup:
        """The element."""
        # ElementTree has escaped the names in it.
        return Markup(ET.tostring(self._svg, "unicode"))  # noqa: S704 - see above

    def box(self, x: Ends, y: Ends, colour: str, edge: str) -> None:
        """Add a rectangle; a flat one is seen by its edge."""
        (left, right), (bottom, top) = map(self._x, x), map(self._y, y)
        outline = f"M{left:.5g} {bottom:.5g}H{right:.5g}V{top:.5g}H{left:.5g}z"
        self._add("path", d=outline, fill=_css(colour), stroke=_css(edge), stroke_width=".5")

    def line(self, x: Ends, y: Ends, *, dashed: bool = False) -> None:
        """Add a line from the first ends to the second ones."""
        (x1, x2), (y1, y2) = map(self._x, x), map(self._y, y)
        dashes = "4 3" if dashed else "none"
        self._line(x1, y1, x2, y2, "fg", stroke_width="1.5", stroke_dasharray=dashes)

    def rule(self, x: float) -> None:
        """Add a dashed line from bottom to top."""
        left = self._x(x)
        self._line(left, 0, left, self._height, "fg", stroke_dasharray="3 3")

    def point(self, x: float, y: float, size: float, *, alarm: bool) -> None:
        """Add a dot, or a triangle in another colour, as wide as the root of `size`."""
        left, top, radius = self._x(x), self._y(y), sqrt(size) / 2
        if alarm:
            up = radius * _TRIANGLE
            outline = f"M{left:.5g} {top - up:.5g}l{radius:.3g} {2 * up:.3g}h{-2 * radius:.3g}z"
            self._add("path", d=outline, fill=_css("alarm"))
        else:
            at = {"cx": f"{left:.5g}", "cy": f"{top:.5g}", "r": f"{radius:.3g}"}
            self._add("circle", **at, fill=_css("accent"))

    def text_before(self, x: float, y: float, text: str) -> None:
        """Add a text that ends left of a position."""
        self._text(self._x(x) - 8, self._y(y) + 4, text, 12, "fg", "end")

    def text_above(self, x: float, y: float, text: str) -> None:
        """Add a text in the middle above a position, clear of the lines behind it."""
        clear = {"stroke": _css("bg"), "stroke_width": "4", "paint_order": "stroke"}
        self._text(self._x(x), self._y(y) - 4, text, 11, "fg", **clear)

    def x_axis(self, title: str, ticks: Mapping[float, str], *, grid: bool = False) -> None:
        """Add a horizontal axis below; `ticks` are labels by where they stand."""
        width, height = self._width, self._height
        for value, label in ticks.items():
            x = round(self._x(value)) + 0.5
            if grid:
                self._line(x, 0, x, height, "grid")
            self._line(x, height, x, height + 5, "muted")
            self._text(x, height + 16, label, 11)
        self._line(0, height + 0.5, width, height + 0.5, "muted")
        self._text(width / 2, height + 35, title, 12)

    def y_axis(self, title: str, ticks: Mapping[float, str]) -> None:
        """Add a vertical axis on the left, whose ticks are lines across."""
        for value, label in ticks.items():
            y = round(self._y(value)) + 0.5
            self._line(0, y, self._width, y, "grid")
            self._text(-3, y + 3.5, label, 11, anchor="end")
        self._text(-self._height / 2, -44, title, 12, transform="rotate(-90)")

    def _x(self, value: float) -> float:
        left, right = self._x_ends
        return (value - left) / (right - left) * self._width

    def _y(self, value: float) -> float:
        bottom, top = self._y_ends
        return (top - value) / (top - bottom) * self._height

    def _line(self, x1: float, y1: float, x2: float, y2: float, colour: str, **more: str) -> None:
        path = f"M{x1:.5g} {y1:.5g}L{x2:.5g} {y2:.5g}"
        self._add("path", d=path, stroke=_css(colour), **more)

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        size: int,
        colour: str = "muted",
        anchor: str = "middle",
        **more: str,
    ) -> None:
        place = {"x": f"{x:.5g}", "y": f"{y:.5g}", "text_anchor": anchor, "font_size": str(size)}
        self._add("text", **place, fill=_css(colour), **more).text = text

    def _add(self, tag: str, **attributes: str) -> ET.Element:
        named = {name.replace("_", "-"): value for name, value in attributes.items()}
        return ET.SubElement(self._svg, tag, named)


def _css(colour: str) -> str:
    return f"var(--{colour})"


def round_step(extent: float, steps: int) -> float:
    """1, 2 or 5 times a power of ten, of which about so many make the extent."""
    wanted = extent / steps
    power = 10.0 ** floor(log10(wanted))
    return min((power * factor for factor in (1, 2, 5, 10)), key=lambda s: abs(log(s / wanted)))


def round_values(low: float, high: float, step: float) -> list[float]:
    """The multiples of a step from `low` to `high`."""
    slack = 1e-9  # of divisions that come out even
    return [n * step for n in range(ceil(low / step - slack), floor(high / step + slack) + 1)]
