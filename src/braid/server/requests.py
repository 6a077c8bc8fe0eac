"""Parses a request's body, JSON or a form with files, to settings and items.

The allowed fields of an item follow from the inputs of the served models. Every error message is one sentence.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, WithJsonSchema, create_model
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse

from braid.config import parse_json
from braid.errors import UserError
from braid.given import between_commas
from braid.modalities import InputConfig, modality_of
from braid.modalities.cells import NO_TEXT, is_text
from braid.server.schemas import MOST_ITEMS, PIXEL, SENT, Encoded, Settings, Strict, Text, wrong

Body = TypeVar("Body", bound=BaseModel)

MOST_FIELDS = 4000  # maximum fields of a form
FIELD = 1_000_000  # maximum bytes of a field that is not a file
MOST_TOKENS = 200_000  # maximum texts, brackets and commas of a JSON body: what is made of them takes 100 times their bytes
MOST_NAME = 1000  # maximum characters of a field's name
SEVERAL = "labels"  # a setting that may be repeated, or separated by commas
FORM = "form"  # validation context: values are texts from a form
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[,\[{]', re.DOTALL)  # a text of JSON, or a mark outside of texts
OTHER_NAME = re.compile(rb";\s*filename\*=", re.IGNORECASE)
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An error response in OpenAI's format: ``{"error": {"message", "type", "param", "code"}}``.

    Args:
        status: the HTTP status.
        code: one word for programs.
        message: one sentence for people.
        param: the field with the error.
        retry_after: seconds after which the client may retry; 0 if unknown.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        retry_after: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after
        self.headers = {**(headers or {}), **({"Retry-After": str(retry_after)} if retry_after else {})}

    @property
    def body(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def response(self) -> JSONResponse:
        return Json(self.body, self.status, self.headers)


class Json(JSONResponse):
    """Half characters, which file names and labels can hold, are escaped: UTF-8 cannot express them."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Form:
    """The request format of an endpoint: settings, with the fields of one item or with a list of items.

    ``inputs`` has, for each field, its modality in each of the models.
    """

    item: type[BaseModel]
    one: type[BaseModel]
    many: type[BaseModel]
    inputs: Mapping[str, tuple[InputConfig, ...]]

    @property
    def files(self) -> list[str]:
        return [name for name, configs in self.inputs.items() if configs[0].suffixes]

    def column_of(self, name: str) -> tuple[str, str]:
        """Split a form's name into field and column: ``tabular.price`` is the column ``price`` of ``tabular``."""
        field, _, column = name.partition(".")
        return (field, column) if field in self.inputs and self.inputs[field][0].parts else (name, "")


def fields_of(inputs: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A model's inputs by request field; ``text`` is the field of the prompt ("" leaves it out)."""
    named = {name if modality_of(name) else text: config for name, config in inputs.items()}
    return {field: config for field, config in named.items() if field}


def make_form(name: str, settings: type[Settings], models: Iterable[Mapping[str, Any]], text: str, needed: Sequence[str]) -> Form:
    """Create the form of an endpoint.

    Args:
        models: the inputs of each model that can answer.
        text: the field with the text that models read as their prompt.
        needed: fields that every item must have.
    """
    inputs: dict[str, tuple[InputConfig, ...]] = {}
    for model in models:
        for field, config in fields_of(model, text).items():
            inputs[field] = (*inputs.get(field, ()), config)
    fields: dict[str, Any] = {}
    for field, configs in inputs.items():
        value = Text if field == text else Encoded if configs[0].suffixes else _value(configs)
        fields[field] = (value, ...) if field in needed else (value | None, None)
    item = create_model(f"{name}Item", __base__=Strict, **fields)
    one = create_model(f"{name}Request", __base__=(settings, item))
    items = Annotated[list[item], Field(min_length=1, max_length=MOST_ITEMS, fail_fast=True)]  # type: ignore[valid-type]
    return Form(item, one, create_model(f"{name}Requests", __base__=settings, items=(items, ...)), inputs)


def _value(configs: Sequence[InputConfig]) -> Any:
    """The type of a field: any JSON that its modality can read."""
    read = partial(_read, configs[0])
    return Annotated[Any, BeforeValidator(read), WithJsonSchema(_schema(configs))]


def _read(config: InputConfig, value: Any, info: Any) -> Any:
    if value is None:
        return None
    try:
        return config.parse(value) if info.context == FORM and isinstance(value, str) else config.from_json(value)
    except UserError as error:
        raise wrong(str(error)) from None


def _schema(configs: Sequence[InputConfig]) -> dict[str, Any]:
    """The JSON schema of a field. A field with columns has the columns of all models; any other field may be any JSON."""
    schema: dict[str, Any] = {"description": configs[0].summary()}
    if not configs[0].parts:
        return schema
    cells = {
        field["name"]: {
            "type": ["number", "string", "null"],
            **({"examples": field["choices"][:5]} if "choices" in field else {}),
        }
        for config in configs
        for field in config.fields()
    }
    return {**schema, "type": "object", "properties": cells}


def multipart_schema(form: Form) -> dict[str, Any]:
    """The schema of a multipart form; a repeated item field makes several items."""
    plain = form.one.model_json_schema()["properties"]
    fields: dict[str, Any] = {name: {"type": "string"} for name in plain}
    for name, configs in form.inputs.items():
        value = {"type": "string", "format": "binary"} if configs[0].suffixes else {"type": "string", "minLength": 1}
        fields[name] = {"type": "array", "items": value, "minItems": 1}
        if configs[0].parts:
            cells = (f"{name}.{field['name']}" for config in configs for field in config.fields())
            fields |= {cell: {"type": "array", "items": {"type": "string"}} for cell in cells}
    if SEVERAL in plain:
        fields[SEVERAL] = {"type": "array", "items": {"type": "string"}}
    required = [name for name, field in form.item.model_fields.items() if field.is_required()]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def example_of(form: Form, text: str, example: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """An example request: all required fields, or otherwise the text, or the first field with an example."""
    values = {name: example if name == text else _sample(configs[0]) for name, configs in form.inputs.items()}
    known = {name: value for name, value in values.items() if value is not None}
    chosen = [name for name, field in form.item.model_fields.items() if field.is_required()]
    chosen = chosen or [text if text in known else next(iter(known), "")]
    return {**{name: value for name, value in known.items() if name in chosen}, **settings}


def _sample(config: InputConfig) -> Any:
    fields = config.fields()
    if config.suffixes:
        return PIXEL if str(fields[0].get("accept", "")).startswith("image/") else None
    return {field["name"]: (field.get("choices") or [1])[0] for field in fields[:3]} if config.parts else None


async def read_json(request: Request, schema: type[Body]) -> Body:
    """
    Raises:
        ApiError: 400 for invalid JSON or a body that does not match the schema, 415 for another content type.
    """
    if _kind(request) not in ("", "application/json"):
        raise ApiError(415, "unsupported_media_type", "send JSON, with the header Content-Type: application/json")
    return validated(schema, parse_body(await request.body()))


async def read_items(request: Request, form: Form) -> tuple[BaseModel, list[dict[str, Any]]]:
    """The settings, and the items with only the fields that were sent.

    Raises:
        ApiError: 400 for a body that does not match the form, 415 for another content type.
    """
    if query := request.url.query:
        message = f"nothing is read after the ? of an address; send {query[:80].partition('=')[0]} in the body"
        raise ApiError(400, "invalid_request", message)
    kind = _kind(request)
    if kind == "multipart/form-data":
        data, context = await _fields(request, form), FORM
    elif kind in ("", "application/json"):
        data, context = parse_body(await request.body()), ""
    else:
        raise ApiError(415, "unsupported_media_type", "send JSON (application/json), or a form with files (multipart/form-data)")
    many = isinstance(data, dict) and "items" in data
    settings = validated(form.many if many else form.one, data, context)
    items = settings.items if many else [settings]  # type: ignore[attr-defined]
    return settings, [{name: value for name in form.inputs if (value := getattr(item, name)) is not None} for item in items]


def validated(schema: type[Body], data: Any, context: str = "") -> Body:
    """
    Raises:
        ApiError: 400 for invalid data, naming the field.
    """
    _check_texts(data)
    try:
        return schema.model_validate(data, context=context)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = first["ctx"]["name"] if first["type"] == SENT else ""
        where = ".".join(map(str, [*first["loc"], *([name] if name else [])]))
        message = first["msg"][0].lower() + first["msg"][1:]
        raise ApiError(400, "invalid_request", f"{where or 'the body'}: {message}", where or None) from None


def _check_texts(data: Any) -> None:
    """Check every text and every name of a field, before pydantic makes an error of each.

    Raises:
        ApiError: 400 for a text that is not valid UTF-8, and a name that is too long.
    """
    waiting = [("", data)]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, str) and not is_text(value):
            name = where.encode("utf-8", "replace").decode() or "the body"
            raise ApiError(400, "invalid_request", f"{name}: this {NO_TEXT}; send whole characters", name)
        if isinstance(value, list):
            waiting.extend((f"{where}.{number}" if where else str(number), one) for number, one in enumerate(value))
        if isinstance(value, dict):
            for name, one in value.items():
                if len(name) > MOST_NAME or not is_text(name):
                    long = f"has {len(name):,} characters, at most {MOST_NAME:,} are read; shorten it"
                    fault = long if len(name) > MOST_NAME else f"{NO_TEXT}; send whole characters"
                    raise ApiError(400, "invalid_request", f"{where or 'the body'}: the name of a field {fault}", where or None)
                waiting.append((f"{where}.{name}" if where else name, one))


def _kind(request: Request) -> str:
    """The content type.

    Raises:
        ApiError: 415 for a body that is compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "unsupported_media_type", "send the body without compression, and without Content-Encoding")
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parse_body(body: bytes) -> Any:
    """Parse JSON of a bounded number of values.

    Raises:
        ApiError: 400 for invalid JSON, and for too many values.
    """
    # Counting bytes is quick, and enough for most bodies; it also counts what stands within texts.
    if sum(map(body.count, (b'"', b",", b"[", b"{"))) > MOST_TOKENS:
        number = sum(1 for _ in islice(TOKEN.finditer(body), MOST_TOKENS + 1))
        if number > MOST_TOKENS:
            message = f"the body holds more than {MOST_TOKENS:,} texts, brackets and commas; send less at once"
            raise ApiError(413, "too_many_values", message)
    try:
        return parse_json(body.decode("utf-8-sig"), object_pairs_hook=_once)
    except (json.JSONDecodeError, UnicodeDecodeError):
        message = 'the body is not JSON; send an object such as {"image": "data:image/png;base64,..."}'
        raise ApiError(400, "invalid_json", message) from None


def _once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(fields)
    if len(result) < len(fields):
        name = next(name for name, number in Counter(name for name, _ in fields).items() if number > 1)
        shown = name[:80].encode("utf-8", "replace").decode()
        raise ApiError(400, "invalid_request", f"{shown} comes more than once in an object; give it once", shown)
    return result


class _Parts(MultiPartParser):
    """A form whose files may also be named by ``filename*=``, as older clients do where a name is not ASCII."""

    def on_headers_finished(self) -> None:
        part = self._current_part
        part.content_disposition = re.sub(
            rb";\s*filename\*=", b"; filename=", part.content_disposition or b"", flags=re.IGNORECASE
        )
        super().on_headers_finished()


async def _form(request: Request) -> FormData:
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", request.headers["content-type"], re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):  # Python knows some that take quadratic time
        raise ApiError(415, "unsupported_media_type", f"the form is in {charset[1][:40]}; send it in UTF-8")
    try:
        parts = _Parts(request.headers, request.stream(), max_files=MOST_FIELDS, max_fields=MOST_FIELDS, max_part_size=FIELD)
        return await parts.parse()
    except MultiPartException:
        raise ApiError(400, "invalid_form", "the form cannot be read; send fields and files as multipart/form-data") from None


async def _fields(request: Request, form: Form) -> dict[str, Any]:
    """Convert a form to the equivalent JSON; an item field that is sent once belongs to every item."""
    given = await _form(request)
    values: dict[str, list[str]] = {}
    for name, value in given.multi_items():
        values.setdefault(name, []).append(await _text(name, value, form.files))
    await given.close()
    own = {name: values.pop(name) for name in list(values) if form.column_of(name)[0] in form.inputs}
    settings: dict[str, Any] = {}
    if SEVERAL in values:
        settings[SEVERAL] = [label for value in values.pop(SEVERAL) for label in between_commas(value)]
    for name, several in values.items():
        if len(several) > 1:
            raise ApiError(400, "invalid_form", f"{name[:80]} comes {len(several)} times; give it once", name[:80])
        settings[name] = several[0]
    number = max(map(len, own.values()), default=0)
    for name, several in own.items():
        if len(several) not in (1, number):
            message = f"{name} comes {len(several)} times and another field {number} times; give it once or as often"
            raise ApiError(400, "invalid_form", message, name)
        if name in form.inputs and any(
            form.column_of(other) == (name, column) for other in own if (column := form.column_of(other)[1])
        ):
            raise ApiError(400, "invalid_form", f"{name} comes whole and as {name}.COLUMN; send it in one of these ways", name)
    if number <= 1:
        return settings | _item(own, 0, form)
    return settings | {"items": [_item(own, row, form) for row in range(number)]}


def _item(values: Mapping[str, list[str]], row: int, form: Form) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for name, several in values.items():
        field, column = form.column_of(name)
        value = several[row if len(several) > 1 else 0]
        if column:
            item.setdefault(field, {})[column] = value
        else:
            item[field] = value
    return item


async def _text(name: str, value: UploadFile | str, files: Sequence[str]) -> str:
    if isinstance(value, str):
        return value
    if name not in files:
        known = f"files go in {' and '.join(files)}" if files else "this endpoint takes no files"
        raise ApiError(400, "invalid_form", f"the field {name[:80]} is a file; {known}", name[:80])
    return base64.b64encode(await value.read()).decode("ascii")
