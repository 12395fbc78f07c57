"""Figures from arrays and plain values: every function returns a Figure; none shows it or saves it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
