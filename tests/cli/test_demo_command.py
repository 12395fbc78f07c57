"""What `fscxr demo` says at its end; the demo itself is tried in tests/workflows."""

from collections import defaultdict
from types import SimpleNamespace

from command_line import run

from fewshot_cxr.cli import demo
from fewshot_cxr.metrics import Estimate


def test_it_ends_by_naming_the_page(tmp_path, capsys, monkeypatch):
    told = SimpleNamespace(per_class_recall=defaultdict(lambda: Estimate(0.5)), to_json=dict)
    plain = SimpleNamespace(to_json=dict)
    result = SimpleNamespace(
        episodes=told, prediction=plain, true_finding="new", bank=plain, report=tmp_path / "report.html", seconds=1.0
    )
    monkeypatch.setattr(demo, "run_demo", lambda *_, **__: result)
    for name in ("show_result", "show_prediction", "_show_bank"):
        monkeypatch.setattr(demo, name, lambda *_, **__: None)
    assert run("demo", "--out", tmp_path) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"next: fscxr serve {tmp_path / 'demo.bank'}")
