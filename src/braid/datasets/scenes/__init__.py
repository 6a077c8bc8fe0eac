"""Procedural scenes of coloured shapes and of sounds for tests, tutorials and measurements: no licence, no download, no files."""

from braid.datasets.scenes.examples import ScenePicture, open_scenes, read_sentence, scene_examples
from braid.datasets.scenes.language import Question
from braid.datasets.scenes.moving import Movement, MovingScene, SceneClip, moving_scene
from braid.datasets.scenes.objects import COLOURS, HELD_OUT, SHAPES, TEXTURES, Background, SceneObject
from braid.datasets.scenes.oracle import SceneCheck, check_scene, grounded, is_scene
from braid.datasets.scenes.sounds import SceneSamples, Sound, SoundingScene, sounding_scene
from braid.datasets.scenes.timed import TimedQuestion
from braid.datasets.scenes.world import SPLITS, Scene, Scenes

__all__ = [
    "COLOURS",
    "HELD_OUT",
    "SHAPES",
    "SPLITS",
    "TEXTURES",
    "Background",
    "Movement",
    "MovingScene",
    "Question",
    "Scene",
    "SceneClip",
    "SceneObject",
    "ScenePicture",
    "SceneSamples",
    "Scenes",
    "Sound",
    "SoundingScene",
    "TimedQuestion",
    "SceneCheck",
    "grounded",
    "is_scene",
    "check_scene",
    "moving_scene",
    "open_scenes",
    "read_sentence",
    "scene_examples",
    "sounding_scene",
]
