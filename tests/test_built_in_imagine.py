"""`imagine`, as it ships."""

from braid.api import load
from braid.datasets.scenes import check_scene, read_sentence


def test_the_built_in_model_draws_edits_and_says_what_it_drew() -> None:
    """The files that ship and the code that reads them mean the same."""
    model = load("imagine")
    prompts = ["a large green star in the centre", "a small pink heart at the top left", "a small red circle on the right"]
    generated = [one for (one,) in model.generate_all([(prompt, None) for prompt in prompts], seed=1)]
    for prompt, one in zip(prompts, generated, strict=True):
        assert one.image and check_scene(one.image.pixels, read_sentence(prompt)).whole
        assert read_sentence(one.text or "") == read_sentence(prompt)
    edits = [
        (0, "make the star orange", "large orange star in centre"),
        (1, "turn the heart into a star", "small pink star in top left"),
        (2, "make the circle blue", "small blue circle in right"),
        (2, "move the circle to the top", "small red circle in top"),
    ]
    for given, prompt, asked in edits:
        before = generated[given].image
        assert before
        (changed,) = model.generate_images(prompt, before.pixels)
        assert changed.image and check_scene(changed.image.pixels, [asked]).whole
