from .audit import audit_films as audit_films
from .copies import COPIES as COPIES
from .copies import join_copies as join_copies
from .embedding import assess_embedding as assess_embedding
from .result import CHECKS as CHECKS
from .result import Audit as Audit
from .result import EmbeddingAudit as EmbeddingAudit
