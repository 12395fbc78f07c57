"""One reader for each layout of films on disk: `read_x(root, **options) -> Records`, and one line in READERS."""

from fewshot_cxr.data.readers.chestxray14 import BoundingBox, read_bounding_boxes, read_chestxray14
from fewshot_cxr.data.readers.coronahack import read_coronahack
from fewshot_cxr.data.readers.covid19_radiography import read_covid19_radiography
from fewshot_cxr.data.readers.covid_chestxray import read_covid_chestxray
from fewshot_cxr.data.readers.covidx import read_covidx
from fewshot_cxr.data.readers.image_folder import read_image_folder
from fewshot_cxr.data.readers.manifest import read_manifest
from fewshot_cxr.data.readers.table import READERS, read_dataset

__all__ = [
    "READERS",
    "BoundingBox",
    "read_bounding_boxes",
    "read_chestxray14",
    "read_coronahack",
    "read_covid19_radiography",
    "read_covid_chestxray",
    "read_covidx",
    "read_dataset",
    "read_image_folder",
    "read_manifest",
]
