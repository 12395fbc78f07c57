"""Pages of the site that are made of the code: each public name from its docstring, each command from its help.

mkdocs calls `on_files` and `on_page_markdown` (mkdocs.yml, `hooks`). Nothing of it is written into docs/.
"""

import ast
import inspect
import posixpath
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from fewshot_cxr.cli.app import fscxr

PACKAGE = Path(__file__).parents[2] / "fewshot_cxr"
FOLDER = "reference"
_BEFORE = (
    "Examples begin where `import numpy as np`, `import torch`, `from torch import nn`, `from pathlib import Path`, "
    "`from fewshot_cxr import *` and the names of this page are imported. The test suite runs each."
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and name them in the navigation."""
    pages = {"commands": command_page()}
    shown: set[str] = set()
    for module in public_modules():
        pages[module.replace(".", "-")] = module_page(module, shown)
    for page, text in pages.items():
        files.append(File.generated(config, f"{FOLDER}/{page}.md", content=text))
    for entry in config.nav or ():
        if entry.get("Reference") == f"{FOLDER}/":
            entry["Reference"] = [f"{FOLDER}/{page}.md" for page in pages]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """End each other page with a link to the words."""
    if page.file.src_uri == "glossary.md":
        return markdown
    glossary = posixpath.relpath("glossary.md", posixpath.dirname(page.file.src_uri) or ".")
    return f"{markdown}\n\n---\n\nA word that is not clear? It stands in the [glossary]({glossary}).\n"


def public_modules() -> list[str]:
    """Name the package and each part of it that lists public names in an `__init__.pyi`."""
    stubs = sorted(PACKAGE.glob("**/__init__.pyi"))
    return [".".join(stub.parent.relative_to(PACKAGE.parent).parts) for stub in stubs]


def public_names(module: str) -> list[str]:
    """Give the names that a module's stub imports, in its order."""
    stub = PACKAGE.parent.joinpath(*module.split("."), "__init__.pyi")
    imports = [line for line in ast.parse(stub.read_text("utf-8")).body if isinstance(line, ast.ImportFrom)]
    return [alias.asname or alias.name for line in imports for alias in line.names]


def module_page(module: str, shown: set[str]) -> str:
    """Write the page of a module: what else may be imported, then each function and class that no page before shows.

    Args:
        module: its dotted name.
        shown: where the functions and classes live that a page shows already; this page's are added.
    """
    opened = import_module(module)
    documented, others = [], []
    for name in public_names(module):
        value = getattr(opened, name)
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            others.append(f"- `{name}`: {described(value)}")
        elif (home := f"{value.__module__}.{value.__qualname__}") in shown:
            others.append(f"- [`{name}`][{home}]")
        else:
            shown.add(home)
            documented.append(f"::: {home}")
    listed = ["## Tables, constants, and names that another page shows", "\n".join(others)] if others else []
    purpose = (opened.__doc__ or "").split("\n\n")[0].strip()
    return "\n\n".join([f"# {module}", purpose, *([_BEFORE] if documented else []), *listed, *documented])


def described(value: Any) -> str:
    """Say what a public value is that has no docstring of its own."""
    if isinstance(value, dict):
        return "one of " + ", ".join(f"`{key}`" for key in value)
    return f"`{value!r}`" if isinstance(value, str | int | float | tuple) else f"a {type(value).__name__}"


def command_page() -> str:
    """Write the page of the commands, each with its help as `--help` prints it."""
    return "# The commands\n\nEach as its `--help` prints it.\n\n" + "\n\n".join(helps(fscxr, "fscxr", None))


def helps(command: click.Command, name: str, parent: click.Context | None) -> list[str]:
    """Give the help of a command and of all commands below it, as Markdown."""
    settings = {**command.context_settings, "terminal_width": 110}
    context = click.Context(command, parent, info_name=name.split()[-1], **settings)
    mine = [f"## `{name}`\n\n```text\n{click.unstyle(command.get_help(context))}\n```"]
    below = command.list_commands(context) if isinstance(command, click.Group) else []
    for each in below:
        found = command.get_command(context, each)
        mine += helps(found, f"{name} {each}", context)
    return mine
