"""What a client is told when its request cannot be served: a status, and one sentence."""

import concurrent.futures
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from fewshot_cxr._visible import visible
from fewshot_cxr.serve.films import NoFilm
from fewshot_cxr.serve.keeper import BankBusy
from fewshot_cxr.serve.pages import render
from fewshot_cxr.serve.queue import QueueFull

_SOON = {"retry-after": "2"}
_LONGEST = 400  # letters of a sentence
Handler = Callable[[Request, Any], Response | Awaitable[Response]]


def wants_page(request: Request) -> bool:
    """Return whether a browser asks, for a page to show."""
    return "text/html" in request.headers.get("accept", "")


def refusal(request: Request, error: StarletteHTTPException) -> Response:
    """Return the response that tells of an error: a page for a browser, JSON for a program."""
    sentence = visible(str(error.detail))[:_LONGEST]
    if not wants_page(request):
        return JSONResponse({"detail": sentence}, error.status_code, error.headers)
    page = render("refused.html", title="This cannot be done", said=sentence, is_locked=error.status_code == 401)
    return HTMLResponse(page, error.status_code, error.headers)


def _status(error: Exception) -> HTTPException:
    if isinstance(error, QueueFull):
        return HTTPException(429, str(error), _SOON)
    if isinstance(error, BankBusy):
        return HTTPException(503, str(error), _SOON)
    if isinstance(error, (TimeoutError, concurrent.futures.CancelledError)):
        return HTTPException(503, "the answer took too long: come again, with fewer films", _SOON)
    if isinstance(error, OSError):
        return HTTPException(503, f"the server cannot write or read ({error.strerror or type(error).__name__})", _SOON)
    if isinstance(error, LookupError):
        return HTTPException(404, str(error.args[0]) if error.args else "it is not there")
    return HTTPException(422 if isinstance(error, NoFilm) else 409, str(error))


def _invalid(request: Request, error: RequestValidationError) -> Response:
    told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return refusal(request, HTTPException(422, told))


def _gone(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=400)  # nobody reads it


def add_handlers(app: FastAPI) -> None:
    """Let an application answer errors in sentences."""
    handlers: dict[type[Exception], Handler] = {
        StarletteHTTPException: refusal,
        RequestValidationError: _invalid,
        ClientDisconnect: _gone,
    }
    foreseen = (QueueFull, BankBusy, TimeoutError, concurrent.futures.CancelledError, LookupError, OSError, ValueError)
    handlers |= dict.fromkeys(foreseen, lambda request, error: refusal(request, _status(error)))
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
