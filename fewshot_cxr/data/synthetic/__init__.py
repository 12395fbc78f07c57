"""Synthetic chest films for the demo, the tests and the examples: drawn, never taken from a person."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
