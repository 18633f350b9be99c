"""Masks, grounds, colours and captioned copies from the picture to the LoRA, on tiny real models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from distill.errors import OptionError, PictureError
from distill.events import Captioned, Done, Prepared
from distill.options import Options
from distill.pipeline import distill
from distill.plan import Plan, Shot, View
from tests.models.host import TinyHost

TAGS = ["woman", "red hair", "beach", "blue sky", "smile"]
QUICK = {
    "repeats": 1,
    "epochs": 2,
    "batch_size": 1,
    "network_dim": 4,
    "trigger": "fip zor",
    "preview": False,
    "sample_every": 0,
}


@pytest.fixture
def host(tmp_path: Path) -> TinyHost:
    return TinyHost(tmp_path / "Lora")


def mask() -> Image.Image:
    drawn = Image.new("L", (96, 128))
    ImageDraw.Draw(drawn).ellipse((30, 20, 66, 90), fill=255)
    return drawn


def picture(*, see_through: bool = False) -> Image.Image:
    image = Image.radial_gradient("L").resize((96, 128)).convert("RGB")
    if see_through:
        image.putalpha(mask())
    return image


def run(host: TinyHost, source: Image.Image, plan: Plan = Plan(), **given: Any) -> list[Any]:  # noqa: B008
    return list(distill(host, source, TAGS, Options.from_flat({**QUICK, **given}), plan=plan))


def begun(host: TinyHost, source: Image.Image, plan: Plan = Plan(), **given: Any) -> tuple[Prepared, Captioned]:  # noqa: B008
    """Up to the first step, which is not taken."""
    events = distill(host, source, TAGS, Options.from_flat({**QUICK, **given}), plan=plan)
    prepared, captioned = next(events), next(events)
    events.close()  # type: ignore[attr-defined]
    assert isinstance(prepared, Prepared)
    assert isinstance(captioned, Captioned)
    return prepared, captioned


def losses(events: list[Any]) -> list[float]:
    return [event.loss for event in events if hasattr(event, "loss")]


@pytest.mark.slow
def test_a_transparent_picture_is_masked_by_its_alpha(host: TinyHost) -> None:
    masked = run(host, picture(see_through=True), unmasked_weight=0.0)
    plain = run(host, picture(see_through=True), mask="none")
    assert isinstance(masked[-1], Done)
    assert masked[0].cuts[0].mask is not None
    assert plain[0].cuts[0].mask is None
    assert masked[0].cuts[0].image.tobytes() == plain[0].cuts[0].image.tobytes()
    assert masked[1].tags == plain[1].tags
    assert all(less < more for less, more in zip(losses(masked), losses(plain), strict=True))


def test_a_transparency_that_was_parted_from_its_picture_is_the_same(host: TinyHost) -> None:
    whole, _ = begun(host, picture(see_through=True))
    parted, _ = begun(host, whole.picture.image, Plan(alpha=whole.picture.alpha), mask="alpha")
    assert parted.cuts[0].image.tobytes() == whole.cuts[0].image.tobytes()
    assert parted.cuts[0].mask is not None
    assert whole.cuts[0].mask is not None
    assert parted.cuts[0].mask.tobytes() == whole.cuts[0].mask.tobytes()


def test_a_plain_ground_is_in_the_picture_and_in_every_caption(host: TinyHost) -> None:
    views = (
        View(name="face", box=(0.2, 0.1, 0.8, 0.6), words=("close-up",)),
        View(name="own", box=(0, 0, 1, 0.5), tags=("portrait", "blue sky")),
    )
    plain, _ = begun(host, picture(), Plan(views=views))
    prepared, captioned = begun(host, picture(), Plan(views=views, mask=mask()), background="white")
    said = ("white background", "simple background")
    assert captioned.tags == ("fip zor woman", "red hair", "smile", *said)
    assert captioned.of_cuts[0] == captioned.tags
    assert set(captioned.of_cuts[1]) == {*captioned.tags, "close-up"}
    assert captioned.of_cuts[2] == ("fip zor woman", "portrait", *said)
    assert [cut.image.getpixel((1, 1)) for cut in prepared.cuts][:1] == [(255, 255, 255)]
    assert prepared.image.tobytes() == plain.image.tobytes()  # the trigger and the source picture are of the picture


def test_a_ground_without_a_mask_says_what_to_do(host: TinyHost) -> None:
    with pytest.raises(PictureError, match="no mask says what the background is") as caught:
        run(host, picture(), background="black")
    assert "Draw a mask" in caught.value.hint
    assert host.lent == 0


def test_each_picture_has_its_own_mask_and_its_errors_name_it(host: TinyHost) -> None:
    second = Shot(source=picture(see_through=True), tags=("woman", "forest"))
    prepared, _ = begun(host, picture(), Plan(more=(second,)))
    assert [cut.mask is None for cut in prepared.cuts] == [True, False]
    with pytest.raises(PictureError, match=r"^Picture 2: The subject mask is set to drawn, but no mask was drawn\."):
        run(host, picture(), Plan(mask=mask(), more=(second,)), mask="drawn")
    drawn = Shot(source=picture(), tags=("woman",), plan=Plan(mask=mask()))
    prepared, _ = begun(host, picture(), Plan(mask=mask(), more=(drawn,)), mask="drawn")
    assert all(cut.mask is not None for cut in prepared.cuts)


def test_an_unknown_copy_is_told_before_anything_is_lent(host: TinyHost) -> None:
    with pytest.raises(OptionError, match="upside down"):
        next(distill(host, picture(), TAGS, Options.from_flat({**QUICK, "captioned_aug": "upside down"})))
    assert host.lent == 0


@pytest.mark.slow
def test_everything_at_once_trains_and_repeats_itself(host: TinyHost) -> None:
    given = {"captioned_aug": "all", "color_aug": True, "flip": True, "batch_size": 2, "repeats": 12, "view_min_px": 64}
    plan = Plan(views=(View(name="face", box=(0.2, 0.1, 0.9, 0.65), words=("close-up",)),), mask=mask())
    first, second = (run(host, picture(), plan, **given) for _ in range(2))
    assert [cut.name for cut in first[0].cuts] == ["", "face", "on the left", "on the right", "far away", "grayscale"]
    assert any("close-up is left out, as it has 58 x 58 px" in note for note in first[0].notes)
    assert ("far away" in first[1].of_cuts[4], "greyscale" in first[1].of_cuts[5]) == (True, True)
    assert first[1].tags == tuple(["fip zor woman", *TAGS[1:]])
    assert losses(first) == losses(second)
    assert len(set(losses(first))) == 12
    assert losses(run(host, picture(), plan, **{**given, "color_aug": False})) != losses(first)


def test_the_remover_without_a_model_says_so_before_training(host: TinyHost, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    for name in ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(host.lora_dir))
    monkeypatch.setenv("USERPROFILE", str(host.lora_dir))
    with pytest.raises(PictureError, match="no model file of rembg"):
        run(host, picture(), mask="remover")


def test_masks_of_the_training_size_are_multiples_of_the_latents(host: TinyHost) -> None:
    prepared, _ = begun(host, picture(), Plan(mask=mask()), captioned_aug="on the left, far away", mask_dilation=0)
    for cut in prepared.cuts[1:]:
        assert cut.mask is not None
        counted = np.asarray(cut.mask) > 0  # outside of what was shown it is 0, inside at least the floor
        ys, xs = np.nonzero(counted)
        assert {int(edge) % 8 for edge in (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1)} == {0}
