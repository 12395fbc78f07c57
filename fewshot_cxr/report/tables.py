"""Rows of text under column heads, and how a number and its interval are written: on a page and in a terminal alike."""

from dataclasses import dataclass

from fewshot_cxr.metrics import NUMBERS, Estimate, Interval

UNKNOWN = "unknown"  # what cannot be computed, wherever a person reads
_FORMS = {"share": (100, ".1f", " %"), "plain": (1, ".3f", ""), "points": (100, "+.1f", "")}
_FORMS |= {"signed": (1, "+.3f", ""), "gain": (1, "+.3g", ""), "short": (1, ".2f", "")}
_LEAST_P = 0.0001


def number_name(key: str) -> str:
    """Return what a number is called: `macro_f1`, `ece` or `auroc of covid19`, say."""
    kind, of, finding = key.partition(" of ")
    if kind not in NUMBERS:
        return key
    return f"{NUMBERS[kind].words}{of}{finding}" if of else NUMBERS[kind].words_overall


@dataclass(frozen=True)
class Table:
    """Rows of text under column heads: the first column names the row, the others stand to the right.

    `below` says what the rows leave open, as (name, text) pairs: why a number is undefined, say. `links` has the
    address on the page that the last cell of each row points to, "" for none.

    Raises:
        ValueError: a row is longer or shorter than the heads, or there are links for other rows.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    below: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells under {len(self.columns)} columns: {row}")
        if self.links and len(self.links) != len(self.rows):
            raise ValueError(f"{len(self.links)} links for {len(self.rows)} rows")


def number_text(value: float | None, form: str = "share") -> str:
    """Return a number in a form: share '81.2 %', plain '0.812', points '+18.7', short '0.81', signed '+0.187', gain."""
    factor, digits, unit = _FORMS[form]
    return UNKNOWN if value is None else f"{factor * value:{digits}}{unit}"


def interval_text(interval: Interval | None, form: str = "share") -> str:
    """Return an interval in a form of `number_text`, as '80.9 to 81.6 %'."""
    factor, digits, unit = _FORMS[form]
    return UNKNOWN if interval is None else f"{' to '.join(f'{factor * end:{digits}}' for end in interval)}{unit}"


def value_text(estimate: Estimate, form: str = "share") -> str:
    """Return the mean of an estimate in a form of `number_text`."""
    return number_text(estimate.mean, form)


def p_text(p_value: float | None, *, short_from: float = 1) -> str:
    """Return a p-value with four decimals, or with two from `short_from` on."""
    if p_value is None:
        return UNKNOWN
    return f"< {_LEAST_P:.4f}" if p_value < _LEAST_P else f"{p_value:.4f}" if p_value < short_from else f"{p_value:.2f}"


def reason_text(estimate: Estimate) -> str:
    """Return why a number or its interval is unknown; the table says "unknown" itself."""
    return (estimate.reason or "").removeprefix("undefined: ")


def shown_interval(estimate: Estimate) -> Interval | None:
    """Return the interval to show where there is room for one: over patients or, where there is none, over episodes."""
    return estimate.ci95_patients or estimate.ci95_episodes


def two_lines(estimate: Estimate, interval: Interval | None) -> str:
    """Return a share in per cent above its interval, as '81.2' and '[79-84]', for tables of many numbers."""
    if estimate.mean is None:
        return UNKNOWN
    ends = UNKNOWN if interval is None else f"[{100 * interval[0]:.0f}-{100 * interval[1]:.0f}]"
    return f"{100 * estimate.mean:.1f}\n{ends}"
