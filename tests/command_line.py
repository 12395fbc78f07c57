"""The command line, called in this process or in one of its own."""

import sys

import pytest

from fewshot_cxr.cli import app

FSCXR = (sys.executable, "-c", "import sys; sys.argv[0] = 'fscxr'; from fewshot_cxr.cli import main; main()")
"""`fscxr`, as the first words of a process."""


def run(*arguments):
    """Call `fscxr` with these arguments; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["fscxr", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            app.main()
    return stop.value.code


def failure(capsys, code, arguments, words):
    """Call `fscxr`, and insist on the exit code and on one line of error, with these words; return the line."""
    capsys.readouterr()
    assert run(*arguments) == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert line.startswith("fscxr: error: ")
    for word in words:
        assert word in line
    return line
