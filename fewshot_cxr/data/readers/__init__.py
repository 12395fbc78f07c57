"""One reader for each layout of films on disk: `read_x(root, **options) -> Records`, and one line in READERS."""

from fewshot_cxr.data.readers.image_folder import read_image_folder
from fewshot_cxr.data.readers.manifest import read_manifest
from fewshot_cxr.data.readers.table import READERS, read_dataset

__all__ = ["READERS", "read_dataset", "read_image_folder", "read_manifest"]
