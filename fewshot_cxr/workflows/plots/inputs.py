"""What a figure is drawn from, and how it is to look."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fewshot_cxr._progress import Bar
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import Result
from fewshot_cxr.records import Records


@dataclass(frozen=True, kw_only=True, eq=False)
class PlotInputs:
    """Of these a kind of figure takes what it is drawn from; `name` is what messages call it.

    `films` are all films, or those that the embeddings are of; `before` are other embeddings of the same films.
    `best_epoch` is the one that was kept, where that is known.
    """

    name: str = "the source"
    result: Result | None = None
    history: tuple[Mapping[str, float], ...] = ()
    best_epoch: int | None = None
    films: Records | None = None
    embeddings: Embeddings | None = None
    before: Embeddings | None = None


@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """How a figure looks, and what is chosen for it; `queries` are paths of films, none: drawn by `seed`."""

    title: str = ""
    theme: str = "light"
    seed: int = 0
    method: str = "tsne"
    colour: str = "finding"
    distance: str = "euclidean"
    queries: tuple[str, ...] = ()
    cache_folder: str | Path | None = None
    progress: Bar | None = None

    @property
    def look(self) -> dict[str, str]:
        """Title and theme, as every figure takes them."""
        return {"title": self.title, "theme": self.theme}


def given_embeddings(inputs: PlotInputs) -> Embeddings:
    """Return the embeddings where they must be there.

    Raises:
        ValueError: there are none.
    """
    if inputs.embeddings is None:
        raise ValueError(f"{inputs.name} holds no embeddings; `fscxr embed` writes them")
    return inputs.embeddings
