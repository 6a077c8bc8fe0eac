"""Strict conversion of plain dicts to frozen dataclasses and back: an unknown key, kind or type is an error that lists the valid
ones."""

import dataclasses
import difflib
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import accumulate
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from braid.errors import UserError
from braid.renamed import renamed

T = TypeVar("T")

MOST_VALUES = 100_000  # in a YAML file, with aliases expanded: a few lines of aliases can mean billions
MOST_DEPTH = 100  # of brackets in a YAML file


def to_dict(config: Any) -> Any:
    """Turn a config into dicts, lists and scalars, ready for JSON or YAML."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: to_dict(value) for key, value in config.items()}
    if isinstance(config, tuple | list):
        return [to_dict(value) for value in config]
    return config


def from_dict(expected: type[T] | Any, data: Any, where: str = "config") -> T:
    """Build the dataclass that ``expected`` names, or the member of a union that the key ``kind`` selects.

    Args:
        expected: a frozen dataclass, or a union of frozen dataclasses with different kinds.
        data: nested dicts as read from JSON or YAML.
        where: the prefix of every message, for example ``run.yaml: model``.
    Raises:
        UserError: for an unknown key or kind (with the valid choices), a missing key or a wrong type, and for a file of an
            earlier version (with the new names of its settings).
    """
    try:
        return _read(expected, data, where)
    except UserError:
        if changes := list(renamed(data)):
            raise UserError(f"{where} was written for an earlier version of Braid; rename {', '.join(changes)}") from None
        raise


def with_overrides(data: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Apply ``a.b=value`` settings (values are YAML) to a copy of a nested dict; ``a.0.b`` addresses an item of a list.

    Setting another ``kind`` drops the other settings of that section, which belong to the old kind.
    """
    import yaml

    result: dict[str, Any] = _copy(data)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            name, colon, value = setting.partition(":")
            example = f"{name.strip()}={value.strip()}" if colon and name.strip() else "for example optimizer.learning_rate=1e-4"
            raise UserError(f"--set {setting}: write it as path=value, {example}")
        *parents, last = path.split(".")
        node: Any = result
        for name in parents:
            if isinstance(node, dict):
                node.setdefault(name, {})
            child = node[_place(node, name, setting)]
            if not isinstance(child, dict | list):
                raise UserError(f"--set {setting}: {name} is {child!r}, not a section")
            node = child
        place = _place(node, last, setting)
        try:
            value = _number(parse_yaml(text))
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting}: the value is not YAML ({yaml_problem(error)})") from None
        except RecursionError:
            raise UserError(f"--set {setting[:40]}...: the value is nested too deeply") from None
        except UserError as error:
            raise UserError(f"--set {setting[:40]}...: the value {error}") from None
        if last == "kind" and node.get("kind") != value:
            node.clear()
        node[place] = value
    return result


def _place(node: dict[str, Any] | list[Any], name: str, setting: str) -> str | int:
    """A key of a section, or the index of an item in a list."""
    if isinstance(node, dict):
        return name
    places = [str(place) for place in range(len(node))]
    if name not in places:
        raise UserError(f"--set {setting}: {name!r} is not an item of a list of {len(node)}; items are numbered from 0")
    return places.index(name)


def flat(settings: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Flatten nested settings to paths: ``{"optimizer.learning_rate": 0.001}``; empty sections are dropped."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{start}{name}.")
        else:
            result[start + str(name)] = value
    return result


def yaml_problem(error: Exception) -> str:
    """The error in a YAML text, with its line."""
    mark = getattr(error, "problem_mark", None)
    message = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"line {mark.line + 1}: {message}" if mark else message


@contextmanager
def named(where: str) -> Iterator[None]:
    """Prefix every ``UserError`` in the block with ``where``."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def within(config: Any, low: int | float, high: int | float, *names: str) -> None:
    """Check that settings lie in ``low`` .. ``high``; call it in ``__post_init__``.

    Raises:
        UserError: naming the setting and its bounds.
    """
    for name in names:
        value = getattr(config, name)
        if not low <= value <= high:
            bounds = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
            raise UserError(f"{name} is {value}; it must be {bounds}")


def plain_names(what: str, names: Iterable[str]) -> None:
    """Check the names of inputs and outputs: they become names of files and parameters, so only letters, digits and _ are
    valid."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            raise UserError(f"{what} is named {name!r}; a name is made of letters, digits and _")


class NotStandard(json.JSONDecodeError):
    """Non-standard JSON that other parsers accept: NaN, infinity, too deep nesting, too long numbers."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(what, text, 0)

    def __str__(self) -> str:
        return f"it {self.msg}"


def parse_json(text: str, nan: bool = False, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Parse standard JSON.

    Args:
        nan: allow NaN and infinity, for callers that reject them later with a better message.
        object_pairs_hook: as in ``json.loads``.
    Raises:
        JSONDecodeError: for invalid JSON.
        NotStandard: (a subclass) for NaN, infinity, too deep nesting and too long numbers.
    """
    try:
        return json.loads(text, parse_constant=float if nan else _not_a_number, object_pairs_hook=object_pairs_hook)
    except RecursionError:
        raise NotStandard("is nested too deeply", text) from None
    except _NotANumber as error:
        raise NotStandard(f"holds {error}, which is not a number", text) from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError | UserError):
            raise
        raise NotStandard("holds a number with too many digits", text) from None


class _NotANumber(Exception):
    """NaN or infinity in JSON."""


def _not_a_number(name: str) -> float:
    raise _NotANumber(name)


def json_text(value: Any, **options: Any) -> str:
    """``value`` as standard JSON: a number that is not finite becomes null, because other parsers do not read NaN.

    Args:
        options: as in ``json.dumps``.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(without_nan(value), allow_nan=False, **options)


def without_nan(value: Any) -> Any:
    """``value`` with None in the place of every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_yaml(text: str) -> Any:
    """Parse a YAML text of a reasonable size.

    Raises:
        YAMLError: for invalid YAML, including impossible numbers and dates.
        RecursionError: for too deep nesting.
        UserError: for too many aliases, and for merge keys; the caller prefixes the name of the file.
    """
    import yaml

    if _depth(text) > MOST_DEPTH:  # PyYAML takes seconds to find out
        raise RecursionError

    class Loader(yaml.SafeLoader):
        """Without merge keys: PyYAML copies what they name, again for every level, so half a kilobyte fills the memory."""

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
                raise UserError("has a merge key (<<), which is not read; write every setting out")

    try:
        value = yaml.load(text, Loader)
    except UserError:
        raise
    except (ValueError, OverflowError) as error:
        raise yaml.YAMLError(str(error)) from None
    if _num_values(value, {}) > MOST_VALUES:
        raise UserError(f"holds more than {MOST_VALUES:,} values; use fewer aliases")
    return value


def _depth(text: str) -> int:
    """How deep brackets and braces are nested, at most; those inside of texts are counted, too."""
    steps = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text))
    return max(accumulate(steps), default=0)


def _num_values(value: Any, known: dict[int, int]) -> int:
    """The number of values with aliases expanded. ``known`` caches the counts of lists and sections; 0 marks one in progress."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = 0
        known[id(value)] = 1 + sum(_num_values(one, known) for one in (value.values() if isinstance(value, dict) else value))
    if not known[id(value)]:
        raise UserError("refers to itself; write every setting out")
    return known[id(value)]


def did_you_mean(name: str, choices: Sequence[str]) -> str:
    """The end of an error message about an unknown name: the valid choices, and the closest one."""
    initials = [choice for choice in choices if name == "".join(word[:1] for word in choice.split("_"))]  # lr: learning_rate
    close = difflib.get_close_matches(str(name), choices, n=1) or (initials if len(str(name)) > 1 else [])
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"choose from {', '.join(sorted(choices))}{hint}"


_ADDED: dict[Any, list[Any]] = {}  # by union


def add_kind(union: Any, config: type) -> None:
    """Add a config to a union, so that a part of your own can be used in settings.

    ``add_kind(InputModalityConfig, SeriesModalityConfig)`` makes ``kind: series`` valid for every input.

    Raises:
        ValueError: when the union has another member of this kind.
    """
    known = kinds(union).get(_kind(config), config)
    if known is not config:
        raise ValueError(f"the kind {_kind(config)!r} is that of {known.__name__}; give {config.__name__} another")
    if config not in _members(union):
        _ADDED.setdefault(union, []).append(config)


def remove_kind(union: Any, config: type) -> None:
    """Undo ``add_kind``."""
    _ADDED[union].remove(config)


def _members(union: Any) -> tuple[Any, ...]:
    own = get_args(union) if get_origin(union) in (Union, types.UnionType) else (union,)
    return (*own, *_ADDED.get(union, ()))


def kinds(union: Any) -> dict[str, Any]:
    """The members of a union of configs, by ``kind``."""
    return {_kind(member): member for member in _members(union)}


def _kind(config_class: Any) -> str:
    return str(get_args(_hints(config_class)["kind"])[0])


@cache
def _hints(config_class: Any) -> dict[str, Any]:
    return get_type_hints(config_class)


def _copy(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list | tuple) else data


def _number(value: Any) -> Any:
    """Convert text to a number if possible: YAML 1.1 reads 1e-4 as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _read(expected: Any, data: Any, where: str) -> Any:
    origin = get_origin(expected)
    if expected is Any:
        return data
    if origin in (Union, types.UnionType):
        return _read_union(expected, data, where)
    if origin is Literal:
        if data not in get_args(expected):
            raise UserError(f"{where} is {_shown(data)}; {did_you_mean(str(data), [str(a) for a in get_args(expected)])}")
        return data
    if dataclasses.is_dataclass(expected):
        return _read_dataclass(expected, data, where)
    if origin in (dict, Mapping) or getattr(origin, "__name__", "") == "Mapping":
        return _read_mapping(expected, data, where)
    if origin is tuple:
        return _read_tuple(expected, data, where)
    return _read_scalar(expected, data, where)


def _read_union(expected: Any, data: Any, where: str) -> Any:
    members = [member for member in _members(expected) if member is not type(None)]
    if data is None and type(None) in get_args(expected):
        return None
    if len(members) == 1:
        return _read(members[0], data, where)
    if not all(dataclasses.is_dataclass(member) for member in members):
        return _read_alternatives(members, data, where)
    if not isinstance(data, Mapping):
        raise UserError(f"{where} is {_shown(data)}, not a section with a kind; {did_you_mean('', list(kinds(expected)))}")
    by_kind = {_kind(member): member for member in members}
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in by_kind:
        raise UserError(f"{where}.kind is {kind!r}; {did_you_mean(str(kind), list(by_kind))}")
    return _read_dataclass(by_kind[kind], data, where)


def _read_alternatives(members: list[Any], data: Any, where: str) -> Any:
    for member in members:
        try:
            return _read(member, data, where)
        except UserError as error:
            last = error
    raise last


def _read_dataclass(expected: Any, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise UserError(f"{where} is {_shown(data)}, not a section")
    fields = {f.name: f for f in dataclasses.fields(expected) if f.init}
    for key in data:
        if key not in fields:
            raise UserError(f"{where} has no setting {key!r}; {did_you_mean(str(key), list(fields))}")
    for name, f in fields.items():
        needed = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if needed and name not in data:
            raise UserError(f"{where} needs {name!r}")
    hints = _hints(expected)
    values = {key: _read(hints[key], value, f"{where}.{key}") for key, value in data.items()}
    with named(where):
        return expected(**values)


def _read_mapping(expected: Any, data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise UserError(f"{where} is {_shown(data)}, not a section")
    value_type = get_args(expected)[1]
    return {str(key): _read(value_type, value, f"{where}.{key}") for key, value in data.items()}


def _read_tuple(expected: Any, data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple):
        raise UserError(f"{where} is {_shown(data)}, not a list")
    arguments = get_args(expected)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_read(arguments[0], value, f"{where}[{i}]") for i, value in enumerate(data))
    if len(data) != len(arguments):
        raise UserError(f"{where} has {len(data)} values; it takes {len(arguments)}")
    return tuple(_read(kind, value, f"{where}[{i}]") for i, (kind, value) in enumerate(zip(arguments, data, strict=True)))


def _read_scalar(expected: Any, data: Any, where: str) -> Any:
    if expected is float and not isinstance(data, bool):
        data = _number(data)
        if isinstance(data, int | float) and abs(data) < 1e300:
            return float(data)
    elif expected is int:
        if isinstance(data, int) and not isinstance(data, bool) and abs(data) < 2**63:
            return data
    elif isinstance(data, expected):
        return data
    quotes = "; put quotes around it" if expected is str and isinstance(data, bool | int | float) else ""  # yes, no, 1
    raise UserError(f"{where} is {_shown(data)}; it takes {_name(expected)}{quotes}")


def _shown(data: Any) -> str:
    """A value for a message, shortened to 80 characters."""
    text = repr(data)
    return text if len(text) <= 80 else text[:77] + "..."


def _name(expected: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(expected, getattr(expected, "__name__", str(expected)))
