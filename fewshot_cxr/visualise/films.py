"""A sample of films of each finding."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from fewshot_cxr.visualise.style import PAGE_WIDTH, Figure, drawing, put_title, wrapped


def sample_grid_figure(rows: Mapping[str, Sequence[np.ndarray]], *, title: str = "", theme: str = "light") -> Figure:
    """Draw a row of films for each finding, its name to the left.

    Args:
        rows: finding -> images, uint8 (H, W); rows may differ in length.
        title: above the figure.
        theme: "light" or "dark".

    Raises:
        ValueError: no image at all; one that is no uint8 (H, W); unknown theme.
    """
    for images in rows.values():
        check_images(images)
    n_columns = max((len(images) for images in rows.values()), default=0)
    if n_columns == 0:
        raise ValueError("rows must hold at least one image, got none")
    cell_inches = (PAGE_WIDTH - 1.4) / n_columns
    with drawing(theme, PAGE_WIDTH, min(cell_inches, 1.6) * len(rows) + 0.5) as (figure, colours):
        grid = figure.subplots(len(rows), n_columns, squeeze=False)
        for line, (name, images) in zip(grid, rows.items(), strict=True):
            for axes in line:
                axes.set_axis_off()
            for axes, image in zip(line, images, strict=False):
                draw_film(axes, image)
            label = {"ha": "right", "va": "center", "color": colours.ink}
            line[0].text(-0.08, 0.5, wrapped(name, 15), transform=line[0].transAxes, **label)
        put_title(figure, title)
    return figure


def check_images(images: Sequence[np.ndarray]) -> None:
    """Raise ValueError unless each image is a film: uint8 (H, W), with a pixel at least."""
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
            raise ValueError(f"an image must be uint8 (H, W), got {image.dtype} {image.shape}")


def draw_film(axes: Axes, image: np.ndarray) -> None:
    """Draw a film as it is: 0 black, 255 white."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
