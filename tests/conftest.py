"""What every test may rely on: one thread, no screen, no network, its own cache, real films where there are any."""

import io
import os
from pathlib import Path

import pytest
from browser import started_browser
from made_pictures import blank_pictures
from PIL import Image

# These are read when torch, matplotlib and the hub are first imported, which is after this file.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("COLUMNS", None)  # it is the width of tables
os.environ["HF_HUB_OFFLINE"] = "1"
# It would open every heavy door at `import fewshot_cxr`, which is what test_public_surface.py measures.
os.environ.pop("EAGER_IMPORT", None)


# What takes longest, longest first: it starts before all else, so that no worker is left alone with it at the end.
LONGEST = (
    "test_demo.py",
    "test_docs.py",
    "test_goldens.py",
    "test_examples.py",
    "test_projection.py",
    "test_faults.py",
    "test_patients.py",
    "test_episode_eval.py",
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """The cache of decoded films, away from the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSCXR_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory):
    """What is kept from one command to the next, away from the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def fscxr_data():
    """The folder of real films that FSCXR_DATA names."""
    place = os.environ.get("FSCXR_DATA")
    if not place:
        pytest.skip("FSCXR_DATA names no folder of real films")
    if not Path(place).is_dir():
        pytest.fail(f"FSCXR_DATA names {place}, which is no folder")
    return Path(place)


@pytest.fixture
def unpainted():
    """Figures are laid out but painted blank: for tests that look at none.

    The tests of visualise paint each kind of figure; those of the demo and the reports paint whole pages.
    """
    with blank_pictures():
        yield


@pytest.fixture
def undrawn(monkeypatch):
    """One grey pixel for each figure of a page, whose own tests draw it: a page holds a dozen.

    A test that wants the figures after all undoes it (`monkeypatch.undo()`).
    """
    buffer = io.BytesIO()
    Image.new("L", (2, 2)).save(buffer, format="png")

    def grey(cls, draw, *, alt, caption="", **looks):
        return cls(buffer.getvalue(), alt, caption)

    monkeypatch.setattr("fewshot_cxr.report.pictures.Picture.drawn", classmethod(grey))


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium. It lives no longer than a module: playwright's event loop is in the way of any other."""
    with started_browser() as found:
        yield found
