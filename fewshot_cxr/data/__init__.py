"""From files to decoded films: readers, splits by patient, the cache, the one Dataset, augmentation."""

from fewshot_cxr.data.cache import CachedFilms, cache_films
from fewshot_cxr.data.choose import (
    cut_findings,
    drop_lone_films,
    keep_findings,
    mark_unstated,
    rename_findings,
    take_per_finding,
)
from fewshot_cxr.data.dataset import XrayDataset, findings_table, keep_batch
from fewshot_cxr.data.images import is_image_name, read_gray
from fewshot_cxr.data.masks import LungMasks, lung_masks
from fewshot_cxr.data.merge import merge_records
from fewshot_cxr.data.preprocess import to_square
from fewshot_cxr.data.readers import READERS, read_dataset
from fewshot_cxr.data.readers.chestxray14 import NO_FINDING
from fewshot_cxr.data.readers.manifest import write_manifest
from fewshot_cxr.data.splits import (
    assert_no_leak,
    fixed_counts,
    fold_split,
    k_folds,
    leave_one_source_out,
    novel_classes,
    patient_groups,
    split_by_patient,
)
from fewshot_cxr.data.statistics import FilmStatistics, film_statistics
from fewshot_cxr.data.transforms import Augmentation, augment, standardise, to_images
from fewshot_cxr.data.verify import check_whole, summarise, verify_films

__all__ = [
    "NO_FINDING",
    "READERS",
    "Augmentation",
    "CachedFilms",
    "FilmStatistics",
    "LungMasks",
    "XrayDataset",
    "assert_no_leak",
    "augment",
    "cache_films",
    "check_whole",
    "cut_findings",
    "drop_lone_films",
    "film_statistics",
    "findings_table",
    "fixed_counts",
    "fold_split",
    "is_image_name",
    "k_folds",
    "keep_batch",
    "keep_findings",
    "leave_one_source_out",
    "lung_masks",
    "mark_unstated",
    "merge_records",
    "novel_classes",
    "patient_groups",
    "read_dataset",
    "read_gray",
    "rename_findings",
    "split_by_patient",
    "standardise",
    "summarise",
    "take_per_finding",
    "to_images",
    "to_square",
    "verify_films",
    "write_manifest",
]
