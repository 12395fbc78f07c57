"""One reader for each layout of films on disk: `read_x(root, **options) -> Records`, and one line in READERS."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
