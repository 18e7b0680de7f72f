"""The drains of all contenders as an SVG bar chart, readable on light and dark ground."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.results import Results
from benchmarks.spread import Spread

# By contender, by series ("10 slots"): jobs a second.
Bars = Mapping[str, Mapping[str, Spread]]

# The workloads that are shown, by what the legend calls them.
_SERIES = {"10 slots": "drain-10", "64 slots": "drain-64", "256 slots": "drain-256"}
_RATE = "jobs_per_s"

_WIDTH = 880
_LEFT = 190
_RIGHT = 150
_TOP = 96
_BOTTOM = 64
_BAR = 13
_GAP = 16
_TITLE_Y, _SUBTITLE_Y, _LEGEND_Y = 28, 48, 74
_LEGEND_STEP = 110
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
# Written out twice, because not all who draw an SVG know CSS variables.
_STYLE = """
  text { font-size: 13px } .title { font-size: 16px; font-weight: 600 }
  .faint { font-size: 12px } .value { font-size: 11px } .ours { font-weight: 700 }
  .ground { fill: #ffffff } text { fill: #1f2328 } .faint { fill: #59636e }
  .grid { stroke: #d9dee3 } .range { stroke: #1f2328; stroke-width: 1.2 }
  .s0 { fill: #9ec5f4 } .s1 { fill: #4a8fe0 } .s2 { fill: #1b5ab0 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } text { fill: #e6edf3 } .faint { fill: #9198a1 }
    .grid { stroke: #30363d } .range { stroke: #e6edf3 }
    .s0 { fill: #24507f } .s1 { fill: #3d85d6 } .s2 { fill: #a5cdfb }
  }
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic axis over whole decades, from low to high jobs a second."""

    low: int
    high: int

    @classmethod
    def over(cls, values: Sequence[float]) -> Scale:
        """Return the axis that holds all values; bars begin at its low end."""
        least, most = max(min(values), 1.0), max(max(values), 10.0)
        # A bar of no length would look like no figure.
        low = math.floor(math.log10(least * 0.8))
        return cls(10 ** max(low, 0), 10 ** math.ceil(math.log10(most)))

    def x(self, value: float) -> float:
        """Return where a value lies, in pixels from the left of the chart."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def decades(self) -> list[int]:
        """Return the values with a line."""
        return [
            10**it for it in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
        ]


def drains(results: Results) -> dict[str, dict[str, Spread]]:
    """Return the bars of a run's drains, the fastest contender first; none without drains."""
    bars: dict[str, dict[str, Spread]] = {}
    for slots, workload in _SERIES.items():
        for who in results.contenders(workload):
            bars.setdefault(who, {})[slots] = results.spreads(workload, who)[_RATE]
    order = sorted(bars, key=lambda who: -max(it.median for it in bars[who].values()))
    return {who: bars[who] for who in order}


def chart(bars: Bars, *, title: str, subtitle: str, ours: frozenset[str]) -> str:
    """Return the SVG; contenders from top to bottom as given, ours in bold.

    Bars are medians, the thin lines across their ends go from the smallest to the largest.
    """
    series = list(dict.fromkeys(name for its in bars.values() for name in its))
    spreads = [it for its in bars.values() for it in its.values()]
    scale = Scale.over([end for it in spreads for end in (it.low, it.high)])
    height = _TOP + _BOTTOM + len(bars) * (len(series) * _BAR + _GAP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
            f'viewBox="0 0 {_WIDTH} {height}" font-family="{_FONT}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="ground" width="{_WIDTH}" height="{height}" rx="6"/>',
            _text(24, _TITLE_Y, title, "title"),
            _text(24, _SUBTITLE_Y, subtitle, "faint"),
            *_legend(series),
            *_grid(scale, height),
            *_contenders(bars, series, scale, ours),
            "</svg>",
            "",
        ]
    )


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}"'
    return f'<rect class="{kind}" {place} rx="2"/>'


def _line(kind: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _legend(series: Sequence[str]) -> Iterator[str]:
    for index, name in enumerate(series):
        x = _LEFT + index * _LEGEND_STEP
        yield _rect(f"s{index % 3}", x, _LEGEND_Y - 10, 12, 12)
        yield _text(x + 18, _LEGEND_Y, name, "faint")


def _grid(scale: Scale, height: int) -> Iterator[str]:
    bottom = height - _BOTTOM + 4
    for value in scale.decades():
        x = scale.x(value)
        yield _line("grid", (x, _TOP - 8), (x, bottom))
        yield _text(x, bottom + 18, f"{value:,}", "faint", "middle")
    middle = (scale.x(scale.low) + scale.x(scale.high)) / 2
    yield _text(
        middle,
        bottom + 40,
        "jobs per second; each line is ten times the one before",
        "faint",
        "middle",
    )


def _contenders(
    bars: Bars, series: Sequence[str], scale: Scale, ours: frozenset[str]
) -> Iterator[str]:
    for index, (name, its) in enumerate(bars.items()):
        top = _TOP + index * (len(series) * _BAR + _GAP)
        middle = top + len(series) * _BAR / 2 + 4
        yield _text(_LEFT - 12, middle, name, "ours" if name in ours else "name", "end")
        for place, slots in enumerate(series):
            if slots in its:
                yield from _bar(its[slots], scale, top + place * _BAR, place)


def _bar(value: Spread, scale: Scale, top: float, place: int) -> Iterator[str]:
    left, right, middle = scale.x(scale.low), scale.x(value.median), top + _BAR / 2
    low, high = scale.x(value.low), scale.x(value.high)
    yield _rect(f"s{place % 3}", left, top + 1, max(right - left, 1), _BAR - 2)
    yield _line("range", (low, middle), (high, middle))
    yield _text(max(high, right) + 6, middle + 4, f"{value.median:,.0f}", "value")
