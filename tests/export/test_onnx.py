"""An exported bank answers as the bank does, without torch; an exported encoder embeds as it does; what is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_banks import KNOWN, laid_bank

import fewshot_cxr
from fewshot_cxr import data
from fewshot_cxr.cli import main
from fewshot_cxr.distances import DISTANCES, pairwise_distances
from fewshot_cxr.encoders import build_encoder, fit_joined_head, join
from fewshot_cxr.encoders.base import eval_mode
from fewshot_cxr.export import GRAPH_RULES, export_bank, export_encoder, onnx
from fewshot_cxr.export.graph_rules import Comparison, DistancesTo
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import RULES, TRANSDUCTIVE, ExportedBank
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.exported_file import FILMS, KEY, KEY_HASH, open_session, self_test_films, text_hash
from fewshot_cxr.torch_seeding import seeded_torch

pytest.importorskip("onnxruntime", reason="needs fewshot_cxr[onnx]")
pytest.importorskip("onnxscript", reason="needs fewshot_cxr[onnx]")
BLOCKED = ("torch", "torchvision", "timm", "lightning", "captum", "matplotlib", "pytorch_metric_learning", "faiss")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return laid_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def films(place):
    """Exemplars, films of known findings, of the new one, and one that cannot be read."""
    broken = place.films.root / "broken.png"
    broken.write_bytes(b"no film")
    some = [*place.known.take(range(8)), *place.new.take(range(4))]
    return [*(place.films.root / film.path for film in some), broken]


@pytest.fixture(scope="module")
def exported(place, tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "a.onnx"
    made = export_bank(place.bank, file, films=[place.films.root / film.path for film in place.new.take(range(3))])
    return file, made


def same(first, second):
    """Whether two answers say the same, but for the last digits of their numbers."""
    one, other = first.to_json(), second.to_json()
    for name in ("probabilities", "distances"):
        assert one.pop(name) == pytest.approx(other.pop(name), rel=1e-4, abs=1e-6)
    far = [
        [exemplar.pop("distance") for exemplar in of["exemplars"]]
        for of in map(json.loads, map(json.dumps, (one, other)))
    ]
    assert far[0] == pytest.approx(far[1], rel=1e-4, abs=1e-5)
    one["exemplars"], other["exemplars"] = ([dict(e, distance=0) for e in of["exemplars"]] for of in (one, other))
    return one == other


def test_it_answers_as_the_bank_does(place, films, exported):
    file, made = exported
    assert made.n_films == 3
    assert all(max(gaps) < 1e-5 for gaps in made.differences.values())
    bank = ExportedBank(file)
    assert (bank.findings, len(bank), bank.content_hash) == (KNOWN, len(place.bank), place.bank.content_hash)
    assert bank.facts() == place.bank.facts()
    for how in ({}, {"never_abstain": True, "n_nearest": 5}, {"prevalence": {KNOWN[0]: 0.1}}, {"batch_size": 2}):
        pairs = list(zip(place.bank.answers(films, **how), bank.answers(films, **how), strict=True))
        assert len(pairs) == len(films)
        assert all(same(*pair) for pair in pairs)
    told = [one for one, _ in pairs]
    assert any(one.notes for one in told)  # of exemplars, each decided without itself
    assert {one.reason for one in told} >= {"", "unreadable"}


def test_every_rule_of_the_graph_and_every_distance_is_that_of_torch(place):
    films = torch.from_numpy(np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32))
    for distance in DISTANCES:
        rows = torch.from_numpy(place.bank.table.vectors)
        found = DistancesTo(rows, distance)(films)
        torch.testing.assert_close(found, pairwise_distances(films, rows, distance), rtol=1e-5, atol=1e-6)
        for rule in GRAPH_RULES:
            decider = Decider(place.bank.exemplars.embeddings, rule=rule, distance=distance)
            found, to_exemplars = Comparison(decider)(films)
            torch.testing.assert_close(found.double(), decider.distances(films.numpy()), rtol=1e-4, atol=1e-6)
            expected = decider.to_exemplars(films.numpy())
            torch.testing.assert_close(to_exemplars, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_rule_that_is_fitted_answers_alike_too(place, films, tmp_path):
    bank = SupportBank.build(place.encoder, place.known, n_exemplars=6, rule="linear_probe")
    export_bank(bank, tmp_path / "a.onnx")
    pairs = zip(bank.answers(films), ExportedBank(tmp_path / "a.onnx").answers(films), strict=True)
    assert all(same(*pair) for pair in pairs)


@pytest.mark.parametrize("rule", sorted(RULES.keys() - GRAPH_RULES - TRANSDUCTIVE - {"template"}))
def test_another_rule_is_refused_by_name(place, rule, tmp_path):
    bank = SupportBank.build(place.encoder, place.known, n_exemplars=6, rule=rule)
    with pytest.raises(ValueError, match=f"^rule '{rule}' cannot be exported: build the bank with one of mean"):
        export_bank(bank, tmp_path / "a.onnx")
    assert not [*tmp_path.iterdir()]


def test_too_many_exemplars_are_refused(place, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx, "MOST_EXEMPLARS", 5)
    with pytest.raises(ValueError, match="^an exported bank measures every exemplar, 5 at most, and this has 24: take"):
        export_bank(place.bank, tmp_path / "a.onnx")


def test_what_would_answer_otherwise_is_not_written(place, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx, "MOST_DIFFERENT", -1.0)
    with pytest.raises(ValueError, match="^the file would answer otherwise than torch .in parts of the largest"):
        export_encoder(place.encoder, tmp_path / "a.onnx")
    assert not [*tmp_path.iterdir()]


def joined_vit():
    spec = ImageSpec(size_px=32, n_channels=3)
    encoder = build_encoder("timm:test_vit", image_spec=spec, output="pooled")
    vectors = torch.randn(12, encoder.embedding_dim)
    join(encoder, fit_joined_head(vectors, torch.tensor([0, 1] * 6), [encoder.embedding_dim]))
    return encoder


MADE = {
    "resnet9": lambda: build_encoder("resnet9", image_spec=ImageSpec(size_px=32), width=4),
    "joined vit": joined_vit,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_an_exported_encoder_embeds_alike(name, tmp_path):
    with seeded_torch(0, name):
        encoder = MADE[name]()
    made = export_encoder(encoder, tmp_path / "a.onnx")
    assert set(made.differences) == {"features", "embeddings"}
    session = open_session(tmp_path / "a.onnx")
    for n in (1, 3):
        squares = np.concatenate([self_test_films(encoder.image_spec.size_px)] * 2)[:n]
        with eval_mode(encoder), torch.inference_mode():
            expected = encoder(data.to_images(torch.from_numpy(squares), encoder.image_spec))
        found = session.run(["embeddings"], {FILMS: squares})[0]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_it_is_asked_without_torch(films, exported, tmp_path):
    """In a process in which none of these can be imported."""
    block = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}))"
    arguments = ["fscxr", "predict", *map(str, films), "--bank", str(exported[0]), "--runtime", "onnx"]
    arguments += ["--json", str(tmp_path / "a.json"), "--csv", str(tmp_path / "a.csv"), "--keep-paths"]
    script = f"{block}; sys.argv = {arguments}; from fewshot_cxr.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads((tmp_path / "a.json").read_text())
    expected = [one.to_json() for one in ExportedBank(exported[0]).answers(films)]
    assert [one["answer"] for one in told] == [one["answer"] for one in expected]
    assert [one["set"] for one in told] == [one["set"] for one in expected]
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + len(films)


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("a.onnx", (), "a.onnx is a bank that was exported: add --runtime onnx"),
        (
            "a.bank",
            ("--runtime", "onnx"),
            "a.bank is no exported bank: leave out --runtime, or `fscxr export onnx` it",
        ),
    ],
)
def test_a_bank_of_the_other_runtime_is_told(name, flags, message, tmp_path, monkeypatch, capsys):
    (tmp_path / name).write_bytes(b"a bank")
    monkeypatch.setattr("sys.argv", ["fscxr", "predict", "film.png", "--bank", str(tmp_path / name), *flags])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


# What is damaged or of another kind


def test_damage_is_noticed(exported, tmp_path):
    content = bytearray(exported[0].read_bytes())
    for name, changed in {"cut": content[: len(content) // 2], "empty": b"", "text": b"no model"}.items():
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(OSError, match="is no ONNX file that can be run, or it is damaged"):
            ExportedBank(tmp_path / name)
    content[content.index(b"content_hash") + 20] ^= 1
    (tmp_path / "head").write_bytes(content)
    with pytest.raises(OSError, match="its metadata does not match its hash"):
        ExportedBank(tmp_path / "head")
    with pytest.raises(FileNotFoundError):
        ExportedBank(tmp_path / "absent.onnx")


def test_other_exemplars_than_were_exported_are_noticed(exported, tmp_path):
    content = exported[0].read_bytes()
    vectors = ExportedBank(exported[0])._vectors.tobytes()
    (tmp_path / "a.onnx").write_bytes(content.replace(vectors, vectors[::-1]))
    with pytest.raises(OSError, match="its exemplars do not match their hash"):
        ExportedBank(tmp_path / "a.onnx")


def test_nothing_of_this_machine_is_in_the_file(exported):
    content = exported[0].read_bytes()
    assert str(Path(fewshot_cxr.__file__).parents[1]).encode() not in content
    assert b"site-packages" not in content


def test_other_weights_than_were_exported_are_noticed(place, exported, tmp_path):
    import onnx as library

    model = library.load(exported[0])
    own = (one for one in model.graph.initializer if len(one.dims) > 1 and not one.name.startswith("exemplar"))
    weights = max(own, key=lambda one: len(one.raw_data))
    weights.raw_data = bytes(len(weights.raw_data))
    library.save(model, tmp_path / "a.onnx")
    with pytest.raises(OSError, match="is damaged, or this machine computes otherwise"):
        ExportedBank(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "is of a newer format .99.: update fewshot_cxr"),
        ({"kind": "encoder"}, "holds no bank, but 'encoder': export the bank"),
        ({"names": ["one"]}, "its exemplars have other numbers of names"),
        ({"findings": 3}, "findings"),
        (None, "is no file of `fscxr export onnx`"),
    ],
)
def test_what_is_no_exported_bank_is_refused(exported, changes, message, tmp_path):
    import onnx as library

    model = library.load(exported[0])
    head = json.loads(next(one.value for one in model.metadata_props if one.key == KEY))
    text = json.dumps(head | (changes or {}))
    library.helper.set_model_props(model, {} if changes is None else {KEY: text, KEY_HASH: text_hash(text)})
    library.save(model, tmp_path / "a.onnx")
    with pytest.raises((OSError, ValueError), match=message) as refused:
        ExportedBank(tmp_path / "a.onnx")
    assert "\n" not in str(refused.value)


def test_a_gpu_is_refused(exported, films):
    with pytest.raises(ValueError, match="^an exported bank runs on the processor, got 'cuda'"):
        next(ExportedBank(exported[0]).answers(films, device="cuda"))


def test_a_stale_bank_stays_stale(place, films, tmp_path):
    stale = replace(place.bank, fitted=replace(place.bank.fitted, is_stale=True))
    export_bank(stale, tmp_path / "a.onnx")
    told = list(ExportedBank(tmp_path / "a.onnx").answers(films))
    assert not any(one.probabilities for one in told)
    assert all(same(*pair) for pair in zip(stale.answers(films), told, strict=True))
