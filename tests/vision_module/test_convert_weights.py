"""convert_weights.py on small files with each source's true names."""

import json
import re

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from test_monai_weights import INFERENCE, monai_autoencoder_weights, monai_unet_weights
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

import convert_weights
import sample_pairs
from data_module.images import read_pixels
from data_module.pairs import PairsFolder
from runtime.weights import read_weights
from vision_module.clip import load_tokenizer
from vision_module.pipeline import VisionModel
from vision_module.uvit import UViT
from vision_module.weights.sd import convert_cxr_irgen

WIDTH = 32


def scatter(model):
    """Random weights everywhere, so that no tensor can be swapped or dropped unseen."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def sd(chain, tmp_path_factory):
    """A tiny folder of the parts of Stable Diffusion 1.x, and its parts."""
    torch.manual_seed(0)
    tokenizer = load_tokenizer(chain.run("clip/model"))
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=WIDTH,
        max_position_embeddings=tokenizer.model_max_length,
    )
    parts = {
        "vae": scatter(
            AutoencoderKL(
                in_channels=3,
                out_channels=3,
                block_out_channels=(8, 16),
                norm_num_groups=4,
                sample_size=16,
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
            )
        ),
        "unet": scatter(
            UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(8, 16),
                layers_per_block=1,
                cross_attention_dim=WIDTH,
                attention_head_dim=2,
                norm_num_groups=4,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            )
        ),
        "text_encoder": scatter(CLIPTextModel(text)),
        "tokenizer": tokenizer,
        "scheduler": PNDMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1
        ),
    }
    folder = tmp_path_factory.mktemp("published") / "sd"
    pipeline = StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder)
    return folder, parts


@pytest.fixture(scope="module")
def clip_vision(tmp_path_factory):
    """A tiny CLIP vision folder of the text's width."""
    folder = tmp_path_factory.mktemp("published") / "clip"
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=WIDTH,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**size).save_pretrained(folder)
    return folder


def same(model, other):
    weights, others = model.state_dict(), other.state_dict()
    assert set(weights) == set(others)
    for name, value in weights.items():
        assert torch.equal(value, others[name]), name


RES = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1"}
RES |= {"norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
MIDDLE = {"resnets.0": 0, "attentions.0": 1, "resnets.1": 2}


def ldm_unet_name(name, num_layers=1, num_levels=2):
    """diffusers' name of a U-Net's tensor -> that of the LDM code (openaimodel.py's numbered blocks)."""
    part, *rest = name.split(".")
    tail = ".".join(rest)
    if part in ("conv_in", "conv_norm_out", "conv_out"):
        place = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}[part]
        return f"{place}.{tail}"
    if part == "time_embedding":
        return f"time_embed.{ {'linear_1': 0, 'linear_2': 2}[rest[0]] }.{rest[1]}"
    if part == "mid_block":
        place, inner = f"middle_block.{MIDDLE['.'.join(rest[:2])]}", rest[2:]
    else:
        level, kind, number, *inner = rest
        level, number = int(level), int(number)
        size = num_layers + 1
        if kind == "downsamplers":
            return f"input_blocks.{level * size + size}.0.op.{inner[-1]}"
        if kind == "upsamplers":
            after = 1 if level == 0 else 2  # the deepest level has no attention here
            return f"output_blocks.{level * size + num_layers}.{after}.conv.{inner[-1]}"
        block = level * size + number + (part == "down_blocks")
        side = "input_blocks" if part == "down_blocks" else "output_blocks"
        place = f"{side}.{block}.{int(kind == 'attentions')}"
    inner[0] = RES.get(inner[0], inner[0])
    return ".".join([place, *inner])


def ldm_vae_name(name, num_levels=2):
    """diffusers' name of an autoencoder's tensor -> that of the LDM code."""
    for new, old in (
        ("mid_block.resnets.0", "mid.block_1"),
        ("mid_block.resnets.1", "mid.block_2"),
        ("mid_block.attentions.0", "mid.attn_1"),
        ("group_norm", "norm"),
        ("to_out.0", "proj_out"),
        ("to_q", "q"),
        ("to_k", "k"),
        ("to_v", "v"),
        ("conv_norm_out", "norm_out"),
        ("conv_shortcut", "nin_shortcut"),
        ("resnets", "block"),
        ("downsamplers.0", "downsample"),
        ("upsamplers.0", "upsample"),
        ("down_blocks", "down"),
    ):
        name = name.replace(new, old)
    return re.sub(r"up_blocks\.(\d)", lambda found: f"up.{num_levels - 1 - int(found[1])}", name)


def ldm_checkpoint(parts, open_clip=False):
    """The parts as one Stable Diffusion file, with the tensors of training that such files hold."""
    weights = {"model_ema.decay": torch.tensor(0.9), "betas": torch.zeros(3)}
    for name, value in parts["unet"].state_dict().items():
        weights[f"model.diffusion_model.{ldm_unet_name(name)}"] = value
    for name, value in parts["vae"].state_dict().items():
        old = ldm_vae_name(name)
        is_matrix = ".attn_1." in old and value.ndim == 2
        weights[f"first_stage_model.{old}"] = value[:, :, None, None] if is_matrix else value
    text = parts["text_encoder"].state_dict()
    if not open_clip:
        prefix = "cond_stage_model.transformer.text_model."
        return weights | {prefix + name: value for name, value in text.items()}
    prefix = "cond_stage_model.model."
    weights[f"{prefix}text_projection"] = torch.eye(WIDTH)
    weights[f"{prefix}logit_scale"] = torch.tensor(1.0)
    for new, old in (
        ("embeddings.token_embedding.weight", "token_embedding.weight"),
        ("embeddings.position_embedding.weight", "positional_embedding"),
        ("final_layer_norm.weight", "ln_final.weight"),
        ("final_layer_norm.bias", "ln_final.bias"),
    ):
        weights[prefix + old] = text[new]
    for layer in range(2):
        new, old = f"encoder.layers.{layer}.", f"{prefix}transformer.resblocks.{layer}."
        for part in ("weight", "bias"):
            joined = torch.cat([text[f"{new}self_attn.{x}_proj.{part}"] for x in "qkv"])
            weights[f"{old}attn.in_proj_{part}"] = joined
            weights[f"{old}attn.out_proj.{part}"] = text[f"{new}self_attn.out_proj.{part}"]
            for a, b in (
                ("layer_norm1", "ln_1"),
                ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
            ):
                weights[f"{old}{b}.{part}"] = text[f"{new}{a}.{part}"]
    return weights


def convert(source, file, out, *flags):
    convert_weights.main([source, str(file), "--out", str(out), *map(str, flags)])
    return out


def sample(vision, tmp_path, **flags):
    """One film from a converted folder, as a user would."""
    line = ["--prompt", "cardiomegaly", "--vision", str(vision), "--films-only", "--data", "None"]
    sample_pairs.main([*line, "--num-inference-steps", "2", "--out", str(tmp_path / "films")])
    return read_pixels(PairsFolder.open(tmp_path / "films").image_paths[0])


def test_stable_diffusion_folder(sd, tmp_path):
    folder, parts = sd
    out = convert("sd", folder, tmp_path / "model")
    vision = VisionModel.from_pretrained(out)
    same(vision.denoiser, parts["unet"])
    same(vision.prompts.text_encoder, parts["text_encoder"])
    assert (vision.prompts.fusion, vision.prompts.text_tokens) == ("text", "all")
    assert isinstance(vision.scheduler, DDPMScheduler)
    assert vision.scheduler.config.beta_end == 0.012
    StableDiffusionPipeline.from_pretrained(out, safety_checker=None)
    assert sample(out, tmp_path).shape == (16, 16)


@pytest.mark.parametrize("open_clip", [False, True], ids=["1.x", "2.x"])
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_stable_diffusion_single_file(sd, tmp_path, capsys, suffix, open_clip):
    folder, parts = sd
    weights = {name: value.contiguous() for name, value in ldm_checkpoint(parts, open_clip).items()}
    path = tmp_path / f"model{suffix}"
    if suffix == ".ckpt":
        torch.save({"state_dict": weights, "global_step": 3}, path)
    else:
        save_file(weights, path)
    vision = VisionModel.from_pretrained(convert("sd", path, tmp_path / "out", "--config", folder))
    same(vision.denoiser, parts["unet"])
    same(vision.autoencoder, parts["vae"])
    same(vision.prompts.text_encoder, parts["text_encoder"])
    printed = capsys.readouterr().out
    assert f"SD's U-Net: all {len(parts['unet'].state_dict())} tensors loaded" in printed
    assert "left out: 2 tensors of training (betas, model_ema.decay)" in printed
    weights.pop("model.diffusion_model.out.2.bias")
    torch.save(weights, tmp_path / "cut.ckpt")
    with pytest.raises(ValueError, match=r"cut.ckpt: expected SD's U-Net, .* missing: conv_out.bias"):
        convert("sd", tmp_path / "cut.ckpt", tmp_path / "cut", "--config", folder)
    assert not (tmp_path / "cut").exists()


def lightning(weights):
    """A checkpoint as Lightning 1.8 writes it."""
    return {
        "epoch": 9,
        "global_step": 10,
        "pytorch-lightning_version": "1.8.3.post0",
        "state_dict": weights,
        "loops": {},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.zeros(())}},
        "optimizer_states": [{"state": {0: {"step": torch.zeros(())}}, "param_groups": [{"lr": 5e-5}]}],
        "lr_schedulers": [],
    }


def cxr_irgen_weights(parts, denoiser):
    """The frozen parts under the names of diffusers 0.14 and transformers 4.28."""
    weights = dict(denoiser)
    for name, value in parts["vae"].state_dict().items():
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            name = name.replace(f".{new}.", f".{old}.")
        weights[f"vae.{name}"] = value
    for name, value in parts["text_encoder"].state_dict().items():
        weights[f"text_encoder.text_model.{name}"] = value
    weights["text_encoder.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return weights


def test_cxr_irgen_stable_diffusion(sd, clip_vision, tmp_path):
    folder, parts = sd
    unet = {f"unet.{name}": value for name, value in parts["unet"].state_dict().items()}
    path = tmp_path / "epoch=9-val_loss=0.012.ckpt"
    torch.save(lightning(cxr_irgen_weights(parts, unet)), path)
    flags = ["--config", folder, "--reference-encoder", clip_vision]
    vision = VisionModel.from_pretrained(convert("cxr-irgen", path, tmp_path / "out", *flags))
    for model, name in ((vision.denoiser, "unet"), (vision.autoencoder, "vae")):
        same(model, parts[name])
    assert (vision.prompts.fusion, vision.prompts.text_tokens) == ("concat", "all")
    assert sample(tmp_path / "out", tmp_path).shape == (16, 16)


class CxrIrgenUViT(torch.nn.Module):
    """CXR-IRGen's forward, whose tokens are (context, time, patches), over our blocks' arithmetic."""

    def __init__(self, model, text_embed, pos_embed):
        super().__init__()
        self.model, self.text_embed, self.pos_embed = model, text_embed, pos_embed

    def forward(self, latents, timesteps, context):
        model, width = self.model, self.model.config.embed_dim
        rates = torch.exp(-np.log(10000.0) * torch.arange(width // 2) / (width // 2))
        angles = timesteps[:, None] * rates
        time = torch.cat([angles.cos(), angles.sin()], dim=1)[:, None]
        x = torch.cat([self.text_embed(context), time, model.patch_embed(latents)], dim=1) + self.pos_embed
        skips = []
        for block in model.in_blocks:
            x = block(x)
            skips.append(x)
        x = model.mid_block(x)
        for block in model.out_blocks:
            x = block(x, skips.pop())
        x = model.decoder_pred(model.norm(x))[:, 2:]
        side, patch, channels = 4, model.config.patch_size, model.config.in_channels
        x = x.reshape(-1, side, side, patch, patch, channels).permute(0, 5, 1, 3, 2, 4)
        return model.final_layer(x.reshape(-1, channels, side * patch, side * patch))


@pytest.mark.usefixtures("float64")
def test_cxr_irgen_uvit(sd, clip_vision, tmp_path):
    """The order of its extra tokens is another than ours: the outputs must agree all the same."""
    folder, parts = sd
    torch.manual_seed(1)
    model = scatter(UViT(8, 4, 2, 64, 3, 1, context_dim=WIDTH))
    text_embed, positions = torch.nn.Linear(WIDTH, 64), torch.randn(1, 2 + 16, 64)
    theirs = {f"uvit.text_embed.{name}": value for name, value in text_embed.state_dict().items()}
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("context_embed")}
    theirs |= {f"uvit.uvit.{name}": value for name, value in {**own, "pos_embed": positions}.items()}
    torch.save(lightning(cxr_irgen_weights(parts, theirs)), tmp_path / "uvit.ckpt")
    flags = ["--config", folder, "--reference-encoder", clip_vision]
    vision = VisionModel.from_pretrained(
        convert("cxr-irgen", tmp_path / "uvit.ckpt", tmp_path / "out", *flags)
    )
    latents, context, timesteps = torch.randn(2, 4, 8, 8), torch.randn(2, 1, WIDTH), torch.tensor([5, 900])
    with torch.no_grad():
        expected = CxrIrgenUViT(model, text_embed, positions)(latents, timesteps, context)
        torch.testing.assert_close(vision.denoiser(latents, timesteps, context).sample, expected)
    assert vision.prompts.fusion == "mean"
    with pytest.raises(ValueError, match=r"expected a CXR-IRGen checkpoint.*found ema.decay"):
        convert_cxr_irgen({**theirs, "ema.decay": torch.zeros(1)}, tmp_path, str(folder), (None, None))


def test_monai_bundle_draws(sd, tmp_path):
    """A bundle folder becomes a model that sample_pairs.py takes, with the bundle's schedule."""
    folder, _ = sd
    bundle = tmp_path / "bundle"
    (bundle / "models").mkdir(parents=True)
    (bundle / "configs").mkdir()
    (bundle / "configs" / "inference.json").write_text(json.dumps(INFERENCE))
    torch.save(monai_autoencoder_weights(), bundle / "models" / "autoencoder.pth")
    unet = monai_unet_weights()
    for name in unet:
        if "attn2.to_k" in name or "attn2.to_v" in name:
            unet[name] = torch.randn(unet[name].shape[0], WIDTH)
    torch.save(unet, bundle / "models" / "diffusion_model.pth")
    out = convert("monai", bundle, tmp_path / "out", "--text-encoder", folder)
    vision = VisionModel.from_pretrained(out)
    scheduler = vision.scheduler.config
    assert (scheduler.prediction_type, scheduler.beta_start, scheduler.beta_end) == (
        "v_prediction",
        0.0015,
        0.0205,
    )
    assert vision.image_size == 256  # latents of 64, three levels
    alone = convert("monai", bundle / "models" / "autoencoder.pth", tmp_path / "autoencoder")
    same(AutoencoderKL.from_pretrained(alone), vision.autoencoder)


def test_uvit_authors_weights(tmp_path, capsys):
    pytest.importorskip("vision_module.weights.uvit")
    weights = scatter(UViT(8, 4, 2, 64, 3, 1, context_dim=WIDTH)).state_dict()
    weights = {name: value for name, value in weights.items() if not name.startswith("context_embed")}
    weights["label_emb.weight"] = torch.randn(1001, 64)
    torch.save(weights, tmp_path / "uvit.pth")
    out = convert("uvit", tmp_path / "uvit.pth", tmp_path / "out", "--context-dim", WIDTH)
    model = UViT.from_pretrained(out)
    assert torch.equal(model.mid_block.attn.qkv.weight, weights["mid_block.attn.qkv.weight"])
    assert "label_emb.weight left out" in capsys.readouterr().out


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_wrong_files_are_named_and_run_nothing(sd, tmp_path, capsys):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(
        ValueError, match=r"evil.ckpt: expected weights of sd, found a file that cannot be read"
    ):
        convert("sd", tmp_path / "evil.ckpt", tmp_path / "out")
    assert "code ran" not in capsys.readouterr().out
    torch.save({"classifier.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    for source, expected in (
        ("sd", "expected a Stable Diffusion checkpoint in LDM names"),
        ("cxr-irgen", "expected a CXR-IRGen checkpoint"),
        ("monai", "expected a MONAI DiffusionModelUNet"),
    ):
        flags = [] if source != "cxr-irgen" else ["--reference-encoder", sd[0]]
        if source == "cxr-irgen":
            with pytest.raises(ValueError, match=expected):
                convert_cxr_irgen(read_weights(tmp_path / "resnet.pth", "w"), tmp_path, "", (None, None))
            continue
        with pytest.raises(ValueError, match=rf"resnet.pth: {expected}.*classifier.weight"):
            convert(source, tmp_path / "resnet.pth", tmp_path / "out", *flags)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list.pth: expected weights, found a list"):
        read_weights(tmp_path / "list.pth", "weights")
    with pytest.raises(ValueError, match=r"no such file"):
        convert("uvit", tmp_path / "missing.pth", tmp_path / "out")
    with pytest.raises(ValueError, match=r"--out .* is there already"):
        convert("sd", sd[0], tmp_path)
