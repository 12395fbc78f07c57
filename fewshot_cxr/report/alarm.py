"""A text that nobody may overlook."""

from html import escape


class Alarm(str):
    """A text that a page shows white on red, in light and in dark; anywhere else it is the text that it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the text for a page, escaped: templates ask for this."""
        return f'<strong class="alarm" style="background:#b3261e;color:#ffffff;padding:0 0.3em">{escape(self)}</strong>'
