"""Where in a scene the thing is that a word is about: the truth that explanations are held to."""

import re

import numpy as np

from braid.datasets.scenes.examples import ScenePicture
from braid.datasets.scenes.language import SYNONYMS
from braid.datasets.scenes.objects import COLOURS, SHAPES, SIZES, TEXTURES, SceneObject
from braid.records import Example
from braid.shapes import Bool

ATTRIBUTES = {word: name for name, words in (("colour", COLOURS), ("shape", SHAPES), ("texture", TEXTURES)) for word in words}
LOOKS = {
    **{word: (name, word) for word, name in ATTRIBUTES.items()},
    **{other: (ATTRIBUTES[word], word) for word, same in SYNONYMS.items() if word in ATTRIBUTES for other in same},
}  # a word of a caption -> the attribute that it tells, and its value
NAMED = re.compile(
    rf"the ((?:(?:{'|'.join((*SIZES, *TEXTURES, *COLOURS))}) )*(?:{'|'.join((*SHAPES, 'object'))}))"
)  # the red star
ASKED = ("what colour is the", "which colour does", "what shape is the", "which shape does", "which texture does", "is the")


def grounded(example: Example, word: str) -> Bool[np.ndarray, "size size"] | None:
    """The pixels of what a written word is about: of a caption, all objects that look as it says; of the answer to a question
    about one object's colour, shape, texture or size, that object. None where that is not known, or everything is meant.

    Raises:
        TypeError: for an example that is no scene's.
    """
    image = example.fields["image"]
    if not isinstance(image, ScenePicture):
        raise TypeError(f"{example.source} is no scene")
    scene = image.world.scene(image.split, image.k)
    if "question" in example.fields:
        meant = _asked(example.fields["question"], scene.objects)
    else:
        name, value = LOOKS.get(_singular(word), ("", ""))
        meant = [bool(name) and getattr(item, name) == value for item in scene.objects]
    if not any(meant):
        return None
    return np.asarray(scene.masks(image.world.size)[np.array(meant)].any(0))


def is_scene(example: Example) -> bool:
    """Whether it is known where things are in its picture."""
    return isinstance(example.fields.get("image"), ScenePicture)


def _asked(question: str, objects: tuple[SceneObject, ...]) -> list[bool]:
    """The one object that a question asks something of; none where it is about several, or about a place."""
    names = NAMED.findall(question)
    if len(names) != 1 or not question.startswith(ASKED):
        return [False] * len(objects)
    words = names[0].removesuffix("object").split()
    return [all(word in (item.size, item.texture, item.colour, item.shape) for word in words) for item in objects]


def _singular(word: str) -> str:
    plain = re.sub(r"[^a-z]", "", word.lower())
    return next((form for form in (plain, plain.removesuffix("s"), plain.removesuffix("es")) if form in LOOKS), plain)
