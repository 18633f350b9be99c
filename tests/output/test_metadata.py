"""What WebUIs and kohya's tools read out of the file's head."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from distill.host import Models
from distill.options import Options
from distill.output.metadata import Shown, metadata

START = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)


def made(models: Models, shown: tuple[Shown, ...] = (), **options: object) -> dict[str, str]:
    return metadata(
        models,
        Options.from_flat(options),
        name="fip_zor-000002",
        tags=["fip zor woman", "red hat"],
        size_px=(512, 640),
        epoch=2,
        step=10,
        started_at=START,
        finished_at=START,
        shown=shown,
    )


def test_kohya_values(models: Models) -> None:
    got = made(replace(models, sha256="ab" * 32), network_dim=8, network_alpha=4.0, clip_skip=2, seed=7)
    want = {
        "ss_output_name": "fip_zor-000002",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "8",
        "ss_network_alpha": "4.0",
        "ss_sd_model_name": "tiny",
        "ss_new_sd_model_hash": "ab" * 32,
        "ss_base_model_version": "sd_v1",
        "ss_v2": "False",
        "ss_clip_skip": "2",
        "ss_seed": "7",
        "ss_epoch": "2",
        "ss_steps": "10",
        "ss_num_epochs": "6",
        "ss_max_train_steps": "60",
        "ss_num_batches_per_epoch": "10",
        "ss_batch_size_per_device": "2",
        "ss_lr_warmup_steps": "3",
        "ss_text_encoder_lr": "0.0",
        "ss_training_started_at": str(START.timestamp()),
        "ss_resolution": "(512, 640)",
    }
    assert {key: got[key] for key in want} == want
    assert json.loads(got["ss_tag_frequency"]) == {"20_fip_zor-000002": {"fip zor woman": 1, "red hat": 1}}
    assert json.loads(got["ss_dataset_dirs"]) == {"20_fip_zor-000002": {"n_repeats": 20, "img_count": 1}}
    assert json.loads(got["ss_bucket_info"])["buckets"]["0"] == {"resolution": [512, 640], "count": 20}


CUTS = (
    Shown(repeats=2, size_px=(512, 640), tags=["fip zor woman", "red hat"]),
    Shown(repeats=1, size_px=(512, 512), tags=["fip zor woman", "close-up"]),
    Shown(repeats=1, size_px=(512, 640), tags=["fip zor woman", "upper body", "red hat"]),
)


@pytest.mark.parametrize(("repeats_of", "times"), [("picture", (40, 20)), ("epoch", (10, 5))])
def test_views_count_as_kohyas_folders(models: Models, repeats_of: str, times: tuple[int, int]) -> None:
    got = made(models, shown=CUTS, repeats_of=repeats_of)
    whole, views = (f"{count}_fip_zor-000002" for count in times)
    assert json.loads(got["ss_dataset_dirs"]) == {
        whole: {"n_repeats": times[0], "img_count": 1},
        views: {"n_repeats": times[1], "img_count": 2},
    }
    frequencies = json.loads(got["ss_tag_frequency"])
    assert frequencies[views] == {"fip zor woman": 2, "close-up": 1, "upper body": 1, "red hat": 1}
    assert got["ss_num_train_images"] == str(times[0] + 2 * times[1])
    buckets = json.loads(got["ss_bucket_info"])["buckets"].values()
    assert [bucket["count"] for bucket in buckets] == [times[1], times[0] + times[1]]
    assert got["ss_training_comment"].startswith("3 pictures and views, Distill ")


def test_every_draw_is_counted_where_an_epoch_can_not_be_shared_evenly(models: Models) -> None:
    got = made(models, shown=CUTS, repeats=7, repeats_of="epoch")
    assert got["ss_num_train_images"] == "7"


def test_modelspec_values(models: Models) -> None:
    got = made(replace(models, prediction_type="v_prediction"))
    assert got["modelspec.sai_model_spec"] == "1.0.0"
    assert got["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert got["modelspec.resolution"] == "512x640"
    assert got["modelspec.prediction_type"] == "v"
    assert got["modelspec.date"] == "2026-01-02T03:04:05+00:00"
    assert got["ss_base_model_version"] == "sd_v1_v"


def test_every_value_is_text_and_options_come_back(models: Models) -> None:
    got = made(models, network_dim=8)
    assert all(isinstance(value, str) for value in got.values())
    assert "ss_new_sd_model_hash" not in got  # a host that does not know it says nothing
    assert not {"captioner", "endpoint", "endpoint_model"} & set(json.loads(got["distill_options"]))
    assert Options.from_flat(json.loads(got["distill_options"])) == Options.from_flat({"network_dim": 8})
    assert made(models) == made(models)
