"""Work of a peer in a process of its own, by the Python of `.venv-peers`: its imports and threads disturb nobody."""

import subprocess
import sys
from pathlib import Path

_PYTHON = Path(__file__).resolve().parents[2] / ".venv-peers" / "bin" / "python"
# After its imports and preparations the peer says what it is, and then, for each line that comes, that it has worked.
_FRAME = """
import sys
try:
    exec(compile({prepare!r}, "peer", "exec"))
except ImportError as error:
    print("not installed:", error, flush=True)
    sys.exit()
print("ready", flush=True)
for line in sys.stdin:
    print(work(), flush=True)
"""


class Peer:
    """A process that does the same work each time that it is asked.

    Args:
        prepare: the peer's code, which ends with a function `work()` in its names; it prints nothing.
        arguments: what it finds in `sys.argv[1:]`.
    """

    def __init__(self, prepare: str, *arguments: object) -> None:
        python = str(_PYTHON) if _PYTHON.exists() else sys.executable
        command = [python, "-W", "ignore", "-c", _FRAME.format(prepare=prepare), *map(str, arguments)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self.is_there = self._told() == "ready"

    def __call__(self) -> str:
        """Let it work, and return what the work returned, as text."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return self._told()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _told(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the peer's process ended; run its code by hand to see why")
        return line.strip()
