"""The pages: every one works without a script; with one, films are dropped and corrections stay in place."""

import asyncio
import base64
from functools import partial
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from fewshot_cxr.report.pictures import data_uri
from fewshot_cxr.serve.api import changed
from fewshot_cxr.serve.cards import cards_of, data_link, table_of
from fewshot_cxr.serve.changes import Change
from fewshot_cxr.serve.errors import wants_page
from fewshot_cxr.serve.films import SentFilm, SentForm, asked_for, display_name, read_film, received
from fewshot_cxr.serve.guard import COOKIE, SIGN_IN, is_same, session_of
from fewshot_cxr.serve.pages import render, source
from fewshot_cxr.serve.service import MOST_DIGITS, Served, Service, finding_name
from fewshot_cxr.serve.why import can_explain, why_picture

router = APIRouter()
_STYLE = ("page.css", "answers.css", "serve.css")
_DAY = 86_400  # seconds
_WRONG_TOKEN_SECONDS = 0.5
_DIAL = "prevalence of "


@router.get("/")
async def ask_page(service: Served) -> HTMLResponse:
    """Show where films are dropped, what the bank is, and how to add to it."""
    served = await service.call(service.keeper.refresh)
    told = await service.call(lambda: served.told)
    return _page("ask.html", service, served=served, told=told, undoable=service.keeper.log.undoable())


@router.post("/")
async def answers_page(request: Request, service: Served) -> HTMLResponse:
    """Show what the bank says of films."""
    async with received(request, service.settings.limits) as form:
        films = asked_for(form)
        answers = await service.answers(films, service.question(_stated(form), "3"))
        served, spec = service.keeper.served, service.keeper.encoder.image_spec
        cards = await run_in_threadpool(cards_of, served, answers, films, spec)
    shown: dict[str, Any] = {"cards": cards, "served": served, "stated": _stated(form)}
    kept = render("saved.html", title="What the bank says", style=_style(), **shown)
    links = {"csv": data_link(table_of(answers), "text/csv"), "page": data_link(kept, "text/html")}
    return _page("answers_live.html", service, links=links, can_explain=can_explain(served.bank), **shown)


@router.post("/add")
async def add(request: Request, service: Served) -> Response:
    """Add films to a finding, which may be new."""
    async with received(request, service.settings.limits) as form:
        finding, films = finding_name(form.texts.get("finding", "")), asked_for(form)
        return _told(request, service, await service.add(finding, films))


@router.post("/correct")
async def correct(request: Request, service: Served) -> Response:
    """Add a film that a page carries to the finding that somebody says it shows."""
    limits = service.settings.limits
    async with received(request, limits, text_bytes=2 * limits.film_bytes) as form:
        finding = finding_name(form.texts.get("finding", ""))
        return _told(request, service, await service.add(finding, await _carried(form)))


@router.post("/why")
async def why(request: Request, service: Served) -> Response:
    """Show what speaks for one finding of a film that a page carries rather than for another."""
    keeper, limits = service.keeper, service.settings.limits
    async with received(request, limits, text_bytes=2 * limits.film_bytes) as form:
        one, other = form.texts.get("one", ""), form.texts.get("other", "")
        films = await _carried(form)
        gray = await run_in_threadpool(read_film, films[0], keeper.encoder.image_spec)
    how = {"device": service.settings.device}
    picture = await service.call(partial(why_picture, keeper.served.bank, keeper.encoder, gray, (one, other), **how))
    alt = f"The film {films[0].name}, and in colour what speaks for {one} rather than for {other}"
    said = "Heat shows where the network's answer comes from, and not where a finding is."
    if not wants_page(request):
        return JSONResponse({"picture": data_uri(picture), "alt": alt, "said": said})
    return _page("why.html", service, one=one, other=other, picture=picture, alt=alt, said=said)


@router.post("/undo")
async def undo(request: Request, service: Served) -> Response:
    """Take back the last change."""
    async with received(request, service.settings.limits) as form:
        number = form.texts.get("number", "")
    if not number.isdecimal() or len(number) > MOST_DIGITS:
        raise HTTPException(422, "say which change is to be taken back, by its number")
    try:
        return _told(request, service, await service.undo(int(number)))
    except LookupError as error:
        raise HTTPException(409, str(error)) from error


@router.get("/log")
async def log_page(service: Served) -> HTMLResponse:
    """Show what was changed, the last change first."""
    log = service.keeper.log
    return _page("log.html", service, changes=log.read()[::-1], undoable=log.undoable())


@router.get("/api")
async def api_page(request: Request, service: Served) -> HTMLResponse:
    """Show the JSON API, as openapi.json has it."""
    return _page("api.html", service, spec=request.app.openapi())


@router.get(SIGN_IN)
async def sign_in_page(service: Served) -> HTMLResponse:
    """Show where the token is given."""
    return _page("sign_in.html", service)


@router.post(SIGN_IN)
async def sign_in(request: Request, service: Served) -> Response:
    """Take the token, and give the browser a cookie that stands for it."""
    async with received(request, service.settings.limits) as form:
        given, token = form.texts.get("token", "").strip(), service.settings.token
    if token is None:
        return RedirectResponse("/", 303)
    if not is_same(given, token):
        await asyncio.sleep(_WRONG_TOKEN_SECONDS)
        raise HTTPException(401, "that is not the token")
    response = RedirectResponse("/", 303)
    is_secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session_of(token), _DAY, httponly=True, samesite="strict", secure=is_secure)
    return response


@router.get("/page.css")
async def style() -> Response:
    """Send the style of all pages."""
    return Response(_style(), media_type="text/css")


@router.get("/page.js")
async def script() -> Response:
    """Send the script, without which all pages work, too."""
    return Response(source("serve.js"), media_type="text/javascript")


def _page(template: str, service: Service, **values: Any) -> HTMLResponse:
    findings = service.keeper.served.bank.findings
    return HTMLResponse(render(template, findings=findings, limits=service.settings.limits, **values))


def _style() -> str:
    return "\n".join(source(name) for name in _STYLE)


def _stated(form: SentForm) -> str:
    """Return the prevalences of a form's dials, in per cent there, as the API takes them."""
    stated = []
    for field, value in form.texts.items():
        if field.startswith(_DIAL) and value.strip():
            try:
                stated.append(f"{field.removeprefix(_DIAL)}={float(value.replace(',', '.')) / 100:.6g}")
            except ValueError as error:
                raise HTTPException(422, f"a prevalence is a number of per cent, got {value[:20]!r}") from error
    return ",".join(stated)


async def _carried(form: SentForm) -> tuple[SentFilm, ...]:
    """Return the film that a form of a page carries."""
    with_folder = form.folder / "carried"
    try:
        content = base64.b64decode(form.texts.get("film", ""), validate=True)
    except ValueError:
        content = b""
    if not content:
        raise HTTPException(422, "the form carries no film: ask again")
    await run_in_threadpool(with_folder.write_bytes, content)
    return (SentFilm(display_name(form.texts.get("name")), with_folder),)


def _told(request: Request, service: Service, change: Change | None) -> Response:
    if not wants_page(request):
        return JSONResponse(vars(changed(service, change)))
    return _page("changed.html", service, change=change, undoable=service.keeper.log.undoable())
