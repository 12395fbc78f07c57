"""The JSON API: ask, add, remove, take back, look."""

from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from fewshot_cxr._version import __version__
from fewshot_cxr.inference.bank.abstaining import UNREADABLE
from fewshot_cxr.serve.changes import Change
from fewshot_cxr.serve.films import asked_for, form_schema, received
from fewshot_cxr.serve.service import Served, Service, finding_name

router = APIRouter()
_MOST_NAMED = 10_000
_TEXT = {"type": "string"}
_ASKED = {
    "prevalence": {**_TEXT, "description": "such as covid19=0.02,pneumonia=0.1: shares where the films come from"},
    "n_nearest": {"type": "integer", "minimum": 1, "maximum": 20, "default": 3},
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": told}
    for status, told in {
        401: "A token is needed.",
        403: "A page of another site asks.",
        408: "The request took too long to come.",
        409: "The bank cannot be changed so.",
        413: "Too much was sent.",
        415: "It is no form.",
        422: "None of it is a film, or a text says nothing that can be.",
        429: "Too many wait: come again.",
        503: "The answer took too long, or another process changes the bank.",
    }.items()
}


@dataclass(frozen=True)
class Answers:
    """Answers of a bank, in the order of the films; `details` says why where none of them can be read."""

    bank: str
    answers: list[dict[str, Any]]
    detail: str


@dataclass(frozen=True)
class Changed:
    """What was changed, null where the bank knew it already, and the bank after it."""

    change: dict[str, Any] | None
    bank: str


@dataclass(frozen=True)
class Health:
    """Whether the server answers."""

    status: str
    version: str
    bank: str
    waiting: int


@router.post("/predict", responses=_REFUSALS, openapi_extra=form_schema(more=_ASKED), response_model=Answers)
async def predict(request: Request, service: Served) -> Any:
    """Answer for films, or abstain; nothing of them is kept."""
    async with received(request, service.settings.limits) as form:
        films = asked_for(form)
        question = service.question(form.texts.get("prevalence", ""), form.texts.get("n_nearest", "3"))
        found = await service.answers(films, question)
    lost = [one for one in found if one.reason == UNREADABLE]
    detail = f"{lost[0].path}: {lost[0].details}" if len(lost) == len(found) else ""
    told = Answers(service.keeper.served.content_hash, [one.to_json() for one in found], detail)
    return JSONResponse(asdict(told), 422 if detail else 200)


@router.post("/findings/{name}/films", responses=_REFUSALS, openapi_extra=form_schema(), status_code=201)
async def add_films(name: str, request: Request, service: Served) -> Changed:
    """Add films to a finding, which may be new."""
    async with received(request, service.settings.limits) as form:
        change = await service.add(finding_name(name), asked_for(form))
    return changed(service, change)


@router.delete("/findings/{name}/films/{film:path}", responses=_REFUSALS)
async def remove_film(name: str, film: str, service: Served) -> Changed:
    """Remove a film, called as `GET /bank` and answers call it, for good."""
    return changed(service, await service.remove(name, film))


@router.delete("/findings/{name}", responses=_REFUSALS)
async def remove_finding(name: str, service: Served) -> Changed:
    """Remove a finding with all its films, for good."""
    return changed(service, await service.remove(name))


@router.get("/changes", responses={401: _REFUSALS[401]})
async def changes(service: Served) -> list[dict[str, Any]]:
    """List the changes, the first one first."""
    return [one.to_json() for one in service.keeper.log.read()]


@router.delete("/changes/{number}", responses=_REFUSALS)
async def undo(number: int, service: Served) -> Changed:
    """Take back the last change that added films."""
    try:
        return changed(service, await service.undo(number))
    except LookupError as error:
        raise HTTPException(409, str(error)) from error


@router.get("/bank", responses={401: _REFUSALS[401]})
async def bank(service: Served) -> dict[str, Any]:
    """Tell what the bank is, and its exemplars, of which the first 10,000 are named."""
    served = await service.call(service.keeper.refresh)
    told = await service.call(lambda: served.told)
    pairs = islice(zip(served.bank.table.names, served.bank.table.findings, strict=True), _MOST_NAMED)
    films = [{"film": film, "finding": finding} for film, finding in pairs]
    return {**told, "n_exemplars": len(served.bank), "exemplars": films}


@router.get("/health")
async def health(service: Served) -> Health:
    """Tell that the server answers."""
    served = service.keeper.served
    return Health("ok", __version__, served.content_hash, service.queue.n_films)


@router.get("/metrics", response_class=PlainTextResponse, responses={401: _REFUSALS[401]})
async def metrics(service: Served) -> str:
    """Tell what was counted in this process, as Prometheus reads it."""
    gauges = [
        ("fscxr_waiting_films", "Films that wait for an answer.", service.queue.n_films),
        ("fscxr_bank_exemplars", "Exemplars of the bank.", len(service.keeper.served.bank)),
        ("fscxr_bank_findings", "Findings of the bank.", len(service.keeper.served.bank.findings)),
    ]
    return service.metrics.text(gauges)


def changed(service: Service, change: Change | None) -> Changed:
    """Return what a change is told as."""
    return Changed(None if change is None else change.to_json(), service.keeper.served.content_hash)
