"""Plots of ratios as SVG: a bar from 1 to the median of each, and a line from the lower to the upper quartile."""

import math
from html import escape
from typing import Final, NamedTuple

from benchmarks.record import Spread

_WIDTH, _LABELS, _RIGHT, _TOP, _LINE = 900, 380, 60, 56, 20
_TICKS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)

# The colours are for a light page, and for a dark one where the reader's system says so.
_STYLE: Final = """
text { font: 12px sans-serif; fill: #24292f; }
.title { font-weight: bold; font-size: 14px; }
.faster { fill: #2f81c7; } .slower { fill: #c77d2f; }
.spread { stroke: #24292f; stroke-width: 1.5; } .tick { stroke: #8886; } .one { stroke: #888; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .spread { stroke: #e6edf3; } .faster { fill: #3f9be6; } .slower { fill: #e09a4a; }
}
"""


class Bar(NamedTuple):
    label: str
    ratio: Spread


def plot(title: str, bars: list[Bar]) -> str:
    """A bar for each ratio, on a logarithmic scale: half and twice are equally far from 1."""
    scale = _Scale(bars)
    bottom = _TOP + _LINE * len(bars)
    height = bottom + 12
    parts = [f'<text class="title" x="10" y="20">{escape(title)}</text>']
    for tick in scale.ticks:
        at = scale.place(tick)
        kind = "one" if tick == 1 else "tick"
        parts.append(f'<line class="{kind}" x1="{at}" y1="{_TOP - 6}" x2="{at}" y2="{bottom}"/>')
        parts.append(f'<text x="{at}" y="{_TOP - 10}" text-anchor="middle">{tick:g}</text>')
    for number, bar in enumerate(bars):
        parts += _drawn(bar, _TOP + _LINE * number, scale)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )


class _Scale:
    """Where a ratio is: from the greatest tick below all of them to the least one above."""

    def __init__(self, bars: list[Bar]) -> None:
        least = min([1.0, *(bar.ratio.low for bar in bars)])
        most = max([1.0, *(bar.ratio.high for bar in bars)])
        first = max([tick for tick in _TICKS if tick <= least], default=_TICKS[0])
        last = min([tick for tick in _TICKS if tick >= most], default=_TICKS[-1])
        self.ticks = [tick for tick in _TICKS if first <= tick <= last]
        self._first = math.log(first)
        self._width = max(math.log(last) - self._first, 1.0)

    def place(self, ratio: float) -> float:
        share = (math.log(ratio) - self._first) / self._width
        return round(_LABELS + share * (_WIDTH - _LABELS - _RIGHT), 1)


def _drawn(bar: Bar, top: int, scale: _Scale) -> list[str]:
    low, median, high = (scale.place(ratio) for ratio in bar.ratio)
    one = scale.place(1)
    middle = top + _LINE // 2
    left, width = min(one, median), round(abs(median - one), 1)
    kind = "faster" if bar.ratio.median < 1 else "slower"
    return [
        f'<text x="{_LABELS - 10}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{left}" y="{top + 4}" width="{width}" height="{_LINE - 8}"/>',
        f'<line class="spread" x1="{low}" y1="{middle}" x2="{high}" y2="{middle}"/>',
        f'<text x="{max(one, high) + 6}" y="{middle + 4}">{bar.ratio.median:.2f}</text>',
    ]
