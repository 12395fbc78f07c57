"""No result depends on what the clock says: dates that are shown, names of logs and stamps of files alone do."""

import ast
import datetime
import os
import time
from pathlib import Path

import numpy as np
import pytest
from made_banks import KNOWN, N_EXEMPLARS, lay_bank_films
from made_encoders import settled_encoder
from PIL import Image

from fewshot_cxr import ImageSpec, SiameseTrainer, embed
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.storage import tensor_hash

PACKAGE = Path(__file__).parents[1] / "fewshot_cxr"
READS_THE_CLOCK = {
    "_sole_writer.py": "since when another writes, in words",
    "cli/failures.py": "the name of a traceback's file",
    "data/film_files.py": "stamps of files: equal or not, never earlier or later",
    "data/packs.py": "stamps of files: equal or not, never earlier or later",
    "data/readers/manifest.py": "which of many remembered folders is forgotten first",
    "engines/decoded.py": "whether a film was changed after its run began, which then ends",
    "engines/places.py": "stamps of files: equal or not, never earlier or later",
    "engines/plan.py": "when a run began",
    "inference/bank/calibrating.py": "the date of a calibration, which is shown",
    "inference/kept_features.py": "whose features nobody asked for in thirty days: they are found anew",
    "listen/objects.py": "when an object for a PACS was made",
    "serve/changes.py": "when a bank was changed, which is shown; the order is that of the log",
    "serve/keeper.py": "stamps of files: equal or not, never earlier or later",
    "training/runner.py": "the times of an event file, which is never read back",
    "workflows/run_names.py": "the date in a run's name",
}
READINGS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today", "datetime.today"}
STAMPS = {f"st_{what}{unit}" for what in ("mtime", "ctime", "atime", "birthtime") for unit in ("", "_ns")}
STAMPS |= {"getmtime", "getctime", "getatime"}
YEARS = 365 * 86400


def reads_the_clock(source):
    """Whether a module asks what time it is, or when a file was written; a duration is measured by other clocks."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            said = ast.unparse(node)
            if node.attr in STAMPS or any(said == one or said.endswith(f".{one}") for one in READINGS):
                return True
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "time"
            and {"time", "time_ns"} & {one.name for one in node.names}
        ):
            return True
    return False


def test_who_asks_for_the_time_is_known():
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if reads_the_clock(file.read_text(encoding="utf-8"))
    }
    assert found == set(READS_THE_CLOCK)


def move_clock(monkeypatch, folder, seconds):
    """Set the clock of this process, and say that every file of a folder was written then."""
    real = time.time() if not hasattr(time.time, "real") else time.time.real()

    def moved():
        return real + seconds

    moved.real = lambda: real
    monkeypatch.setattr(time, "time", moved)
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * moved()))

    class Moved(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(moved(), tz)

    monkeypatch.setattr(datetime, "datetime", Moved)
    for file in folder.rglob("*"):
        os.utime(file, (moved(), moved()))


def journey(folder, move):
    """Cache, train, stop, go on, build a bank and ask it; the clock is moved between the steps."""
    films = lay_bank_films(folder / "films", n_known=4, n_new=2)
    known = films.where(lambda film: film.finding in KNOWN)
    settings = {"encoder": "resnet9", "encoder_options": {"width": 4}, "image_spec": ImageSpec(size_px=32)}
    settings |= {"n_epochs": 3, "batch_size": 12, "val_n_shot": 1, "val_n_query": 1, "val_n_episodes": 10}
    SiameseTrainer(**settings, max_minutes=1e-6).fit(known, out=folder / "run", progress=None)
    move()
    trained = SiameseTrainer(**settings).fit(known, out=folder / "run", resume=True, progress=None)
    embeddings = embed(trained.encoder, films, cache_folder=folder / "cache", progress=None).vectors
    move()
    again = embed(trained.encoder, films, cache_folder=folder / "cache", progress=None).vectors
    np.testing.assert_array_equal(embeddings, again)
    SupportBank.build(trained.encoder, known, n_exemplars=min(N_EXEMPLARS, 4)).save(folder / "a.bank")
    move()
    bank = SupportBank.load(folder / "a.bank", trained.encoder)
    answers = [(one.finding, one.reason, one.distances) for one in bank.predict([films.file(film) for film in films])]
    return tensor_hash(trained.encoder.state_dict()), [row["loss"] for row in trained.history], embeddings, answers


@pytest.mark.slow
def test_a_clock_set_back_or_forward_changes_no_result(tmp_path, monkeypatch):
    monkeypatch.setenv("FSCXR_CACHE", str(tmp_path / "own"))
    found = []
    for name, moves in {"steady": (0, 0, 0), "moved": (-30 * YEARS, 20 * YEARS, -3600)}.items():
        (tmp_path / name).mkdir()
        with monkeypatch.context() as clock:
            ahead = iter(moves)
            move = lambda: move_clock(clock, tmp_path / name, next(ahead))  # noqa: E731, B023 - called within the loop
            found.append(journey(tmp_path / name, move if any(moves) else lambda: None))
    steady, moved = found
    assert steady[:2] == moved[:2]
    np.testing.assert_array_equal(steady[2], moved[2])
    assert steady[3] == moved[3]


def test_a_film_that_changed_while_the_clock_was_set_back_is_decoded_anew(tmp_path):
    network = settled_encoder("resnet9", size_px=32, width=4)
    alone = {"batch_size": 1, "progress": None}  # beside other films it would be rounded otherwise
    films, cache = lay_bank_films(tmp_path / "films", n_known=2, n_new=1), tmp_path / "cache"
    before = embed(network, films, cache_folder=cache, **alone).vectors
    file = films.file(films[0])
    written, pixels = file.stat(), 255 - np.asarray(Image.open(file))
    for stamp in (0, written.st_mtime_ns - 10**15, written.st_mtime_ns):  # long ago, earlier, and the same as before
        Image.fromarray(pixels).save(file)
        os.utime(file, ns=(stamp, stamp))
        found = embed(network, films, cache_folder=cache, **alone).vectors
        np.testing.assert_array_equal(found, embed(network, films, cache_folder=tmp_path / f"{stamp}", **alone).vectors)
        assert (found[0] != before[0]).any()
        np.testing.assert_array_equal(found[1:], before[1:])
        before, pixels = found, np.roll(pixels, 7, axis=0)
