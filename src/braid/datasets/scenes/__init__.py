"""Procedural scenes of coloured shapes for tests, tutorials and measurements: no licence, no download, no files."""

from braid.datasets.scenes.examples import ScenePicture, open_scenes, read_sentence, scene_examples
from braid.datasets.scenes.language import Question
from braid.datasets.scenes.objects import COLOURS, HELD_OUT, SHAPES, TEXTURES, Background, SceneObject
from braid.datasets.scenes.oracle import SceneCheck, check_scene, grounded, is_scene
from braid.datasets.scenes.world import SPLITS, Scene, Scenes

__all__ = [
    "COLOURS",
    "HELD_OUT",
    "SHAPES",
    "SPLITS",
    "TEXTURES",
    "Background",
    "Question",
    "Scene",
    "SceneObject",
    "ScenePicture",
    "Scenes",
    "SceneCheck",
    "grounded",
    "is_scene",
    "check_scene",
    "open_scenes",
    "read_sentence",
    "scene_examples",
]
