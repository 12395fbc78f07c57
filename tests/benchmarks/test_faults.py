"""benchmarks/faults.py counts what an attack does, and goes on behind a process that ends or hangs."""

import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch

from fewshot_cxr.storage import load_tensors, save_tensors

pytestmark = [
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="attacks are forked"),
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),  # Python 3.12 and later, beside threads
]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def faults(script):
    return script("faults")


def test_an_attack_that_hangs_or_ends_its_process_is_counted_and_the_next_goes_on(faults, monkeypatch, tmp_path):
    def attacks(made, draw, share):
        yield "well", lambda: "refused"
        yield "hangs", partial(time.sleep, 60)
        yield "ends", partial(os._exit, 3)
        yield "raises", lambda: 1 / 0
        yield "loses", lambda: "lost: two rows"
        yield "reads on", lambda: "silent"

    monkeypatch.setattr(faults, "KINDS", {"flips: some": attacks})
    monkeypatch.setattr(faults, "SHORT", 0.5)
    (siege,) = faults.run_kinds(["flips: some"], tmp_path, seed=0, share=1, n_lanes=2)
    assert siege.counts == {"refused": 1, "hang": 1, "crash": 2, "lost": 1, "silent": 1}
    assert [example.split()[1].rstrip(":") for example in siege.examples] == [
        "hangs",
        "ends",
        "raises",
        "loses",
        "reads",
    ]


def test_attacks_that_cannot_be_prepared_are_a_crash_and_no_endless_turn(faults, monkeypatch, tmp_path):
    def attacks(made, draw, share):
        yield "well", lambda: "refused"
        raise RuntimeError("no film to attack")

    monkeypatch.setattr(faults, "KINDS", {"flips: some": attacks})
    (siege,) = faults.run_kinds(["flips: some"], tmp_path, seed=0, share=1, n_lanes=1)
    assert siege.counts == {"refused": 1, "crash": 1}
    assert "no film to attack" in siege.examples[0]


def test_the_table_of_the_docs_is_printed_with_what_was_before(faults):
    some = faults.Siege("kills", print, Counter(refused=1_500, crash=2, lost=1), seconds=61.4)
    assert list(faults.markdown([some], "today")) == [
        "today.",
        "",
        "| kind | inputs | crash | hang | silent | lost | seconds | before |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        "| kills | 1,503 | 2 | 0 | 0 | 1 | 61 | 21 crash, 7 lost |",
    ]
    assert set(faults.BEFORE) <= set(faults.KINDS)


def test_an_error_that_nobody_foresaw_is_a_crash_whatever_its_code(faults):
    from fault_kinds.attack import Finished, command_outcome

    error = "fscxr: error: unforeseen TypeError: 'int' object is not iterable (at a.json)"
    assert command_outcome(Finished(2, "", error, 0.1, 1.0)).startswith("crash")
    assert command_outcome(Finished(2, "", "fscxr: error: a.json: 3 is no list", 0.1, 1.0)) == "refused"


def test_what_is_read_of_a_damaged_file_must_be_what_it_was(faults, tmp_path):
    from fault_kinds.attack import believed, fingerprint

    def refuse(text):
        raise OSError(text)

    truth, file = fingerprint({"a": [1.0, None]}), tmp_path / "some.file"
    assert believed(lambda: {"a": [1.0, None]}, truth, file) == "harmless"
    assert believed(lambda: {"a": [1.5, None]}, truth, file) == "silent"
    assert believed(partial(refuse, f"{file} is damaged"), truth, file) == "refused"
    assert believed(partial(refuse, "it is damaged"), truth, file).startswith("crash: names no file")


def test_pieces_of_a_file_are_refused_and_one_who_believes_them_is_found(faults, tmp_path):
    from fault_kinds.flips import pieces_of

    file, others = tmp_path / "some.safetensors", [b"film_name,finding\n", b"{}"]
    save_tensors(file, {"a": torch.ones(9)}, kind="some", header={"b": 1})
    whole, none = pieces_of(file, partial(load_tensors, kind="some"), others, None), pieces_of(file, str, others, None)
    outcomes = Counter(work() for _, work in whole)
    assert outcomes == {"refused": sum(1 for _ in none)}
    assert {work() for _, work in pieces_of(file, Path.read_bytes, others, 2)} == {"silent"}


def test_a_command_is_called_under_guard(faults, tmp_path):
    from fault_kinds.attack import call, command_outcome

    done = call("data", "read", "image_folder:nowhere", "--out", "a.csv", cwd=tmp_path)
    assert (done.code, command_outcome(done)) == (2, "refused")
    assert command_outcome(call("--version", cwd=tmp_path, before=partial(time.sleep, 60), limit=0.2)) == "hang"
    assert command_outcome(call("--version", cwd=tmp_path, before=lambda: 1 / 0)).startswith("crash: ZeroDivisionError")


@pytest.mark.slow
def test_every_kind_runs():
    command = [sys.executable, BENCHMARKS / "faults.py", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    table = re.findall(r"^(\S.*?)  +([\d,]+) +(\d+) +(\d+) +(\d+) +(\d+) +\d+$", done.stdout, re.MULTILINE)
    assert len(table) > 15, done.stderr
    assert all(int(n_inputs.replace(",", "")) for _, n_inputs, *_ in table)
