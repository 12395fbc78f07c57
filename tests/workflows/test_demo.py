import pytest

from fewshot_cxr.cli.results import show_prediction, show_result
from fewshot_cxr.data import read_dataset
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.workflows.demo import NEW_FINDING, run_demo


@pytest.mark.slow
def test_the_demo_leaves_a_page_and_what_it_was_made_from(tmp_path, capsys):
    calls = []
    result = run_demo(tmp_path / "demo", n_patients=36, progress=lambda *call: calls.append(call[0]))
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        "films",
        "masks",
        "manifest.csv",
        "made_by.json",
        "checkpoint",
        "episodes.json",
        "closed_set.json",
        "figures",
        "report.html",
    }
    page = result.report.read_text()
    assert f"{100 * result.episodes.accuracy.mean:.1f} %" in page
    assert NEW_FINDING in page
    low, high = result.episodes.per_class_recall[NEW_FINDING].ci95_patients
    assert f"95 % over patients: {100 * low:.1f} to {100 * high:.1f} %" in page
    assert "do not cover other patients" not in page
    assert result.episodes.asked.protocol["name"] == "generalized"
    assert result.episodes.asked.protocol["novel"] == [NEW_FINDING]
    assert len(read_dataset("manifest", tmp_path / "demo" / "manifest.csv")) > 400
    assert NEW_FINDING not in load_encoder(tmp_path / "demo" / "checkpoint").card["findings"]
    assert result.true_finding == NEW_FINDING
    assert set(result.episodes.per_class_recall) >= {NEW_FINDING, "normal"}
    assert len(list((tmp_path / "demo" / "figures").glob("*.png"))) == 3
    assert {"drawing films", "embedding films", "episodes"} <= set(calls)
    show_result(result.episodes)
    show_prediction([result.prediction])
    printed = capsys.readouterr().out
    for name in ("pixels", "border", "source"):
        assert f"floor: nearest centroid on {name}" in printed
    assert "accuracy on novel findings" in printed
    assert "nearest exemplars" in printed


@pytest.mark.slow
@pytest.mark.usefixtures("unpainted")
def test_the_smallest_demo_ends_with_its_page_too(tmp_path):
    result = run_demo(tmp_path, n_patients=20)
    assert result.report.is_file()
    assert any("too few for 5 shots and 10 queries" in note for note in result.episodes.notes)
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(ValueError, match="holds mine.csv, which is of no demo"):
        run_demo(tmp_path, n_patients=20)


@pytest.mark.parametrize("name", ["manifest.csv", "films", "made_by.json"])
def test_a_folder_that_no_demo_has_begun_is_refused(tmp_path, name):
    (tmp_path / name).mkdir() if name == "films" else (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"holds {name}, which is of no demo"):
        run_demo(tmp_path, n_patients=20)
