"""A request's body -> what was asked: JSON, or a form with files; every mistake is one sentence."""

import base64
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from braid.config import parse_json
from braid.server.errors import ApiError
from braid.server.schemas import Form

Asked = TypeVar("Asked", bound=BaseModel)

MOST_FIELDS = 4000  # of a form
FIELD = 1_000_000  # bytes of one that is no file
SEVERAL = "labels"  # a setting that may come several times, or with commas


async def read_json(request: Request, schema: type[Asked]) -> Asked:
    """
    Raises:
        ApiError: 400 for what is no JSON or not of the schema, 415 for anything that says it is no JSON.
    """
    kind = _kind(request)
    if kind and kind != "application/json":
        raise ApiError(415, "unsupported_media_type", "send JSON, with the header Content-Type: application/json")
    return validated(schema, await _json(request))


async def read_form(request: Request, form: Form) -> tuple[BaseModel, list[dict[str, Any]]]:
    """The settings, and the items without what they leave out.

    Raises:
        ApiError: 400 for what is not of the form, 415 for another kind of body.
    """
    kind = _kind(request)
    if kind == "multipart/form-data":
        data = await _fields(request, form)
    elif kind in ("", "application/json"):
        data = await _json(request)
    else:
        raise ApiError(415, "unsupported_media_type", "send JSON (application/json), or a form with files (multipart/form-data)")
    many = isinstance(data, dict) and "items" in data
    asked = validated(form.many if many else form.one, data)
    items = asked.items if many else [asked]  # type: ignore[attr-defined]
    names = list(form.item.model_fields)
    return asked, [{name: value for name in names if (value := getattr(item, name)) is not None} for item in items]


def validated(schema: type[Asked], data: Any) -> Asked:
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"][0].lower() + first["msg"][1:]
        raise ApiError(400, "invalid_request", f"{where or 'the body'}: {message}", where or None) from None


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json(request: Request) -> Any:
    body = await request.body()
    try:
        return parse_json(body.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        message = 'the body is not JSON; send an object such as {"image": "data:image/png;base64,..."}'
        raise ApiError(400, "invalid_json", message) from None


async def _fields(request: Request, form: Form) -> dict[str, Any]:
    """A form as the JSON that says the same; of its items' fields, one that comes once belongs to every item."""
    try:
        given = await request.form(max_files=MOST_FIELDS, max_fields=MOST_FIELDS, max_part_size=FIELD)
    except HTTPException:
        raise ApiError(400, "invalid_form", "the form cannot be read; send fields and files as multipart/form-data") from None
    columns: dict[str, list[str]] = {}
    for name, value in given.multi_items():
        columns.setdefault(name, []).append(await _text(name, value))
    await given.close()
    own = {name: columns.pop(name) for name in form.item.model_fields if name in columns}
    settings: dict[str, Any] = {name: values[-1] for name, values in columns.items()}
    if SEVERAL in columns:
        settings[SEVERAL] = [label for value in columns[SEVERAL] for part in value.split(",") if (label := part.strip())]
    number = max(map(len, own.values()), default=0)
    if number <= 1:
        return settings | {name: values[0] for name, values in own.items()}
    for name, values in own.items():
        if len(values) not in (1, number):
            message = f"{name} comes {len(values)} times and another field {number} times; give it once or as often"
            raise ApiError(400, "invalid_form", message, name)
    return settings | {"items": [_item(own, row) for row in range(number)]}


def _item(columns: Mapping[str, list[str]], row: int) -> dict[str, str]:
    return {name: values[row if len(values) > 1 else 0] for name, values in columns.items()}


async def _text(name: str, value: UploadFile | str) -> str:
    if isinstance(value, str):
        return value
    if name != "image":
        raise ApiError(400, "invalid_form", f"{name[:80]} is a file; only image is one", name[:80])
    return base64.b64encode(await value.read()).decode("ascii")
