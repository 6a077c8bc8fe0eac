"""Settings that cannot be, and runs that cannot go on."""

import re
from pathlib import Path
from typing import Any

from bad.case import CASES, SETTINGS, Case, case, command, run, table
from braid.config import to_dict
from braid.errors import UserError
from braid.presets import tiny
from braid.training import read_run, run_from, train
from braid.training.guard import claimed
from huggingface_models import configured, tokenizer
from variants import GPT2


def setting(what: str, *settings: str) -> None:
    CASES.append(Case("configuration", f"{what}: `{' '.join(settings)}`", lambda home: run(None, *settings)))


def trained(what: str, *settings: str) -> None:
    CASES.append(Case("configuration", f"{what}: `{' '.join(settings)}`", lambda home: train(run(None, *settings), home / "run")))


HEARING: dict[str, Any] = {
    **SETTINGS,
    "data": {"path": "scenes:audio,train=8,val=4,test=1,compositional=1"},
    "model": to_dict(tiny(["audio", "prompt"])),
    "inputs": {"audio": {"kind": "audio", "seconds": 2.0}, "prompt": {"kind": "text", "max_length": 16}},
}


def heard(what: str, *settings: str) -> None:
    """A model of recordings that cannot be."""
    case = Case("configuration", f"{what}: `{' '.join(settings)}`", lambda home: train(run_from(HEARING, settings), home / "run"))
    CASES.append(case)


setting("an unknown setting", "optimizer.learning_rat=1e-4")
setting("an unknown kind", "model.fusion.kind=atention")
setting("an unknown task", "task.kind=captoning")
setting("a kind that is a list", "model.fusion.kind=[attention]")
setting("text for a number", "epochs=ten")
setting("a number for a section", "optimizer=3")
setting("no number", "optimizer.learning_rate=.nan")
setting("a negative number of workers", "workers=-1")
setting("a negative limit", "data.limit_train=-5")
setting("a negative learning rate", "optimizer.learning_rate=-0.1")
setting("a batch of no rows", "batch_size=0")
setting("a batch of one row, which retrieval cannot compare", "tasks=[{task: retrieval, data: {path: x.csv}, batch_size: 1}]")
setting("a word that YAML reads as true", "outputs.label.labels=[yes, no]")
setting("one label for a classifier", "outputs.label.labels=[dog]")
setting("a chance above 1", "input_dropout={image: 1.5}")
setting("an input the model does not have", "input_dropout={picture: 0.1}")
setting("a loss of an input the model does not have", "objective.input_weights={sound: 0.2}")
setting("a loss of no weight", "objective.input_weights={image: 0}")
setting("a share of mixed rows below 0", "objective.mixup=-1")
setting("a text longer than the output has room for", "task.generation.max_length=99")
setting("a task twice", "tasks=[{task: captioning, data: {path: photos.csv}}]")
setting("a task of negative weight", "tasks=[{task: retrieval, data: {path: photos.csv}, weight: -1}]")
setting("an item that a list does not have", "tasks.0.weight=0.5")
setting("no `=`", "epochs")
setting("a value that is not YAML", "epochs=[1")
setting("a value nested 100,000 deep", "epochs=" + "[" * 100_000)
setting("a path through a value", "epochs.more=1")
setting("a name that leads out of the folder", "outputs={../../text: {kind: text}}")
trained("captions mixed", "objective.mixup=0.2")
trained("a width that its heads do not divide", "model.decoders.text.heads=5")
trained("no heads", "model.decoders.text.heads=0")
trained("a negative width", "model.decoders.text.width=-32")
trained("dropout above 1", "model.decoders.text.dropout=1.5")
trained("patches that do not divide the picture", "model.encoders.image.patch_size=7")
trained("patches of no pixels", "model.encoders.image.patch_size=0")
heard("patches that do not divide the bands of a recording", "model.encoders.audio.patch_mels=10")
heard("a width that no pair of waves divides", "model.encoders.audio.width=33")
heard("patches of no frames", "model.encoders.audio.patch_frames=0")
heard("an encoder of clips for recordings", "model.encoders.audio={kind: video_shift, frame: {kind: vit}}")
heard("an encoder of images for recordings", "model.encoders.audio={kind: vit}")
heard("a pretrained encoder that is not there", "model.encoders.audio={kind: pretrained_audio, source: ./gone}")
heard("Whisper's spectrogram at another rate", "inputs.audio={kind: audio, rate: 8000, spectrogram: {kind: whisper}}")
heard("no seconds of a recording", "inputs.audio.seconds=0")
heard("more than ten minutes at once", "inputs.audio.seconds=600", "inputs.audio.windows=2")
heard("a spectrogram of no bands", "inputs.audio.spectrogram={kind: log_mel, mels: 0}")
heard("frames of no samples", "inputs.audio.spectrogram={kind: samples, step: 0}")
heard("bands above what the rate holds", "inputs.audio.spectrogram={kind: log_mel, low: 9000}")
heard("the sound of clips that the model does not see", "inputs.audio.sound_of=video")
trained("an input without a modality", "inputs={image: {kind: image, size: 32}}")
trained("a modality of the wrong kind", "inputs.image={kind: text}")
trained("a split without rows", "data.val=dev")
trained("no part that is trained", "freeze=[encoders, projections, fusion, decoders]")
trained("frozen parts that do not exist", "optimizer.scales={encoder: 0}")
trained("weights that are not there", "initialize={encoders.image: gone.safetensors}")


@case("configuration", "fewer WordPieces of a model that has none")
def _(home: Path) -> Any:
    configured(GPT2).save_pretrained(home / "gpt2")
    tokenizer("gpt2").save_pretrained(home / "gpt2")
    part = f"{{kind: pretrained_text, source: {home / 'gpt2'}, vocab_size: 300}}"
    return train(run(None, f"model.encoders.prompt={part}"), home / "run")


@case("configuration", "an unknown preset")
def _(home: Path) -> Any:
    return run_from({**SETTINGS, "model": "compct"})


@case("configuration", "a YAML file that is missing")
def _(home: Path) -> Any:
    return read_run(home / "gone.yaml")


@case("configuration", "a YAML syntax error")
def _(home: Path) -> Any:
    return read_run(table(home, "task: [captioning\nmodel: tiny\n", "run.yaml"))


@case("configuration", "YAML that refers to itself")
def _(home: Path) -> Any:
    return read_run(table(home, "task: captioning\ndata: &x {path: *x}\nmodel: tiny\n", "run.yaml"))


@case("configuration", "YAML with a merge key")
def _(home: Path) -> Any:
    return read_run(table(home, "a: &a {task: captioning}\n<<: *a\nmodel: tiny\n", "run.yaml"))


@case("configuration", "YAML that would run code")
def _(home: Path) -> Any:
    return read_run(table(home, "task: !!python/object/apply:os.system ['true']\n", "run.yaml"))


@case("configuration", "an image given as the run's YAML")
def _(home: Path) -> Any:
    return read_run(home / "photo.png")


@case("configuration", "a list for a run")
def _(home: Path) -> Any:
    return read_run(table(home, "- captioning\n", "run.yaml"))


@case("configuration", "to resume from a folder without a run")
def _(home: Path) -> Any:
    return command("train", "--resume", "-o", home / "nothing")


@case("configuration", "a folder in use")
def _(home: Path) -> Any:
    train(run(), home / "run")
    train(run(), home / "run")


@case("configuration", "a folder that another run works in")
def _(home: Path) -> Any:
    with claimed(home / "run", print):
        try:
            train(run(), home / "run")
        except UserError as error:
            raise UserError(re.sub(r"process \d+ on [^)]*", "process 4321 on server", str(error))) from None


@case("configuration", "to resume with other labels")
def _(home: Path) -> Any:
    path = table(home, "text,label,split\na,dog,train\nb,cat,train\nc,dog,val\n", "posts.csv")
    given = {
        **SETTINGS,
        "task": "classification",
        "data": {"path": str(path)},
        "inputs": {"prompt": SETTINGS["inputs"]["prompt"]},
    }
    train(run_from(given), home / "run")
    path.write_text(path.read_text().replace("cat", "cow"))
    train(run_from(given, ["epochs=2"]), home / "run", resume=True)


@case("configuration", "no more epochs for a run whose epochs are done")
def _(home: Path) -> Any:
    train(run(), home / "run")
    return command("train", home / "run" / "run.yaml", "--resume", "--set", "epochs=1")


@case("configuration", "to resume with fewer epochs than are done")
def _(home: Path) -> Any:
    train(run(None, "epochs=2"), home / "run")
    return command("train", "--output", home / "run", "--resume", "--set", "epochs=1")


@case("configuration", "to resume where the data are not")
def _(home: Path) -> Any:
    path = table(home, "image,caption,split\nphoto.png,a dog,train\nphoto.png,a dog,val\n")
    train(run(path), home / "run")
    path.rename(home / "moved.csv")
    return command("train", "--output", home / "run", "--resume", "--set", "epochs=2")


@case("configuration", "to resume with another model")
def _(home: Path) -> Any:
    train(run(), home / "run")
    train(run(None, "model.decoders.text.width=64"), home / "run", resume=True)


@case("configuration", "to resume from a checkpoint that is cut short")
def _(home: Path) -> Any:
    train(run(), home / "run")
    path = home / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    train(run(), home / "run", resume=True)


@case("configuration", "a loss that is not a number")
def _(home: Path) -> Any:
    train(run(None, "optimizer.learning_rate=1e30", "optimizer.clip=0", "optimizer.warmup_steps=0", "epochs=9"), home / "run")


@case("configuration", "a loss that is not a number after the last step")
def _(home: Path) -> Any:
    wild = ("optimizer.learning_rate=1e6", "optimizer.clip=0", "optimizer.warmup_steps=0", "batch_size=8")
    train(run(None, *wild), home / "run")
