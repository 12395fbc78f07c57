"""The application: its routes, its guard, and its beginning and end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from fewshot_cxr._version import __version__
from fewshot_cxr.serve import api, browse
from fewshot_cxr.serve.errors import add_handlers
from fewshot_cxr.serve.guard import Guard
from fewshot_cxr.serve.keeper import BankKeeper
from fewshot_cxr.serve.metrics import Metrics
from fewshot_cxr.serve.service import Service
from fewshot_cxr.serve.settings import Settings

TOLD = "A support bank answers for chest X-rays, or abstains. Research use only, not a medical device."


def make_app(settings: Settings, keeper: BankKeeper | None = None) -> FastAPI:
    """Return the application.

    Args:
        settings: what is served, and how much is taken.
        keeper: of the bank; None: it is read when the application starts.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lasting(app: FastAPI) -> AsyncIterator[None]:
        known = keeper if keeper is not None else await asyncio.to_thread(BankKeeper, settings)
        service = app.state.service = Service.started(settings, known, metrics)
        yield
        await asyncio.to_thread(service.queue.close, settings.limits.ending_seconds)

    # The pages of FastAPI load their scripts from another host: /api is ours.
    app = FastAPI(
        title="fscxr serve", description=TOLD, version=__version__, lifespan=lasting, docs_url=None, redoc_url=None
    )
    app.include_router(api.router, tags=["api"])
    app.include_router(browse.router, include_in_schema=False)
    add_handlers(app)
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    return app
