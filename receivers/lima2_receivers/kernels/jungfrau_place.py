"""Rows of a Jungfrau's modules into rows of the image, for any pixel type: gaps, double pixels, flips."""

from __future__ import annotations

from lima2_receivers.kernels.compilation import kernel
from lima2_receivers.kernels.jungfrau_layout import Layout

COPY, SPLIT, KEEP, MASK = range(4)
_POLICIES = {"copy": COPY, "split": SPLIT, "keep": KEEP, "mask": MASK}


def geometry_numbers(layout: Layout) -> tuple[int, ...]:
    """A layout as the numbers that `place_row` takes."""
    flips = int(layout.flip in ("up_down", "both")), int(layout.flip in ("left_right", "both"))
    gaps = layout.chip_gap, *layout.module_gap
    return *layout.grid, layout.module_shape[0], layout.chip, *gaps, *flips, _POLICIES[layout.double_pixels]


@kernel()
def place_row(values, geometry, module, row, marks, spare, out):  # type: ignore[no-untyped-def]
    """Put one row of a module as read where it belongs, with the gap pixels that go with it.

    ``marks``: values that are never shared out, the last one fills gaps. ``spare``: a row of the image to work in. All
    rows of all modules together write every pixel of ``out``; no two write the same.
    """
    ny, nx, rows, chip, gap, gap_y, gap_x, up_down, left_right, policy = geometry
    height, width = out.shape
    columns = values.size
    across = columns + gap * (columns // chip - 1)
    down = rows + gap * (rows // chip - 1)
    column, line = module // ny, module % ny
    x = column * (across + gap_x)
    top = line * (down + gap_y)
    y = top + row + gap * (row // chip)
    right = gap_x if column < nx - 1 else 0
    start = width - x - across - right if left_right else x
    empty = marks[marks.size - 1]
    if row == 0 and line > 0:
        for k in range(top - gap_y, top):
            _fill(out[height - 1 - k if up_down else k, start : start + across + right], empty)
    here = out[height - 1 - y if up_down else y, start : start + across + right]
    target = spare[:across] if left_right else here[:across]
    for c in range(columns // chip):
        pixels = values[c * chip : (c + 1) * chip]
        place = target[c * (chip + gap) : c * (chip + gap) + chip]
        for j in range(chip):
            place[j] = pixels[j]
    before, after = (gap + 1) // 2, gap // 2  # gap pixels that belong to the pixels on both sides of it
    for c in range(1, columns // chip):
        end = c * (chip + gap)
        _spread(target, end - gap - 1, end - gap, before, policy, marks)
        _spread(target, end, end - after, after, policy, marks)
    first, count = y, 0  # rows between chips that this row covers as well
    if row % chip == chip - 1 and row < rows - 1:
        first, count = y + 1, before
    elif row % chip == 0 and row > 0:
        first, count = y - after, after
    if count > 0:
        for k in range(first, first + count):
            there = out[height - 1 - k if up_down else k, start : start + across + right]
            _cover(target, there, count, policy, marks, left_right, right)
        if policy == SPLIT:
            for j in range(across):
                target[j] = _rest(target[j], count + 1, marks)
        elif policy == MASK:
            _fill(target, empty)
    if left_right:
        _reverse(target, here[right:])
        _fill(here[:right], empty)
    else:
        _fill(here[across:], empty)


@kernel()
def place_rows(stack, geometry, marks, begin, end, out):  # type: ignore[no-untyped-def]
    """Assemble: put rows ``begin`` to ``end`` of the stack (all modules one after another) into the image."""
    rows = stack.shape[1]
    spare = out[0].copy()
    for k in range(begin, end):
        place_row(stack[k // rows, k % rows], geometry, k // rows, k % rows, marks, spare, out)


@kernel()
def _fill(pixels, value):  # type: ignore[no-untyped-def]
    for j in range(pixels.size):
        pixels[j] = value


@kernel()
def _reverse(pixels, target):  # type: ignore[no-untyped-def]
    last = pixels.size - 1
    for j in range(pixels.size):
        target[j] = pixels[last - j]


@kernel()
def _spread(line, pixel, first, count, policy, marks):  # type: ignore[no-untyped-def]
    """Fill the ``count`` gap pixels from ``first`` on that a wide pixel covers, and correct the pixel."""
    if count == 0:
        return
    value = line[pixel]
    if policy == SPLIT:
        line[pixel] = _rest(value, count + 1, marks)
        value = _part(value, count + 1, marks)
    elif policy != COPY:
        value = marks[marks.size - 1]
        if policy == MASK:
            line[pixel] = value
    for j in range(first, first + count):
        line[j] = value


@kernel()
def _cover(line, gap_line, count, policy, marks, left_right, right):  # type: ignore[no-untyped-def]
    """One row between chips, covered by the wide pixels of a row next to it and ``count`` - 1 more like it."""
    empty = marks[marks.size - 1]
    across = line.size
    last = across - 1
    target = gap_line[right:] if left_right else gap_line[:across]
    for j in range(across):
        value = line[last - j] if left_right else line[j]
        if policy == SPLIT:
            value = _part(value, count + 1, marks)
        elif policy != COPY:
            value = empty
        target[j] = value
    _fill(gap_line[:right] if left_right else gap_line[across:], empty)


@kernel()
def _part(value, share, marks):  # type: ignore[no-untyped-def]
    """What each gap pixel gets of a value that is shared out over ``share`` pixels."""
    for j in range(marks.size - 1):
        if value == marks[j]:
            return value
    if marks.dtype.kind == "f":
        return marks.dtype.type(value / marks.dtype.type(share))
    if value < 0:
        return marks.dtype.type(-(-value // share))
    return marks.dtype.type(value // share)


@kernel()
def _rest(value, share, marks):  # type: ignore[no-untyped-def]
    """What the pixel itself keeps: integers are shared out in whole counts, and their sum is kept."""
    part = _part(value, share, marks)
    if marks.dtype.kind == "f":
        return part
    for j in range(marks.size - 1):
        if value == marks[j]:
            return value
    return marks.dtype.type(value - part * (share - 1))
