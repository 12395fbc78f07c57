"""Splits by patient, seeded and stratified by finding: all films of a patient, or of a group, lie on one side."""

from fewshot_cxr.data.splits.by_count import fixed_counts
from fewshot_cxr.data.splits.by_share import fold_split, k_folds, split_by_patient
from fewshot_cxr.data.splits.groups import assert_no_leak, patient_groups
from fewshot_cxr.data.splits.held_out import leave_one_source_out, novel_classes

__all__ = [
    "assert_no_leak",
    "fixed_counts",
    "fold_split",
    "k_folds",
    "leave_one_source_out",
    "novel_classes",
    "patient_groups",
    "split_by_patient",
]
