"""Few-shot episodes on cached embeddings: planned, scored, and given with what other patients would change."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
