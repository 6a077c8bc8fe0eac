"""The roles of a table's columns: recognised by name, or mapped by the user. A role names its modality."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from braid.config import did_you_mean, kinds
from braid.datasets.dataset import file_kinds
from braid.datasets.table import separated
from braid.datasets.table.files import Table
from braid.datasets.table.files import recognise as is_table
from braid.errors import UserError
from braid.modalities import InputModalityConfig, modality_of

# role -> usual names of its column, the most likely first; modalities add their own
ID = ("id", "image_id", "uid")
NAMES: dict[str, tuple[str, ...]] = {
    "captions": ("captions", "caption", "sentences", "sentence", "description", "raw"),
    "question": ("question", "query"),
    "instruction": ("instruction", "edit", "edit_prompt"),
    "target": ("edited", "edited_image", "target_image"),
    "answer": ("answer",),
    "answers": ("answers", "answer"),
    "label": ("label", "class", "category", "sentiment"),
    "labels": ("labels",),
    "language": ("language", "lang"),
    "split": ("split", "subset", "set", "fold"),
    "start": ("start", "start_time", "start_seconds", "begin"),
    "end": ("end", "end_time", "end_seconds", "stop"),
}
MANY = ("captions", "answers")  # roles with several texts
OUTPUTS = (*MANY, "answer", "target")  # roles that are not inputs of a model
LABEL = ("label", "labels")  # one per row, or several
TIMES = ("start", "end")  # of the part of a file that a row is about
UNREAD = ("id", "split", *TIMES)
JOIN = "+"  # between the columns of one role

_PAIR = re.compile(r'(?:[=+]\s*"(?:[^"]|"")*"|[^,])+')  # of --columns
_QUOTED = re.compile(r'(?:^|(?<=\+))\s*"((?:[^"]|"")*)"\s*(?=\+|$)')


def recognise(path: Path) -> bool:
    """Whether a file is a table; a .txt is one if its first line names the columns of two roles, as Kaggle's captions.txt."""
    if path.suffix.lower() != ".txt" or not path.is_file():
        return is_table(path)
    names = {name.lower() for name in separated.header_of(path)}
    return len([role for role, usual in usual_names().items() if role not in UNREAD and names & set(usual)]) > 1


def usual_names() -> dict[str, tuple[str, ...]]:
    """Every role and the usual names of its column; the kind of an input modality is a role."""
    return {"id": ID, **{kind: config.columns for kind, config in kinds(InputModalityConfig).items()}, **NAMES}


def parse_columns(text: str) -> dict[str, str]:
    """Parse ``image=photo,captions=title`` to {role: column}. A role may have several columns: ``tabular=price+brand``; ``text=``
    leaves a role out. Quotes, as in a csv, hold a name with a comma: ``image="photo, path"``."""
    result: dict[str, str] = {}
    known = list(usual_names())
    for part in filter(None, (part.strip() for part in _PAIR.findall(text))):
        role, equals, column = (side.strip() for side in part.partition("="))
        if not equals or not role:
            example = 'image=photo,captions=title; a name with a comma stands in quotes: image="photo, path"'
            raise UserError(f"--columns {text}: write role=column pairs, for example {example}")
        if role not in known:
            raise UserError(f"--columns {text}: there is no role {role!r}; {did_you_mean(role, known)}")
        result[role] = _QUOTED.sub(lambda quoted: quoted[1].replace('""', '"'), column)
    return result


def columns_given(columns: Mapping[str, str] | str | None) -> dict[str, str]:
    """Roles to columns, from a mapping, or from a text as the command line has it."""
    return parse_columns(columns) if isinstance(columns, str) else dict(columns or {})


def roles_of(table: Table, columns: Mapping[str, str], target_fields: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """role -> its columns: mapped columns first, then columns with a usual name; numbered columns belong together. A role that is
    mapped to "" is left out.

    Raises:
        UserError: when a mapped column is not in the table, or no column has a role.
    """
    if set(LABEL) <= set(columns):
        raise UserError(f"{table.path}: a row has one label or several; map label or labels, not both")
    roles = {role: _mapped(table, role, column) if column else () for role, column in columns.items()}
    taken = {name for names in roles.values() for name in names}
    for role, names in usual_names().items():
        if role not in roles:
            free = {column.lower(): column for column in table.columns if column not in taken}
            result = next(((free[name],) for name in names if name in free), ()) or _numbered(names, free, role)
            if result:
                roles[role] = result
                taken.update(result)
    roles = {role: names for role, names in roles.items() if names}
    if set(LABEL) <= set(roles):  # a column that the user names has priority
        roles.pop("label" if "labels" in columns else "labels")
    if "text" in roles and file_kinds().keys() & roles.keys() and not {"captions", "question", *LABEL} & {*roles, *target_fields}:
        roles["captions"] = roles.pop("text")  # with a file and no label, the text describes the file
    if "captions" not in roles and "language" not in columns:
        roles.pop("language", None)
    if not _timed(roles):
        if named := [role for role in TIMES if columns.get(role)]:
            raise UserError(f"{table.path}: {named[0]} is a time in a file, and no column holds files with times; leave it out")
        roles = {role: names for role, names in roles.items() if role not in TIMES}
    if not set(roles) - set(UNREAD):
        example = "image=COLUMN,captions=COLUMN"
        raise UserError(
            f"{table.path}: no column has a usual name ({', '.join(table.columns)}); say which is which: --columns {example}"
        )
    return {role: names for role, names in roles.items() if role not in target_fields}


def _timed(roles: Iterable[str]) -> bool:
    """Whether a role's files have parts, as recordings and clips do."""
    return any(modality.timed for role in roles if (modality := modality_of(role)))


def fields_of(table: Table, columns: Mapping[str, str]) -> list[str]:
    """The roles of a table's rows, in the order of ``usual_names``."""
    whole = {"labels": "label", "answer": "answers"}
    roles = roles_of(table, columns)
    return list(dict.fromkeys(whole.get(role, role) for role in usual_names() if role in roles and role not in UNREAD))


def _mapped(table: Table, role: str, text: str) -> tuple[str, ...]:
    """The column that the user named, or several, joined by ``+``; a column whose name contains a plus has priority.

    Raises:
        UserError: naming a column that does not exist.
    """
    if text in table.columns:
        return (text,)
    modality = modality_of(role)
    parts = text.split(JOIN) if modality and modality.parts else [text]
    result: list[str] = []
    while parts:
        joined = ((size, JOIN.join(parts[:size]).strip()) for size in range(len(parts), 0, -1))
        size, name = next(((size, name) for size, name in joined if name in table.columns), (0, parts[0].strip()))
        if not size:
            raise UserError(f"{table.path} has no column {name!r}; {did_you_mean(name, table.columns)}")
        result.append(name)
        parts = parts[size:]
    return tuple(dict.fromkeys(result))


def _numbered(names: Sequence[str], free: Mapping[str, str], role: str) -> tuple[str, ...]:
    """Numbered columns: caption_0, caption_1, ... or answer1, answer2, ..."""
    if role not in MANY:
        return ()
    pattern = re.compile(rf"({'|'.join(names)})[ _-]?(\d+)")
    result = [(int(match[2]), column) for name, column in free.items() if (match := pattern.fullmatch(name))]
    return tuple(column for _, column in sorted(result))
