"""The autoencoder: scale, standardized latents, files for plain diffusers."""

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention

from vision_module.autoencoder import (
    build_autoencoder,
    decode_latents,
    encode_films,
    match_channels,
    standardize_latents,
)
from vision_module.config import AutoencoderConfig

TINY = AutoencoderConfig(block_out_channels=(8, 16), latent_channels=3)


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    return build_autoencoder(TINY, 16).eval()


@pytest.fixture
def images():
    return torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.usefixtures("float64")
def test_standardized_latents_keep_the_function(autoencoder, images):
    """Centring is folded into the weights: reconstructions stay, latents get mean 0 and deviation 1."""
    with torch.no_grad():
        before = autoencoder.decode(autoencoder.encode(images).latent_dist.mean).sample
    standardize_latents(autoencoder, images)
    with torch.no_grad():
        after = autoencoder.decode(autoencoder.encode(images).latent_dist.mean).sample
    torch.testing.assert_close(before, after)
    mean, _ = encode_films(autoencoder, images)
    torch.testing.assert_close(mean.mean(dim=(0, 2, 3)), torch.zeros(3))
    assert mean.std().item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.usefixtures("float64")
def test_plain_diffusers_loads_it_with_its_scale(autoencoder, images, tmp_path):
    standardize_latents(autoencoder, images)
    autoencoder.save_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").is_file()
    loaded = AutoencoderKL.from_pretrained(tmp_path).eval()
    assert loaded.config.scaling_factor == autoencoder.config.scaling_factor != 0.18215
    mean, std = encode_films(loaded, images)
    plain = loaded.encode(images).latent_dist
    torch.testing.assert_close(mean, plain.mean * loaded.config.scaling_factor)
    torch.testing.assert_close(std, plain.std * loaded.config.scaling_factor)
    expected = loaded.decode(plain.mean).sample.clamp(-1, 1)
    torch.testing.assert_close(decode_latents(loaded, mean), expected)


def test_three_channel_autoencoders_take_gray_films(images):
    """Stable Diffusion's autoencoder has three channels: gray in, their mean out."""
    torch.manual_seed(0)
    color = AutoencoderKL(
        block_out_channels=(8,), latent_channels=4, norm_num_groups=4, layers_per_block=1
    ).eval()
    assert match_channels(images, 3).shape == (20, 3, 16, 16)
    mean, _ = encode_films(color, images)
    assert mean.shape == (20, 4, 16, 16)
    assert decode_latents(color, mean).shape == images.shape


def test_wrong_size_is_named(autoencoder, tmp_path):
    with pytest.raises(ValueError, match="--image-size 30 is not a multiple of 4"):
        build_autoencoder(AutoencoderConfig(), 30)
    autoencoder.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="--image-size 31 is not a multiple of 2"):
        build_autoencoder(AutoencoderConfig(init_from=str(tmp_path)), 31)
    with pytest.raises(ValueError, match=r"--init-from .*nowhere: no such folder"):
        build_autoencoder(AutoencoderConfig(init_from=str(tmp_path / "nowhere")), 16)


def test_fine_tuning_keeps_shape_and_scale_at_another_size(autoencoder, images, tmp_path):
    """A run, another film size: the weights and the scale are those of the start, the size is the new one."""
    standardize_latents(autoencoder, images)
    autoencoder.save_pretrained(tmp_path)
    tuned = build_autoencoder(AutoencoderConfig(init_from=str(tmp_path), latent_channels=4), 32)
    assert tuned.config.sample_size == 32
    assert tuned.config.latent_channels == 3
    assert tuned.config.scaling_factor == autoencoder.config.scaling_factor
    for name, weight in autoencoder.state_dict().items():
        assert torch.equal(weight, tuned.state_dict()[name]), name


def test_the_decoder_alone_is_trained_on_latents_that_stay(chain, tmp_path):
    """Through the script: latents come out bit by bit as before, decoded films do not."""
    import train_autoencoder

    flags = ["--data", chain.run("data"), "--out", str(tmp_path / "run"), "--num-steps", "2"]
    flags += ["--batch-size", "4", "--warmup-steps", "0", "--init-from", chain.run("autoencoder")]
    train_autoencoder.main([*flags, "--decoder-only", "--adversarial-weight", "0.1"])
    before, after = (
        AutoencoderKL.from_pretrained(folder).eval()
        for folder in (chain.run("autoencoder/model"), tmp_path / "run" / "model")
    )
    films = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    latents = encode_films(before, films)[0]
    assert torch.equal(encode_films(after, films)[0], latents)
    assert not torch.equal(decode_latents(after, latents), decode_latents(before, latents))
    with pytest.raises(ValueError, match="--decoder-only"):
        build_autoencoder(AutoencoderConfig(decoder_only=True), 64)


def test_large_films_are_taken_a_few_at_a_time(autoencoder):
    """Five films of 512x512 go through in a four and a one, and are what each is alone."""
    films = torch.rand(5, 1, 512, 512, generator=torch.Generator().manual_seed(2)) * 2 - 1
    sizes = []
    autoencoder.encoder.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    autoencoder.decoder.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    mean, std = encode_films(autoencoder, films)
    back = decode_latents(autoencoder, mean)
    assert sizes == [4, 1, 4, 1]
    alone, _ = encode_films(autoencoder, films[2:3])
    # float64 takes a minute here; of values about 1, float32 leaves a hundredth of this bound.
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(mean[2:3], alone, **close)
    torch.testing.assert_close(back[2:3], decode_latents(autoencoder, alone), **close)
    assert std.shape == mean.shape == (5, 3, 256, 256)


def test_monai_preset_is_the_published_shape():
    """512x512 films, 3x64x64 latents, 32 groups, no attention; built on the meta device."""
    from train_autoencoder import PRESETS

    preset = PRESETS["monai"]
    with torch.device("meta"):
        model = build_autoencoder(preset.model, preset.image_size)
        latents = model.encode(torch.empty(1, 1, 512, 512)).latent_dist.mean
    assert latents.shape == (1, 3, 64, 64)
    assert model.config.norm_num_groups == 32
    assert not [module for module in model.modules() if isinstance(module, Attention)]
