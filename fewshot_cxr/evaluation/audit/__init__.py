"""What ruins a study before it begins, found in one pass over the films."""

from fewshot_cxr.evaluation.audit.audit import audit_films
from fewshot_cxr.evaluation.audit.result import CHECKS, Audit

__all__ = ["CHECKS", "Audit", "audit_films"]
