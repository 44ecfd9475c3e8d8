"""Train a denoiser on cached latents and prompts: the part that clipSD and clipUViT share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from data_module.pairs import PairsFolder
from data_module.sections import warn_of_blanks
from data_module.splits import count_train_rows, fold_pairs
from data_module.text_columns import text_columns
from runtime.processes import is_main
from runtime.runs import RunFolder, model_source
from runtime.weights import load_pretrained
from training.config import with_epochs
from training.dry_run import describe_run
from training.loop import fit
from training.optimizer import ParameterGroup
from vision_module.adapters import add_adapters
from vision_module.alignment import AlignedDenoiser, encode_targets
from vision_module.config import LoraConfig
from vision_module.denoiser_config import ENCODER_RUNS, DenoiserConfig
from vision_module.denoiser_data import make_sources
from vision_module.diffusion import PromptedDenoiser, make_objective, make_scheduler
from vision_module.encoding import encode_latents
from vision_module.pipeline import Sources, VisionModel, load_prompts
from vision_module.prompting import num_context_tokens
from vision_module.uvit import UViT
from vision_module.validation import FilmMetrics, FilmScorer

Build = Callable[[int, int, int, int], UViT | UNet2DConditionModel]


def describe_denoiser(config: DenoiserConfig, build: Build | None, frozen: bool = False) -> None:
    """Print what a run would be (--dry-run).

    Args:
        build: makes the denoiser; None where its size is not known.
        frozen: adapters are trained, and not the denoiser.
    """
    (channels, *_), width = config.dry_run_latents, config.dry_run_width
    diffusion = config.diffusion
    tokens = num_context_tokens(diffusion.fusion, diffusion.text_tokens, config.num_tokens)
    models = {"denoiser": lambda: build(channels, config.dry_run_latents[1], width, tokens)} if build else {}
    sizes = {"latents": f"(B, {config.dry_run_latents})", "context": f"(B, {tokens}, {width})"}
    sizes |= {} if build else {"denoiser": "of the size of --init-from"}

    def forward(denoiser: UViT | UNet2DConditionModel) -> object:
        made = denoiser.config  # what stands for published weights has sizes of its own
        latents = torch.zeros(1, made["in_channels"], made["sample_size"], made["sample_size"])
        context = torch.zeros(1, tokens, made.get("cross_attention_dim") or width)
        return denoiser(latents, torch.zeros(1), encoder_hidden_states=context)

    describe_run(
        config,
        models,
        bool(config.train.ema_decay),
        () if frozen else ("denoiser",),
        sizes,
        {"denoiser": forward},
        lambda: count_train_rows(config.data, config.folds),
    )


def train_denoiser(
    config: DenoiserConfig,
    kind: str,
    build: Build,
    lora: LoraConfig | None = None,
    init_from: str = "",
    metrics: FilmMetrics | None = None,
) -> None:
    """Encode what is not cached yet, then train and save the whole vision model.

    Args:
        kind: "clipSD" or "clipUViT".
        build: (in_channels, sample_size, context_dim, num_context_tokens) -> denoiser.
        lora: with `lora.lora`, adapters are trained in the place of the denoiser.
        init_from: folder or hub name of the pipeline whose U-Net the adapters belong to.
        metrics: further scores of the films drawn in validation.
    """
    lora = lora or LoraConfig()
    pairs = PairsFolder.open(config.data)
    autoencoder_dir = model_source(config.autoencoder, "autoencoder", "--autoencoder")
    clip_dir = model_source(config.clip, ENCODER_RUNS, "--clip")
    reference_dir = clip_dir
    if config.reference_encoder:
        reference_dir = model_source(config.reference_encoder, ENCODER_RUNS, "--reference-encoder")
    diffusion = config.diffusion
    scheduler = make_scheduler(diffusion)
    prompts = load_prompts(
        clip_dir, reference_dir, diffusion.fusion, diffusion.text_tokens, config.num_tokens
    ).requires_grad_(False)
    run = RunFolder.create(config.out, kind, config, config.overwrite)
    texts = text_columns(pairs, config.texts)
    if is_main():
        learned = texts[pairs.split_rows("train")]
        warn_of_blanks(learned[learned != ""].tolist(), "training texts")
    cache = config.cache or config.out.parent / "cache"
    latents = encode_latents(pairs, autoencoder_dir, cache, config.image_size)
    targets = None
    if config.alignment.repa:
        targets = encode_targets(pairs, config.alignment, cache, config.image_size)
    pairs = fold_pairs(pairs, config.folds)  # after the encoding, whose latents serve every fold
    source = f"{clip_dir}+{reference_dir}"
    trained_text = lora.lora and lora.lora_text_encoder
    if diffusion.text_tokens == "facts" and (config.num_sentences or trained_text):
        raise ValueError("--text-tokens facts are read off whole texts beforehand: not with --num-sentences")
    sources = make_sources(
        pairs,
        latents,
        prompts,
        source,
        config.texts,
        texts,
        cache,
        config.num_sentences,
        trained_text,
        targets,
    )

    torch.manual_seed(config.train.seed)
    channels, sample_size = latents["latents_mean"].shape[1:3]
    denoiser = build(channels, sample_size, prompts.width, prompts.num_context_tokens)
    groups: Sequence[ParameterGroup] = ()
    if lora.lora:
        assert isinstance(denoiser, UNet2DConditionModel)
        groups = add_adapters(denoiser, prompts.text_encoder, lora)
    if config.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
        if trained_text:
            prompts.text_encoder.gradient_checkpointing_enable({"use_reentrant": False})
    model, null_text = denoiser, prompts.encode_texts([""])
    if config.num_sentences or trained_text:
        model, null_text = PromptedDenoiser(denoiser, prompts), prompts.tokenize([""])

    if targets is not None:
        width = denoiser.config.get("embed_dim") or denoiser.config["block_out_channels"][-1]
        model = AlignedDenoiser(model, denoiser, width, targets.means)

    def make_vision(model: nn.Module) -> VisionModel:
        model = model.model if isinstance(model, AlignedDenoiser) else model
        trained = model.denoiser if isinstance(model, PromptedDenoiser) else model
        assert isinstance(trained, UViT | UNet2DConditionModel)
        return VisionModel(load_pretrained(AutoencoderKL, autoencoder_dir), trained, prompts, scheduler)

    def save(model: nn.Module, folder: Path) -> None:
        vision = make_vision(model)
        if lora.lora and lora.lora_export == "adapter":
            vision.save_adapter(folder, Sources(init_from, autoencoder_dir, clip_dir, reference_dir))
        else:
            vision.save_pretrained(folder)

    objective = make_objective(diffusion, null_text, config.alignment.repa_weight)
    score = None
    if config.scores.score_films:
        score = FilmScorer(make_vision, pairs.split("validation"), config.scores, metrics)
    length = with_epochs(config.train, config.num_epochs, len(sources[0]))
    fit(model, objective, *sources, length, run, save, groups, score)
