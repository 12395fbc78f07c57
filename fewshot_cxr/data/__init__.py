"""From files to decoded films: readers, splits by patient, the cache, the one Dataset, augmentation."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
