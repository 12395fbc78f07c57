"""The JSON API over real HTTP: it answers as the library does, and changes the bank in its file."""

import tempfile
from pathlib import Path

import pytest
from made_banks import NEW
from made_hostile import whole_dicoms, whole_pictures
from made_server import files_of, served

from fewshot_cxr.inference.bank import SupportBank


def same(told, answers):
    for one, other in zip(told, answers, strict=True):
        wanted = other.to_json()
        assert {**one, "distances": None, "probabilities": None, "exemplars": None} == {
            **wanted,
            "path": one["path"],
            "films": one["films"],
            "distances": None,
            "probabilities": None,
            "exemplars": None,
        }
        assert one["distances"] == pytest.approx(wanted["distances"], rel=1e-4)
        assert one["probabilities"] == pytest.approx(wanted["probabilities"], rel=1e-3)
        assert [film["path"] for film in one["exemplars"]] == [film["path"] for film in wanted["exemplars"]]


def test_it_answers_as_the_library_does(place, server):
    files = [*files_of(place.known, 4), *files_of(place.new, 3)]
    told = server.post("/predict", files)
    assert told.status == 200
    assert told.json()["bank"] == place.bank.content_hash
    assert [one["path"] for one in told.json()["answers"]] == [file.name for file in files]
    same(told.json()["answers"], place.bank.predict(files))


def test_prevalence_and_exemplars_are_asked_for(place, server):
    files = files_of(place.new, 2)
    told = server.post("/predict", files, texts={"prevalence": "effusion=0.05", "n_nearest": "5"}).json()["answers"]
    same(told, place.bank.predict(files, prevalence={"effusion": 0.05}, n_nearest=5))
    assert told[0]["predictive_values"]["effusion"]["ppv"]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"prevalence": "effusion"}, "a prevalence is NAME=SHARE, such as covid19=0.02, got 'effusion'"),
        ({"prevalence": "effusin=0.1"}, "no finding of the bank is 'effusin'"),
        ({"n_nearest": "0"}, "n_nearest must be in 1..20, got '0'"),
        ({"n_nearest": "many"}, "n_nearest must be in 1..20, got 'many'"),
    ],
)
def test_questions_that_say_nothing(place, server, texts, told):
    answered = server.post("/predict", files_of(place.new, 1), texts=texts)
    assert answered.status == 422
    assert told in answered.detail


def test_what_the_bank_is(place, server):
    told = server.get("/bank").json()
    assert told["bank"] == place.bank.content_hash
    assert [one["finding"] for one in told["findings"]] == ["effusion", "normal"]
    assert len(told["exemplars"]) == told["n_exemplars"] == len(place.bank)
    health = server.get("/health").json()
    assert (health["status"], health["bank"]) == ("ok", place.bank.content_hash)


def test_requests_are_counted(place, server):
    server.post("/predict", files_of(place.known, 1))
    lines = server.get("/metrics").body.decode().splitlines()
    assert any(line.startswith('fscxr_requests_total{method="POST",route="/predict",status="200"} ') for line in lines)
    assert f"fscxr_bank_exemplars {len(place.bank)}" in lines
    assert any(line.startswith('fscxr_request_seconds_bucket{route="/predict",le="+Inf"} ') for line in lines)


def test_the_api_is_described_by_our_own_page(server):
    spec = server.get("/openapi.json").json()
    assert {"/predict", "/findings/{name}/films", "/bank", "/health", "/metrics"} <= set(spec["paths"])
    page = server.get("/api").body.decode()
    assert all(path.replace("{", "{") in page for path in spec["paths"])
    assert server.get("/docs").status == 404


def test_nothing_of_a_film_is_left(place, server, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert server.post("/predict", files_of(place.known, 3)).status == 200
    assert server.post("/predict", [("a.png", b"junk")]).status == 422
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_is_added_stays_in_the_bank_alone(place, bank_file, tmp_path, monkeypatch):
    for name in ("temporary", "cache"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("FSCXR_CACHE", str(tmp_path / "cache"))
    with served(bank_file) as server:
        name = server.post(f"/findings/{NEW}/films", files_of(place.new, 2)).json()["change"]["films"][0]
        assert list((tmp_path / "temporary").iterdir()) == list((tmp_path / "cache").iterdir()) == []
        names = {file.name: file.stat().st_mode & 0o777 for file in Path(f"{bank_file}.changes").iterdir()}
        assert set(names) == {"1.bank", "log.jsonl"}
        assert names["log.jsonl"] == 0o600
        server.delete(f"/findings/{NEW}")
        assert name.encode() not in bank_file.read_bytes()
        assert {file.name for file in Path(f"{bank_file}.changes").iterdir()} == {"log.jsonl"}


def test_films_are_added_and_taken_back(place, bank_file):
    files = files_of(place.new, 5)
    with served(bank_file) as server:
        before = bank_file.read_bytes()
        added = server.post(f"/findings/{NEW}/films", files)
        assert added.status == 201
        change = added.json()["change"]
        assert (change["what"], change["finding"], len(change["films"])) == ("added", NEW, 5)
        assert all(name.startswith("film-") for name in change["films"])
        kept = SupportBank.load(bank_file)
        assert kept.content_hash == added.json()["bank"]
        assert NEW in kept.findings
        by_library = place.bank.add(NEW, files)
        assert sorted(kept.table.digests) == sorted(by_library.table.digests)
        answer = server.post("/predict", files_of(place.new)[5:6]).json()["answers"][0]
        assert set(answer["distances"]) == {"effusion", "normal", NEW}
        undone = server.delete(f"/changes/{change['id']}")
        assert undone.json()["bank"] == place.bank.content_hash
        assert bank_file.read_bytes() == before
        assert [one["what"] for one in server.get("/changes").json()] == ["added", "undone"]
        again = server.delete(f"/changes/{change['id']}")
        assert again.status == 409
        assert again.detail == "change 1 cannot be taken back: nothing can be"


def test_a_film_that_is_there_already_changes_nothing(place, bank_file):
    with served(bank_file) as server:
        film = files_of(place.new, 1)
        assert server.post("/findings/effusion/films", film).json()["change"]["id"] == 1
        assert server.post("/findings/effusion/films", film).json()["change"] is None
        corrected = server.post("/findings/normal/films", film).json()["change"]
        assert corrected["films"] == server.get("/changes").json()[0]["films"]
        known = {one["film"]: one["finding"] for one in server.get("/bank").json()["exemplars"]}
        assert known[corrected["films"][0]] == "normal"


def test_a_film_the_bank_was_built_with_keeps_its_finding(place, bank_file):
    row = place.bank.table.findings.index("normal")
    film = place.films.root / place.bank.table.films[row]
    with served(bank_file) as server:
        refused = server.post("/findings/effusion/films", [film])
        assert refused.status == 409
        assert "the same film; remove one first" in refused.detail
        assert SupportBank.load(bank_file) == place.bank


def test_what_is_removed_is_gone(place, bank_file):
    with served(bank_file) as server:
        film = server.post(f"/findings/{NEW}/films", files_of(place.new, 3)).json()["change"]["films"][0]
        removed = server.delete(f"/findings/{NEW}/films/{film}")
        assert (removed.status, removed.json()["change"]["films"]) == (200, [film])
        assert server.delete("/changes/1").status == 409  # the bank of before holds the film
        assert not list(Path(f"{bank_file}.changes").glob("*.bank"))
        assert server.delete(f"/findings/{NEW}").status == 200
        assert SupportBank.load(bank_file) == place.bank
        assert server.delete(f"/findings/{NEW}").status == 404
        assert server.delete("/findings/normal").status == 409


@pytest.mark.parametrize("name", ["%20", "x" * 61, "a%0Ab", "%E2%80%AE"])
def test_names_that_no_finding_has(place, server, name):
    refused = server.post(f"/findings/{name}/films", files_of(place.new, 1))
    assert refused.status == 422
    assert "a finding has a name of 1 to 60 visible letters" in refused.detail


def test_another_process_changes_the_bank(place, bank_file):
    with served(bank_file) as server:
        place.bank.add(NEW, files_of(place.new, 2)).save(bank_file, self_contained=True)
        answer = server.post("/predict", files_of(place.known, 1)).json()["answers"][0]
        assert set(answer["distances"]) == {"effusion", "normal", NEW}
        bank_file.write_bytes(b"damaged")
        assert server.post("/predict", files_of(place.known, 1)).status == 200


KINDS = {
    **whole_pictures(),
    **{name: made for name, made in whole_dicoms().items() if name in ("plain.dcm", "RLE.dcm")},
}


@pytest.mark.parametrize("name", ["gray.png", "plain.jpg", "lzw.tif", "deep.png", "plain.dcm", "RLE.dcm"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # of bits that are guessed
def test_every_kind_of_film_is_read(place, server, tmp_path, name):
    told = server.post("/predict", [(name, KINDS[name])])
    assert told.status == 200
    (tmp_path / name).write_bytes(KINDS[name])
    same(told.json()["answers"], [place.bank.predict(tmp_path / name)])
    page = server.post("/", [(name, KINDS[name])], headers={"Accept": "text/html"}).body.decode()
    assert f'alt="The film {name}"' in page
