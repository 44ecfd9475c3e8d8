"""Published weights of any kind -> a model of ours."""

from diffusers import DDPMScheduler, ModelMixin
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from runtime.files import read_json
from runtime.weights import load_pretrained, read_weights
from vision_module.pipeline import VisionModel
from vision_module.prompting import Prompts
from vision_module.weights.config import ConversionConfig
from vision_module.weights.monai import MonaiConfig, convert_autoencoder, convert_unet
from vision_module.weights.sd import build_uvit, convert_cxr_irgen, convert_single_file, read_pipeline
from vision_module.weights.uvit import load_published


def convert(config: ConversionConfig) -> tuple[VisionModel | ModelMixin, list[str]]:
    """The model of the file, and lines that account for its tensors."""
    if config.source == "monai":
        return convert_monai(config)
    if config.source == "sd" and config.file.is_dir():
        return read_pipeline(str(config.file)), []
    weights = read_weights(config.file, f"weights of {config.source}")
    if config.source == "sd":
        return convert_single_file(weights, config.file, config.config)
    if config.source == "cxr-irgen":
        name = config.reference_encoder
        encoder = (
            load_pretrained(CLIPVisionModelWithProjection, name),
            CLIPImageProcessor.from_pretrained(name),
        )
        return convert_cxr_irgen(weights, config.file, config.config, encoder)
    model = build_uvit(weights, config.file, config.context_dim)
    return model, [load_published(model, config.file)]


def convert_monai(config: ConversionConfig) -> tuple[VisionModel | ModelMixin, list[str]]:
    """A bundle as a model that text prompts; one of its two files as that model alone."""
    bundle = config.file if config.file.is_dir() else config.file.parent.parent
    settings = bundle / "configs" / "inference.json"
    inference = read_json(settings) if settings.is_file() else {}
    shape = MonaiConfig.from_bundle(inference) if inference else MonaiConfig()
    if config.file.is_file():
        weights = read_weights(config.file, "weights of a MONAI bundle")
        if any(name.startswith("encoder.blocks.") for name in weights):
            return convert_autoencoder(weights, config.file, shape, config.scale_factor), []
        return convert_unet(weights, config.file, shape, sample_size=64), []
    paths = [config.file / "models" / name for name in ("autoencoder.pth", "diffusion_model.pth")]
    autoencoder_weights, unet_weights = (read_weights(path, "weights of a MONAI bundle") for path in paths)
    autoencoder = convert_autoencoder(autoencoder_weights, paths[0], shape, config.scale_factor)
    unet = convert_unet(unet_weights, paths[1], shape, sample_size=64)
    schedule = inference.get("scheduler", {})
    scheduler = DDPMScheduler(
        num_train_timesteps=schedule.get("num_train_timesteps", 1000),
        beta_start=schedule.get("beta_start", 0.0015),
        beta_end=schedule.get("beta_end", 0.0205),
        beta_schedule="scaled_linear",
        prediction_type=schedule.get("prediction_type", "v_prediction"),
        clip_sample=False,
        steps_offset=1,  # as any schedule of a StableDiffusionPipeline, which sets it where it is 0
    )
    text_encoder = load_pretrained(CLIPTextModel, config.text_encoder, subfolder="text_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(config.text_encoder, subfolder="tokenizer")
    prompts = Prompts(text_encoder, tokenizer, None, None, "text", "all")
    lines = [
        f"{path.name}: all {len(found)} tensors mapped"
        for path, found in zip(paths, (autoencoder_weights, unet_weights), strict=True)
    ]
    return VisionModel(autoencoder, unet, prompts, scheduler), lines
