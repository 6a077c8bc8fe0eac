"""braid doctor, new: what is installed here, and a settings file to begin with."""

import os
import platform
import shutil
import textwrap
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

import braid
from braid.cli.console import note, print_json, print_table, print_text
from braid.cli.options import ColumnsOption, JsonOption
from braid.errors import PACKAGE, UserError, install_command
from braid.files import user_path, write_whole

WIDTH = 100  # characters of a comment's line
PLAIN = ('""', "[]", "{}", "auto", "true", "false")  # defaults that a file may have as they are printed


def doctor(json: JsonOption = False) -> None:
    """Say what is installed, what this machine computes on, and which command brings what is missing.

    Examples:

        braid doctor

        braid doctor --json
    """
    system = f"{platform.python_version()}, {platform.platform()}"
    facts = {"braid": braid.__version__, "Python": system, **_machine(), **_engines()}
    extras = _extras()
    if json:
        print_json({**facts, "missing": extras})
        return
    print_table("This machine", ["", ""], facts.items())
    rows = [
        [name, f"missing: {', '.join(lacking)}" if lacking else "installed", install_command(name) if lacking else ""]
        for name, lacking in extras.items()
    ]
    print_table("\nExtras", ["extra", "", "the command that brings it"], rows)


def _machine() -> dict[str, str]:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else 0.0
    return {"processor": f"{cores} cores", "memory": f"{memory:.0f} GB", "disk": f"{free:.0f} GB free here"}


def _engines() -> dict[str, str]:
    import onnxruntime

    from braid.bundle import BUILT_IN

    models = ", ".join(sorted(place.name for place in BUILT_IN.glob("*") if (place / "interface.json").is_file()))
    return {"ONNX Runtime": onnxruntime.__version__, "torch": _torch(), "built-in models": models}


def _torch() -> str:
    """torch's version and devices; without it, models are used, not trained."""
    try:
        import torch
    except ImportError:
        return f"not installed: models can be used, not trained; {install_command('train')}"
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return f"{torch.__version__}, on {', '.join(devices) or 'the processor, with no GPU that it can use'}"


def _extras() -> dict[str, list[str]]:
    """The packages that are missing, by extra."""
    own = metadata.metadata(PACKAGE)
    missing: dict[str, list[str]] = {name: [] for name in sorted(own.get_all("Provides-Extra") or []) if name != "dev"}
    for line in own.get_all("Requires-Dist") or []:
        needed, _, condition = line.partition(";")
        extra = condition.partition("extra ==")[2].strip(" '\"")
        name = "".join(sign if sign.isalnum() or sign in "-_." else " " for sign in needed).split()[0]
        if extra in missing and name != PACKAGE and not _is_installed(name):
            missing[extra].append(name)
    return missing


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def new(
    task: Annotated[str, typer.Argument(help="captioning, vqa, classification, retrieval, ...")],
    data: Annotated[str, typer.Argument(help="A table, a folder or any other data set; it may come later.")] = "photos.csv",
    columns: ColumnsOption = "",
    model: Annotated[str, typer.Option("--model", "-m", help="A preset (quick, compact, classic, tiny), from scratch.")] = "",
    start: Annotated[str, typer.Option(help="Fine-tune this model: a built-in name or a folder.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("run.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file, if it is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a settings file for a run, with a comment for every setting, to edit and to train.

    Examples:

        braid new captioning

        braid new classification products.csv --columns label=kind --output products.yaml

        braid train products.yaml
    """
    from braid.datasets.table import parse_columns
    from braid.training import default_run, run_from

    path = user_path(output)
    if path.exists() and not force:
        raise UserError(f"{path} is there already; choose another --output, or add --force to replace it")
    whole = default_run(task, {"path": data, "columns": parse_columns(columns)}, model, start)
    run_from(whole)  # or its fault is told now
    write_whole(path, commented(whole))
    if json:
        print_json({"file": str(path)})
        return
    note(f"{path}: edit it, then train")
    print_text("next:", f"  braid train {path}", "  braid settings               # what each part can be")


def commented(whole: dict[str, Any]) -> str:
    """A run's settings as YAML: those that are set, then all others of a run as comments, with defaults and meanings."""
    import yaml

    from braid.cli.settings_reference import find_parts

    known = {setting.name: setting for setting in find_parts("run")[0].settings}
    lines = ["# A run of Braid: braid train THIS_FILE. A line that begins with # is not read."]
    for name, value in whole.items():
        flow = None if isinstance(value, dict) else False
        text = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=WIDTH)
        lines += ["", *(_comment(known[name].meaning) if name in known else []), text.rstrip()]
    lines += ["", "# What follows has its default. Take the # away to change it."]
    for name, setting in known.items():
        if name not in whole and setting.default != "required":
            own = setting.default in PLAIN or setting.default.removeprefix("-").replace(".", "", 1).isdigit()
            lines += ["", *_comment(setting.meaning), f"# {name}: {setting.default}" if own else f"# {name}:"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text[:1].upper() + text[1:], WIDTH)]
