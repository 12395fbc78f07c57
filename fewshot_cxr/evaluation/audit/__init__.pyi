from .audit import audit_films as audit_films
from .result import CHECKS as CHECKS
from .result import Audit as Audit
