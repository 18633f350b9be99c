"""kohya's files: known settings in our units, all others named with the reason; out and in again keeps what it can."""

import json
import random
import sys

import pytest

from distill import recipe
from distill.errors import OptionError
from distill.presets import BUILT_IN, find
from distill.presets.files import exported, imported
from distill.presets.kohya_write import HELD
from distill.presets.preset import preset

PAGE = {  # as kohya_ss writes it: numbers as text here and there, "" for none
    "LoRA_type": "Standard",
    "LyCORIS_preset": "full",
    "adaptive_noise_scale": 0,
    "additional_parameters": "",
    "block_dims": "",
    "bucket_reso_steps": 64.0,
    "cache_latents": True,
    "caption_dropout_rate": 0,
    "clip_skip": "2",
    "color_aug": True,
    "conv_dim": 1,
    "down_lr_weight": "1,0,0,0,0,0,0,1,1,1,1,1",
    "enable_bucket": False,
    "epoch": 10,
    "flip_aug": False,
    "gradient_accumulation_steps": 1.0,
    "keep_tokens": "2",
    "learning_rate": "0.0001",
    "lr_scheduler": "constant_with_warmup",
    "lr_scheduler_num_cycles": "",
    "lr_warmup": "5",
    "masked_loss": False,
    "max_resolution": "512,512",
    "max_train_epochs": "",
    "max_token_length": "75",
    "mid_lr_weight": "0",
    "multires_noise_discount": 0,
    "multires_noise_iterations": 6,
    "network_alpha": 16,
    "network_dim": 16,
    "noise_offset": "0.1",
    "noise_offset_type": "Original",
    "num_cpu_threads_per_process": 2,
    "optimizer": "AdamW8bit",
    "optimizer_args": "",
    "output_dir": "D:/lora",
    "prior_loss_weight": 1.0,
    "save_every_n_epochs": 1,
    "save_precision": "fp16",
    "sdxl": False,
    "seed": "1234",
    "shuffle_caption": True,
    "text_encoder_lr": "5e-4",
    "train_batch_size": 1,
    "unet_lr": "1e-3",
    "up_lr_weight": "0,1,1,1,1,1,0,0,0,0,1,1",
    "v2": False,
    "xformers": True,
}


def read(_file="a.json", **changed):
    return imported(json.dumps(PAGE | changed).encode(), _file)


def of_scripts(text):
    return imported(text.encode(), "config.toml")


def test_part_2_as_its_article_sets_kohya():
    found, notes = read()
    expected = find("Part 2", BUILT_IN).values
    ours = {"views", "crop", "resolution", "reg_pictures", "reg_count", "repeats"}  # not kohya's page's
    assert {k: v for k, v in found.values.items() if k not in ours} == {
        k: v for k, v in expected.items() if k not in ours
    }
    assert (found.values["resolution"], found.values["crop"]) == (512, "square")
    assert notes == (
        "kohya has the repeats in its folder's name: they are 20 here.",
        "Not needed here: bucket_reso_steps, cache_latents, num_cpu_threads_per_process, output_dir, seed, xformers.",
    )


def test_what_a_file_leaves_open_is_kohya_s_default():
    found, _ = imported(b'{"LoRA_type": "Standard", "network_dim": 64, "network_alpha": 32, "epoch": 6}', "a.json")
    one = find("One Image", BUILT_IN).values
    article = {"crop", "resolution", "keep_tokens"}
    assert {k: v for k, v in found.values.items() if k not in article} == {
        k: v for k, v in one.items() if k not in article
    }


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"lr_warmup": 7}, {"lr_warmup": 0.07}),
        ({"lr_warmup_steps": 20, "max_train_steps": 200}, {"lr_warmup": 0.1}),
        ({"lr_warmup_steps": 0.25}, {"lr_warmup": 0.25}),
        ({"lr_scheduler": "constant"}, {"lr_scheduler": "constant"}),
        ({"max_train_steps": "160", "epoch": 100}, {"repeats": 2, "epochs": 80}),
        ({"max_train_steps": "1600", "epoch": 4}, {"repeats": 400, "epochs": 4}),
        ({"max_train_steps": 160, "epoch": 4, "train_batch_size": 2}, {"repeats": 80, "epochs": 4, "batch_size": 2}),
        ({"lr_warmup_steps": 6, "epoch": 5, "train_batch_size": 8}, {"lr_warmup": 0.4}),
        ({"max_train_epochs": "8", "max_train_steps": 1600}, {"repeats": 20, "epochs": 8}),
        ({"unet_lr": "", "text_encoder_lr": ""}, {"unet_lr": 1e-3, "text_encoder_lr": 5e-4}),  # left open: see above
        ({"unet_lr": 0, "text_encoder_lr": 0.0}, {"unet_lr": 1e-4, "train_text_encoder": True}),
        ({"text_encoder_lr": 0}, {"unet_lr": 1e-3, "train_text_encoder": False}),
        ({"unet_lr": 0}, {"unet_lr": 0.0, "train_text_encoder": True, "text_encoder_lr": 5e-4}),
        ({"network_alpha": 0}, {"network_alpha": 16.0}),
        ({"clip_skip": 0}, {"clip_skip": 1}),
        ({"noise_offset_type": "Multires"}, {"noise_offset": 0.0, "multires_noise_iterations": 6}),
        ({"LoRA_type": "Kohya LoCon", "conv_dim": 4}, {"network_type": "locon", "conv_dim": 4}),
        ({"LoRA_type": "LyCORIS/LoKr", "factor": 6}, {"network_type": "lokr", "lokr_factor": 6, "block_weights": ""}),
        ({"LoRA_type": "LyCORIS/LoHa", "rank_dropout": 0.1}, {"network_type": "loha", "rank_dropout": 0.0}),
        ({"optimizer": "PagedAdamW8bit"}, {"optimizer": "adamw8bit"}),
        ({"optimizer": "Prodigy"}, {"optimizer": "prodigy", "weight_decay": 0.0}),
        (
            {"optimizer": "Prodigy", "optimizer_args": '"d0=1e-5" "weight_decay=0.4" "decouple=True" betas=0.9,0.99'},
            {"weight_decay": 0.4, "optimizer_args": "d0=1e-05 decouple=True betas=(0.9,0.99)"},
        ),
        ({"max_resolution": "768,768", "enable_bucket": True}, {"resolution": 768, "crop": "aspect"}),
        ({"masked_loss": True}, {"mask": "auto"}),
        ({"save_precision": "float"}, {"save_precision": "fp32"}),
        ({"save_every_n_epochs": 0}, {"keep_epochs": False}),
        ({"additional_parameters": "--caption_tag_dropout_rate 0.2 --lowram"}, {"tag_dropout": 0.2}),
        ({"down_lr_weight": "zeros", "up_lr_weight": "linear+.5", "mid_lr_weight": ""}, {}),
        ({"down_lr_weight": "", "up_lr_weight": "", "mid_lr_weight": ""}, {"block_weights": "OUTD (article)"}),
    ],
)
def test_a_setting_in_our_units(changed, expected):
    if changed.get("unet_lr") == "":  # what is empty is as kohya's page opens
        expected = {"unet_lr": 1e-4, "text_encoder_lr": 5e-5}
    if changed.get("up_lr_weight") == "":
        expected = {"block_weights": ""}
    found = read(**changed)[0].values
    assert {key: found[key] for key in expected} == expected


def test_curves_over_the_blocks_are_sd_scripts():
    weights = read(down_lr_weight="zeros", mid_lr_weight="", up_lr_weight="linear+.5")[0].values["block_weights"]
    assert [float(w) for w in weights.split(",")] == pytest.approx([0] * 12 + [1] + [i / 11 + 0.5 for i in range(12)])
    weights = read(down_lr_weight="sine,", mid_lr_weight="0")[1]
    assert "The blocks' weights can't be read and are left out." in weights


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"LoRA_type": "LyCORIS/Diag-OFT"}, "The network LyCORIS/Diag-OFT is not here: it is a plain LoRA instead."),
        ({"LoRA_type": "Kohya DyLoRA"}, "The network Kohya DyLoRA is not here: it is a plain LoRA instead."),
        ({"sdxl": True}, "sdxl is left out: only SD1.5 is trained here."),
        ({"v2": True}, "v2 is left out: only SD1.5 is trained here."),
        ({"block_dims": "2,4"}, "block_dims is left out: blocks have rates here, no sizes of their own."),
        ({"optimizer": "DAdaptAdam"}, "The optimizer DAdaptAdam is not here: AdamW instead."),
        ({"optimizer_args": "d0=(("}, "optimizer_args can't be read and are left out: d0=(("),
        ({"lr_scheduler": "adafactor"}, "The schedule adafactor is not here: it is constant instead."),
        ({"max_resolution": "512,650"}, "max_resolution is 512,650: only square sizes are here."),
        (
            {"max_resolution": "500,500"},
            "max_resolution is left out: Resolution is 500. Choose a multiple of 64, or 0.",
        ),
        (
            {"network_dim": 100000},
            "network_dim is left out: Rank (network_dim) is 100000. Choose a value from 1 to 320.",
        ),
        ({"epoch": "many"}, "epoch is left out: 'many' is not a number."),
        ({"loss_type": "huber"}, "loss_type is left out: the loss is L2 here."),
        ({"warp": 1}, "Unknown and left out: warp."),
        ({"additional_parameters": "--warp 3"}, "Unknown and left out: warp."),
        ({"min_timestep": 1000}, "min_timestep is left out"),
    ],
)
def test_what_is_not_taken_is_named_with_the_reason(changed, note):
    notes = read(**changed)[1]
    assert any(note in said for said in notes), notes


def test_lycoris_own_settings_count_for_lycoris_only():
    assert not any("use_tucker" in note for note in read(use_tucker=True)[1])
    assert any("use_tucker" in note for note in read(use_tucker=True, LoRA_type="LyCORIS/LoHa")[1])


@pytest.mark.parametrize("name", [each.name for each in BUILT_IN])
def test_every_preset_goes_out_and_in_again(name):
    chosen = find(name, BUILT_IN)
    data, notes = exported(chosen, for_kohya=True)
    found, _ = imported(data, "back.json")
    assert held(found.values) == held(chosen.values | {"repeats_of": "picture"})
    assert notes[0] == (
        f'Put the picture into a folder whose name begins with "{chosen.values["repeats"]}_": those are its repeats.'
    )


def test_what_kohya_can_t_hold_is_said():
    _, notes = exported(find("Part 2", BUILT_IN), for_kohya=True)
    assert notes[1:] == (
        "kohya has no setting for: Views, Class pictures, Number of class pictures.",
        "Class pictures are a folder of yours in kohya.",
    )


def test_any_recipe_goes_out_and_in_again():
    rng = random.Random(3)
    for _ in range(25):
        values = anything(rng)
        data, _ = exported(preset("any", "", values), for_kohya=True)
        assert held(imported(data, "back.json")[0].values) == held(values), values


def held(values):
    """What kohya has a setting for, and reads with the other settings as they are."""
    found = {name: values[name] for name in HELD}
    found["resolution"] = found["resolution"] or 512
    if not found["train_text_encoder"]:
        del found["text_encoder_lr"]
    if found["network_type"] == "lora":
        del found["conv_dim"], found["conv_alpha"]
    if found["network_type"] != "lokr":
        del found["lokr_factor"]
    if found["network_type"] in ("loha", "lokr"):
        del found["block_weights"]
    if found["multires_noise_iterations"]:
        del found["noise_offset"]
    else:
        del found["multires_noise_discount"]
    return found


CHOICES = {
    "max_token_length": [75, 150, 225],
    "resolution": [0, 512, 768],
    "mask": ["auto", "none"],
    "repeats_of": ["picture"],
    "optimizer_args": ["", "betas=(0.9,0.99)", "d_coef=2.0 decouple=True"],
    "block_weights": ["", "OUTD (article)", "IND", ",".join(["0.5"] * 25)],
    "min_timestep": [0, 100],
    "max_timestep": [800, 1000],
    "unet_lr": [1e-3, 2e-4],
    "text_encoder_lr": [5e-5, 1.0],
    "conv_dim": [1, 8],
}


def anything(rng):
    """Some recipe, of values that go together."""
    from distill.options import each_option

    fields = {f.name: (f, kind) for _, f, kind in each_option()}
    values = {}
    for name in HELD:
        f, kind = fields[name]
        meta = f.metadata
        if name in CHOICES or meta["choices"]:
            values[name] = rng.choice(CHOICES.get(name) or meta["choices"])
        elif kind is bool:
            values[name] = rng.random() < 0.5
        else:
            drawn = rng.uniform(meta["ge"], meta["le"])
            values[name] = round(drawn) if kind is int else float(f"{drawn:.3g}")
    if values["network_type"] in ("loha", "lokr"):
        values |= dict.fromkeys(("network_dropout", "rank_dropout", "module_dropout", "scale_weight_norms"), 0.0)
    return recipe.complete(values)


SCRIPT = """
[network]
network_module = "networks.lora"
network_dim = 32
network_alpha = 16
network_args = ["conv_dim=4", "conv_alpha=2", "down_lr_weight=0,0,0,0,0,0,0,0,0,0,0,0"]
network_train_unet_only = true
[training]
learning_rate = 2e-4
optimizer_type = "Lion"
optimizer_args = ["betas=0.9,0.99"]
lr_scheduler = "polynomial"
lr_warmup_steps = 0.1
max_train_epochs = 5
resolution = "512,512"
noise_offset = 0.05
caption_tag_dropout_rate = 0.1
pretrained_model_name_or_path = "model.safetensors"
"""


def test_sd_scripts_own_config_file():
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    found, notes = of_scripts(SCRIPT)
    expected = {
        "network_type": "locon",
        "network_dim": 32,
        "network_alpha": 16.0,
        "conv_dim": 4,
        "conv_alpha": 2.0,
        "train_text_encoder": False,
        "unet_lr": 2e-4,
        "optimizer": "lion",
        "optimizer_args": "betas=(0.9,0.99)",
        "weight_decay": 0.0,
        "lr_scheduler": "polynomial",
        "lr_warmup": 0.1,
        "epochs": 5,
        "resolution": 512,
        "crop": "square",
        "noise_offset": 0.05,
        "tag_dropout": 0.1,
        "keep_tokens": 0,
        "shuffle": False,
        "block_weights": ",".join(["0"] * 12 + ["1"] * 13),
    }
    assert {key: found.values[key] for key in expected} == expected
    assert not any("Unknown" in note for note in notes)


def test_broken_toml_is_refused():
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    with pytest.raises(OptionError, match="is not TOML"):
        of_scripts("a = = 1")


def test_without_a_parser_toml_is_refused_with_a_way_out(monkeypatch):
    for module in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OptionError, match="Use kohya_ss' JSON instead"):
        of_scripts(SCRIPT)
