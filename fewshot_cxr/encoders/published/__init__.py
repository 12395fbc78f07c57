"""Encoders that others trained and published: how their files name things, and what is known of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
