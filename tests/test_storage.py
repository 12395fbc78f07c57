import hashlib
import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open
from safetensors.torch import save_file

from fewshot_cxr.episodes.spool import Int32Spool
from fewshot_cxr.storage import (
    TensorStream,
    load_tensors,
    map_tensors,
    save_streams,
    save_tensors,
    tensor_hash,
    told_hash,
)

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "empty": torch.zeros(0, 2),
    "half": torch.ones(3, dtype=torch.bfloat16),
}


def test_round_trip_keeps_tensors_and_header(tmp_path):
    save_tensors(tmp_path / "deep" / "x.safetensors", TENSORS, kind="thing", header={"n": 1, "é": [None, "x"]})
    tensors, header = load_tensors(tmp_path / "deep" / "x.safetensors", kind="thing")
    assert header == {"n": 1, "é": [None, "x"]}
    assert all(
        torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in TENSORS.items()
    )


NUMPY = {"I32": np.int32, "I64": np.int64, "F32": np.float32, "F64": np.float64, "BOOL": np.bool_}
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    some=st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda name: name != "__metadata__"),
        st.sampled_from(list(NUMPY.values())).flatmap(lambda dtype: arrays.arrays(dtype, SHAPES)),
        max_size=4,
    ),
    header=st.dictionaries(st.text(), JSON, max_size=3),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_tensors_and_header_come_back_by_either_reader(some, header, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "x"
    save_tensors(
        path, {name: torch.from_numpy(array.copy()) for name, array in some.items()}, kind="thing", header=header
    )
    tensors, told = load_tensors(path, kind="thing")
    mapped, again = map_tensors(path, kind="thing", dtypes=NUMPY)
    assert told == again == header
    assert tensors.keys() == mapped.keys() == some.keys()
    for name, array in some.items():
        for found in (tensors[name].numpy(), mapped[name]):
            assert (found.shape, found.dtype, found.tobytes()) == (array.shape, array.dtype, array.tobytes())


def test_same_content_is_the_same_file(tmp_path):
    for name in ("x", "y"):
        save_tensors(tmp_path / name, TENSORS, kind="thing", header={})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.parametrize("where", [10, -3])
def test_damage_is_named(tmp_path, where):
    path = tmp_path / "x.safetensors"
    save_tensors(path, TENSORS, kind="thing", header={})
    content = bytearray(path.read_bytes())
    content[where] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(OSError, match="x.safetensors is damaged"):
        load_tensors(path, kind="thing")


def test_a_cut_file_is_damaged(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, TENSORS, kind="thing", header={})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(OSError, match="is damaged or no safetensors file"):
        load_tensors(path, kind="thing")


def test_other_kinds_and_foreign_files_are_refused(tmp_path):
    save_tensors(tmp_path / "x", TENSORS, kind="thing", header={})
    with pytest.raises(ValueError, match="x holds thing, encoder was expected"):
        load_tensors(tmp_path / "x", kind="encoder")
    others = '{"sha256": "", "format_version": 2}'  # as other tools write it
    for metadata in (None, {"format": "pt"}, {"net": others}):
        save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors", metadata=metadata)
        with pytest.raises(ValueError, match="not one of fewshot_cxr"):
            load_tensors(tmp_path / "foreign.safetensors", kind="encoder")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_tensors(tmp_path / "absent", kind="encoder")


def test_a_pickle_is_never_opened(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    with pytest.raises(OSError, match="no safetensors file"):
        load_tensors(tmp_path / "x.pt", kind="encoder")


ROWS = np.arange(24, dtype=np.int32).reshape(4, 2, 3)


def save_rows(path, chunks=(ROWS[:3], ROWS[3:]), shape=(4, 2, 3)):
    streams = {"rows": TensorStream(shape, chunks), "empty": TensorStream((0, 2), ())}
    save_streams(path, streams, kind="thing", header={"é": 1})


def test_streams_are_read_by_either_reader(tmp_path):
    save_rows(tmp_path / "x.safetensors")
    tensors, header = load_tensors(tmp_path / "x.safetensors", kind="thing")
    arrays, mapped_header = map_tensors(tmp_path / "x.safetensors", kind="thing")
    assert header == mapped_header == {"é": 1}
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"rows": ROWS.tolist(), "empty": []}
    assert isinstance(arrays["rows"], np.memmap)
    assert not arrays["rows"].flags.writeable
    assert np.array_equal(arrays["rows"], ROWS)
    assert arrays["empty"].shape == (0, 2)


def test_what_save_tensors_wrote_can_be_mapped(tmp_path):
    save_tensors(tmp_path / "x", {"rows": torch.from_numpy(ROWS)}, kind="thing", header={})
    assert np.array_equal(map_tensors(tmp_path / "x", kind="thing")[0]["rows"], ROWS)
    save_tensors(tmp_path / "x", TENSORS, kind="thing", header={})
    with pytest.raises(ValueError, match="x: a is F32, I32 was expected; make the file anew"):
        map_tensors(tmp_path / "x", kind="thing")
    several = {"I32": torch.int32, "I64": torch.int64, "F32": torch.float32, "F64": torch.float64, "BOOL": torch.bool}
    several = {name: torch.arange(6).reshape(2, 3).to(dtype) for name, dtype in several.items()}
    save_tensors(tmp_path / "x", several, kind="thing", header={})
    arrays, _ = map_tensors(tmp_path / "x", kind="thing", dtypes=several)
    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: tensor.tolist() for name, tensor in several.items()
    }
    assert told_hash(tmp_path / "x", kind="thing") in (tmp_path / "x").read_text(errors="replace")


@pytest.mark.parametrize("where", [10, -3])
def test_damage_of_a_mapped_file_is_named(tmp_path, where):
    path = tmp_path / "x"
    save_rows(path)
    content = bytearray(path.read_bytes())
    content[where] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(OSError, match="x is damaged"):
        map_tensors(path, kind="thing")


def test_a_mapped_file_is_cut_foreign_of_another_kind_or_absent(tmp_path):
    path = tmp_path / "x"
    save_rows(path)
    with pytest.raises(ValueError, match="x holds thing, other was expected"):
        map_tensors(path, kind="other")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(OSError, match="is damaged or no safetensors file"):
        map_tensors(path, kind="thing")
    save_file({"a": torch.ones(1, dtype=torch.int32)}, path)
    with pytest.raises(ValueError, match="not one of fewshot_cxr"):
        map_tensors(path, kind="thing")
    with pytest.raises(FileNotFoundError, match="no such file"):
        map_tensors(tmp_path / "absent", kind="thing")


def test_chunks_must_fill_their_shape_and_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="rows: the chunks have 3 rows, 4 were promised"):
        save_rows(tmp_path / "x", chunks=[ROWS[:3]])
    with pytest.raises(ValueError, match=r"rows: a chunk has the shape \(4, 2, 2\), \(4, 2, 3\) was promised"):
        save_rows(tmp_path / "x", chunks=[ROWS[:, :, :2]])
    assert not list(tmp_path.iterdir())


def test_a_spool_widens_and_looks_up(tmp_path):
    with (tmp_path / "spool").open("wb+") as file:
        spool = Int32Spool(file)
        spool.add(np.array([[1, 0]]))
        spool.add(np.array([[2, -1, 1], [0, 1, 2]]))
        plain, looked_up = spool.stream(), spool.stream(np.array([10, 11, 12, -1]))
        assert plain.shape == (3, 3)
        assert np.concatenate(list(plain.chunks)).tolist() == [[1, 0, -1], [2, -1, 1], [0, 1, 2]]
        assert np.concatenate(list(looked_up.chunks)).tolist() == [[11, 10, -1], [12, -1, 11], [10, 11, 12]]


def test_what_a_header_has_no_room_for_lies_beside_it(tmp_path, monkeypatch):
    header = {"paths": [f"{film}, é \\.png" for film in range(200)], "names": ["a"] * 400, "weights": None}
    save_tensors(tmp_path / "usual", TENSORS, kind="test", header=header)
    monkeypatch.setattr("fewshot_cxr.storage._MOST_HEADER_BYTES", 3000)
    save_tensors(tmp_path / "long", TENSORS, kind="test", header=header)
    for name, n_tensors in (("usual", 3), ("long", 4)):
        with safe_open(tmp_path / name, framework="pt") as opened:
            assert len(list(opened.keys())) == n_tensors
        tensors, found = load_tensors(tmp_path / name, kind="test")
        assert found == header
        assert tensors.keys() == TENSORS.keys()
    monkeypatch.setattr("fewshot_cxr.storage._MOST_FILE_HEADER_BYTES", 300)
    with pytest.raises(ValueError, match="its films take 0.0 MB to name, more than a file has room for: draw fewer"):
        save_rows(tmp_path / "rows")
    assert {file.name for file in tmp_path.iterdir()} == {"usual", "long"}


def test_a_file_whose_header_had_no_room_can_be_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("fewshot_cxr.storage._MOST_HEADER_BYTES", 300)
    header = {"paths": [f"{film}.png" for film in range(200)]}
    save_tensors(tmp_path / "x", {"rows": torch.arange(6, dtype=torch.int32)}, kind="test", header=header)
    arrays, found = map_tensors(tmp_path / "x", kind="test")
    assert found == header
    assert {name: rows.tolist() for name, rows in arrays.items()} == {"rows": [0, 1, 2, 3, 4, 5]}


def test_a_long_value_that_is_no_json_is_refused(tmp_path):
    beside = {"json:paths": torch.frombuffer(bytearray(b"[1,"), dtype=torch.uint8)}
    save_tensors(tmp_path / "x", TENSORS | beside, kind="test", header={})
    with pytest.raises(OSError, match="x is damaged or no safetensors file"):
        load_tensors(tmp_path / "x", kind="test")


@pytest.mark.parametrize(("load", "first"), [(load_tensors, 0), (map_tensors, 5)])
def test_no_flipped_bit_is_believed(tmp_path, load, first):
    path = tmp_path / "x"
    streams = {"rows": TensorStream((4, 2, 3), [ROWS]), "b": TensorStream((1, 1), [ROWS[0, :1, :1]])}
    save_streams(path, streams, kind="thing", header={"mean": 0.5, "names": ["a"]})
    content = path.read_bytes()
    for bit in range(first, 8 * len(content), 11):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises((OSError, ValueError), match=r"^\S*x [^\n]*$"):
            load(path, kind="thing")


def rewritten(path, **changes):
    """Write a file's own part of the header anew, as somebody else would, without a new hash unless told."""
    tensors = {}
    with safe_open(path, framework="pt") as opened:
        head = json.loads(opened.metadata()["fewshot_cxr"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
    save_file(tensors, path, metadata={"fewshot_cxr": json.dumps(head | changes)})


def test_a_file_of_the_format_before_is_loaded_with_a_note(tmp_path):
    path, header = tmp_path / "x", {"n": 1}
    save_tensors(path, TENSORS, kind="thing", header=header)
    rewritten(path, format_version=1)
    with pytest.raises(OSError, match="does not match its hash"):  # the new hash does not do as an old one
        load_tensors(path, kind="thing")
    rewritten(path, sha256=tensor_hash(TENSORS))
    with pytest.warns(UserWarning, match="x is of an older format, whose hash covers the tensors but not") as caught:
        assert load_tensors(path, kind="thing")[1] == header
    assert len(caught) == 1
    rewritten(path, format_version=2)
    with pytest.raises(OSError, match="does not match its hash"):
        load_tensors(path, kind="thing")


def test_a_header_that_was_hashed_before_needs_no_note(tmp_path):
    path, header = tmp_path / "x", {"b": 1, "a": [0.5]}
    own = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()
    save_tensors(path, TENSORS, kind="thing", header={})
    old = {"format_version": 1, "sha256": tensor_hash(TENSORS)}
    rewritten(path, **old, header=header | {"sha256": own})
    with warnings.catch_warnings(action="error"):
        assert load_tensors(path, kind="thing")[1] == header
    rewritten(path, header=header | {"sha256": own, "b": 2})
    with pytest.raises(OSError, match="does not match its hash"):
        load_tensors(path, kind="thing")


@pytest.mark.parametrize("version", [None, "1", [1], {}, 1.0, True, 0, -1, 10**40])
def test_a_format_that_is_none_is_refused(tmp_path, version):
    save_tensors(tmp_path / "x", TENSORS, kind="thing", header={})
    rewritten(tmp_path / "x", format_version=version, sha256=tensor_hash(TENSORS))
    with pytest.raises((OSError, ValueError), match=r"^\S*x (is damaged: its content|has format )"):
        load_tensors(tmp_path / "x", kind="thing")


@pytest.mark.parametrize("text", ["[" * 99_999, "1" * 5000, '{"kind": "thing"}', "null", "3"])
def test_a_header_that_is_none_is_refused(tmp_path, text):
    save_file(TENSORS, tmp_path / "x", metadata={"fewshot_cxr": text})
    with pytest.raises(OSError, match=r"^\S*x is damaged") as caught:
        load_tensors(tmp_path / "x", kind="thing")
    assert len(str(caught.value)) < 500
