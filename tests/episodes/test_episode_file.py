"""Episodes that are saved and replayed on other rows of the same films."""

import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeBlock, Episodes, SavedEpisodes, save_episodes
from fewshot_cxr.episodes.file_header import KIND
from fewshot_cxr.storage import load_tensors, save_tensors

NAMES = ("a", "b", "c", "d")


def make_films(seed=0, n=120, n_patients=70, names=NAMES):
    draw = np.random.default_rng(seed)
    return Embeddings(
        draw.normal(size=(n, 3)),
        draw.integers(0, len(names), n),
        draw.integers(0, n_patients, n),
        class_names=names,
        paths=[f"folder/film{i}.png" for i in range(n)],
    )


def again(films, rows, class_names=None, **changes):
    """The films at `rows`, named by finding, so that the order of the class names may be another."""
    values = {
        "vectors": films.vectors[rows],
        "class_ids": [films.class_names[films.class_ids[row]] for row in rows],
        "patient_ids": [f"patient {films.patient_ids[row]}" for row in rows],
        "class_names": class_names or films.class_names,
        "paths": None if films.paths is None else [films.paths[row] for row in rows],
    }
    return Embeddings(**{**values, **changes})


def drawn(films, **settings):
    return Episodes.draw(films, **{"n_way": 3, "n_shot": 2, "n_query": 4, "n_episodes": 50, "seed": 1, **settings})


def as_films(films, block):
    """Per episode, finding -> (support paths, query paths) and the outside paths: a value free of row numbers."""

    def named(rows):
        return [films.paths[row] if films.paths else row for row in rows.tolist() if row >= 0]

    outside = [None] * len(block) if block.outside is None else [sorted(named(rows)) for rows in block.outside]
    return [
        (
            {
                films.class_names[class_id]: (named(support), named(query))
                for class_id, support, query in zip(*sides, strict=True)
            },
            outside[episode],
        )
        for episode, sides in enumerate(zip(block.class_ids, block.support, block.query, strict=True))
    ]


@dataclass(frozen=True)
class Listed:
    """Episodes written down one by one: (class ids, support, query) of rows, of any length."""

    films: Embeddings
    items: tuple
    outside: tuple = ()
    hash: str = "0123"
    notes: tuple = ("by hand",)
    overlap: bool = False

    @property
    def class_names(self):
        return self.films.class_names

    @property
    def n_episodes(self):
        return len(self.items)

    def to_json(self):
        return {"seed": 7, "allow_patient_overlap": self.overlap}

    def blocks(self, size=None):
        for first, (class_ids, support, query) in enumerate(self.items):
            outside = np.array([self.outside[first]]) if self.outside else None
            yield EpisodeBlock(first, np.array([class_ids]), padded(support), padded(query), outside)


def padded(ways):
    widest = max(map(len, ways))
    return np.array([[list(way) + [-1] * (widest - len(way)) for way in ways]])


SIX = Embeddings(np.eye(6), [0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 4, 5], ["a", "b"], paths=list("uvwxyz"))
BY_HAND = Listed(SIX, (([0, 1], [[0], [3, 4]], [[1, 2], [5]]), ([0, 1], [[1], [3]], [[2], [4]])))


def test_what_is_saved_is_what_is_replayed(tmp_path):
    films = make_films()
    episodes = drawn(films)
    seen = []
    save_episodes(episodes, films, tmp_path / "deep" / "e.safetensors", progress=lambda *done: seen.append(done))
    saved = SavedEpisodes.load(tmp_path / "deep" / "e.safetensors", films)
    assert seen[-1] == (50, 50)
    for name in ("hash", "n_way", "n_episodes", "seed", "class_names", "notes"):
        assert getattr(saved, name) == getattr(episodes, name), name
    assert saved.to_json() == episodes.to_json()
    expected = episodes.block(0, 50)
    for size in (None, 7):
        blocks = list(saved.blocks(size))
        assert [block.first for block in blocks] == list(range(0, 50, size or 50))
        for name in ("class_ids", "support", "query"):
            rows = np.concatenate([getattr(block, name) for block in blocks])
            assert rows.dtype == np.int64
            assert np.array_equal(rows, getattr(expected, name))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["e.safetensors"]


def test_shuffled_rows_more_films_and_other_class_names_change_nothing(tmp_path):
    films = make_films(n=160)
    saved_films = again(films, np.arange(120))
    episodes = drawn(saved_films, n_way=2, never=["c"])
    save_episodes(episodes, saved_films, tmp_path / "e", progress=None)
    expected = as_films(saved_films, episodes.block(0, 50))
    assert expected[0][1]
    for names in (NAMES, ("d", "new", "b", "c", "a")):
        here = again(films, np.random.default_rng(1).permutation(160), class_names=names)
        saved = SavedEpisodes.load(tmp_path / "e", here)
        block = saved.block(0, 50)
        assert as_films(here, block) == expected
        assert (np.diff(block.class_ids, axis=1) > 0).all()
        assert (saved.hash, saved.class_names) == (episodes.hash, names)


def test_the_file_does_not_depend_on_row_order_and_names_no_patient(tmp_path):
    films = make_films()
    for name, rows in (("x", np.arange(120)), ("y", np.random.default_rng(0).permutation(120))):
        some = again(films, rows)
        save_episodes(drawn(some), some, tmp_path / name)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert b"folder/film1" in (tmp_path / "x").read_bytes()
    assert b"patient " not in (tmp_path / "x").read_bytes()


def test_only_films_that_occur_are_needed(tmp_path):
    films = make_films()
    episodes = drawn(films, n_episodes=2)
    save_episodes(episodes, films, tmp_path / "e")
    block = episodes.block(0, 2)
    used = np.unique(np.concatenate([side.ravel() for side in (block.support, block.query, block.outside)]))
    assert len(used) < 50
    here = again(films, used)
    assert as_films(here, SavedEpisodes.load(tmp_path / "e", here).block(0, 2)) == as_films(films, block)


def test_some_episodes_of_a_file_are_not_all_of_them(tmp_path):
    films = make_films()
    save_episodes(drawn(films), films, tmp_path / "e")
    saved = SavedEpisodes.load(tmp_path / "e", films)
    few, all_of_them = saved.first(20), saved.first(50)
    assert (few.n_episodes, few.to_json()["n_episodes"], few.hash == saved.hash) == (20, 20, False)
    assert (all_of_them.n_episodes, all_of_them.to_json(), all_of_them.hash) == (50, saved.to_json(), saved.hash)
    assert saved.first(20).hash == few.hash != saved.first(21).hash


def test_classes_and_blocks_of_unlike_size_are_kept(tmp_path):
    with_outside = replace(BY_HAND, items=BY_HAND.items[1:], outside=((0, 5),))
    for episodes in (BY_HAND, with_outside):
        save_episodes(episodes, SIX, tmp_path / "e")
        saved = SavedEpisodes.load(tmp_path / "e", SIX)
        replayed = as_films(SIX, saved.block(0, saved.n_episodes))
        assert replayed == [as_films(SIX, block)[0] for block in episodes.blocks()]
        assert (saved.hash, saved.notes, saved.seed) == ("0123", ("by hand",), 7)
    assert SavedEpisodes.load(tmp_path / "e", SIX).block(0, 1).outside.tolist() == [[0, 5]]


def test_a_replay_can_be_saved_again(tmp_path):
    films = make_films()
    save_episodes(drawn(films), films, tmp_path / "x")
    save_episodes(SavedEpisodes.load(tmp_path / "x", films), films, tmp_path / "y")
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_the_file_is_plain_safetensors(tmp_path):
    save_episodes(BY_HAND, SIX, tmp_path / "e")
    tensors, header = load_tensors(tmp_path / "e", kind="episodes")
    assert tensors["support"].tolist() == [[[0, -1], [3, 4]], [[1, -1], [3, -1]]]
    assert tensors["query"].tolist() == [[[1, 2], [5, -1]], [[2, -1], [4, -1]]]
    assert (header["films"]["paths"], header["films"]["finding_of_film"]) == (list("uvwxyz"), [0, 0, 0, 1, 1, 1])
    assert (header["hash"], header["class_names"]) == ("0123", ["a", "b"])


def test_films_of_several_findings_are_replayed(tmp_path):
    has = np.array([[1, 0], [1, 1], [1, np.nan], [0, 1], [1, 1], [0, 1], [0, 0]])
    films = Embeddings(np.eye(7), has, class_names=["a", "b"], paths=list("tuvwxyz"))
    episodes = Listed(films, (([0, 1], [[0], [1]], [[2, 4], [3, 5]]),), outside=((6,),))
    save_episodes(episodes, films, tmp_path / "e")
    order = [4, 2, 0, 6, 1, 5, 3]
    here = Embeddings(np.eye(7), has[order][:, ::-1], class_names=["b", "a"], paths=[films.paths[row] for row in order])
    block = SavedEpisodes.load(tmp_path / "e", here).block(0, 1)
    assert block.class_ids.tolist() == [[0, 1]]
    assert as_films(here, block) == [({"a": (["t"], ["v", "x"]), "b": (["u"], ["w", "y"])}, ["z"])]
    changed = Embeddings(np.eye(7), has[:, [0, 0]], class_names=["a", "b"], paths=films.paths)
    with pytest.raises(ValueError, match="the first: t as a, which is a and b here"):
        SavedEpisodes.load(tmp_path / "e", changed)
    wrong = Listed(films, (([0, 1], [[3], [1]], [[2, 4], [3, 5]]),))
    with pytest.raises(ValueError, match="row 3 stands under a, which is not its finding here"):
        save_episodes(wrong, films, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_asking_beyond_the_file_is_refused(tmp_path):
    save_episodes(BY_HAND, SIX, tmp_path / "e")
    saved = SavedEpisodes.load(tmp_path / "e", SIX)
    with pytest.raises(ValueError, match="the file has 2 episodes, 4 were asked for; draw more"):
        saved.block(1, 3)
    with pytest.raises(ValueError, match="first must be at least 0, got -1"):
        saved.block(-1, 1)


def test_missing_films_are_named(tmp_path):
    save_episodes(BY_HAND, SIX, tmp_path / "e")
    with pytest.raises(ValueError, match="e: the episodes ask for 3 films that are not here, the first: u as a; embed"):
        SavedEpisodes.load(tmp_path / "e", again(SIX, [1, 3, 4]))
    renamed = again(SIX, range(6), class_ids=["a", "a", "b", "b", "b", "b"])
    with pytest.raises(ValueError, match="ask for a film that is not here, the first: w as a, which is b here; embed"):
        SavedEpisodes.load(tmp_path / "e", renamed)
    without_paths = again(SIX, range(6), paths=None)
    with pytest.raises(ValueError, match="e: the films are named by path, and these embeddings have no paths"):
        SavedEpisodes.load(tmp_path / "e", without_paths)
    twice = again(SIX, [0, 1, 2, 3, 4, 5, 0])
    with pytest.raises(ValueError, match="u occurs twice as a; each film must be one row"):
        SavedEpisodes.load(tmp_path / "e", twice)
    table = Embeddings(np.eye(6), np.eye(6)[:, :2], class_names=["a", "b"], paths=list("uvwxyz"))
    with pytest.raises(ValueError, match="ask for 5 films .* the first: v as a, which is b here"):
        SavedEpisodes.load(tmp_path / "e", table)


def test_patients_that_now_meet_are_refused(tmp_path):
    save_episodes(BY_HAND, SIX, tmp_path / "e")
    harmless = again(SIX, range(6), patient_ids=[0, 1, 1, 3, 3, 5])
    with pytest.raises(
        ValueError, match="e: episode 1 asks for w, whose patient is in its support too; the films have"
    ):
        SavedEpisodes.load(tmp_path / "e", harmless)
    first = again(SIX, range(6), patient_ids=[0, 1, 2, 5, 4, 5])
    with pytest.raises(ValueError, match="e: episode 0 asks for z, whose patient is in its support too"):
        SavedEpisodes.load(tmp_path / "e", first)
    outside = replace(BY_HAND, items=BY_HAND.items[1:], outside=((0, 5),))
    save_episodes(outside, SIX, tmp_path / "o")
    shared = again(SIX, range(6), patient_ids=[0, 1, 2, 3, 4, 3])
    with pytest.raises(ValueError, match="o: episode 0 asks for z, whose patient is in its support too"):
        SavedEpisodes.load(tmp_path / "o", shared)
    save_episodes(replace(BY_HAND, overlap=True), SIX, tmp_path / "leak")
    assert SavedEpisodes.load(tmp_path / "leak", first).n_episodes == 2


def test_without_paths_the_rows_must_be_the_same(tmp_path):
    films = again(make_films(), range(120), paths=None)
    episodes = drawn(films)
    save_episodes(episodes, films, tmp_path / "e")
    saved = SavedEpisodes.load(tmp_path / "e", films)
    assert as_films(films, saved.block(0, 50)) == as_films(films, episodes.block(0, 50))
    assert saved.hash == episodes.hash
    for other in (again(films, range(119)), again(films, list(range(120))[::-1])):
        with pytest.raises(ValueError, match=r"e: the films are named by row, and these \d+ rows are not the 120"):
            SavedEpisodes.load(tmp_path / "e", other)


def test_damaged_foreign_and_newer_files_are_refused(tmp_path):
    path = tmp_path / "e"
    save_episodes(BY_HAND, SIX, path)
    content = path.read_bytes()
    faults = {
        "is damaged or no safetensors file": content[:-4],
        "content does not match its hash": content[:-4] + b"\0\1\0\0",
        "e is damaged: its content does not match": content.replace(b'\\"u\\"', b'\\"U\\"'),
        "e is damaged: its content": content.replace(b'\\"0123\\"', b'\\"0124\\"'),
        "has format 9, this version reads up to 2: upgrade": content.replace(b'on\\": 2', b'on\\": 9'),
        "no safetensors file": b"PK\3\4" + content,
    }
    for message, damaged in faults.items():
        assert damaged != content
        path.write_bytes(damaged)
        with pytest.raises((OSError, ValueError), match=message):
            SavedEpisodes.load(path, SIX)
    path.unlink()
    SIX.save(path)
    with pytest.raises(ValueError, match="e holds embeddings, episodes was expected"):
        SavedEpisodes.load(path, SIX)
    with pytest.raises(FileNotFoundError, match="absent: no such file"):
        SavedEpisodes.load(tmp_path / "absent", SIX)


def test_files_that_contradict_themselves_are_refused(tmp_path):
    path = tmp_path / "e"
    save_episodes(BY_HAND, SIX, path)
    tensors, header = load_tensors(path, kind=KIND)

    def rewrite(message, changed, without=None):
        left = {name: tensor.int() for name, tensor in {**tensors, **changed}.items() if name != without}
        save_tensors(path, left, kind=KIND, header=header)
        with pytest.raises(ValueError, match=message):
            SavedEpisodes.load(path, SIX)

    rewrite("support holds numbers without a film; make the file anew", {"support": tensors["support"] + 3})
    rewrite("class_ids holds numbers without a film", {"class_ids": tensors["class_ids"] - 1})
    rewrite("a film stands under a finding that is not its own", {"class_ids": tensors["class_ids"].flip(1)})
    rewrite("e holds no episodes that this version can read; make it anew", {}, without="query")
    rewrite("e holds no episodes that this version can read", {"query": tensors["query"][:1]})


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": {}},
        {"protocol": []},
        {"protocol": {"seed": "x"}},
        {"hash": None},
        {"notes": 3},
        {"notes": [3]},
        {"class_names": "ab"},
        {"class_names": None},
        {"films": None},
        {"films": {}},
        {"films": {"findings": ["a"], "finding_of_film": [7], "paths": ["x"], "hash": ""}},
        {"films": {"findings": ["a"], "finding_of_film": [0], "paths": 5, "hash": ""}},
        {"films": {"findings": ["a"], "finding_of_film": [-1], "paths": ["x"], "hash": ""}},
        {"films": {"findings": ["a"], "finding_of_film": {}, "paths": ["x"], "hash": ""}},
        {"films": {"findings": ["a"], "finding_of_film": [0], "paths": [], "hash": ""}},
        {"films": {"findings": ["a"], "finding_of_film": [], "paths": ["x"], "hash": ""}},
        *({"protocol": {"seed": 0, name: "x"}} for name in ("n_way", "n_shot", "n_episodes", "always", "n_folds")),
        {"protocol": {"seed": 0, "n_shot": {"a": None, "b": "x"}}},
        {"protocol": {"seed": 0, "allow_patient_overlap": 1}},
    ],
)
def test_a_header_that_makes_no_sense_is_damage(tmp_path, changes):
    save_episodes(BY_HAND, SIX, tmp_path / "e")
    tensors, header = load_tensors(tmp_path / "e", kind=KIND)
    plain = {name: tensor.int() for name, tensor in tensors.items()}
    save_tensors(tmp_path / "e", plain, kind=KIND, header=header | changes)
    with pytest.raises(
        (OSError, ValueError),
        match=r"e(: the header's films must|: the header.* (must be|lacks)| is damaged: its header| holds no)",
    ):
        SavedEpisodes.load(tmp_path / "e", SIX)
    for name in header:
        some = {key: value for key, value in header.items() if key != name}
        save_tensors(tmp_path / "e", plain, kind=KIND, header=some)
        with pytest.raises(ValueError, match="e holds no episodes that this version can read"):
            SavedEpisodes.load(tmp_path / "e", SIX)


def test_films_that_are_not_those_of_the_episodes_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="they name row 4, and there are 4 films; save them with the embeddings"):
        save_episodes(BY_HAND, again(SIX, [0, 1, 2, 3]), tmp_path / "e")
    with pytest.raises(ValueError, match="row 0 stands under a, which is not its finding here"):
        save_episodes(BY_HAND, again(SIX, [5, 4, 3, 2, 1, 0]), tmp_path / "e")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("first", "size", "message"),
    [
        (-1, 1, "first must be at least 0, got -1"),
        (0, 0, "size must be at least 1, got 0"),
        (0, -2, "size must be at least 1, got -2"),
        (0, 1.5, "size must be a whole number, got 1.5"),
        (True, 1, "first must be a whole number, got True"),
        ("0", 1, "first must be a whole number, got '0'"),
    ],
)
def test_blocks_of_no_sense_are_refused(tmp_path, first, size, message):
    episodes, films = drawn(make_films()), make_films()
    save_episodes(episodes, films, tmp_path / "e")
    for source in (episodes, SavedEpisodes.load(tmp_path / "e", films)):
        with pytest.raises((TypeError, ValueError), match=message):
            source.block(first, size)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_episodes(tmp_path):
    films = make_films()
    peaks = []
    for n_episodes in (5000, 30_000):
        path = tmp_path / str(n_episodes)
        episodes = drawn(films, n_episodes=n_episodes)
        tracemalloc.start()
        save_episodes(episodes, films, path)
        saved = SavedEpisodes.load(path, films)
        assert sum(len(block) for block in saved.blocks(500)) == n_episodes
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 2.4e6
    assert peaks[1] < 1.25 * peaks[0]
