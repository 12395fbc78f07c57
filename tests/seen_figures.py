"""What is seen of a figure: its words, and whether anything leaves it."""

from matplotlib.figure import Figure
from matplotlib.text import Text


def words(figure: Figure) -> list[str]:
    """Return every visible text of a figure, ticks included."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def assert_nothing_leaves(figure: Figure) -> None:
    """See that all that is drawn lies on the paper."""
    around, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(around.x0, around.y0) >= -0.01
    assert around.x1 <= width + 0.01
    assert around.y1 <= height + 0.01
