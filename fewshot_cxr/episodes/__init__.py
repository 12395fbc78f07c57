"""Few-shot episodes as values: drawn by key, saved, replayed; no patient is on both sides of one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
