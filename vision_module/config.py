"""Settings of the vision models: what the scripts' flags are made of. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.config import setting

Fusion = Literal["concat", "mean", "text"]
TextTokens = Literal["all", "pooled", "facts"]
Criterion = Literal["least-squares", "hinge"]
NUM_TOKENS = 77


@dataclass(frozen=True)
class AutoencoderConfig:
    """Architecture of an `AutoencoderKL` trained from scratch."""

    init_from: str = ""
    """Run of train_autoencoder.py, or folder or hub name of an AutoencoderKL, to fine-tune; empty trains
    from scratch. Its shape and its scaling factor are kept, so a denoiser trained on it still fits."""
    decoder_only: bool = False
    """Train the decoder alone, so that latents, and denoisers trained on them, stay as they are: for sharper
    films by a stronger adversary afterwards. Needs --init-from."""
    latent_channels: int = 4
    """Channels of the latents."""
    block_out_channels: tuple[int, ...] = (16, 32, 64)
    """Channels of each level; every level but the last halves the size."""
    layers_per_block: int = 1
    """Residual blocks a level."""
    mid_block_attention: bool = False
    """Self-attention at the smallest level."""
    norm_num_groups: int = 0
    """Groups of the group norms; 0 takes a quarter of the first level's channels, 32 at most."""

    @property
    def downsampling(self) -> int:
        """Pixels to a latent cell, on each side."""
        return 2 ** (len(self.block_out_channels) - 1)


@dataclass(frozen=True)
class AutoencoderLossConfig:
    """Weights of the losses, on films in [-1, 1]; at weight 0 a loss is at most shown."""

    l1_weight: float = 1.0
    """Weight of the L1 of pixels."""
    mse_weight: float = 0.0
    """Weight of the mean squared error of pixels."""
    edge_weight: float = 0.5
    """Weight of the L1 of neighboring pixels' differences."""
    kl_weight: float = 1e-3
    """Weight of the KL to a standard normal, in nats per image pixel."""
    perceptual_weight: float = 0.0
    """Weight of the distance in the features of --perceptual."""
    perceptual: str = ""
    """Run of train_classifier.py, a convolutional transformers classifier, timm:NAME:FILE (a timm network,
    weights from a file), or squeeze:FILE, alex:FILE or vgg:FILE, LPIPS on torchvision's ImageNet weights."""
    perceptual_scale: int = 1
    """Films are enlarged so many times for these features: networks that learned on larger pictures see the
    grain of small films only so."""
    adversarial_weight: float = 0.0
    """Weight of a patch discriminator's judgment."""
    adversarial_from: int = 0
    """Optimizer step from which on the discriminator learns and counts."""
    adversarial_criterion: Criterion = "least-squares"
    """The discriminator's loss."""
    discriminator: str = ""
    """Network whose features the discriminator judges by, named as in --perceptual (Projected GANs, arXiv
    2111.01007); empty judges patches of pixels."""
    discriminator_channels: int = 64
    """Channels of the discriminator's first layer, or of its heads on features."""
    discriminator_layers: int = 3
    """Layers after the first; three see patches of 70x70 pixels. For patches of pixels alone."""
    discriminator_rate: float = 1.0
    """Learning rate of the discriminator, as a factor of --learning-rate."""

    def check(self, image_size: int) -> None:
        """Raise ValueError for a perceptual weight without features, or films too small to discriminate."""
        if self.perceptual_weight and not self.perceptual:
            raise ValueError(
                f"--perceptual-weight {self.perceptual_weight} needs --perceptual: a run of "
                "train_classifier.py, or squeeze:FILE with torchvision's weights"
            )
        if self.perceptual_scale < 1:
            raise ValueError(
                f"--perceptual-scale {self.perceptual_scale}: films are enlarged 1 or more times"
            )
        smallest = 3 * 2**self.discriminator_layers
        if self.adversarial_weight and not self.discriminator and image_size < smallest:
            raise ValueError(
                f"--discriminator-layers {self.discriminator_layers} needs films of {smallest} pixels or "
                f"more, --image-size is {image_size}: use fewer layers"
            )


@dataclass(frozen=True)
class ClipConfig:
    """Architecture of a CLIP trained from scratch."""

    init_from: str = ""
    """Folder or hub name of a CLIPModel to fine-tune; empty trains from scratch."""
    vocab_size: int = 2048
    """Size of the tokenizer trained on the reports."""
    width: int = 128
    """Width of both transformers; equal, so that pooled text and reference can be fused."""
    num_layers: int = 3
    """Layers of each transformer."""
    patch_size: int = 8
    """Pixels of a vision patch."""


@dataclass(frozen=True)
class ResNetSize:
    """Size of the ResNet. Its first convolution and pooling divide the film's side by 4."""

    embedding_size: int = 32
    """Channels of the stem."""
    hidden_sizes: tuple[int, ...] = (32, 64, 128, 192)
    """Channels of the stages; the last is the number of features that FID and KID see."""
    depths: tuple[int, ...] = (1, 1, 1, 1)
    """Blocks of the stages."""
    layer_type: Literal["basic", "bottleneck"] = "basic"
    """Kind of block."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training film. No flip: the heart has a side."""

    shift: float = 0.04
    """Largest shift, as a fraction of the side."""
    scale: float = 0.05
    """Largest change of size, as a fraction."""
    rotation: float = 4.0
    """Largest rotation, degrees."""
    brightness: float = 0.1
    """Largest addition to pixel values in [-1, 1]."""
    contrast: float = 0.1
    """Largest change of contrast, as a fraction."""
    noise: float = 0.03
    """Largest standard deviation of added noise."""


@dataclass(frozen=True)
class DiffusionConfig:
    """Noise schedule, loss weight and prompting of a denoiser."""

    prediction_type: Literal["epsilon", "v_prediction", "flow"] = "v_prediction"
    """What the denoiser predicts: the noise (SD 1.4), the velocity (Salimans and Ho, 2022), or the velocity
    of straight paths from film to noise, which have no betas (flow matching; SiT, Ma et al., 2024)."""
    time_sampling: Literal["uniform", "logit-normal"] = "uniform"
    """Noise levels in training with flow: all alike, or the middle ones more often (SD3, Esser et al., 2024,
    eq. 19 at mean 0 and deviation 1)."""
    beta_schedule: Literal["scaled_linear", "linear"] = "scaled_linear"
    """How beta grows: its root linearly (Stable Diffusion), or itself (DDPM)."""
    beta_start: float = 0.00085
    """First beta (Stable Diffusion's values)."""
    beta_end: float = 0.012
    """Last beta."""
    zero_terminal_snr: bool = False
    """Rescale the betas so that the last noise level is pure noise (Lin et al., 2024); v-prediction only."""
    min_snr_gamma: float = 0.0
    """Clip the loss's weight at this signal-to-noise ratio (Hang et al., 2023: 5); 0 weighs all alike."""
    fusion: Fusion = "mean"
    """Text and reference: concat (a further token), mean (of the pooled two) or text alone."""
    text_tokens: TextTokens = "pooled"
    """Context from all text tokens, from the pooled one, or from the pooled one and what the labeler reads
    from the text: a token for each finding with its sides and grades, and one of sex, view and age
    (data_module/prompt_facts.py)."""
    drop_prompt: float = 0.1
    """Share of items trained without text and reference, so that guidance has a trained null."""
    drop_reference: float = 0.1
    """Share of the other items trained without reference, so that text alone works too."""


@dataclass(frozen=True)
class AlignmentConfig:
    """Alignment of the denoiser with a frozen encoder (REPA)."""

    repa: str = ""
    """Encoder of the films: run of train_classifier.py, a convolutional transformers classifier, or
    timm:NAME:FILE. Empty trains without alignment."""
    repa_weight: float = 0.5
    """Weight of the alignment's loss."""
    repa_level: int = -1
    """Level of the encoder whose maps are aligned with; -1 is its last, which knows most of what is shown."""
    repa_scale: int = 2
    """Films are enlarged so many times for the encoder, whose maps would else be coarser than the tokens."""
    repa_side: int = 8
    """Places of the maps on each side; tokens are averaged to them where there are more."""


@dataclass(frozen=True)
class UNetConfig:
    """Which U-Net."""

    init_from: str = ""
    """Stable Diffusion run, folder or hub name whose U-Net is fine-tuned; empty trains from scratch."""
    unet_config: Path | None = None
    """config.json of a diffusers U-Net to train from scratch, in the place of the sizes below."""
    block_out_channels: tuple[int, ...] = (64, 128)
    """Channels of each level; every level but the last halves the size."""
    layers_per_block: int = 1
    """Residual blocks a level."""
    num_heads: int = 4
    """Attention heads of every level but the first, which has no attention."""


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters in the place of full fine-tuning."""

    lora: bool = False
    """Train adapters of the U-Net's attention; every other weight stays as it is."""
    lora_rank: int = 16
    """Rank of the U-Net's adapters."""
    lora_alpha: int = 32
    """Their scale is alpha / rank."""
    lora_dropout: float = 0.1
    """Dropout before them."""
    lora_rate_factor: float = 0.3
    """Their learning rate, as a share of --learning-rate."""
    lora_weight_decay: float = 0.25
    """Their weight decay."""
    lora_text_encoder: bool = False
    """Train adapters of the text encoder's attention too; texts are then encoded in every step."""
    text_rank: int = 8
    """Rank of the text encoder's adapters."""
    text_alpha: int = 16
    """Their scale is alpha / rank."""
    text_dropout: float = 0.05
    """Dropout before them."""
    text_rate_factor: float = 0.05
    """Their learning rate, as a share of --learning-rate."""
    text_weight_decay: float = 0.08
    """Their weight decay."""
    lora_export: Literal["merged", "adapter"] = "merged"
    """Save a whole merged model, or the adapters alone beside the names of the models they belong to."""


def check_lora(config: LoraConfig, init_from: str) -> None:
    """Raise ValueError for flags that have no meaning without others."""
    if config.lora_text_encoder and not config.lora:
        raise ValueError("--lora-text-encoder goes with --lora")
    if config.lora and not init_from:
        raise ValueError("--lora adapts a trained U-Net: pass --init-from FOLDER")


@dataclass(frozen=True)
class DrawingConfig:
    """How films are drawn from the noise."""

    solver: str = "dpm-solver++"
    """dpm-solver++, ddim, pndm, unipc or euler; with a flow model dpm-solver++, unipc, euler or heun; with a
    student of distill_diffusion.py few-step."""
    num_inference_steps: int = 15
    """Steps of the solver."""
    guidance_scale: float = 3.0
    """Classifier-free guidance; 1 is the conditional model alone."""
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """LOW HIGH: guidance acts at noise levels between these; 0 is the finished film, 1 pure noise."""
    init_film: Path | None = setting(None, identity=False)
    """Image to image: start every film from this one, noised to the level of --strength."""
    init_from: str = setting("", identity=False)
    """Run of train_text_to_latent.py: start from the latents that it reads off each prompt."""
    strength: float = 0.8
    """Share of the steps taken from --init-film or --init-from; less keeps more of the start, and 0 decodes
    the start as it is: the film of the text-to-latent baseline."""
    mixed_precision: Literal["auto", "no", "bf16"] = "auto"
    """Precision of the denoiser, the autoencoder and the prior; auto: bf16 where the device has instructions
    for it, as NVIDIA's GPUs and most servers' processors do."""
    compile: bool = False
    """Compile the denoiser and the decoder (torch.compile; on a CPU it needs a C++ compiler): a minute or so
    at the start, for many films."""
    truncate_prompts: bool = False
    """Use the beginning of a prompt that is longer than the text encoder reads."""
    spectrum: Path | None = setting(None, identity=False)
    """File of `python -m data_module spectrum`: films are made as sharp as real ones at each spatial
    frequency."""

    def __post_init__(self) -> None:
        low, high = self.guidance_interval
        for flag, wrong, need in (
            (f"num-inference-steps {self.num_inference_steps}", self.num_inference_steps < 1, "at least 1"),
            (f"guidance-interval {low} {high}", not 0 <= low < high <= 1, "0 <= LOW < HIGH <= 1"),
            (f"strength {self.strength}", not 0 <= self.strength <= 1, "0 to 1"),
        ):
            if wrong:
                raise ValueError(f"--{flag}: must be {need}")
        if self.init_film and self.init_from:
            raise ValueError("pass --init-film or --init-from, not both")
        if not (self.strength or self.init_film or self.init_from):
            raise ValueError("--strength 0 decodes the start as it is: pass --init-film or --init-from")
