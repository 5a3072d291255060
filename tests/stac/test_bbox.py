"""Bounding boxes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacflask.errors import BadDocument
from stacflask.stac.bbox import around, check_bbox, covers, longitude_ranges, widen


@pytest.mark.parametrize(
    "bbox",
    [
        [-180, -90, 180, 90],
        [1.5, 2.5, 1.5, 2.5],
        [170, -10, -170, 10],
        [170, -10, 190, 10],
        [0, 0, -12.5, 1, 1, 8000],
        [170, 0, 0, -170, 1, 0],
    ],
)
def test_valid_boxes_are_accepted(bbox: Any) -> None:
    """Boxes of four or six numbers, a point, a box across the antimeridian, and a box beyond 180 degrees are valid."""
    check_bbox(bbox)


@pytest.mark.parametrize(
    ("bbox", "pointer"),
    [
        (None, ""),
        ("0,0,1,1", ""),
        ([], ""),
        ([0, 0, 1], ""),
        ([0, 0, 1, 1, 2], ""),
        ([0, 0, 1, 1, 2, 2, 3], ""),
        ([0, 0, 1, "1"], "/3"),
        ([0, 0, 1, None], "/3"),
        ([True, 0, 1, 1], "/0"),
        ([0, 0, float("inf"), 1], "/2"),
        ([0, 0, float("nan"), 1], "/2"),
        ([0, 0, 0, 1, 1, float("nan")], "/5"),
        ([0, 0, 0, 1, 1, 10**400], "/5"),
        ([0, -91, 1, 1], "/1"),
        ([-361, 0, 1, 1], "/0"),
        ([0, 1, 1, 0], ""),
        ([0, 0, 5, 1, 1, 4], ""),
    ],
)
def test_an_invalid_box_is_refused_with_a_pointer(bbox: Any, pointer: Any) -> None:
    """The pointer leads to the invalid number, or to the box if no single number is invalid."""
    with pytest.raises(BadDocument) as caught:
        check_bbox(bbox, "/bbox")
    assert caught.value.pointer == "/bbox" + pointer


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([10, 0, 20, 1], [(10, 20)]),
        ([10, 0, 5, 20, 1, 6], [(10, 20)]),
        ([170, 0, -170, 1], [(170, 180), (-180, -170)]),
        ([170, 0, 190, 1], [(170, 180), (-180, -170)]),
        ([-190, 0, -170, 1], [(170, 180), (-180, -170)]),
        ([185, 0, 190, 1], [(-175, -170)]),
        ([0, 0, 360, 1], [(-180, 180)]),
        ([-180, 0, 180, 1], [(-180, 180)]),
        ([180, 0, 180, 1], [(180, 180)]),
    ],
)
def test_longitudes_are_given_as_plain_spans(bbox: Any, expected: Any) -> None:
    """This holds for both forms of such a box: west > east, and longitudes beyond 180 degrees."""
    assert longitude_ranges(bbox) == expected


@pytest.mark.parametrize(
    ("extent", "item", "expected"),
    [
        ([0, 0, 10, 10], [2, 2, 3, 3], [0, 0, 10, 10]),
        ([0, 0, 10, 10], [-5, 2, 3, 20], [-5, 0, 10, 20]),
        ([170, 0, 175, 10], [-175, 0, -170, 10], [170, 0, -170, 10]),
        ([170, 0, -170, 10], [-175, 0, -160, 10], [170, 0, -160, 10]),
        ([170, 0, -170, 10], [160, 0, 165, 10], [160, 0, -170, 10]),
        ([170, 0, 175, 10], [175, 0, 185, 10], [170, 0, -175, 10]),
        ([170, 0, 180, 10], [-180, 0, -170, 10], [170, 0, -170, 10]),
        ([-180, -90, 180, 90], [170, 0, -170, 10], [-180, -90, 180, 90]),
        ([-120, 0, 100, 10], [90, 0, -110, 10], [-180, 0, 180, 10]),
        ([-125, 20, -65, 50], [140, 20, 145, 50], [140, 20, -65, 50]),
        ([-125, 20, 40, 50], [100, 20, 145, 50], [-125, 20, 145, 50]),
        ([0, 0, 5, 10, 10, 6], [2, 2, 9, 3, 3, 12], [0, 0, 5, 10, 10, 12]),
        ([0, 0, 5, 10, 10, 6], [2, 2, 3, 3], [0, 0, 0, 10, 10, 6]),
        ([0, 0, 10, 10], [2, 2, 9, 3, 30, 12], [0, 0, 10, 30]),
        ([0, 0, 10, 10], [2, 2, 9, 3, 3, 12], [0, 0, 10, 10]),
    ],
)
def test_widen_returns_the_smallest_box_around_both(extent: Any, item: Any, expected: Any) -> None:
    """The box crosses the antimeridian if it is then smaller, and keeps its number of values."""
    assert widen(extent, item) == expected


def test_the_box_around_many_boxes_leaves_out_the_widest_gap() -> None:
    """The box around boxes on both sides of the antimeridian has the smallest width; their order does not matter."""
    boxes = [[177, -20, 179, -15], [-150, -18, -149, -17], [-176, -22, -175, -21], [165, -23, 168, -19]]
    assert around(boxes) == around(reversed(boxes)) == [165, -23, -149, -15]


latitudes = st.tuples(st.integers(-90, 90), st.integers(-90, 90)).map(sorted)
heights = st.tuples(st.integers(-99, 99), st.integers(-99, 99)).map(sorted)
longitudes = st.integers(-180, 180)
flat = st.builds(lambda w, e, y: [w, y[0], e, y[1]], longitudes, longitudes, latitudes)
tall = st.builds(lambda w, e, y, z: [w, y[0], z[0], e, y[1], z[1]], longitudes, longitudes, latitudes, heights)


@given(flat | tall, flat | tall)
def test_a_widened_extent_is_valid_and_covers_both(extent: Any, item: Any) -> None:
    """A second call with the same item changes nothing."""
    wide = widen(extent, item)
    check_bbox(wide)
    assert covers(wide, extent)
    assert covers(wide, item)
    assert widen(wide, item) == wide


@given(st.lists(flat, min_size=1, max_size=6))
def test_the_box_around_many_boxes_covers_each_of_them(boxes: Any) -> None:
    """The gap that is left out contains none of them."""
    box = around(boxes)
    assert all(covers(box, inner) for inner in boxes)
