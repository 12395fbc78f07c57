"""`last.ckpt`, from which a run goes on: written straight to its place; believed where it is whole and of the run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from fewshot_cxr._checks import check_form
from fewshot_cxr._kinds import ENCODER_FILE, LAST
from fewshot_cxr.encoders import load_card
from fewshot_cxr.encoders.weight_files import check_archive
from fewshot_cxr.whole_files import whole_file

_LONGEST_REASON = 200
_RUN_CARD = {
    "training": dict,
    "data_hash": {"train": str, "val": str},
    "n_films": {"train": int, "val": int},
    "n_epochs_done": int,
}
_FORM = {
    "run_card": _RUN_CARD,
    "state_dict": dict,
    "loops": {"fit_loop": dict},
    "callbacks": {"RunKeeper": {"history": [{"epoch": float, "step": float}]}},
    "optimizer_states": [dict],
    "lr_schedulers": [dict],
}


class LastCheckpoint(TorchCheckpointIO):
    """How Lightning writes and reads `last.ckpt`: by no other folder, and not all of it in memory."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint whole or not at all."""
        with whole_file(path, n_bytes=_n_bytes(checkpoint)) as part, part.open("wb") as file:
            torch.save(checkpoint, file)  # of a path torch would write the name into the file

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Read a checkpoint; see `read_checkpoint`."""
        return read_checkpoint(Path(path))


def read_checkpoint(last: Path) -> dict[str, Any]:
    """Read a checkpoint, on the CPU; nothing that a stranger put into the file is run.

    Raises:
        ValueError: it is whole, but no checkpoint of ours.
        OSError: the file is damaged; the text says what is left.
    """
    try:
        check_archive(last)
        checkpoint: dict[str, Any] = torch.load(last, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each have their own, with no common base
        left = _left(last.parent / ENCODER_FILE)
        raise OSError(f"{last} is damaged or no checkpoint: start anew without --resume{left}") from error
    foreign = f"{last} is no checkpoint of fewshot_cxr: what it holds"
    check_form(checkpoint, _FORM, foreign)
    n_epochs, history = checkpoint["run_card"]["n_epochs_done"], checkpoint["callbacks"]["RunKeeper"]["history"]
    if len(history) != n_epochs or not checkpoint["optimizer_states"]:
        raise ValueError(f"{foreign} lacks its optimizer, or {len(history)} epochs in place of {n_epochs}")
    return checkpoint


@contextmanager
def refusing_what_does_not_fit(last: Path | None, *, has_begun: Callable[[], bool]) -> Iterator[None]:
    """Say of what goes wrong before the first step that a checkpoint does not fit its run, in one line.

    Args:
        last: the checkpoint that the run goes on from; None: none.
        has_begun: whether all of it was taken.
    """
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if last is None or has_begun():
            raise
        reason = shorten(f"{type(error).__name__}: {error}", _LONGEST_REASON, placeholder="...")
        raise ValueError(f"{last} does not fit its own run ({reason}): start anew without --resume") from error


def _left(encoder: Path) -> str:
    """Say of which epoch the encoder in a run folder is, if that is whole."""
    try:
        epoch = load_card(encoder)["best_epoch"]
    except (KeyError, OSError, ValueError):
        return ""
    return f". The best epoch before it, {epoch}, is whole, and --weights {encoder} begins with it"


def resumed_epoch(last: Path, card: dict[str, Any]) -> int:
    """Return how many whole epochs lie behind a `last.ckpt`, after checking that it is of the same run.

    Raises:
        ValueError: other settings or other films; the text names them. Or no checkpoint of ours.
        OSError: the file is damaged; the text says what is left.
    """
    before = read_checkpoint(last)["run_card"]
    differing = list(_differences(before["training"], card["training"]))
    if differing:
        raise ValueError(f"{last} was made with another {', '.join(differing)}; resume with the settings of card.json")
    if before["data_hash"] != card["data_hash"]:
        there, now = (" and ".join(f"{n} of {part}" for part, n in one["n_films"].items()) for one in (before, card))
        raise ValueError(
            f"{last} was trained on other films or another split (films: {there} there, {now} now); resume with the "
            "same --data"
        )
    return int(before["n_epochs_done"])


def check_best(folder: Path, card: dict[str, Any]) -> None:
    """Refuse to go on beside a best encoder that is damaged, or that another run left there.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of other settings or other films.
        OSError: it is damaged.
    """
    path = folder / ENCODER_FILE
    kept = load_card(path)
    if any(kept.get(name) != card[name] for name in ("training", "data_hash")):
        raise ValueError(
            f"{path} is of another run than {LAST} beside it: bring back the one of this run, or start anew without "
            "--resume"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield each setting that differs, with both values; of settings in settings those that do."""
    for name, value in now.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            yield from _differences(old, {**dict.fromkeys(old), **value})
        elif old != value:
            yield f"{name} ({old} there, {value} now)"


def _n_bytes(value: Any) -> int:
    """Return about how large the file of a checkpoint will be."""
    if isinstance(value, Tensor):
        return value.nbytes
    inner: Iterable[Any] = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return sum(map(_n_bytes, inner))
