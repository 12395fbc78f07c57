"""The command line, called in this process."""

import pytest

from fewshot_cxr.cli import app


def run(*arguments):
    """Call `fscxr` with these arguments; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["fscxr", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            app.main()
    return stop.value.code
