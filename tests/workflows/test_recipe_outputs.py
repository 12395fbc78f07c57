import csv
import json
import math

import matplotlib
import numpy as np
import pytest
from made_films import make_films
from PIL import Image
from sklearn.metrics import auc, precision_recall_fscore_support

from fewshot_cxr.data import cache_films
from fewshot_cxr.evaluation import Answers, evaluate_closed_set, evaluate_multi_label
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import RULES
from fewshot_cxr.records import Record, Records
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.judging import Exemplars
from fewshot_cxr.workflows.rank_tables import RankTable, rank_tables
from fewshot_cxr.workflows.recipes.outputs import write_outputs

FINDINGS = ("covid", "normal", "pneumonia")
HISTORY = [
    {"epoch": 1.0, "loss": 0.9, "val_accuracy": 0.5, "val_auroc": math.nan},
    {"epoch": 2.0, "loss": 0.5, "val_accuracy": 0.75, "val_auroc": 0.8},
]
FILM = np.arange(64, dtype=np.uint8).reshape(8, 8)
RANKS = RankTable(
    FILM,
    "films/q.png",
    ((FILM, "normal", 3.0), (FILM, "covid", 1.0), (FILM, "normal", 1.0)),
    means={"covid": 1.0, "normal": 2.0},
    paths=("n1.png", "c1.png", "n2.png"),
)
COUNTS = {"train": {"covid": 5, "normal": 9}, "test": {"normal": 3}}


def made_decisions(n_films=60, *, seed=0):
    rng = np.random.default_rng(seed)
    true_ids = np.arange(n_films) % 3
    logits = rng.normal(size=(n_films, 3)) + 1.2 * np.eye(3)[true_ids]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Answers(
        findings=FINDINGS,
        truth=true_ids,
        probabilities=probabilities,
        paths=tuple(f"{row:03d}.png" for row in range(n_films)),
        patient_ids=[f"p{row // 2}" for row in range(n_films)],
    )


def made_multi_label(n_films=40):
    rng = np.random.default_rng(1)
    truth = (rng.random((n_films, 3)) < 0.4).astype(float)
    truth[0, 0], truth[:, 2] = math.nan, 0.0
    patients = [f"p{row // 2}" for row in range(n_films)]
    paths = [f"{row:03d}.png" for row in range(n_films)]
    return evaluate_multi_label(("effusion", "mass", "hernia"), rng.random((n_films, 3)), truth, patients, paths)


def rows_of(folder, name):
    with (folder / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def json_of(folder, name):
    return json.loads((folder / "tables" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    result = evaluate_closed_set(made_decisions())
    files = write_outputs(
        out,
        result=result,
        history=HISTORY,
        best_epoch=2,
        rank_tables=[RANKS],
        counts=COUNTS,
        title="A run",
        seed=7,
        command="fscxr recipes run x",
    )
    return out, result, files


def test_every_figure_and_table_is_there_and_named(shown):
    out, _, files = shown
    assert sorted(files) == sorted(path for path in out.rglob("*") if path.is_file())
    tables = {"confusion", "per_class", "numbers", "roc", "history", "class_counts", "rank_1"}
    figures = {"confusion", "roc", "learning", "class_counts", "rank_1"}
    assert {path.name for path in files if path.parent.name == "tables"} == {
        f"{name}.{ending}" for name in tables for ending in ("csv", "json")
    }
    assert {path.name for path in files if path.parent.name == "figures"} == {f"{name}.png" for name in figures}
    for path in files:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) > 200


def test_each_json_says_what_it_was_made_from_and_holds_the_rows_of_the_csv(shown):
    out, result, _ = shown
    for name in ("confusion", "per_class", "numbers", "history", "class_counts", "rank_1"):
        plain, rows = json_of(out, name), rows_of(out, name)
        assert (plain["data_hash"], plain["seed"], plain["command"]) == (result.data_hash, 7, "fscxr recipes run x")
        assert (plain["title"], plain["n_films"], plain["n_patients"], plain["best_epoch"]) == ("A run", 60, 30, 2)
        for one, other in zip(plain["rows"], rows, strict=True):
            texts = {key: "" if value is None else str(value) for key, value in one.items()}
            assert {key: value for key, value in other.items() if key in one} == texts


def test_per_class_numbers_are_those_of_scikit_learn(shown):
    out, result, _ = shown
    decisions = result.answers
    predicted = decisions.probabilities.argmax(axis=1)
    rows = {row["finding"] or row["kind"]: row for row in rows_of(out, "per_class")}
    expected = precision_recall_fscore_support(decisions.true_ids, predicted)
    for index, finding in enumerate(FINDINGS):
        found = [float(rows[finding][name]) for name in ("precision", "recall", "f1", "n_films")]
        assert found == pytest.approx([column[index] for column in expected])
    for average in ("macro", "weighted"):
        expected = precision_recall_fscore_support(decisions.true_ids, predicted, average=average)[:3]
        assert [float(rows[average][name]) for name in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert float(rows["balanced"]["recall"]) == pytest.approx(float(rows["macro"]["recall"]))


def test_every_number_stands_in_its_interval(shown):
    out, _, _ = shown
    for row in rows_of(out, "per_class"):
        for name in ("precision", "recall", "f1"):
            if row[name]:
                assert 0 <= float(row[f"{name}_low"]) < float(row[name]) < float(row[f"{name}_high"]) <= 1


def test_the_confusion_has_counts_and_shares_of_the_row(shown):
    out, result, _ = shown
    for row, counts in zip(rows_of(out, "confusion"), result.confusion, strict=True):
        assert [float(row[f"as {name}"]) for name in FINDINGS] == list(counts)
        assert sum(float(row[f"share as {name}"]) for name in FINDINGS) == pytest.approx(1)


def test_the_area_below_the_points_is_the_auc(shown):
    out, _, _ = shown
    points = rows_of(out, "roc")
    for row in json_of(out, "roc")["rows"]:
        own = [point for point in points if point["finding"] == row["finding"]]
        rates = [[float(point[name]) for point in own] for name in ("false_positive_rate", "true_positive_rate")]
        assert auc(*rates) == pytest.approx(row["auc"])
        assert row["auc_low"] < row["auc"] < row["auc_high"]


def test_what_was_not_measured_is_empty(shown):
    out, _, _ = shown
    assert [row["val_auroc"] for row in rows_of(out, "history")] == ["", "0.8"]
    assert [row["val_auroc"] for row in json_of(out, "history")["rows"]] == [None, 0.8]


def test_films_are_counted_by_finding_and_split(shown):
    out, _, _ = shown
    assert json_of(out, "class_counts")["rows"] == [
        {"finding": "covid", "train": 5, "test": 0},
        {"finding": "normal", "train": 9, "test": 3},
    ]


def test_exemplars_are_ranked_and_their_means_follow(shown):
    out, _, _ = shown
    columns = ("kind", "rank", "finding", "distance", "score", "path")
    assert [tuple(row[name] for name in columns) for row in rows_of(out, "rank_1")] == [
        ("exemplar", "1", "covid", "1.0", "", "c1.png"),
        ("exemplar", "1", "normal", "1.0", "", "n2.png"),
        ("exemplar", "3", "normal", "3.0", "", "n1.png"),
        ("finding", "1", "covid", "", "1.0", ""),
        ("finding", "2", "normal", "", "2.0", ""),
    ]


def test_of_several_findings_per_film_there_is_no_confusion(tmp_path):
    result = made_multi_label()
    files = write_outputs(tmp_path, result=result, history=[], best_epoch=None)
    assert {path.name for path in files} == {
        *(f"{name}.{ending}" for name in ("per_class", "numbers", "roc") for ending in ("csv", "json")),
        "roc.png",
    }
    rows = {row["finding"] or row["kind"]: row for row in rows_of(tmp_path, "per_class")}
    assert (rows["effusion"]["n_films"], rows["hernia"]["auroc"], rows["hernia"]["specificity"] != "") == (
        "39",
        "",
        True,
    )
    assert float(rows["macro"]["auroc"]) == pytest.approx(result.mean_auroc.value)
    assert {row["finding"] for row in rows_of(tmp_path, "roc")} == {"effusion", "mass"}
    assert [row["number"] for row in rows_of(tmp_path, "numbers")] == ["mean_auroc", "mean_auprc"]


def test_decisions_without_probabilities_have_no_curve(tmp_path):
    decisions = Answers(
        findings=FINDINGS,
        truth=[0, 1, 1, 0],
        probabilities=np.eye(3)[[0, 1, 0, 0]],
        paths=tuple("abcd"),
        has_probabilities=False,
    )
    files = write_outputs(tmp_path, result=evaluate_closed_set(decisions), history=[], best_epoch=None)
    assert {path.stem for path in files} == {"confusion", "per_class", "numbers"}
    rows = {row["finding"] or row["kind"]: row for row in rows_of(tmp_path, "per_class")}
    # No film shows it and none was taken for it: undefined, and left out of the means.
    assert (rows["pneumonia"]["n_films"], rows["pneumonia"]["precision"]) == ("0", "")
    assert float(rows["macro"]["precision"]) == pytest.approx((2 / 3 + 1) / 2)
    assert json_of(tmp_path, "confusion")["rows"][2]["share as covid"] is None


def test_what_cannot_be_drawn_leaves_no_file(tmp_path):
    result = evaluate_closed_set(made_decisions())
    with pytest.raises(ValueError, match="best_epoch is 9, which the history of 2 epochs does not have"):
        write_outputs(tmp_path, result=result, history=HISTORY, best_epoch=9, counts=COUNTS)
    assert not list(tmp_path.iterdir())


def test_the_same_run_writes_the_same_bytes(tmp_path, shown):
    out, result, _ = shown
    again = write_outputs(tmp_path, result=result, history=HISTORY, best_epoch=2, counts=COUNTS, title="A run")
    for path in again:
        if path.suffix != ".json":  # these name the seed and the command
            assert path.read_bytes() == (out / path.relative_to(tmp_path)).read_bytes()


def cached(films, folder):
    """Write and decode a tiny film of each embedding."""
    names = films.class_names
    records = []
    for row, class_id in enumerate(films.class_ids.tolist()):
        Image.fromarray(FILM + row % 100).save(folder / f"{row}.png")
        records.append(Record(f"{row}.png", (names[class_id],), patient_id=str(films.patient_ids[row])))
    return cache_films(Records(tuple(records), folder), ImageSpec(size_px=8), folder=folder / "cache", n_workers=1)


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """More exemplars than a page shows, and test films: (decoded, embedded) of each."""
    roots = [tmp_path_factory.mktemp(name) for name in ("exemplars", "asked")]
    both = [make_films(n_patients, spread=1.0, seed=seed) for seed, n_patients in enumerate((25, 8))]
    return [(cached(films, root), films) for films, root in zip(both, roots, strict=True)]


def made_exemplars(sides, rule):
    options = {"knn": {"k": 5}, "template": {"weights": np.linspace(0, 1, 6).tolist()}}.get(rule, {})
    return Exemplars(*sides[0], ExemplarRule(rule, "euclidean", options))


@pytest.mark.parametrize("rule", [name for name in RULES if name != "template"])
def test_a_rank_table_shows_what_the_rule_decided_over_all_exemplars(rule, sides):
    exemplars, (films, embedded) = made_exemplars(sides, rule), sides[1]
    assert len(exemplars.films) > 60
    decisions = exemplars.decide(embedded)
    tables = rank_tables(exemplars, films, embedded, 12, seed=3)
    assert len(tables) == 12
    for table in tables:
        row = int(table.name.removesuffix(".png"))
        own = decisions.probabilities[decisions.paths.index(embedded.paths[row])]
        assert table.decision == decisions.findings[own.argmax()]
        assert table.truth == films.records[row].finding
        assert next(iter(table.means)) == table.decision
        assert (table.rule, len(table.rows), table.n_exemplars) == (rule, 9, len(exemplars.films))


def test_mean_distances_are_over_all_exemplars_not_those_shown(sides):
    exemplars, (films, embedded) = made_exemplars(sides, "mean_distance"), sides[1]
    (table,) = rank_tables(exemplars, films, embedded, 1, seed=0)
    asked = embedded.vectors[int(table.name.removesuffix(".png"))]
    distances = np.linalg.norm(exemplars.embeddings.vectors - asked, axis=1)
    for class_id, name in enumerate(exemplars.embeddings.class_names):
        assert table.means[name] == pytest.approx(
            distances[exemplars.embeddings.class_ids == class_id].mean(), rel=1e-5
        )


def test_files_of_a_rank_table_hold_truth_decision_and_scores(tmp_path, sides, monkeypatch):
    exemplars, (films, embedded) = made_exemplars(sides, "knn"), sides[1]
    tables = rank_tables(exemplars, films, embedded, 1, seed=0)
    drawn = []
    monkeypatch.setattr(
        "fewshot_cxr.workflows.recipes.outputs.save_figure", lambda figure, path: drawn.append((path.stem, figure))
    )
    result = evaluate_closed_set(exemplars.decide(embedded))
    write_outputs(tmp_path, result=result, history=[], best_epoch=None, rank_tables=tables)
    (table,), rows = tables, rows_of(tmp_path, "rank_1")
    assert {(row["film"], row["truth"], row["decision"], row["rule"]) for row in rows} == {
        (table.name, table.truth, table.decision, "knn")
    }
    scores = {row["finding"]: float(row["score"]) for row in rows if row["kind"] == "finding"}
    assert scores == table.means
    assert list(table.means.values()) == sorted(table.means.values())
    assert min(scores, key=scores.get) == table.decision
    assert [row.get("score") for row in json_of(tmp_path, "rank_1")["rows"][-3:]] == sorted(scores.values())
    texts = [text.get_text() for text in dict(drawn)["rank_1"].findobj(matplotlib.text.Text)]
    assert f"9 of {len(exemplars.films)} exemplars shown" in texts
    assert any(text.startswith("Score of each finding by the rule knn") for text in texts)
    assert sum(text.endswith("  decision") for text in texts) == 1
