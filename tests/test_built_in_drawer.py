"""`imagine`, as it ships."""

from braid.api import load
from braid.datasets.scenes import judge, read_sentence


def test_the_built_in_model_draws_edits_and_says_what_it_drew() -> None:
    """The files that ship and the code that reads them mean the same."""
    model = load("imagine")
    prompts = ["a large green star in the centre", "a small pink heart at the top left", "a small red circle on the right"]
    drawn = [one for (one,) in model.drawings_of([(prompt, None) for prompt in prompts], seed=1)]
    for prompt, one in zip(prompts, drawn, strict=True):
        assert one.image and judge(one.image.pixels, read_sentence(prompt)).whole
        assert read_sentence(one.text or "") == read_sentence(prompt)
    assert drawn[0].image
    (changed,) = model.drawings("make the star orange", drawn[0].image.pixels)
    assert changed.image and judge(changed.image.pixels, ["large orange star in centre"]).whole
