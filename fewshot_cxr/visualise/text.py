"""How shares, counts and long names are written, in figures and in the tables beside them."""

import re


def percent(share: float) -> str:
    """Return 0.8123 as '81.2 %'."""
    return f"{100 * share:.1f} %"


def films_text(number: int) -> str:
    """Return 1,200 as '1,200 films'."""
    return f"{number:,} film{'s' * (number != 1)}"


def wrapped(name: str, width: int = 16, n_lines: int = 4) -> str:
    """Break a name after `_`, `-` or a space, and inside long words; "…" stands for what passes n_lines."""
    parts = re.findall(rf"[^_\- ]{{1,{width - 1}}}[_\- ]?|[_\- ]", " ".join(name.split()))
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines[:n_lines]) + "…" * (len(lines) > n_lines)
