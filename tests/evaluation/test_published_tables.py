"""docs/systems.md holds what benchmarks/published_tables.py prints, and that is right."""

import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as oracle

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks" / "published_tables.py"
PAGE = (ROOT / "docs" / "systems.md").read_text()
RECIPES = sorted((ROOT / "fewshot_cxr" / "workflows" / "recipes").glob("*.toml"))
PUBLISHED = [path for path in RECIPES if path.stem != "common-base"]  # which re-implements no system
FOUND = runpy.run_path(str(PROGRAM))


def cells(name):
    """Return a table's rows below its head."""
    lines = FOUND[name]().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("table", [table.__name__ for table in FOUND["TABLES"]])
def test_the_page_holds_the_table(table):
    assert f"\n\n{FOUND[table]()}\n\n" in PAGE


def test_the_program_prints_the_tables_and_nothing_else(capsys):
    runpy.run_path(str(PROGRAM), run_name="__main__")
    assert capsys.readouterr().out == "\n\n".join(table() for table in FOUND["TABLES"]) + "\n"


@pytest.mark.parametrize("recipe", PUBLISHED, ids=lambda path: path.stem)
def test_each_recipe_has_its_command(recipe):
    command = next(line for line in PAGE.splitlines() if line.startswith(f"| `{recipe.stem}` |"))
    assert f"`fscxr recipes run {recipe.stem} --data " in command
    table = tomllib.loads(recipe.read_text())
    assert all(f"--data {reader}:" in command for reader in table["data"])
    assert ("--start-from" in command) == ("start_from" in table)


@pytest.mark.parametrize(
    ("shares", "n"), [((0.05, 0.85, 0.10), 20), ((0.01, 0.87, 0.12), 885), ((0.06, 0.15, 0.79), 594)]
)
def test_all_rows_that_round_to_the_shares_are_found_and_no_others(shares, n):
    one, two = np.indices((n + 1, n + 1)).reshape(2, -1)
    rows = np.stack([one, two, n - one - two], axis=1)
    fit = (np.abs(rows / n - shares) <= 0.005).all(axis=1)
    assert FOUND["rows_that_round_to"](shares, n).tolist() == rows[fit].tolist() != []


@pytest.mark.parametrize("network", ["siamese", "single"])
def test_the_covid_row_of_31_films_follows_from_its_printed_shares(network):
    printed = {"siamese": (0.65, 0.13, 0.23), "single": (0.84, 0.03, 0.13)}[network]
    rows = [(one, two, 31 - one - two) for one in range(32) for two in range(32 - one)]
    fit = [row for row in rows if all(abs(n / 31 - s) <= 0.005 for n, s in zip(row, printed, strict=True))]
    assert fit == [FOUND["COVIDX_COVID_ROW"][network]]


def test_covidx_ranges_hold_the_nearest_counts_and_what_was_printed():
    for network, printed in FOUND["COVIDX_PRINTED"].items():
        nearest, possible = FOUND["covidx_matrices"](network)
        assert nearest.sum(axis=1).tolist() == [31, 885, 594]
        assert (possible == nearest).all(axis=(1, 2)).any()
        assert nearest.trace() / 1510 == pytest.approx(printed, abs=0.005)
    siamese, single = cells("covidx_table")
    assert siamese[2:] == [
        "0.870 (0.852 to 0.886)",
        "0.795 to 0.801",
        "0.645 (0.469 to 0.789)",
        "0.49 to 0.71",
        "0.76 to 0.81",
        "0.74 to 0.75",
    ]
    assert single[2:6] == ["0.809 (0.788 to 0.828)", "0.814 to 0.819", "0.839 (0.674 to 0.929)", "0.20 to 0.22"]
    assert cells("covidx_comparison") == [["of 31", "20", "26", "0.15"]]


def test_two_of_three_rank_tables_are_right():
    rows = cells("coronahack_table")
    assert [row[-1] for row in rows] == ["right", "**wrong**", "right", "0.667 (0.208 to 0.939)"]
    assert rows[1][4] == "unknown"
    assert all(sum(exemplars) == 8 for exemplars, _ in FOUND["CORONAHACK_TRIALS"])


def test_averages_on_equal_terms():
    assert sum(FOUND["RADIOGRAPHY_SUPPORT"]) == 3175
    assert [row[4:] for row in cells("gates_table")[:2]] == [["0.945", "0.938"], ["0.948", "0.939"]]
    for _, _, accuracy, *_ in cells("gates_table"):
        assert 0.8 < float(accuracy[:5]) < 1
    # Each printed average is one of ours up to what two digits leave open: the second alone is the plain mean.
    for name, (_, _, printed, _, f1) in FOUND["GATES"].items():
        value, kind = printed.split()
        weights = FOUND["RADIOGRAPHY_SUPPORT"] if kind == "weighted" else None
        assert np.average(f1, weights=weights) == pytest.approx(float(value), abs=0.005), name


def test_the_interval_of_an_auc_is_hanley_and_mcneils():
    assert [row[2] for row in cells("transfer_table")] == ["0.79 to 0.97", "0.78 to 0.96", "0.59 to 0.87"]
    # One film of each: the AUC is a single coin.
    low, high = FOUND["hanley_mcneil"](0.5, 1, 1)
    assert (low, high) == (0.0, 1.0)
    low, high = FOUND["hanley_mcneil"](0.5, 400, 400)
    # Without signal the variance is the rank sum's: (n + m + 1) / (12 n m).
    assert (high - low) / (2 * 1.959964) == pytest.approx((801 / (12 * 400 * 400)) ** 0.5, rel=1e-3)
    assert cells("chestxray14_table")[0][1] == "0.810"


@pytest.mark.parametrize("network", sorted(FOUND["CONFUSION"]))
def test_precision_and_recall_were_swapped_and_are_scikit_learns(network):
    confusion = np.array(FOUND["CONFUSION"][network])
    truth, answer = np.repeat(np.indices((4, 4)).reshape(2, -1), confusion.ravel(), axis=1)
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(truth, answer)
    own = confusion.diagonal()
    rows = [row for row in cells("radiography_table") if row[0].startswith(network)]
    for index, row in enumerate(rows):
        values = [float(value) for value in row[1:]]
        right = ((truth == index) == (answer == index)).mean()
        assert values[3:6] == pytest.approx([precision[index], recall[index], f1[index]], abs=5e-5)
        assert values[7] == pytest.approx(right, abs=5e-5)
        # The printed ones are cut, not rounded, after four digits.
        assert values[:2] == pytest.approx([recall[index], precision[index]], abs=1.01e-4)
        off = confusion[index].sum() + confusion[:, index].sum() - 2 * own[index]
        assert values[2] == pytest.approx(own.sum() / (own.sum() + off), abs=1.01e-4)
    summary = next(row for row in cells("radiography_summary") if row[0] == network)
    assert float(summary[2]) == pytest.approx(f1.mean(), abs=5e-4)
    weights = (np.array(FOUND["RADIOGRAPHY_FILMS"]) / 60)[truth]
    ppv = oracle.precision_score(truth, answer, average=None, sample_weight=weights)
    assert [float(value) for value in summary[4:]] == pytest.approx(ppv, abs=5.1e-4)
