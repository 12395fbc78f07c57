"""Networks that turn images into embeddings, by one contract, with files to keep them in."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
