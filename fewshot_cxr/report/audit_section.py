"""What the audit of the films has found, as one section of a longer page."""

from collections.abc import Collection

from fewshot_cxr.evaluation.audit.result import Audit
from fewshot_cxr.report.audit_tables import checks_table, confounding_table
from fewshot_cxr.report.html import Section


def audit_section(audit: Audit, name: str, *, hashes: Collection[str] = ()) -> Section:
    """Show the checks with hits, and how well the finding follows from what is no sign of it.

    Args:
        audit: of `audit_films`.
        name: what to call it.
        hashes: of the films of the page's runs; where the audit's is not among them, that is said.
    """
    told = [audit_text(audit)]
    if hashes and audit.data_hash not in hashes:
        told.append(
            f"The audit was of another list of films (hash {audit.data_hash[:12]}) than the runs of this page: other "
            "films, or other splits of the same ones."
        )
    tables = (checks_table(audit), confounding_table(audit))
    facts = (("hash of the audited films", audit.data_hash), *(("note", note) for note in audit.notes))
    return Section(f"Audit of the films: {name}", tuple(told), tables=tables, facts=facts)


def audit_text(audit: Audit) -> str:
    """Return which checks have found something, in one sentence."""
    failed = [name.replace("_", " ") for name in audit.failed()]
    if not failed:
        return "The audit of the films has found nothing. That does not prove the set free of faults."
    return f"The audit of the films has found: {', '.join(failed)}."
