"""The corrected tables of docs/systems.md, from what the five reports print.

    python benchmarks/published_tables.py

Nothing is trained and no film is needed: the matrices, counts and shares below are those of the reports, the scores and
intervals are the library's own. tests/evaluation/test_published_tables.py checks that the page holds what this prints.
"""

from itertools import product

import numpy as np
import torch
from scipy import stats

from fewshot_cxr.metrics import confusion_scores, wilson_interval

# System 0: films of the test set, its COVID-19 rows as counts (31 films leave no choice), the others as printed shares.
COVIDX = ("COVID-19", "normal", "pneumonia")
COVIDX_FILMS = (31, 885, 594)
COVIDX_COVID_ROW = {"siamese": (20, 4, 7), "single": (26, 1, 4)}
COVIDX_SHARES = {
    "siamese": ((0.01, 0.87, 0.12), (0.01, 0.11, 0.88)),
    "single": ((0.07, 0.82, 0.11), (0.06, 0.15, 0.79)),
}
COVIDX_PRINTED = {"siamese": 0.87, "single": 0.81}

# System 1: three queries, all COVID-19; how many exemplars of each finding chance gave; the printed mean distances.
CORONAHACK = ("COVID-19", "bacteria", "unknown")
CORONAHACK_TRIALS = (
    ((4, 2, 2), (0.485842, 0.709756, 2.617604)),
    ((5, 2, 1), (0.996312, 1.168087, 0.869112)),
    ((5, 2, 1), (1.082113, 1.658085, 1.708812)),
)

# System 2: films of the test split (15 % of each folder), and per class (COVID-19, other infection, normal, viral
# pneumonia) what the reports print with two digits: recall and F1.
RADIOGRAPHY_SUPPORT = (542, 902, 1529, 202)
GATES = {
    "cross-entropy": (3175, 0.9380, "0.9379 weighted", (0.97, 0.90, 0.95, 0.96), (0.97, 0.91, 0.94, 0.96)),
    "cross-entropy, gates": (3175, 0.9408, "0.9495 macro", (0.98, 0.89, 0.95, 0.97), (0.97, 0.91, 0.94, 0.97)),
    "triplet": (3168, 0.8943, "0.8940 weighted", (0.89, 0.84, 0.93, 0.89), (0.89, 0.86, 0.92, 0.89)),
    "triplet, gates": (3168, 0.9265, "0.9263 weighted", (0.93, 0.89, 0.95, 0.94), (0.94, 0.90, 0.93, 0.95)),
}

# System 3: AUC of COVID-19 against the rest, 43 and 14 films; and the 14 findings of ChestX-ray14's official test list.
TRANSFER = {"ChestX-ray14": 0.88, "ImageNet alone": 0.87, "none": 0.73}
TRANSFER_FILMS = (43, 14)
CHESTXRAY14 = {
    "Atelectasis": 0.7705,
    "Cardiomegaly": 0.8823,
    "Effusion": 0.8291,
    "Infiltration": 0.6992,
    "Mass": 0.8172,
    "Nodule": 0.7536,
    "Pneumonia": 0.7194,
    "Pneumothorax": 0.8602,
    "Consolidation": 0.7507,
    "Edema": 0.8467,
    "Emphysema": 0.9157,
    "Fibrosis": 0.8150,
    "Pleural_Thickening": 0.7804,
    "Hernia": 0.8996,
}

# System 4: rows are the truth, 60 test films of each finding; and precision, recall, accuracy as printed.
RADIOGRAPHY = ("COVID-19", "lung opacity", "normal", "viral pneumonia")
RADIOGRAPHY_FILMS = (3616, 6012, 10192, 1345)
CONFUSION = {
    "VGG16": ((59, 0, 0, 1), (0, 53, 7, 0), (0, 2, 58, 0), (0, 1, 0, 59)),
    "ResNet18": ((58, 0, 1, 1), (1, 52, 7, 0), (0, 0, 60, 0), (0, 0, 0, 60)),
    "DenseNet121": ((59, 1, 0, 0), (0, 55, 5, 0), (0, 3, 57, 0), (0, 0, 1, 59)),
}
PRINTED = {
    "VGG16": (
        (0.9833, 1.0000, 0.9956),
        (0.8833, 0.9464, 0.9582),
        (0.9667, 0.8923, 0.9622),
        (0.9833, 0.9833, 0.9913),
    ),
    "ResNet18": (
        (0.9667, 0.9830, 0.9871),
        (0.8667, 1.0000, 0.9664),
        (1.0000, 0.8823, 0.9664),
        (1.0000, 0.9836, 0.9957),
    ),
    "DenseNet121": (
        (0.9833, 1.0000, 0.9957),
        (0.9167, 0.9322, 0.9623),
        (0.9500, 0.9047, 0.9623),
        (0.9833, 1.0000, 0.9957),
    ),
}


def scores(confusion):
    """Return the library's scores of one confusion matrix, or of many, as arrays."""
    found = confusion_scores(torch.tensor(np.asarray(confusion, dtype=float)))
    return {name: values.numpy() for name, values in found.items()}


def share_with_interval(hits, n):
    low, high = wilson_interval(hits, n)
    return f"{hits / n:.3f} ({low:.3f} to {high:.3f})"


def rows_that_round_to(shares, n):
    """Return all rows of whole counts of n films that round to these shares of two digits."""
    reach = [range(max(0, round(n * (s - 0.006))), round(n * (s + 0.006)) + 1) for s in shares]
    rows = np.array([(one, two, n - one - two) for one, two in product(*reach[:2])])
    return rows[(np.abs(rows / n - shares) <= 0.005).all(axis=1)]


def covidx_matrices(network):
    """Return the matrix of the counts nearest to the printed shares, and all matrices that round to them."""
    printed = list(zip(COVIDX_SHARES[network], COVIDX_FILMS[1:], strict=True))
    covid_row = COVIDX_COVID_ROW[network]
    nearest = [covid_row, *(np.rint(np.multiply(shares, n)) for shares, n in printed)]
    pairs = product(*(rows_that_round_to(shares, n) for shares, n in printed))
    return np.array(nearest), np.array([(covid_row, *pair) for pair in pairs])


def span(values, digits=2):
    return f"{values.min():.{digits}f} to {values.max():.{digits}f}"


def hanley_mcneil(auc, n_positive, n_negative):
    """Return the 95 % interval of an AUC that came without its scores.

    Source: Hanley, McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    1982, doi:10.1148/radiology.143.1.7063747, eq. 2.
    """
    both_positive, both_negative = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc)
    variance += (n_positive - 1) * (both_positive - auc**2) + (n_negative - 1) * (both_negative - auc**2)
    half = stats.norm.ppf(0.975) * (variance / (n_positive * n_negative)) ** 0.5
    return max(0.0, auc - half), min(1.0, auc + half)


def markdown(names, rows):
    ruler = ["---", *("---:" for _ in names[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, ruler, *rows))


def covidx_table():
    rows = []
    for network, printed in COVIDX_PRINTED.items():
        nearest, possible = covidx_matrices(network)
        found = scores(possible)
        cells = [network, f"{printed:.2f}", share_with_interval(int(nearest.trace()), int(nearest.sum()))]
        cells += [
            span(found["balanced_accuracy"], 3),
            share_with_interval(COVIDX_COVID_ROW[network][0], COVIDX_FILMS[0]),
        ]
        rows.append([*cells, span(found["ppv"][:, 0]), span(found["macro_f1"]), span(found["mcc"])])
    names = ["network", "accuracy printed", "accuracy", "balanced accuracy", "COVID-19 sensitivity"]
    return markdown([*names, "COVID-19 PPV", "macro F1", "MCC"], rows)


def covidx_comparison():
    counts = [[row[0], COVIDX_FILMS[0] - row[0]] for row in (COVIDX_COVID_ROW["siamese"], COVIDX_COVID_ROW["single"])]
    p = stats.fisher_exact(counts).pvalue
    return markdown(
        ["COVID-19 films found", "siamese", "single", "Fisher's exact p"],
        [["of 31", str(counts[0][0]), str(counts[1][0]), f"{p:.2f}"]],
    )


def coronahack_table():
    rows, n_right = [], 0
    for number, (exemplars, distances) in enumerate(CORONAHACK_TRIALS, start=1):
        answer = int(np.argmin(distances))
        n_right += answer == 0
        cells = [f"{d:.3f} ({n})" for d, n in zip(distances, exemplars, strict=True)]
        rows.append([f"{number}, COVID-19", *cells, CORONAHACK[answer], "right" if answer == 0 else "**wrong**"])
    rows.append(["right", "", "", "", "", share_with_interval(n_right, len(CORONAHACK_TRIALS))])
    return markdown(["query", *CORONAHACK, "nearest", "answer"], rows)


def gates_table():
    rows = []
    for name, (n, accuracy, printed, recall, f1) in GATES.items():
        weighted = np.average(f1, weights=RADIOGRAPHY_SUPPORT)
        averages = [f"{np.mean(recall):.3f}", f"{np.mean(f1):.3f}", f"{weighted:.3f}"]
        rows.append([name, printed, share_with_interval(round(accuracy * n), n), *averages])
    return markdown(["training", "F1 printed", "accuracy", "balanced accuracy", "macro F1", "weighted F1"], rows)


def transfer_table():
    rows = []
    for weights, auc in TRANSFER.items():
        low, high = hanley_mcneil(auc, *TRANSFER_FILMS)
        rows.append([weights, f"{auc:.2f}", f"{low:.2f} to {high:.2f}"])
    return markdown(["pre-trained on", "AUC printed", "95 % (Hanley, McNeil)"], rows)


def chestxray14_table():
    lowest, highest = min(CHESTXRAY14, key=CHESTXRAY14.get), max(CHESTXRAY14, key=CHESTXRAY14.get)
    ends = [f"{name} {CHESTXRAY14[name]:.3f}" for name in (lowest, highest)]
    return markdown(
        ["encoder", "mean AUC of 14", "lowest", "highest"],
        [["DenseNet121", f"{np.mean(list(CHESTXRAY14.values())):.3f}", *ends]],
    )


def radiography_table():
    rows = []
    for network, confusion in CONFUSION.items():
        found = scores(confusion)
        for index, finding in enumerate(RADIOGRAPHY):
            printed = [f"{value:.4f}" for value in PRINTED[network][index]]
            names = ("ppv", "sensitivity", "f1", "specificity", "one_vs_rest_accuracy")
            rows.append([f"{network}, {finding}", *printed, *(f"{found[name][index]:.4f}" for name in names)])
    printed = ["precision printed", "recall printed", "accuracy printed"]
    corrected = ["precision", "recall", "F1", "specificity", "accuracy, one against rest"]
    return markdown(["network, finding", *printed, *corrected], rows)


def radiography_summary():
    rows = []
    for network, confusion in CONFUSION.items():
        table = np.array(confusion)
        found = scores(table)
        in_the_set = scores(table / table.sum(axis=1, keepdims=True) * np.array(RADIOGRAPHY_FILMS)[:, None])
        numbers = [f"{found['macro_f1']:.3f}", f"{found['mcc']:.3f}"]
        ppv = [f"{value:.3f}" for value in in_the_set["ppv"]]
        rows.append([network, share_with_interval(int(table.trace()), int(table.sum())), *numbers, *ppv])
    names = ["network", "accuracy = balanced accuracy", "macro F1", "MCC"]
    return markdown([*names, *(f"PPV of {finding}" for finding in RADIOGRAPHY)], rows)


TABLES = (
    covidx_table,
    covidx_comparison,
    coronahack_table,
    gates_table,
    transfer_table,
    chestxray14_table,
    radiography_table,
    radiography_summary,
)

if __name__ == "__main__":
    print("\n\n".join(table() for table in TABLES))
