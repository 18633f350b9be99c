"""What a LoRA's metadata say of its pictures: kohya's folders, repeats, buckets and counts of tags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import distill
from distill.options import Options


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much was trained on."""

    epoch_steps: int
    class_folders: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # name -> repeats and pictures

    @property
    def class_pictures(self) -> int:
        """With their folders' repeats, as kohya counts."""
        return sum(repeats * count for repeats, count in self.class_folders.values())


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One of the training pictures."""

    repeats: int  # beside the others'
    size_px: tuple[int, int]  # (width, height)
    tags: Sequence[str]


def comment(shown: Sequence[Shown]) -> str:
    """In a few words."""
    what = "one picture" if len(shown) == 1 else f"{len(shown)} pictures and views"
    return f"{what}, Distill {distill.__version__}"


def data(options: Options, name: str, shown: Sequence[Shown], counts: Counts) -> dict[str, Any]:
    """`ss_*` of the pictures and how they were drawn; `name` is the LoRA's."""
    train, times = options.train, _times(options, shown)
    folders, tags = _folders(name, shown, times)
    of_class = {name: {"n_repeats": times, "img_count": n} for name, (times, n) in counts.class_folders.items()}
    return {
        "ss_num_train_images": sum(times),  # kohya counts repeats
        "ss_num_reg_images": counts.class_pictures,
        "ss_prior_loss_weight": options.regularization.reg_weight,
        "ss_dataset_dirs": json.dumps(folders),
        "ss_reg_dataset_dirs": json.dumps(of_class),
        "ss_tag_frequency": json.dumps(tags, ensure_ascii=False),
        "ss_bucket_info": json.dumps({"buckets": _buckets(shown, times), "mean_img_ar_error": 0.0}),
        "ss_enable_bucket": False,
        "ss_batch_size_per_device": train.batch_size,
        "ss_total_batch_size": train.batch_size,
        "ss_flip_aug": train.flip,
        "ss_color_aug": False,
        "ss_random_crop": False,
        "ss_cache_latents": True,
        "ss_shuffle_caption": options.caption.shuffle,
        "ss_keep_tokens": options.caption.keep_tokens,
        "ss_max_token_length": options.caption.max_token_length,
        "ss_caption_dropout_rate": options.caption.caption_dropout,
        "ss_caption_tag_dropout_rate": options.caption.tag_dropout,
    }


def _times(options: Options, shown: Sequence[Shown]) -> list[int]:
    """How often each picture is drawn in an epoch."""
    repeats = options.train.repeats
    if options.train.repeats_of == "picture":
        return [repeats * each.repeats for each in shown]
    together = sum(each.repeats for each in shown)
    ends = [round(repeats * sum(e.repeats for e in shown[:i]) / together) for i in range(len(shown) + 1)]
    return [end - start for start, end in pairwise(ends)]


def _folders(
    name: str, shown: Sequence[Shown], times: Sequence[int]
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """kohya's folders "20_name", one for each number of repeats: how many pictures, and how many have each tag."""
    folders: dict[str, dict[str, int]] = {}
    frequencies: dict[str, dict[str, int]] = {}
    for each, count in zip(shown, times, strict=True):
        folder = folders.setdefault(f"{count}_{name}", {"n_repeats": count, "img_count": 0})
        folder["img_count"] += 1
        tags = frequencies.setdefault(f"{count}_{name}", {})
        for tag in each.tags:
            tags[tag] = tags.get(tag, 0) + 1
    return folders, frequencies


def _buckets(shown: Sequence[Shown], times: Sequence[int]) -> dict[str, Any]:
    counts: dict[tuple[int, int], int] = {}
    for each, count in zip(shown, times, strict=True):
        counts[each.size_px] = counts.get(each.size_px, 0) + count
    return {str(i): {"resolution": list(size), "count": counts[size]} for i, size in enumerate(sorted(counts))}
