"""Language module: the report codec (report <-> K report embeddings)."""

from language_module.build import BartSize, build_bart, build_codec, load_bart, truncated_share
from language_module.codec import CodecConfig, ReportCodec
from language_module.data import ReportSource
from language_module.decoding import DecodingConfig
from language_module.denoising import NO_DENOISING, Denoising
from language_module.tokenizer import normalize_report, train_tokenizer

__all__ = [
    "NO_DENOISING",
    "BartSize",
    "CodecConfig",
    "DecodingConfig",
    "Denoising",
    "ReportCodec",
    "ReportSource",
    "build_bart",
    "build_codec",
    "load_bart",
    "normalize_report",
    "train_tokenizer",
    "truncated_share",
]
