"""The presets that come with Distill: three recipes that users publish, to the letter, and our goals.

- "One Image" is "One Image Is All You Need": rank 64, alpha 32, 20 repeats x 6 epochs, nothing but the picture at
  512 x 512 (SD1.5's own size), all else as kohya has it. That is the kohya_ss page of the article's year, 2023: UNet
  1e-4, text encoder 5e-5 (both trained), cosine, warm-up 10 %, AdamW8bit, batch 1. (sd-scripts' own defaults would be
  2e-6 at a constant rate, with which 120 steps teach nothing.) "Keep tokens 0, or 1 with a trigger": there is one here.
- "Part 2" is "Single Image LoRA Part 2". Of its 5 to 10 repeats it takes 10, and of its schedules the constant one. The
  views keep their shape (`aspect`), as in kohya's buckets; "detail" is not in the list since it can lie anywhere: a
  person draws it.
- "Distillery" is a name of two rare words (an empty trigger makes them), flip, and 200 class pictures; the source
  picture is kept beside each LoRA anyway. It says no more, so the rest is our defaults.

No mask in the first two: kohya masks the loss only when it is told to. What is not the recipe's (sampling, seed, names)
is the person's and in no preset. AdamW8bit runs where CUDA and bitsandbytes are; elsewhere AdamW takes its place when
the training begins, and the notes say so.
"""

from __future__ import annotations

from distill.goals import GOALS
from distill.presets.preset import Preset, preset

ONE_IMAGE = preset(
    "One Image",
    "The article's: rank 64, 120 steps on the picture alone, every epoch kept. 1.0 replicates, 0.6 varies.",
    {
        "resolution": 0,  # the checkpoint's own: 512 for SD1.5
        "crop": "square",
        "views": "",
        "mask": "none",
        "keep_tokens": 1,
        "shuffle": False,
        "repeats": 20,
        "repeats_of": "picture",
        "epochs": 6,
        "batch_size": 1,
        "unet_lr": 1e-4,
        "loraplus_lr_ratio": 1.0,
        "min_snr_gamma": 0.0,
        "spread_timesteps": False,
        "train_text_encoder": True,
        "text_encoder_lr": 5e-5,
        "optimizer": "adamw8bit",
        "lr_scheduler": "cosine",
        "lr_warmup": 0.1,
        "network_type": "lora",
        "network_dim": 64,
        "network_alpha": 32.0,
        "keep_epochs": True,
    },
)

PART_2 = preset(
    "Part 2",
    "Single Image LoRA, Part 2: views of one picture, 60 class pictures, chosen blocks, the text encoder too.",
    {
        "crop": "aspect",
        "views": "full body, cowboy shot, upper body, lower body, face, bangs, head out of frame",
        "mask": "none",
        "color_aug": True,
        "keep_tokens": 2,
        "shuffle": True,
        "clip_skip": 2,
        "reg_pictures": "generate",
        "reg_count": 60,
        "repeats": 10,
        "repeats_of": "picture",
        "epochs": 10,
        "batch_size": 1,
        "unet_lr": 1e-3,
        "loraplus_lr_ratio": 1.0,
        "min_snr_gamma": 0.0,
        "spread_timesteps": False,
        "train_text_encoder": True,
        "text_encoder_lr": 5e-4,
        "optimizer": "adamw8bit",
        "lr_scheduler": "constant",
        "lr_warmup": 0.05,
        "flip": False,
        "network_type": "lora",
        "network_dim": 16,
        "network_alpha": 16.0,
        "block_weights": "OUTD (article)",
        "noise_offset": 0.1,
        "save_precision": "fp16",
    },
)

DISTILLERY = preset(
    "Distillery",
    "A name of two rare words, the picture and its mirror image, 200 pictures of the class made beforehand.",
    {"flip": True, "reg_pictures": "generate", "reg_count": 200},
)

BUILT_IN: tuple[Preset, ...] = (
    *(preset(goal.label, goal.help, goal.values) for goal in GOALS),
    ONE_IMAGE,
    PART_2,
    DISTILLERY,
)
"""All of them, in the order in which they are shown."""
