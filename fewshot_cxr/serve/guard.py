"""What every request passes before a route sees it: host, token, origin, sizes; and what every response carries."""

import asyncio
import hmac
import logging
import time
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fewshot_cxr.serve.errors import refusal
from fewshot_cxr.serve.metrics import Metrics
from fewshot_cxr.serve.settings import Settings, is_local

COOKIE = "fscxr_session"
SIGN_IN = "/sign-in"
NOT_ANSWERED = 499
_OPEN = ("/health", SIGN_IN, "/page.css")  # what needs no token
_LOG = logging.getLogger("uvicorn.error")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_METHODS = (*_SAFE_METHODS, "POST", "PUT", "PATCH", "DELETE")
_LINGER = 2.0  # seconds that the rest of a refused request is read, so that its sender comes to read the answer
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with none at all a form of our own page would have no origin
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def session_of(token: str) -> str:
    """Return what the cookie of a browser holds in place of the token."""
    return hmac.new(token.encode(), b"fscxr session", "sha256").hexdigest()


def is_same(given: str, wanted: str) -> bool:
    """Return whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(), wanted.encode())


class Guard:
    """The outermost of the application.

    Args:
        app: that it guards.
        settings: of the server.
        metrics: that count requests.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._open_bytes = self._n_open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it in a sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, receive, send)
        begun = time.monotonic()
        self._n_open += 1
        try:
            await self._served(scope, exchange)
        finally:
            self._n_open -= 1
            self._open_bytes -= exchange.n_bytes
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"  # else a client could make any number
            self._metrics.requests.add((method, route, str(exchange.status)))
            self._metrics.seconds.observe(route, time.monotonic() - begun)

    async def _served(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            self._check(Request(scope))
            await self._app(scope, exchange.receive, exchange.send)
        except HTTPException as error:
            await refusal(Request(scope), error)(scope, exchange.receive, exchange.send)
        except Exception:  # nobody foresaw it: it costs this request, and no other
            _LOG.exception("an unforeseen error")
            if exchange.status == NOT_ANSWERED:
                told = HTTPException(500, "an unforeseen error, which the log of the server tells more of")
                await refusal(Request(scope), told)(scope, exchange.receive, exchange.send)

    def take(self, exchange: "_Exchange", n_bytes: int) -> None:
        """Count bytes of a request.

        Raises:
            HTTPException: it has too many, or all requests together.
        """
        limits = self._settings.limits
        exchange.n_bytes += n_bytes
        self._open_bytes += n_bytes
        if exchange.n_bytes > limits.request_bytes:
            raise _too_large(limits.request_bytes)
        if self._open_bytes > limits.open_bytes:
            raise HTTPException(429, "too much is being sent at a time: come again", {"retry-after": "2"})

    def _check(self, request: Request) -> None:
        self._check_host(request.headers)
        limits, headers = self._settings.limits, request.headers
        if request.method not in _SAFE_METHODS:
            _check_origin(headers)
        if request.url.path not in _OPEN:
            self._check_token(request)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limits.request_bytes:
            raise _too_large(limits.request_bytes)
        if self._n_open > limits.n_requests and request.method not in _SAFE_METHODS:
            raise HTTPException(429, "too many requests at a time: come again", {"retry-after": "2"})

    def _check_host(self, headers: Headers) -> None:
        """Refuse the name of another host that was made to lead here (DNS rebinding), where no token does."""
        host = _split(f"//{headers.get('host', '')}").hostname or ""
        if self._settings.is_local and self._settings.token is None and not is_local(host):
            raise HTTPException(421, f"this server is called 127.0.0.1 or localhost, not {host[:80]!r}")

    def _check_token(self, request: Request) -> None:
        token = self._settings.token
        if token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and is_same(given.strip(), token):
            return
        if is_same(_cookie(request.headers.getlist("cookie")), session_of(token)):
            return
        raise HTTPException(
            401, "a token is needed: send it as Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
        )


class _Exchange:
    """A request on its way in and its response on its way out."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self._guard, self._receive, self._send = guard, receive, send
        headers = Headers(scope=scope)
        self.n_bytes, self.status = 0, NOT_ANSWERED
        self._is_whole = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_whole |= message["type"] == "http.disconnect" or not message.get("more_body", False)
        if message["type"] == "http.request":
            self._guard.take(self, len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if not self._is_whole:
                headers["connection"] = "close"
        elif not message.get("more_body", False) and not self._is_whole:
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_LINGER):
                while not self._is_whole:
                    message = await self._receive()
                    self._is_whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        except TimeoutError:
            self._is_whole = True  # as much of it as is waited for


def _check_origin(headers: Headers) -> None:
    """Refuse what a page of another site sends; programs that are no browser name no origin."""
    origin, host = headers.get("origin"), headers.get("host", "")
    is_foreign = origin is not None and _split(origin).netloc.lower() != host.lower()
    if is_foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "a page of another site may not ask or change anything here")


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise HTTPException(400, "a header holds an address that is none") from error


def _cookie(headers: Iterable[str]) -> str:
    for text in headers:
        try:
            found = SimpleCookie(text)
        except CookieError:
            continue
        if COOKIE in found:
            return found[COOKIE].value
    return ""


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"a request may have {most >> 20} MB, this one has more")
