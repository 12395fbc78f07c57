"""How much there is to read: modules, lines, functions, dataclasses, options, and how often a result's kind is asked.

python benchmarks/code_size.py [FOLDER ...]     # default: fewshot_cxr; another library's folder to compare with
"""

import ast
import io
import re
import statistics
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LAYOUT = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER)
RESULTS = {"EpisodicResult", "ClosedSetResult", "MultiLabelResult", "Result"}


def docstring_lines(tree):
    """The numbers of the lines that are docstrings."""
    owners = [node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS))]
    texts = [node.body[0] for node in owners if ast.get_docstring(node, clean=False) is not None]
    return {line for text in texts for line in range(text.lineno, text.end_lineno + 1)}


def code_lines(source, tree):
    """Lines without blank ones, comments and docstrings."""
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in LAYOUT]
    return len({line for one in tokens for line in range(one.start[0], one.end[0] + 1)} - docstring_lines(tree))


def body_lines(function):
    """Lines from the first statement behind the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def marks(node):
    return [ast.unparse(mark) for mark in node.decorator_list]


def asks_kind(node):
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"):
        return False
    return bool(RESULTS & set(re.findall(r"\w+", ast.unparse(node.args[1]))))


def measure(folder):
    """What is counted -> a number or a text."""
    sources = [file.read_text(encoding="utf-8") for file in sorted(folder.rglob("*.py"))]
    trees = [ast.parse(source) for source in sources]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    functions = [node for node in nodes if isinstance(node, FUNCTIONS)]
    lengths = sorted(node.end_lineno - node.lineno + 1 for node in functions)
    return {
        "modules": len(sources),
        "lines": sum(len(source.splitlines()) for source in sources),
        "lines of code": sum(code_lines(*pair) for pair in zip(sources, trees, strict=True)),
        "lines of stubs": sum(len(file.read_text(encoding="utf-8").splitlines()) for file in folder.rglob("*.pyi")),
        "functions": len(functions),
        "function, median": statistics.median(lengths),
        "function, p95": lengths[int(0.95 * len(lengths))],
        "longest body": max(map(body_lines, functions)),
        "dataclasses": sum(any("dataclass" in mark for mark in marks(n)) for n in nodes if isinstance(n, ast.ClassDef)),
        "isinstance on results": sum(map(asks_kind, nodes)),
    }


def options_of_commands(command, name):
    """Name of each command -> how many options it has."""
    if not hasattr(command, "list_commands"):
        return {name: sum(parameter.param_type_name == "option" for parameter in command.params)}
    counts = {}
    for one in command.list_commands(None):
        counts |= options_of_commands(command.get_command(None, one), f"{name} {one}")
    return counts


def main():
    folders = [Path(name) for name in sys.argv[1:]] or [ROOT / "fewshot_cxr"]
    tables = [measure(folder) for folder in folders]
    print(f"{'':24}" + "".join(f"{folder.name:>24}" for folder in folders))
    for name in tables[0]:
        print(f"{name:24}" + "".join(f"{table[name]:>24,}" for table in tables))
    if not sys.argv[1:]:
        from fewshot_cxr.cli.app import fscxr

        counts = options_of_commands(fscxr, "fscxr")
        print("options:", ", ".join(f"{name} {n}" for name, n in counts.items()))


if __name__ == "__main__":
    main()
