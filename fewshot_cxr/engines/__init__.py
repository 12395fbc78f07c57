"""Very many films, shard by shard: here, or on the machines of a Ray cluster, to the same files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
