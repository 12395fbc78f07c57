"""A reporting checklist (CLAIM, TRIPOD+AI), filled with what a page knows; the rest is left to people."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby

from fewshot_cxr._checks import lookup
from fewshot_cxr.report.checklist_facts import Fact
from fewshot_cxr.report.html import Section, section_ids
from fewshot_cxr.report.tables import Table

CHECKLISTS = {"claim": "claim.toml", "tripod-ai": "tripod-ai.toml"}
YOURS = "for you to write"


@dataclass(frozen=True)
class Item:
    """What a checklist asks: its own number, the part of a paper, the question in our words, which facts answer it."""

    number: str
    part: str
    asks: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Checklist:
    """A checklist, and where its own wording stands."""

    name: str
    source: str
    items: tuple[Item, ...]


def read_checklist(name: str) -> Checklist:
    """Read a checklist.

    Raises:
        ValueError: an unknown name.
    """
    file = lookup(CHECKLISTS, name, what="checklist")
    plain = tomllib.loads(files("fewshot_cxr.report").joinpath("checklists", file).read_text("utf-8"))
    items = (Item(**{**item, "facts": tuple(item["facts"])}) for item in plain["item"])
    return Checklist(plain["name"], plain["source"], tuple(items))


def checklist_section(name: str, facts: dict[str, list[Fact]], sections: Sequence[Section]) -> Section:
    """Return a checklist as the last section of a page.

    Args:
        name: in CHECKLISTS.
        facts: what is known, by key.
        sections: those before it, which its answers point to.

    Raises:
        ValueError: an unknown name.
    """
    checklist, places = read_checklist(name), section_ids(sections)
    n_known = sum(any(key in facts for key in item.facts) for item in checklist.items)
    told = (
        f"{n_known} of {len(checklist.items)} items hold what the files of this page know; the others are marked "
        f"\u201c{YOURS}\u201d. What is filled in is a fact, and no judgement whether it is enough.",
        f"The numbers are the checklist's own, the words ours: read the original first ({checklist.source}).",
    )
    tables = tuple(
        _table(part, list(items), facts, places) for part, items in groupby(checklist.items, lambda item: item.part)
    )
    return Section(f"Checklist: {checklist.name}", told, tables=tables)


def _table(part: str, items: Sequence[Item], facts: dict[str, list[Fact]], places: dict[str, str]) -> Table:
    rows, links = [], []
    for item in items:
        known = [fact for key in item.facts for fact in facts.get(key, ())]
        rows.append((item.number, item.asks, "; ".join(fact.text for fact in known) or YOURS))
        links.append(next((f"#{places[fact.heading]}" for fact in known if fact.heading in places), ""))
    return Table(("item", "what it asks", "answer"), tuple(rows), part, links=tuple(links))
