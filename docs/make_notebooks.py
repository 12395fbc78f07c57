"""Make examples/notebooks/*.ipynb of the scripts that are written in cells (`# %%`), run, with what they show.

python docs/make_notebooks.py [NAME ...]
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "examples"
CELLS = re.compile(r"^# %%", re.MULTILINE)
INLINE = "%matplotlib inline\n"  # figures are shown as pictures
# What is another one each day, and says nothing.
VOLATILE = re.compile(r"/tmp/tmp\w+")


def in_cells() -> list[Path]:
    """Name the scripts that are written in cells."""
    return [file for file in sorted(FOLDER.glob("*.py")) if CELLS.search(file.read_text("utf-8"))]


def unrun(script: Path) -> nbformat.NotebookNode:
    """Read a script as a notebook that nobody has run."""
    book = jupytext.read(script, fmt="py:percent")
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    first = next(cell for cell in book.cells if cell.cell_type == "code")
    first.source = INLINE + first.source
    for row, cell in enumerate(book.cells):
        cell.id = f"{script.stem}-{row}"
        cell.metadata = {}
    return book


def run(book: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Run it in a folder, and keep what it shows."""
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in book.cells:
        cell.metadata = {}
        if cell.cell_type == "code":  # what goes to stderr names folders of this machine
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            for kind, text in output.get("data", {}).items():
                if kind.startswith("text/"):
                    output.data[kind] = VOLATILE.sub("/films", text)
            if output.output_type == "stream":
                output.text = VOLATILE.sub("/films", output.text)
    return book


def main(names: list[str]) -> None:
    """Write them."""
    (FOLDER / "notebooks").mkdir(exist_ok=True)
    for script in in_cells():
        if not names or script.stem in names:
            nbformat.write(run(unrun(script), FOLDER), FOLDER / "notebooks" / f"{script.stem}.ipynb")
            sys.stdout.write(f"{script.stem}.ipynb\n")


if __name__ == "__main__":
    main(sys.argv[1:])
