"""Synthetic films in a folder, divided by patient as a user divides them, and a small run on them."""

from command_line import run

from fewshot_cxr.data.synthetic import make_synthetic


def lay_split(folder, findings, n_patients, *more):
    """Draw films of findings into `folder`, and divide them by patient into its split.csv; `more` are flags."""
    make_synthetic(folder, n_patients=n_patients, findings=findings, size_px=48)
    asked = ("--patient-pattern", r"(p\d+)_", *more, "--out", folder / "split.csv")
    assert run("data", "split", folder / "films", *asked) == 0


def train_small(folder, *more):
    """Train a small encoder on that split for one epoch into its run; `more` are flags. Return the exit code."""
    small = ("--image-size", 32, "--epochs", 1, "--batch-size", 12, "--encoder-option", "width=4")
    return run("train", "siamese", "--data", folder / "split.csv", *small, "--out", folder / "run", *more)
