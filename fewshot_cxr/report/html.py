"""One self-contained page: no network, no script, every text escaped."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from fewshot_cxr.report.pictures import Picture, data_uri
from fewshot_cxr.report.tables import Table

_MOST_WITHOUT_CONTENTS = 5  # sections; a page of more begins with links to them
_LONGEST_FIGURES = 24  # letters; a longer cell is a text, and its lines may break


@dataclass(frozen=True)
class Headline:
    """One big number of a page, what it is, and how sure it is."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Its heading and, in this order, paragraphs, pictures, a table, further tables with their `below`, facts as
    (name, text) pairs. A gallery shows its pictures side by side, small. What is `folded` is a click away, below its
    heading; the first of it lies open where the section has nothing else.
    """

    heading: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    table: Table | None = None
    facts: tuple[tuple[str, str], ...] = ()
    is_gallery: bool = False
    tables: tuple[Table, ...] = ()
    folded: tuple["Section", ...] = ()

    @property
    def is_bare(self) -> bool:
        """Whether it holds nothing but what is folded."""
        return not (self.paragraphs or self.pictures or self.table or self.facts or self.tables)

    def parts(self) -> Iterator["Section"]:
        """Yield the section and all that is folded in it, at any depth."""
        yield self
        for part in self.folded:
            yield from part.parts()


@dataclass(frozen=True)
class Page:
    """What a page says: what was asked, the answer in numbers, what to beware of, and the sections.

    `alarms` stand before the numbers, white on red: what makes them worthless for most purposes. Of `cautions` the
    first, the gravest, is seen, and the others are a click away.
    """

    title: str
    lead: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    headlines: tuple[Headline, ...] = ()
    cautions: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()


def section_ids(sections: Sequence[Section], prefix: str = "section") -> dict[str, str]:
    """Return by heading the id that the templates give to each section and to what is folded in it."""
    ids: dict[str, str] = {}
    for number, section in enumerate(sections, start=1):
        own = f"{prefix}-{number}"
        ids.setdefault(section.heading, own)
        ids = section_ids(section.folded, f"{own}-part") | ids
    return ids


def render_page(page: Page) -> str:
    """Return the page as HTML; the same page gives the same text.

    It reads in light and dark, on paper and on a telephone. Texts are data: a finding called `<b>` is shown as `<b>`.
    """
    return templates().get_template("page.html").render(page=page, most_without_contents=_MOST_WITHOUT_CONTENTS)


def templates() -> Environment:
    """Return the templates of the pages, every text of which is escaped."""
    # Made anew for each page: that costs milliseconds and leaves no state behind.
    found = Environment(
        loader=PackageLoader("fewshot_cxr.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["data_uri"] = data_uri
    found.tests["figures"] = _is_figures
    return found


def _is_figures(cell: str) -> bool:
    """Tell whether a cell holds a number or an interval, which no line may break."""
    return all(len(line) <= _LONGEST_FIGURES for line in cell.split("\n")) and bool(re.match(r"\s*[-+<>=~[(]*\d", cell))
