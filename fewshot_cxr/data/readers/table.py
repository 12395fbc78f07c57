"""The table of readers, and the one door to them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fewshot_cxr._checks import MOST_READ, check_few_findings, lookup
from fewshot_cxr.data.readers.chestxray14 import read_chestxray14
from fewshot_cxr.data.readers.coronahack import read_coronahack
from fewshot_cxr.data.readers.covid19_radiography import read_covid19_radiography
from fewshot_cxr.data.readers.covid_chestxray import read_covid_chestxray
from fewshot_cxr.data.readers.covidx import read_covidx
from fewshot_cxr.data.readers.image_folder import read_image_folder
from fewshot_cxr.data.readers.manifest import read_manifest
from fewshot_cxr.records import Records
from fewshot_cxr.unknown_patients import with_unknown_noted

READERS: dict[str, Callable[..., Records]] = {
    "chestxray14": read_chestxray14,
    "coronahack": read_coronahack,
    "covid19_radiography": read_covid19_radiography,
    "covid_chestxray": read_covid_chestxray,
    "covidx": read_covidx,
    "image_folder": read_image_folder,
    "manifest": read_manifest,
}


def read_dataset(name: str, path: str | Path, **options: Any) -> Records:
    """Read films with the reader `name`.

    Args:
        name: in READERS.
        path: what the reader takes: a manifest file, or the root folder of the films.
        options: of the reader; a misspelt one is Python's own TypeError.

    Returns:
        The readable rows; what was left out is in `.problems`, what was assumed in `.notes`, as where patients are
        unknown.

    Raises:
        ValueError: unknown reader, more than 2,000 findings, or one of the reader's own errors.
        FileNotFoundError: nothing is readable there.
    """
    records = lookup(READERS, name, what="reader")(Path(path), **options)
    check_few_findings(records.findings, MOST_READ, str(path))
    return with_unknown_noted(records)
