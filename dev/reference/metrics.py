"""The page of metrics: the time series that the plugin declares."""

from __future__ import annotations

from typing import Any

from dev.reference import GENERATED, item
from plugins.metrics import Series

INTRODUCTION = f"""# Metrics

This page lists the metrics of `/metrics`, which the plugin `metrics` adds.
{GENERATED}

[Operations](../operations.md#metrics) describes who can read them, and the [runbook](../runbook.md) what to do if one
is too high.

A histogram has the suffixes `_bucket`, `_sum` and `_count`. All values are those of all processes of a server together.

A *share* is the number of threads or connections that one dependency can occupy: `database pool`, `replica pool`,
`database connections` (attempts to connect), `long statements`, `streams`, `store NAME`, `credentials of store NAME`,
`identity provider NAME`, `plugin NAME`, `tables of plugin NAME`. The metrics of shares are samples, taken every five
seconds.

A plugin adds metrics with `services.record_metric`. Their names begin with `stacflask_` too.

"""


def declared() -> list[Any]:
    """Return the metrics that exist before a plugin records one."""
    return list(Series().registry._collector_to_names)  # noqa: SLF001 - the registry has no public list


def page() -> str:
    """Return the page."""
    return INTRODUCTION + "".join(map(_entry, declared()))


def _entry(metric: Any) -> str:
    name = metric._name + ("_total" if metric._type == "counter" else "")  # noqa: SLF001
    labels = "".join(f", `{label}`" for label in metric._labelnames)  # noqa: SLF001
    kind = f"{metric._type}{f'; labels: {labels[2:]}' if labels else ''}"  # noqa: SLF001
    return item(f"`{name}` ({kind}): {metric._documentation}")  # noqa: SLF001
