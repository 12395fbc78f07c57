"""How many films the publications count: a download that stopped midway is not to pass for the whole set."""

from dataclasses import replace

from fewshot_cxr.records import Records

# Of sets whose number of films is told; SIIM-ACR's differs from stage to stage.
PUBLISHED_FILMS = {
    "brax": 40_967,  # Reis et al. 2022, 10.1038/s41597-022-01608-8
    "chestxray14": 112_120,  # Wang et al. 2017, arXiv:1705.02315, as its version of 14 findings was released
    "chexpert": 224_316,  # Irvin et al. 2019, arXiv:1901.07031: train, valid and test
    "mimic_cxr_jpg": 377_110,  # Johnson et al. 2019, arXiv:1901.07042
    "montgomery": 138,  # Jaeger et al. 2014, 10.3978/j.issn.2223-4292.2014.11.20
    "padchest": 160_868,  # Bustos et al. 2020, arXiv:1901.07441
    "rsna_pneumonia": 26_684,  # stage 2 of the challenge, those with labels
    "shenzhen": 662,  # Jaeger et al. 2014, as montgomery
    "vindr_cxr": 18_000,  # Nguyen et al. 2022, 10.1038/s41597-022-01498-w: train and test
}


def with_published_count(records: Records, reader: str) -> Records:
    """Return the films with a note of how many are listed and how many were published, where it is known."""
    if reader not in PUBLISHED_FILMS or records.n_rows is None:
        return records
    n_films = PUBLISHED_FILMS[reader]
    note = f"{records.n_rows:,} films are listed here; the publication counts {n_films:,}"
    # Behind what was read, before what came of it.
    return replace(records, notes=(*records.notes[:1], note, *records.notes[1:]))
