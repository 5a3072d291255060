"""The tables in Markdown."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.measures import MANY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.hooks import Costs
    from bench.measures import Measure, Sample, Samples


@dataclass(frozen=True)
class Target:
    """The share of a limit that a measure must reach with a number of connections."""

    measure: str
    limit: str
    connections: int
    share: float
    title: str


TARGETS = (
    Target("item", "constant", MANY, 0.40, "an item by id, relative to Flask's constant response"),
    Target("redirect", "item", MANY, 0.60, "a redirect, relative to an item by id"),
    Target("redirect-governed", "redirect", MANY, 0.60, "a redirect with all policy plugins, relative to open_access"),
    Target("stream", "store", 1, 0.60, "the big object streamed, relative to the store"),
)
MAX_MEMORY_GROWTH = 0.05
"""Growth of the server's memory while it streams an object, as a share of the object's size."""


def requests(chosen: Sequence[Measure], samples: Samples, title: str = "") -> str:
    """Return the table of measures: the median of the rounds, with their minimum and maximum."""
    lines = [
        f"| {title} | 1 connection | p50 ms | {MANY} connections | p50 ms | p99 ms | CPU µs per response |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    return "\n".join([*lines, *(_row(measure, samples) for measure in chosen)])


def _row(measure: Measure, samples: Samples) -> str:
    first, *rest = measure.connections
    single = samples[measure.name, first] if first == 1 else []
    many = samples[measure.name, rest[0] if rest else first] if rest or first != 1 else []
    title = measure.title if measure.unit == "/s" else f"{measure.title}, {measure.unit}"
    cells = [title, _rates(single), _middle(single, _p50), _rates(many), _middle(many, _p50), _middle(many, _p99)]
    return f"| {' | '.join([*cells, _middle(many, _cpu, 0)])} |"


def _rates(samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    rates = [sample.rate for sample in samples]
    return f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"


def _middle(samples: Sequence[Sample], pick: Callable[[Sample], float], digits: int = 1) -> str:
    value = statistics.median(map(pick, samples)) if samples else math.nan
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _p50(sample: Sample) -> float:
    return sample.p50


def _p99(sample: Sample) -> float:
    return sample.p99


def _cpu(sample: Sample) -> float:
    return sample.cpu


def targets(samples: Samples, big: int) -> str:
    """Return the table of targets, and whether they are met. A share is the median of the shares of each round."""
    head = ["| target | required | measured | |", "|---|--:|--:|---|"]
    lines = [line for target in TARGETS if (line := _share(target, samples))] + _memory(samples, big)
    return "\n".join([*head, *lines]) if lines else "No target applies to these measures."


def _share(target: Target, samples: Samples) -> str | None:
    ours, limits = (samples.get((name, target.connections), []) for name in (target.measure, target.limit))
    shares = [our.rate / limit.rate for our, limit in zip(ours, limits, strict=False)]
    if not shares:
        return None
    met = statistics.median(shares) >= target.share
    return f"| {target.title} | {target.share:.0%} | {_spread(shares)} | {_result(met)} |"


def _memory(samples: Samples, big: int) -> list[str]:
    """Return the row for the growth of the server's memory, in the streaming run with the largest growth."""
    watches = [sample.memory for runs in samples.values() for sample in runs if sample.memory is not None]
    if not watches:
        return []
    worst = max(watches, key=lambda memory: memory.peak - memory.before)
    measured = f"{_mb(worst.before)} before, {_mb(worst.peak)} at most, {_mb(worst.after)} after"
    limit = big * MAX_MEMORY_GROWTH
    met = _result(worst.peak - worst.before <= limit)
    return [f"| memory of the server, streaming | {_mb(limit)} more at most | {measured} | {met} |"]


def _result(met: bool) -> str:
    return "met" if met else "**not met**"


def _mb(number: float) -> str:
    return f"{number / 1e6:.0f} MB"


def plugins(pairs: Mapping[str, tuple[Measure, Measure]], samples: Samples) -> str:
    """Return the table of plugins: the rate of redirects and searches, also as a share of the rate without plugins."""
    lines = ["| plugins | redirects/s | share | CPU µs | searches/s | share | CPU µs |", f"|---|{'--:|' * 6}"]
    none = pairs["none"]
    for name, pair in pairs.items():
        cells = [cell for ours, bare in zip(pair, none, strict=True) for cell in _relative(ours, bare, samples)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _relative(ours: Measure, bare: Measure, samples: Samples) -> list[str]:
    runs, limits = (samples[measure.name, MANY] for measure in (ours, bare))
    shares = [run.rate / limit.rate for run, limit in zip(runs, limits, strict=True)]
    return [f"{statistics.median(run.rate for run in runs):.0f}", _spread(shares), _middle(runs, _cpu, 0)]


def _spread(shares: Sequence[float]) -> str:
    return f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"


def hooks(costs: Mapping[str, Costs]) -> str:
    """Return the table of hooks: the microseconds of each, with few plugins and with all."""
    names = list(costs)
    lines = [f"| hook, µs | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    lines += [f"| {hook} | {' | '.join(f'{costs[name][hook]:.0f}' for name in names)} |" for hook in costs[names[0]]]
    return "\n".join(lines)


def noise(samples: Samples, others: float) -> str:
    """Return a text about the noise of the run. ``others`` is the number of cores that other programs used."""
    spreads = [max(rates) / min(rates) for runs in samples.values() if (rates := [sample.rate for sample in runs])]
    generator = max((sample.generator for runs in samples.values() for sample in runs), default=0)
    return (
        f"Other programs used {others:.2f} cores during the run. The fastest round of a row had "
        f"{statistics.median(spreads):.2f} times the rate of the slowest at the median, {max(spreads):.2f} at most. "
        f"The load generator used at most {generator:.0%} of the machine."
    )
