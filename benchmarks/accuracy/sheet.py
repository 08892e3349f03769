"""Contact sheets: a row a defect, clean at the left and the strongest at the right, each with its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.defect import Pictures
from benchmarks.accuracy.results import Measured

WIDTH_PX = 200
HEIGHT_PX = 112
LINE_PX = 15
MOST_BYTES = 95_000
QUALITIES = (85, 75, 65, 50)
SHRINK = 0.85
GREEN, RED, GRAY = (60, 150, 40), (190, 40, 30), (110, 110, 110)
Picture = npt.NDArray[np.uint8]


def thumb(picture: Picture) -> bytes:
    """A small JPEG of an RGB picture, fitted into WIDTH_PX x HEIGHT_PX on gray."""
    import cv2

    height, width = picture.shape[:2]
    scale = min(WIDTH_PX / width, HEIGHT_PX / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    cell = np.full((HEIGHT_PX, WIDTH_PX, 3), 230, np.uint8)
    y, x = (HEIGHT_PX - size[1]) // 2, (WIDTH_PX - size[0]) // 2
    cell[y : y + size[1], x : x + size[0]] = small
    return _jpeg(cell, 92)


def _jpeg(picture: Pictures, quality: int) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("the picture could not be encoded")
    return bytes(data)


def cell(data: bytes, text: str, colour: tuple[int, int, int]) -> Picture:
    """A thumb with a line of text under it."""
    import cv2

    picture = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))
    foot = np.full((LINE_PX, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(foot, text, (3, LINE_PX - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.36, colour, 1, cv2.LINE_AA)
    return np.vstack([picture, foot]).astype(np.uint8)


def title(text: str, width: int) -> Picture:
    import cv2

    line = np.full((LINE_PX + 4, width, 3), 245, np.uint8)
    cv2.putText(line, text, (4, LINE_PX - 1), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return line


def grid(rows: Sequence[tuple[str, Sequence[Picture]]]) -> Picture:
    """Titled rows of cells under each other, white where a row is short."""
    columns = max(len(cells) for _, cells in rows)
    height, width = rows[0][1][0].shape[:2]
    blank = np.full((height, width, 3), 255, np.uint8)
    bands = []
    for text, cells in rows:
        bands.append(title(text, columns * width))
        bands.append(np.hstack([*cells, *[blank] * (columns - len(cells))]))
    return np.vstack(bands).astype(np.uint8)


def save(path: Path, picture: Picture) -> None:
    """Writes a JPEG of at most MOST_BYTES, at the best of QUALITIES that gives it; a large one is made smaller."""
    import cv2

    while True:
        for quality in QUALITIES:
            data = _jpeg(picture, quality)
            if len(data) <= MOST_BYTES:
                path.write_bytes(data)
                return
        height, width = picture.shape[:2]
        smaller = (round(width * SHRINK), round(height * SHRINK))
        picture = cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA).astype(np.uint8)


def write(
    path: Path,
    measured: Sequence[Measured],
    thumbs: Mapping[tuple[str, str, str], bytes],
    shown: Mapping[tuple[str, str], str],
) -> None:
    """One family's sheet; `thumbs` by family, defect and strength, `shown` the clip of each defect."""
    rows = []
    for one in measured:
        clip = shown.get((one.family, one.name), "")
        cells = []
        for strength, values in (("", one.clean), *one.strengths.items()):
            data = thumbs.get((one.family, one.name, strength))
            if data is None or clip not in values:
                continue
            value = values[clip]
            colour = GRAY if value is None else GREEN if one.found(value) == bool(strength) else RED
            text = "null" if value is None else f"{value:.3g}"
            cells.append(cell(data, f"{strength or 'clean'}: {text}", colour))
        if cells:
            rows.append((f"{one.name} ({one.column})", cells))
    if rows:
        save(path, grid(rows))
