"""The single file holds SD1.5's own key names, and diffusers' converters read the same networks back."""

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("diffusers")

from distill.pocket.make import export, networks
from distill.pocket.make.pictures import random_shapes, to_tensor
from distill.pocket.make.vae import SCALE_FACTOR, build_vae, scale_latents


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    torch.manual_seed(0)
    parts = networks.build_unet().eval(), build_vae().eval(), networks.build_text_encoder().eval()
    path = tmp_path_factory.mktemp("pocket") / "random.safetensors"
    export.write_checkpoint(path, *parts)
    return path, *parts


def test_names_are_those_of_sd15(written):
    names = set(load_file(str(written[0])))
    for name in (
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.input_blocks.3.0.op.weight",
        "model.diffusion_model.output_blocks.2.1.conv.weight",
        "model.diffusion_model.output_blocks.5.2.conv.weight",
        "model.diffusion_model.middle_block.2.out_layers.3.bias",
        "first_stage_model.decoder.up.3.upsample.conv.weight",
        "first_stage_model.encoder.mid.attn_1.proj_out.weight",
        "cond_stage_model.transformer.text_model.encoder.layers.3.mlp.fc2.weight",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
    ):
        assert name in names
    assert not [name for name in names if "resnets" in name or "down_blocks" in name]


def test_size_stays_small(written):
    assert written[0].stat().st_size <= 45 * 10**6


def test_diffusers_converters_give_the_same_networks_back(written):
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    path, unet, vae, _ = written
    weights = load_file(str(path))
    for network, convert in ((unet, convert_ldm_unet_checkpoint), (vae, convert_ldm_vae_checkpoint)):
        back = convert(dict(weights), dict(network.config))
        expected = network.state_dict()
        assert set(back) == set(expected)
        for name, weight in expected.items():
            assert torch.equal(back[name].reshape(weight.shape), weight.half())


def test_yaml_is_ldms(written):
    import yaml

    params = yaml.safe_load(written[0].with_suffix(".yaml").read_text())["model"]["params"]
    assert params["scale_factor"] == SCALE_FACTOR
    assert params["image_size"] == 16
    assert params["unet_config"]["params"]["channel_mult"] == [1, 2, 2, 2]
    assert params["cond_stage_config"]["clip_config"]["hidden_size"] == 128


@pytest.mark.slow
def test_scaling_latents_changes_no_picture():
    import random

    torch.manual_seed(1)
    vae, rng = build_vae().eval(), random.Random(0)
    pictures = to_tensor([random_shapes(rng) for _ in range(8)])
    with torch.no_grad():
        before = vae.decode(vae.encode(pictures).latent_dist.mean).sample
        scale_latents(vae, pictures)
        drawn = vae.encode(pictures).latent_dist
        after = vae.decode(drawn.mean).sample
    assert torch.allclose(before, after, atol=2e-3)
    flat = (drawn.mean * SCALE_FACTOR).permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(flat.mean(1), torch.zeros(4), atol=1e-2)
    assert torch.allclose(torch.cov(flat), torch.eye(4), atol=2e-2)
    assert drawn.std.max() < 0.01
