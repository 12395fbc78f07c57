import pytest

from fewshot_cxr.cli.results import show_prediction, show_result
from fewshot_cxr.data import read_dataset
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.inference.bank import ABSTAINED, Answer, SupportBank
from fewshot_cxr.records import Record, Records
from fewshot_cxr.report.tables import value_text
from fewshot_cxr.workflows.demo import NEW_FINDING, run_demo
from fewshot_cxr.workflows.demo_bank import BankStory


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
        "bank.json",
        "demo.bank",
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
    assert {"drawing films", "embedding films", "episodes", "asking the bank"} <= set(calls)
    bank = SupportBank.load(tmp_path / "demo" / "demo.bank")
    assert bank.table.findings.count(NEW_FINDING) == 5
    assert set(bank.findings) == set(result.episodes.per_class_recall)
    assert len(result.bank.answers) == len(result.bank.test)
    assert not set(bank.table.films) & {film.path for film in result.bank.test}
    answered, right = result.bank.shares()[NEW_FINDING]
    assert f"{value_text(answered)} (" in page
    assert f"{value_text(right)} (" in page  # unknown where no film of it is answered
    abstained = result.bank.answers[result.bank.example]
    assert abstained.reason
    assert f"Abstained for {result.bank.test[result.bank.example].path}: {abstained.reason}" in page
    show_result(result.episodes)
    show_prediction([result.prediction])
    printed = capsys.readouterr().out
    for name in ("pixels", "border", "source"):
        assert f"baseline: nearest centroid on {name}" in printed
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


def test_shares_of_answers_count_what_was_answered_alone():
    findings = ["new", "new", "normal", "normal", "normal"]
    test = Records([Record(f"{row}.png", (name,), patient_id=f"p{row}") for row, name in enumerate(findings)], ".")
    told = ["new", ABSTAINED, "normal", "new", "normal"]
    answers = [
        Answer(f"{row}.png", "new", answer, reason="unknown" * (answer == ABSTAINED)) for row, answer in enumerate(told)
    ]
    story = BankStory("", answers, test, test, "new")
    shares = story.shares()
    assert [one.mean for one in shares["new"]] == [0.5, 1.0]
    assert [one.mean for one in shares["known findings"]] == [1.0, pytest.approx(2 / 3)]
    low, high = shares["known findings"][1].ci95_patients
    assert low < 2 / 3 < high
    assert shares["new"][1].ci95_patients is None  # of one patient
    assert story.example == 1
    assert story.reasons() == {"unknown": 1}
