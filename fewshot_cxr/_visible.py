"""Names are data: what a terminal would obey, or would not show, is shown as an escape."""

import re
import unicodedata

# Controls of ASCII and of Latin-1 (a terminal takes \x9b as it takes ESC [), ends of lines, marks that turn the
# direction of what follows, what has no width, and halves of surrogate pairs (bytes of a file name that are no UTF-8).
# The joiners U+200C and U+200D stay: Persian words and many emoji are written with them.
UNSEEN = "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
_UNSEEN = re.compile(UNSEEN)


def visible(text: str) -> str:
    r"""Return one line of text in which nothing acts on a terminal: a newline reads \n, an escape \x1b."""
    return _UNSEEN.sub(lambda found: escaped(found[0]), text)


def escaped(character: str) -> str:
    """Return a character as an escape: of ASCII as Python writes it, of the others as JSON does too."""
    return repr(character)[1:-1] if character < "\x7f" else f"\\u{ord(character):04x}"


def one_form(text: str) -> str:
    """Return a text in one of the Unicode forms that look alike (NFC): macOS takes the mark of an é for a letter."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
