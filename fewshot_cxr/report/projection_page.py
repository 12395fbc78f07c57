"""An interactive page of a projection: one file that pans, zooms, colours and shows the film under the pointer."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from fewshot_cxr.report.html import Page, templates
from fewshot_cxr.report.pictures import data_uri, image_bytes
from fewshot_cxr.visualise.groups import MARKS, group_names, largest_groups
from fewshot_cxr.visualise.style import THEMES, looks_of

_UNIT = 65535
_BLOCK_PX = 8  # JPEG works on such squares; a film that shares one with its neighbour would bleed into it
_WIDEST_PX = 16384  # a larger picture is not decoded by every browser
_QUALITY = 75


def projection_page(
    points: np.ndarray,
    *,
    groups: Mapping[str, Sequence[str]],
    paths: Sequence[str],
    thumbnails: np.ndarray | None,
    title: str,
    lead: Sequence[str] = (),
    before: np.ndarray | None = None,
) -> str:
    """Return the page as HTML; it needs no network and opens from disk.

    Args:
        points: one for each film, float (N, 2), finite.
        groups: kind (finding, source, patient, split) to the name of each film in it; the first kind is shown first.
            They look as in `visualise.projection_figure`: the 15 largest groups of a kind have a colour and a shape
            each, in order of their names, the rest are one, grey.
        paths: of the films; shown and searched, never opened.
        thumbnails: uint8 (N, side, side), 40 pixels will do; None: the page shows no film.
        title: of the page.
        lead: sentences below it.
        before: points of the same films before training, float (N, 2); the reader may then change between the two.

    Raises:
        ValueError: no film, no group, other lengths, a point that is not finite, thumbnails that are too large.
    """
    n_films = len(paths)
    if not n_films or not groups:
        raise ValueError(f"a projection needs films and at least one kind of group, got {n_films} and {len(groups)}")
    for kind, names in groups.items():
        if len(names) != n_films:
            raise ValueError(f"groups[{kind!r}] must name a group for each of {n_films} films, got {len(names)}")
    layouts = [{"name": "after training", **_layout(points, n_films, "points")}]
    if before is not None:
        layouts.insert(0, {"name": "before training", **_layout(before, n_films, "before")})
    kinds = [_kind(kind, group_names(names, n_films)) for kind, names in groups.items()]
    data = {
        "paths": list(paths),
        "layouts": layouts,
        "kinds": kinds,
        "themes": _themes(max(kind["n_named"] for kind in kinds)),
        "atlas": None if thumbnails is None else _atlas(thumbnails, n_films),
    }
    found = templates()
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    # The policy of the page runs this one script and nothing that a name may smuggle in.
    script = found.get_template("projection.js").render()
    return found.get_template("projection.html").render(
        page=Page(title, lead=tuple(lead)),
        data=data,
        n_films=f"{n_films:,}",
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _layout(points: np.ndarray, n_films: int, name: str) -> dict[str, Any]:
    """Return points as whole numbers in a square, the longer side of which they fill; x and y keep one scale."""
    points = np.asarray(points, dtype=np.float64)
    if points.shape != (n_films, 2):
        raise ValueError(f"{name} must have shape ({n_films}, 2), one row for each path, got {points.shape}")
    n_wrong = int((~np.isfinite(points)).any(axis=1).sum())
    if n_wrong:
        raise ValueError(f"{name} must be finite, got {n_wrong} rows that are not")
    low, high = points.min(axis=0), points.max(axis=0)
    span = float((high - low).max()) or 1.0
    whole = np.rint(_UNIT * ((points - (low + high) / 2) / span + 0.5)).astype(int)
    span_x, span_y = (whole.max(axis=0) - whole.min(axis=0)).tolist()
    return {"x": whole[:, 0].tolist(), "y": whole[:, 1].tolist(), "span_x": span_x, "span_y": span_y}


def _kind(kind: str, groups: Sequence[str]) -> dict[str, Any]:
    """Return the names of the groups, those with a look of their own first, and which of them each film is in."""
    named = largest_groups(groups)
    code_of = {name: code for code, name in enumerate(dict.fromkeys([*named, *sorted(set(groups))]))}
    codes = [code_of[name] for name in groups]
    return {"name": kind, "names": list(code_of), "n_named": len(named), "codes": codes}


def _themes(n_groups: int) -> dict[str, Any]:
    """Return by theme the (colour, marker) of each group, of the rest, and the colour of an edge between points."""
    return {
        name: {"looks": looks_of(colours, MARKS, n_groups), "rest": (colours.quiet, "."), "edge": colours.paper}
        for name, colours in THEMES.items()
    }


def _atlas(thumbnails: np.ndarray, n_films: int) -> dict[str, Any]:
    """Return all thumbnails as one JPEG, row by row, and how to find one in it."""
    if thumbnails.dtype != np.uint8 or thumbnails.ndim != 3 or thumbnails.shape[1] != thumbnails.shape[2]:
        raise ValueError(f"thumbnails must be uint8 (N, side, side), got {thumbnails.dtype} {thumbnails.shape}")
    if len(thumbnails) != n_films:
        raise ValueError(f"thumbnails must be one for each of {n_films} paths, got {len(thumbnails)}")
    side = thumbnails.shape[1]
    cell = math.ceil(side / _BLOCK_PX) * _BLOCK_PX
    n_columns = math.ceil(math.sqrt(n_films))
    n_rows = math.ceil(n_films / n_columns)
    if n_columns * cell > _WIDEST_PX:
        raise ValueError(
            f"{n_films} thumbnails of {side} px make a picture {n_columns * cell} px wide, browsers take {_WIDEST_PX}; "
            "make them smaller or pass None"
        )
    tiles = np.zeros((n_rows * n_columns, cell, cell), dtype=np.uint8)
    tiles[:n_films] = np.pad(thumbnails, ((0, 0), (0, cell - side), (0, cell - side)), mode="edge")
    sheet = tiles.reshape(n_rows, n_columns, cell, cell).swapaxes(1, 2).reshape(n_rows * cell, n_columns * cell)
    image = image_bytes(Image.fromarray(sheet), quality=_QUALITY)
    return {"uri": data_uri(image), "columns": n_columns, "cell": cell, "film": side}
