"""The table of readers, and the one door to them."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fewshot_cxr._checks import MOST_READ, check_few_findings, lookup
from fewshot_cxr.data.common_findings import COMMON, to_common
from fewshot_cxr.data.readers.brax import read_brax
from fewshot_cxr.data.readers.chestxray14 import read_chestxray14
from fewshot_cxr.data.readers.chexpert import read_chexpert
from fewshot_cxr.data.readers.coronahack import read_coronahack
from fewshot_cxr.data.readers.covid19_radiography import read_covid19_radiography
from fewshot_cxr.data.readers.covid_chestxray import read_covid_chestxray
from fewshot_cxr.data.readers.covidx import read_covidx
from fewshot_cxr.data.readers.image_folder import read_image_folder
from fewshot_cxr.data.readers.manifest import read_manifest
from fewshot_cxr.data.readers.mimic_cxr_jpg import read_mimic_cxr_jpg
from fewshot_cxr.data.readers.padchest import read_padchest
from fewshot_cxr.data.readers.published_counts import with_published_count
from fewshot_cxr.data.readers.rsna_pneumonia import read_rsna_pneumonia
from fewshot_cxr.data.readers.siim_acr import read_siim_acr
from fewshot_cxr.data.readers.tuberculosis import read_montgomery, read_shenzhen
from fewshot_cxr.data.readers.vindr_cxr import read_vindr_cxr
from fewshot_cxr.records import Records
from fewshot_cxr.unknown_patients import with_unknown_noted

READERS: dict[str, Callable[..., Records]] = {
    "brax": read_brax,
    "chestxray14": read_chestxray14,
    "chexpert": read_chexpert,
    "coronahack": read_coronahack,
    "covid19_radiography": read_covid19_radiography,
    "covid_chestxray": read_covid_chestxray,
    "covidx": read_covidx,
    "image_folder": read_image_folder,
    "manifest": read_manifest,
    "mimic_cxr_jpg": read_mimic_cxr_jpg,
    "montgomery": read_montgomery,
    "padchest": read_padchest,
    "rsna_pneumonia": read_rsna_pneumonia,
    "shenzhen": read_shenzhen,
    "siim_acr": read_siim_acr,
    "vindr_cxr": read_vindr_cxr,
}
# Whose patients a set's ids are, where they are those of another set: a list of both shows who is in both.
PATIENTS_OF = {"rsna_pneumonia": "chestxray14"}


def read_dataset(name: str, path: str | Path, *, findings: str | None = None, **options: Any) -> Records:
    """Read films with the reader `name`.

    Args:
        name: in READERS.
        path: what the reader takes: a manifest file, or the root folder of the films.
        findings: "common" calls them by the names of COMMON_FINDINGS, the same for all sets; None: the set's own.
        options: of the reader; a misspelt one is Python's own TypeError.

    Returns:
        The readable rows; what was left out is in `.problems`, what was assumed in `.notes`, as where patients are
        unknown, and how many films the publication counts.

    Raises:
        ValueError: unknown reader, more than 2,000 findings, or one of the reader's own errors.
        FileNotFoundError: nothing is readable there.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from fewshot_cxr.data.synthetic import make_synthetic
        >>> with TemporaryDirectory() as folder:
        ...     made = make_synthetic(folder, n_patients=2, findings=["normal", "effusion"], size_px=32)
        ...     films = read_dataset("image_folder", f"{folder}/films", patient_pattern="p[0-9]+")
        >>> films.findings, len({film.patient_id for film in films})
        (('effusion', 'normal'), 4)
    """
    reader = lookup(READERS, name, what="reader")
    with _no_search_for_cycles():
        records = reader(Path(path), **options)
        if findings is not None:
            lookup({COMMON: COMMON}, findings, what="findings of read_dataset")
            records = to_common(records, name)
        check_few_findings(records.findings, MOST_READ, str(path))
        return with_unknown_noted(with_published_count(records, name))


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Pause the collector: over the million objects of a large set it takes a third of the time, and finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
