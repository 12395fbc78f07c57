"""What the name of a folder or file inside a data set means: masks beside films, the form of files, a known set."""

import re
from collections.abc import Iterable
from functools import cache

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_MASK = frozenset({"mask", "masks", "lungmask", "lungmasks"})
_WORN = frozenset({"with", "without", "no"})  # a mask on the face
# Masks too, where a folder of images lies beside; alone such a name may be that of anything.
_DRAWN = frozenset(
    {"segmentation", "segmentations", "seg", "annotation", "annotations", "label", "labels", "gt", "truth", "truths"}
    | {"groundtruth", "groundtruths", "contours", "overlay", "overlays"}
)
_OTHER_ORGAN = frozenset({"infection", "infections", "lesion", "lesions", "heart", "left", "right", "clavicle"})
_FORM = frozenset(
    {"image", "images", "img", "imgs", "picture", "pictures", "film", "films", "file", "files", "original", "originals"}
    | {"png", "pngs", "jpg", "jpgs", "jpeg", "jpegs", "tif", "tiff", "bmp", "webp", "gif"}
    | {"dcm", "dcms", "dicom", "dicoms"}
)
_BESIDE_A_FORM = frozenset({"cxr", "xray", "xrays", "bit"})  # which alone may be a finding's name, of a kind
_MASK_FILE = re.compile(r"(.+?)[ _-]+(?:lungs?[ _-]*)?(?:masks?|segmentation)(?:[ _-]*\d+)?", re.IGNORECASE)
# By a table of the set: the reader that knows it.
_KNOWN = {
    "covid19_radiography": re.compile(r".+\.metadata\.xlsx"),
    "chestxray14": re.compile(r"Data_Entry_2017(_v2020)?\.csv|sample_labels\.csv"),
    "coronahack": re.compile(r"Chest_xray_Corona_Metadata\.csv"),
    "covidx": re.compile(r"(train|val|test)_COVIDx.*\.txt"),
}


@cache
def is_form(name: str) -> bool:
    """Return whether a folder's name says the form of its files and no finding: images, png, "CXR_png"."""
    words = [word for word in _words(name) if not word.isdigit()]
    return any(word in _FORM for word in words) and all(word in _FORM | _BESIDE_A_FORM for word in words)


def is_masks(name: str, beside: Iterable[str]) -> bool:
    """Return whether a folder holds masks, by its name: masks, "lung masks", ManualMask; Annotations beside images.

    Args:
        name: of the folder.
        beside: names of the folders beside it.
    """
    words = _words(name)
    if any(word in _MASK for word in words):
        return not any(word in _WORN for word in words)
    return bool(words) and words[-1] in _DRAWN and any(map(is_form, beside))


def is_of_lungs(name: str) -> bool:
    """Return whether a folder of masks may be that of whole lungs."""
    return not any(word in _OTHER_ORGAN for word in _words(name))


def masked_stem(path: str) -> str | None:
    """Return the path, without suffix, of the film that a file is the mask of by its own name; None: by none."""
    folder, slash, name = path.rpartition("/")
    found = _MASK_FILE.fullmatch(name.rpartition(".")[0] or name)
    return f"{folder}{slash}{found[1]}" if found else None


def known_reader(names: Iterable[str]) -> str | None:
    """Return the reader of the public set that one of these files belongs to."""
    names = list(names)
    return next((reader for reader, table in _KNOWN.items() if any(map(table.fullmatch, names))), None)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]
