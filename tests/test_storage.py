import json

import pytest
import torch
from safetensors.torch import save_file

from fewshot_cxr.storage import load_tensors, save_tensors, whole_file, write_json

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
    save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="not one of fewshot_cxr"):
        load_tensors(tmp_path / "foreign.safetensors", kind="encoder")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_tensors(tmp_path / "absent", kind="encoder")


def test_a_pickle_is_never_opened(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    with pytest.raises(OSError, match="no safetensors file"):
        load_tensors(tmp_path / "x.pt", kind="encoder")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "x.json"
    write_json(target, {"old": 1})

    def fail_half_way():
        with whole_file(target) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, float("nan"))
    assert json.loads(target.read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
