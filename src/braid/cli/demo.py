"""braid demo: sample photos and your own, captioned, on one page that opens anywhere."""

import time
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import labels_beside, note, perhaps, print_json, print_table, progress
from braid.cli.options import JsonOption, ModelOption, OptionalFilesArgument
from braid.errors import UserError, install_command
from braid.files import ready, write_whole

if TYPE_CHECKING:
    from braid.api import LoadedModel
    from braid.bundle import DataCard
    from braid.files.gallery import Card
    from braid.records import Prediction

# Free photos that packages carry, so nothing is downloaded: package -> file in it -> credit.
SAMPLES = {
    "skimage": {
        "data/astronaut.png": "Eileen Collins, NASA, public domain",
        "data/camera.png": "Photographer by Lav Varshney, CC0",
        "data/chelsea.png": "Chelsea by Stéfan van der Walt, CC0",
        "data/clock_motion.png": "Wall clock by Stéfan van der Walt, public domain",
        "data/coffee.png": "Pikolo Espresso Bar by Rachel Michetti, CC0",
        "data/coins.png": "Coins from Pompeii, Brooklyn Museum, no known restrictions",
        "data/rocket.jpg": "DSCOVR on Falcon 9, SpaceX, public domain",
    },
    "sklearn": {
        "datasets/images/china.jpg": "Photo by danielbuechele, CC BY 2.0",
        "datasets/images/flower.jpg": "Photo by vultilion, CC BY 2.0",
    },
    "matplotlib": {"mpl-data/sample_data/grace_hopper.jpg": "Grace Hopper, US Navy, public domain"},
}
SURE = {
    False: "the mean probability of the words that the model chose",
    True: "the probability that a caption is better than half of this model's captions of photos like those it was trained on",
}
THUMBNAIL = 640  # pixels, the longer side


@dataclass(frozen=True)
class Photo:
    """One photo of the page: its caption, or why there is none."""

    path: Path
    credit: str
    caption: "Prediction | None" = None
    error: str = ""

    @property
    def text(self) -> str:
        """The caption, with the hint beside it."""
        return "" if self.caption is None else f"{self.caption.text}{perhaps(self.caption)}"

    @property
    def confidence(self) -> float:
        return 0.0 if self.caption is None else self.caption.confidence

    def as_json(self) -> dict[str, Any]:
        text, hint = ("", {}) if self.caption is None else (self.caption.text, labels_beside(self.caption))
        return {"id": str(self.path), "text": text, "confidence": round(self.confidence, 4), "error": self.error, **hint}


def demo(
    photos: OptionalFilesArgument = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("demo/index.html"),
    model: ModelOption = "small",
    json: JsonOption = False,
) -> None:
    """Caption sample photos and your own, and write a page that shows them.

    Examples:

        braid demo

        braid demo ~/Pictures/*.jpg -o holiday.html
    """
    from braid.api import load

    paths = _paths(photos or [])
    ready(output)
    started = time.perf_counter()
    loaded = load(model)
    loading = time.perf_counter() - started
    started = time.perf_counter()
    images = [_captioned(loaded, path, credit) for path, credit in progress(paths.items(), "describing", len(paths))]
    seconds = (time.perf_counter() - started) / len(images)
    calibrated = loaded.bundle.interface.tasks["captioning"].get("calibration") is not None
    write_whole(output, _page(images, loaded.bundle.interface.card, model, calibrated, loading, seconds))
    if json:
        shown = [photo.as_json() for photo in images]
        print_json({"page": str(output), "seconds_per_image": round(seconds, 4), "images": shown})
        return
    rows = [[p.path.name, p.text or p.error, f"{p.confidence:.2f}" if p.caption else ""] for p in images]
    print_table("Captions", ["photo", "caption", "confidence"], rows, ["confidence"])
    note(f"\n{len(images)} photos, {seconds:.2f} s each; the model was ready in {loading:.1f} s")
    note(f"the page: {output.resolve()}")


def _paths(photos: list[str]) -> dict[Path, str]:
    """Photos and their credits: first the user's, then the samples of the packages that are installed."""
    from braid.modalities import image_files

    result = {Path(path): "" for path in image_files(photos)} if photos else {}
    for package, samples in SAMPLES.items():
        found = find_spec(package)
        if found is not None and found.submodule_search_locations:
            folder = Path(found.submodule_search_locations[0])
            result |= {folder / name: credit for name, credit in samples.items() if (folder / name).is_file()}
    if not result:
        raise UserError(f"there are no photos to show; name some, or install the samples with: {install_command('demo')}")
    return result


def _captioned(loaded: "LoadedModel", path: Path, credit: str) -> Photo:
    """Caption one photo at a time, so that an unreadable one is reported on the page and does not stop the others."""
    try:
        (caption,) = loaded.captions([str(path)])
    except UserError as error:
        return Photo(path, credit, error=str(error))
    return Photo(path, credit, caption)


def _page(images: list[Photo], card: "DataCard", model: str, calibrated: bool, loading: float, seconds: float) -> str:
    from braid.files.gallery import gallery

    about = " ".join(part for part in (card.description, card.terms) if part)
    scores = ", ".join(f"{name} {value:.1f}" for name, value in card.scores.items())
    return gallery(
        title=f"{len(images)} photos described",
        heading="What Braid sees",
        lead=f"{len(images)} photos, {seconds:.2f} s each on this machine; the model was ready in {loading:.1f} s.",
        cards=map(_card, images),
        footer=[
            f"<strong>Model: {escape(card.name or model)}.</strong> {escape(about)}",
            escape(f"{card.scored_on}: {scores}" if scores and card.scored_on else scores),
            f"&ldquo;Sure&rdquo; is {SURE[calibrated]}. It can be sure and wrong.",
        ],
    )


def _card(image: Photo) -> "Card":
    from braid.files.gallery import Card
    from braid.modalities import thumbnail_uri

    shown, credit = thumbnail_uri(str(image.path), THUMBNAIL), image.credit or image.path.name
    if image.error:
        return Card(shown, credit=credit, error=image.error)
    return Card(shown, image.text, image.confidence, f"{round(100 * image.confidence)}% sure", credit)
