"""A DICOM node that answers each film it receives with a page in the film's own study."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
