"""One list of findings for all data sets: what each calls them, and which each set looks for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fewshot_cxr._checks import first_of
from fewshot_cxr.data.split_names import plain
from fewshot_cxr.records import Record, Records

COMMON, NO_FINDING = "common", "No Finding"
OTHER = "other"  # a film that shows none of the common findings, and of which not all were looked for
# Their names in chestxray14, CheXpert and its kin, PadChest, VinDr-CXR, RSNA, SIIM-ACR, the tuberculosis sets and those
# of COVID-19; compared without case, blanks, dashes and underscores.
COMMON_FINDINGS: Mapping[str, tuple[str, ...]] = {
    NO_FINDING: ("normal", "no finding", "no findings", "negative", "healthy"),
    "Atelectasis": (
        *("atelectasis", "laminar atelectasis", "lobar atelectasis", "segmental atelectasis", "atelectasis basal"),
        *("total atelectasis", "round atelectasis"),
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation",),
    "COVID-19": ("covid-19", "covid", "covid 19 pneumonia"),
    "Edema": ("edema", "pulmonary edema"),
    "Effusion": ("effusion", "pleural effusion", "loculated pleural effusion"),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("fibrosis", "pulmonary fibrosis"),
    "Fracture": (
        *("fracture", "rib fracture", "clavicle fracture", "humeral fracture", "vertebral fracture"),
        *("callus rib fracture",),
    ),
    "Hernia": ("hernia", "hiatal hernia"),
    "Lung Lesion": (
        *("lung lesion", "mass", "nodule", "nodule/mass", "multiple nodules", "pulmonary mass", "lung tumor"),
        *("pseudonodule", "lung metastasis"),
    ),
    "Lung Opacity": (
        *("lung opacity", "infiltration", "infiltrates", "alveolar pattern", "interstitial pattern", "ild"),
        *("ground glass pattern", "reticular interstitial pattern", "reticulonodular interstitial pattern"),
    ),
    "Mediastinum": ("enlarged cardiomediastinum", "mediastinal enlargement", "superior mediastinal enlargement"),
    "Pleural Thickening": ("pleural thickening", "apical pleural thickening"),
    "Pneumonia": ("pneumonia", "bacteria", "virus", "viral pneumonia", "atypical pneumonia"),
    "Pneumothorax": ("pneumothorax",),
    "Support Devices": (
        *("support devices", "pacemaker", "dual chamber device", "single chamber device", "dai", "chest drain tube"),
        *("central venous catheter", "endotracheal tube", "nsg tube", "tracheostomy tube"),
    ),
    "Tuberculosis": ("tuberculosis", "tuberculosis sequelae"),
}
_OF = {plain(name): common for common, names in COMMON_FINDINGS.items() for name in names}
_CHEXPERT = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Fracture", "Lung Lesion", "Lung Opacity"),
    *("Mediastinum", "Pneumonia", "Pneumothorax", "Support Devices"),
)
# What each set looks for; of another finding its films say nothing, neither that it is there nor that it is not.
LOOKED_FOR: Mapping[str, Sequence[str]] = {
    "brax": _CHEXPERT,
    "chestxray14": (
        *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia"),
        *("Lung Lesion", "Lung Opacity", "Pleural Thickening", "Pneumonia", "Pneumothorax"),
    ),
    "chexpert": _CHEXPERT,
    "mimic_cxr_jpg": _CHEXPERT,
    "montgomery": ("Tuberculosis",),
    "padchest": tuple(name for name in COMMON_FINDINGS if name not in (NO_FINDING, "COVID-19")),
    "rsna_pneumonia": ("Lung Opacity",),
    "shenzhen": ("Tuberculosis",),
    "siim_acr": ("Pneumothorax",),
    "vindr_cxr": (
        *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Fracture"),
        *("Lung Lesion", "Lung Opacity", "Mediastinum", "Pleural Thickening", "Pneumonia", "Pneumothorax"),
        "Tuberculosis",
    ),
}
# They say that the one finding of their set is absent, and no more.
_ABSENT = {plain(name) for name in ("No Pneumothorax", "No Lung Opacity / Not Normal", "No Lung Opacity")}


def to_common(records: Records, reader: str) -> Records:
    """Call the findings of a data set by the names of COMMON_FINDINGS, and say which of these it does not look for.

    Args:
        records: the films as the set's own reader gives them.
        reader: its name. Of a set that is not in LOOKED_FOR the findings that occur are those that it looks for.

    Returns:
        Every film; one of which no common finding is left has "other". Names without a common one are dropped and
        counted in a note. `unstated` keeps what the set itself leaves so.
    """
    dropped: dict[str, int] = {}
    looked_for = LOOKED_FOR.get(reader) or sorted({_OF[plain(n)] for n in records.findings if plain(n) in _OF})
    not_looked_for = tuple(name for name in COMMON_FINDINGS if name not in (*looked_for, NO_FINDING))
    known = {name: _OF.get(plain(name)) for film in records for name in (*film.findings, *film.unstated)}

    def renamed(film: Record) -> Record:
        for name in film.findings:
            if known[name] is None and plain(name) not in _ABSENT:
                dropped[name] = dropped.get(name, 0) + 1
        present = tuple(dict.fromkeys(filter(None, map(known.get, film.findings))))
        doubtful = filter(None, map(known.get, film.unstated))
        unstated = tuple(dict.fromkeys(name for name in (*doubtful, *not_looked_for) if name not in present))
        return replace(film, findings=present or (OTHER,), unstated=unstated)

    films = tuple(map(renamed, records))
    told = [f"{name} ({count})" for name, count in sorted(dropped.items(), key=lambda item: -item[1])]
    notes = (f"findings without a common name are dropped: {first_of(told, 5)}",) if dropped else ()
    if n_other := sum(film.findings == (OTHER,) for film in films):
        notes = (*notes, f"{n_other} films show no common finding: {OTHER!r}, which is no finding to train on")
    return replace(records, films=films, notes=(*records.notes, *notes))
