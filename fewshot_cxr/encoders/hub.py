"""The Hugging Face hub as a place that may be out of reach: asked once, briefly, and in silence."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_PATIENCE_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}


@contextmanager
def asking_the_hub() -> Iterator[None]:
    """Let timm ask the hub within; where nothing answers, only what was downloaded before is found, at once.

    Left alone, the hub's client tries each file six times, for half a minute, and prints two lines for each try. The
    environment's HF_HUB_OFFLINE is heeded, and a proxy is asked in the hub's place.

    Raises:
        ConnectionError: nothing answers, and what was asked for was not downloaded before.
    """
    from huggingface_hub import constants

    logger, was_offline = logging.getLogger("huggingface_hub"), constants.HF_HUB_OFFLINE
    level, is_reached = logger.level, was_offline or _is_reached(constants.ENDPOINT)
    try:
        logger.setLevel(logging.ERROR)
        constants.HF_HUB_OFFLINE = was_offline or not is_reached
        yield
    except (OSError, RuntimeError) as error:
        if is_reached:
            raise
        raise ConnectionError(f"nothing answers at {constants.ENDPOINT}, nor was it downloaded before") from error
    finally:
        constants.HF_HUB_OFFLINE = was_offline
        logger.setLevel(level)


def _is_reached(address: str) -> bool:
    hub = urlsplit(address)
    proxy = getproxies().get(hub.scheme) if hub.hostname and not proxy_bypass(hub.hostname) else None
    asked = urlsplit(proxy if proxy and "//" in proxy else f"//{proxy}") if proxy else hub
    try:
        port = asked.port or _PORTS.get(asked.scheme, 443)
        with socket.create_connection((asked.hostname or "", port), _PATIENCE_SECONDS):
            return True
    except (OSError, ValueError):
        return False
