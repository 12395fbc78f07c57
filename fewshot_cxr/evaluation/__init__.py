"""From embeddings and a protocol, or from films, to a result value."""

import warnings

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_RENAMED = dict.fromkeys(("EpisodicResult", "ClosedSetResult", "MultiLabelResult"), "Result")
_RENAMED["floor_warning"] = "baseline_warning"


def __getattr__(name: str) -> object:
    if name in _RENAMED:
        warnings.warn(f"{__name__}.{name} is now {_RENAMED[name]}", DeprecationWarning, stacklevel=2)
    return _load(_RENAMED.get(name, name))
