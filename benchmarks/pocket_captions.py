"""How right the pocket captioner's tags are, on portraits that it was not trained on.

    python benchmarks/pocket_captions.py [--count 200]

Prints one line per kind of picture: as rendered, softened as a VAE does, and with a kept-out attribute on it.
"""

from __future__ import annotations

import argparse
import random

from PIL import Image, ImageFilter

from distill.captions.backends import Desk, open_captioner
from distill.captions.prose import from_caption
from distill.options import CaptionOptions
from distill.pocket import world
from distill.pocket.make.captioner_score import score
from distill.pocket.render import render

SEED = 977_000


def portraits(count: int, kind: str) -> list[tuple[Image.Image, list[str]]]:
    """`count` pictures of that kind with their true tags; the seed is not among the training seeds."""
    rng = random.Random(f"{SEED}/{kind}")
    drawn = []
    for i in range(count):
        attributes = world.sample(rng, world.NOVEL[i % len(world.NOVEL)] if kind == "kept-out" else None)
        image = render(attributes, rng)
        if kind == "softened":
            image = image.filter(ImageFilter.GaussianBlur(1.2))
        drawn.append((image, world.tags(attributes)))
    return drawn


def main() -> None:
    """Caption and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    count = parser.parse_args().count
    with open_captioner("pocket", CaptionOptions(), Desk()) as captioner:
        for kind in ("rendered", "softened", "kept-out"):
            result = score([(true, from_caption(captioner.say(image))) for image, true in portraits(count, kind)])
            print(f"{kind:9s} {result}", flush=True)


if __name__ == "__main__":
    main()
