"""Language module: the report codec (report <-> K report embeddings) and the image-to-GPT baseline."""

from language_module.build import BartSize, build_bart, build_codec, load_bart, truncated_share
from language_module.codec import CodecConfig, ReportCodec
from language_module.data import ReportFilmSource, ReportSource
from language_module.decoding import DecodingConfig
from language_module.denoising import NO_DENOISING, Denoising
from language_module.image_encoder import ImageEncoder, build_densenet, build_vit, encode_features
from language_module.report_gpt import GPTSize, MappingConfig, ReportGPT, build_gpt, load_decoder
from language_module.tokenizer import normalize_report, train_tokenizer

__all__ = [
    "NO_DENOISING",
    "BartSize",
    "CodecConfig",
    "DecodingConfig",
    "Denoising",
    "GPTSize",
    "ImageEncoder",
    "MappingConfig",
    "ReportCodec",
    "ReportFilmSource",
    "ReportGPT",
    "ReportSource",
    "build_bart",
    "build_codec",
    "build_densenet",
    "build_gpt",
    "build_vit",
    "encode_features",
    "load_bart",
    "load_decoder",
    "normalize_report",
    "train_tokenizer",
    "truncated_share",
]
