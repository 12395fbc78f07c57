"""What a client sends: films, in private files under names of our own, gone after the answer; names are only shown."""

import asyncio
import hashlib
import io
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import HTTPException, Request
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException

from fewshot_cxr._visible import visible
from fewshot_cxr.data import decode_film, to_square
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.serve.settings import Limits

FIELD = "films"
_LONGEST_NAME = 80  # letters
_MOST_FIELDS = 100
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_TOO_MANY = "Too many files"
_SENT = f"send films as multipart/form-data in the field {FIELD!r}, as curl -F {FIELD}=@film.png does"


@dataclass(frozen=True)
class SentFilm:
    """A film that was sent.

    Args:
        name: as the client calls it, to be shown; nothing is opened by it.
        path: of its private file.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class SentForm:
    """What a client sent: films, texts by the names of their fields, and the private folder that lasts as long."""

    films: tuple[SentFilm, ...]
    texts: dict[str, str]
    folder: Path


class NoFilm(ValueError):
    """None of what was sent is a film."""


def display_name(name: str | None) -> str:
    """Return how a film is called where it is shown: the last part of the client's name, visible, not too long."""
    last = visible(re.split(r"[/\\]", name or "")[-1].strip())
    if len(last) > _LONGEST_NAME:
        last = f"{last[: _LONGEST_NAME - 21]}...{last[-18:]}"
    return last or "film"


@asynccontextmanager
async def received(request: Request, limits: Limits, *, text_bytes: int = 1 << 16) -> AsyncIterator[SentForm]:
    """Yield what was sent, while the block lasts; then no file of it is left.

    Args:
        request: its form is read.
        limits: of what is taken.
        text_bytes: of one field that is no file.

    Raises:
        HTTPException: it is no form, or too much.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _FORMS:
        raise HTTPException(415, _SENT)
    how = {"max_files": limits.n_films, "max_fields": _MOST_FIELDS, "max_part_size": text_bytes}
    try:
        async with asyncio.timeout(limits.upload_seconds):
            form = await request.form(**how)
    except TimeoutError as error:
        raise HTTPException(408, f"the request did not come whole within {limits.upload_seconds:g} seconds") from error
    except ValueError as error:  # of older parsers
        raise HTTPException(400, f"the form is damaged: {_SENT}") from error
    except StarletteHTTPException as error:
        if error.status_code != 400:  # what the guard says while it counts
            raise
        is_much = str(error.detail).startswith((_TOO_MANY, "Part exceeded", "Field exceeded", "Too many fields"))
        much = f"a request may hold {limits.n_films} films and short texts beside them"
        raise HTTPException(413 if is_much else 400, much if is_much else f"{error.detail} {_SENT}") from error
    with tempfile.TemporaryDirectory(prefix="fscxr-") as folder:  # for its owner alone
        try:
            films = await run_in_threadpool(_kept, form, Path(folder), limits)
        finally:
            await form.close()
        texts = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        yield SentForm(films, texts, Path(folder))


def asked_for(form: SentForm) -> tuple[SentFilm, ...]:
    """Return the films of a form.

    Raises:
        HTTPException: there is none.
    """
    if not form.films:
        raise HTTPException(422, f"no film was sent: {_SENT}")
    return form.films


def _kept(form: FormData, folder: Path, limits: Limits) -> tuple[SentFilm, ...]:
    films: list[SentFilm] = []
    for _, value in form.multi_items():
        if not isinstance(value, UploadFile) or (not value.filename and not value.size):
            continue  # a text, or a field of a page in which no file was chosen
        name = display_name(value.filename)
        if (value.size or 0) > limits.film_bytes:
            raise HTTPException(413, f"{name}: a film may have {limits.film_bytes >> 20} MB, this one has more")
        path = folder / str(len(films))
        with path.open("wb") as file:
            shutil.copyfileobj(value.file, file)
        films.append(SentFilm(name, path))
    return tuple(films)


def as_exemplars(films: Sequence[SentFilm], spec: ImageSpec, folder: Path) -> list[Path]:
    """Write films as pictures without any header, each under a name that tells nothing but which film it is.

    Args:
        films: that were sent.
        spec: of the encoder that they are for.
        folder: to write them into.

    Raises:
        NoFilm: one of them cannot be read; none is written then.
    """
    pictures: dict[str, bytes] = {}
    for film in films:
        gray = read_film(film, spec)
        digest = hashlib.blake2b(to_square(gray, spec).tobytes(), digest_size=6).hexdigest()
        pictures[f"film-{digest}.png"] = picture_of(gray, spec)
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
    return [folder / name for name in pictures]


def read_film(film: SentFilm, spec: ImageSpec) -> np.ndarray:
    """Return a film that was sent as 8-bit gray.

    Raises:
        NoFilm: it cannot be read.
    """
    try:
        return decoded(film.path, spec)
    except (OSError, ValueError) as error:
        raise NoFilm(f"{film.name}: {error}") from error


def decoded(path: Path, spec: ImageSpec) -> np.ndarray:
    """Return a film as 8-bit gray, as a bank reads it.

    Raises:
        OSError: it is none.
        ValueError: its values need more bits than the encoder takes.
    """
    film = decode_film(path, bit_depth=spec.bit_depth)
    if film.facts.stranger:
        raise OSError(film.facts.stranger)
    return film.gray


def picture_of(gray: np.ndarray, spec: ImageSpec) -> bytes:
    """Return a PNG that an encoder sees as it sees the film: what it looks at alone, where that can be cut out twice.

    Args:
        gray: uint8, shape (H, W).
        spec: of the encoder.
    """
    changes_again = spec.top_crop or spec.border_crop or spec.equalise != "none"
    buffer = io.BytesIO()
    Image.fromarray(gray if changes_again else to_square(gray, spec)).save(buffer, format="PNG")
    return buffer.getvalue()


def form_schema(*, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what OpenAPI says of a form of films.

    Args:
        more: further fields, by name.
    """
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "PNG, JPEG, TIFF, DICOM"}
    schema = {"type": "object", "required": [FIELD], "properties": {FIELD: files, **(more or {})}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
