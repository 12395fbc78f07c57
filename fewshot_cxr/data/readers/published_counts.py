"""How many films the publications count: a download that stopped midway is not to pass for the whole set."""

from dataclasses import replace

from fewshot_cxr.records import Records

# Of sets whose tables have a row for each film; a row of RSNA's, SIIM-ACR's and VinDr-CXR's is a box or a reading.
PUBLISHED_FILMS = {
    "brax": 40_967,  # Reis et al. 2022, 10.1038/s41597-022-01608-8
    "chestxray14": 112_120,  # Wang et al. 2017, arXiv:1705.02315, as its version of 14 findings was released
    "chexpert": 224_316,  # Irvin et al. 2019, arXiv:1901.07031: train, valid and test
    "mimic_cxr_jpg": 377_110,  # Johnson et al. 2019, arXiv:1901.07042
    "montgomery": 138,  # Jaeger et al. 2014, 10.3978/j.issn.2223-4292.2014.11.20
    "padchest": 160_868,  # Bustos et al. 2020, arXiv:1901.07441
    "shenzhen": 662,  # Jaeger et al. 2014, as montgomery
}


def with_published_count(records: Records, reader: str) -> Records:
    """Return the films with a note of how many rows there are and how many films were published, where it is known."""
    if reader not in PUBLISHED_FILMS or records.n_rows is None:
        return records
    n_films = PUBLISHED_FILMS[reader]
    note = f"{records.n_rows:,} films are listed here; the publication counts {n_films:,}"
    return replace(records, notes=(*records.notes, note))
