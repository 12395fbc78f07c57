"""Films as they are, alone or framed with words around them; a sample of films of each finding."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from fewshot_cxr.visualise.style import PAGE_WIDTH, drawing
from fewshot_cxr.visualise.text import wrapped


def sample_grid_figure(rows: Mapping[str, Sequence[np.ndarray]], *, title: str = "", theme: str = "light") -> Figure:
    """Draw a row of films for each finding, its name to the left.

    Args:
        rows: finding -> images, uint8 (H, W); rows may differ in length.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no image at all; one that is no uint8 (H, W); unknown theme.

    Examples:
        >>> film = np.zeros((8, 8), dtype=np.uint8)
        >>> figure = sample_grid_figure({"normal": [film, film, film], "covid19": [film]})
        >>> len(figure.axes)  # two rows of three places, two of them empty
        6
    """
    for images in rows.values():
        check_images(images)
    n_columns = max((len(images) for images in rows.values()), default=0)
    if n_columns == 0:
        raise ValueError("rows must hold at least one image, got none")
    cell_inches = (PAGE_WIDTH - 1.4) / n_columns
    with drawing(theme, min(cell_inches, 1.6) * len(rows) + 0.5, title) as (figure, colours):
        grid = figure.subplots(len(rows), n_columns, squeeze=False)
        for line, (name, images) in zip(grid, rows.items(), strict=True):
            for axes in line:
                axes.set_axis_off()
            for axes, image in zip(line, images, strict=False):
                draw_film(axes, image)
            label = {"ha": "right", "va": "center", "color": colours.ink}
            line[0].text(-0.08, 0.5, wrapped(name, 15), transform=line[0].transAxes, **label)
    return figure


def check_images(images: Sequence[np.ndarray]) -> None:
    """Raise ValueError unless each image is a film: uint8 (H, W), with a pixel at least."""
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
            raise ValueError(f"an image must be uint8 (H, W), got {image.dtype} {image.shape}")


def draw_film(axes: Axes, image: np.ndarray) -> None:
    """Draw a film as it is: 0 black, 255 white."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)


def draw_framed_film(
    axes: Axes,
    image: np.ndarray,
    label: str,
    *,
    frame: str,
    ink: str,
    size: float = 11,
    weight: str = "normal",
    gap: float = 4,
    width: float = 2.5,
    dashes: str | tuple[float, tuple[float, ...]] = "-",
) -> None:
    """Draw a film in a frame, with words below it.

    Args:
        axes: to draw on.
        image: uint8 (H, W).
        label: the words.
        frame: its colour.
        ink: colour of the words.
        size: of the letters, in points.
        weight: of the letters, "normal" or "bold".
        gap: between film and words, in points.
        width: of the frame, in points.
        dashes: of the frame, as matplotlib takes them.
    """
    draw_film(axes, image)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=frame, linewidth=width, linestyle=dashes)
    axes.set_xlabel(label, color=ink, fontsize=size, fontweight=weight, labelpad=gap)


def film_axes(figure: Figure | SubFigure, n_films: int, n_columns: int) -> list[Axes]:
    """Return a place for each film, row by row; what is left of the last row stays empty."""
    grid = figure.subplots(-(-n_films // n_columns), n_columns, squeeze=False).ravel().tolist()
    for axes in grid[n_films:]:
        axes.set_axis_off()
    return grid[:n_films]


def shortened(name: str, n_letters: int) -> str:
    """Cut a name in its middle: its end tells films of one folder apart, its beginning says where they lie."""
    if len(name) <= n_letters:
        return name
    n_last = n_letters * 2 // 3
    return f"{name[: n_letters - n_last - 1]}…{name[len(name) - n_last :]}"


def caption_lines(text: str, width: int, *, n_lines: int = 6) -> str:
    """Break each line of a caption at `width` letters, a word longer than two such lines shortened; "…" beyond."""
    lines = [
        part
        for line in text.splitlines()
        for part in wrapped(" ".join(shortened(word, 2 * width - 2) for word in line.split()), width, 99).split("\n")
    ]
    return "\n".join(lines[:n_lines]) + "…" * (len(lines) > n_lines)
