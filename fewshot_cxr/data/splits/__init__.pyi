from .by_share import fold_split as fold_split
from .by_share import k_folds as k_folds
from .by_share import split_by_patient as split_by_patient
from .groups import assert_no_leak as assert_no_leak
from .groups import patient_groups as patient_groups
from .held_out import fixed_counts as fixed_counts
from .held_out import leave_one_source_out as leave_one_source_out
from .held_out import novel_classes as novel_classes
