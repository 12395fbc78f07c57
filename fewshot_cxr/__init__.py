"""Few-shot metric learning for chest X-rays.

What may be imported from here stands in `__init__.pyi`, and each name loads its room when it is first asked for.
"""

import importlib.metadata

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    return importlib.metadata.version(__name__) if name == "__version__" else _load(name)
