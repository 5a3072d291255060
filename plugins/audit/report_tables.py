"""Renders the rows of a report: as a text table, CSV, JSON, Parquet, SVG or HTML."""

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import orjson

from .._common import text_tables

FORMS = ("table", "csv", "json", "parquet", "svg", "html")
UNITS = ("", "k", "M", "G", "T", "P", "E")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(
    form: str, title: str, keys: Sequence[str], rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> bytes:
    """Return rows in one of ``FORMS``; ``keys`` are the columns by which they are summed up."""
    match form:
        case "csv":
            return _csv(rows, columns)
        case "json":
            return orjson.dumps([dict(row) for row in rows], option=orjson.OPT_INDENT_2) + b"\n"
        case "parquet":
            return _parquet(keys, rows, columns)
        case "svg":
            return _svg(title, keys, rows).encode()
        case "html":
            return _html(title, keys, rows).encode()
    return _table(rows).encode()


def short(number: float) -> str:
    """Return a number in few characters, such as 1.015k."""
    power = 0
    while abs(number) >= 1000 and power < len(UNITS) - 1:  # noqa: PLR2004 - the step between units
        number, power = number / 1000, power + 1
    return f"{number:.4g}{UNITS[power]}"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table: names aligned left, short numbers aligned right."""
    if not rows:
        return "no records\n"
    columns = [name.upper() for name in rows[0]]
    body = [[short(cell) if isinstance(cell, int) else cell for cell in row.values()] for row in rows]
    numbers = [name.upper() for name, cell in rows[0].items() if isinstance(cell, int)]
    return "\n".join(text_tables.table_lines(columns, body, numbers=numbers)) + "\n"


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(cell) for cell in row.values()] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """Return a value that a spreadsheet does not read as a formula, because clients choose some names."""
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) and value != "-" else value


def _parquet(keys: Sequence[str], rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    schema = pa.schema([(name, pa.string() if name in keys else pa.int64()) for name in columns])
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), sink)
    return sink.getvalue()


# --- Plots -----------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, FOOT, HEAD = 960, 240, 60, 60, 30
MAX_BARS = 60
PLOTS = (("downloads", "downloads", "#2b6cb0"), ("granted_bytes", "bytes granted", "#2f855a"))


def _svg(title: str, keys: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw a bar for each value of each key: downloads above, bytes below. Only the last ``MAX_BARS`` are drawn."""
    plots: list[str] = []
    for key in keys:
        names, sums = _sums_by(key, rows)
        of = f" by {key}" if len(keys) > 1 else ""
        for column, label, colour in PLOTS:
            top = HEAD + HEIGHT * len(plots)
            plots.append(_bars(names, [one[column] for one in sums], f"{label}{of}", colour, top))
    height = HEIGHT * len(plots) + HEAD
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="11" role="img"><title>{escape(title)}</title>'
        f'<text x="{LEFT}" y="18" font-size="15">{escape(title)}</text>{"".join(plots)}</svg>\n'
    )


def _sums_by(key: str, rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[dict[str, int]]]:
    sums: dict[str, dict[str, int]] = {}
    for row in rows:
        total = sums.setdefault(str(row[key]), {column: 0 for column, _, _ in PLOTS})
        for column in total:
            total[column] += row[column]
    names = list(sums)[-MAX_BARS:]
    return names, [sums[name] for name in names]


def _bars(names: Sequence[str], values: Sequence[int], label: str, colour: str, top: int) -> str:
    largest = max(values, default=0) or 1
    base, plot_height = top + HEIGHT - FOOT, HEIGHT - FOOT - HEAD
    step = (WIDTH - LEFT - 10) / max(1, len(names))
    parts = [
        f'<text x="{LEFT}" y="{top + 18}">{label}</text>',
        f'<text x="{LEFT - 6}" y="{base - plot_height + 4}" text-anchor="end">{short(largest)}</text>',
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">0</text>',
        f'<path d="M{LEFT} {base - plot_height}V{base}H{WIDTH - 10}" stroke="#999" fill="none"/>',
    ]
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        x, height = LEFT + step * index + step * 0.1, plot_height * value / largest
        title = f"{escape(name)}: {short(value)}"
        parts.append(
            f'<rect x="{x:.1f}" y="{base - height:.1f}" width="{step * 0.8:.1f}" height="{height:.1f}" fill="{colour}">'
            f"<title>{title}</title></rect>"
            f'<text transform="translate({x + step * 0.4:.1f} {base + 10}) rotate(40)">{escape(name[:20])}</text>'
        )
    return "".join(parts)


def _html(title: str, keys: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a page that loads nothing else: the plot and the whole table."""
    head = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else []))
    body = "".join(f"<tr>{''.join(_html_cell(cell) for cell in row.values())}</tr>" for row in rows)
    style = "body{font-family:sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:left}td.n{text-align:right}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{style}</style></head><body>{_svg(title, keys, rows)}<table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></body></html>\n"
    )


def _html_cell(cell: Any) -> str:
    return f'<td class="n">{cell:,}</td>' if isinstance(cell, int) else f"<td>{escape(str(cell))}</td>"
