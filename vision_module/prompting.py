"""Prompts: a sentence and a reference film become the context of the denoiser.

CXR-IRGen (WACV 2024, sec. 3.2): the pooled CLIP embedding of the reference film is appended to the text
tokens (Stable Diffusion, fusion `concat`) or averaged with the pooled text (U-ViT, fusion `mean`).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from vision_module.clip import clip_pixels

Fusion = Literal["concat", "mean", "text"]
TextTokens = Literal["all", "pooled"]


def num_context_tokens(fusion: Fusion, text_tokens: TextTokens, num_tokens: int = 77) -> int:
    """Tokens T of the context (B, T, D)."""
    length = num_tokens if text_tokens == "all" else 1
    return length + 1 if fusion == "concat" else length


def check_fusion(fusion: Fusion, text_tokens: TextTokens) -> None:
    """Raise ValueError for a fusion that has no meaning with these text tokens."""
    if fusion == "mean" and text_tokens == "all":
        raise ValueError("--fusion mean averages two pooled embeddings: it needs --text-tokens pooled")


def fuse(
    text: torch.Tensor, reference: torch.Tensor | None, fusion: Fusion, keep: torch.Tensor | None = None
) -> torch.Tensor:
    """Text (B, L, D) and reference (B, D) -> context (B, T, D).

    Args:
        reference: None = no reference film: a zero token with `concat`, the text alone with `mean`.
        keep: (B,) bool, False = this item has no reference.
    """
    if fusion == "text":
        return text
    if reference is None:
        reference = text.new_zeros(text.shape[0], text.shape[-1])
        keep = torch.zeros(text.shape[0], dtype=torch.bool, device=text.device)
    if keep is None:
        keep = torch.ones(text.shape[0], dtype=torch.bool, device=text.device)
    reference, keep = reference.to(text.dtype).unsqueeze(1), keep[:, None, None]
    if fusion == "concat":
        return torch.cat([text, reference * keep], dim=1)
    return torch.where(keep, (text + reference) / 2, text)


class Prompts(nn.Module):
    """The frozen encoders of the prompt, and how their outputs are fused."""

    def __init__(
        self,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        image_encoder: CLIPVisionModelWithProjection | None,
        feature_extractor: CLIPImageProcessor | None,
        fusion: Fusion,
        text_tokens: TextTokens,
    ) -> None:
        super().__init__()
        check_fusion(fusion, text_tokens)
        if fusion != "text":
            if image_encoder is None:
                raise ValueError(
                    f"--fusion {fusion} needs a reference encoder: --reference-encoder, or a CLIP"
                )
            widths = text_encoder.config.hidden_size, image_encoder.config.hidden_size
            if widths[0] != widths[1]:
                raise ValueError(
                    f"fusion {fusion}: text width {widths[0]} and reference width {widths[1]} differ; "
                    "use --fusion text or another CLIP"
                )
        self.text_encoder, self.image_encoder = text_encoder.eval(), image_encoder
        self.tokenizer, self.feature_extractor = tokenizer, feature_extractor
        self.fusion, self.text_tokens = fusion, text_tokens
        self.eval()

    @property
    def device(self) -> torch.device:
        return self.text_encoder.device

    def check_length(self, sentences: Sequence[str], names: Sequence[str]) -> None:
        """Raise ValueError for a sentence that the text encoder would cut; `names` say where it came from."""
        limit = self.tokenizer.model_max_length
        for sentence, name in zip(sentences, names, strict=True):
            length = len(self.tokenizer(sentence, verbose=False)["input_ids"])
            if length > limit:
                raise ValueError(
                    f"{name}: {length} tokens ({len(sentence.split())} words), the text encoder reads "
                    f"{limit}: shorten it, or pass --truncate-prompts to use its beginning"
                )

    @torch.no_grad()
    def encode_texts(self, sentences: Sequence[str]) -> torch.Tensor:
        """Sentences -> text (B, L, D): all 77 tokens, or the pooled one."""
        tokens = self.tokenizer(
            list(sentences),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        # As StableDiffusionPipeline does, no attention mask: the padding is part of the context.
        output = self.text_encoder(input_ids=tokens.input_ids)
        if self.text_tokens == "all":
            return output.last_hidden_state
        return output.pooler_output.unsqueeze(1)

    @torch.no_grad()
    def encode_references(self, images: torch.Tensor) -> torch.Tensor:
        """Reference images (B, 1, S, S) in [-1, 1] -> pooled CLIP embeddings (B, D), unprojected."""
        pixel_values = clip_pixels(images.to(self.device), self.feature_extractor)
        output = self.image_encoder.vision_model(pixel_values=pixel_values)
        return output.pooler_output

    def null_context(self) -> torch.Tensor:
        """The context (1, T, D) of no prompt at all, which the denoiser saw whenever a prompt was dropped."""
        return fuse(self.encode_texts([""]), None, self.fusion)

    def encode(
        self, sentences: Sequence[str], references: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sentences and reference images (B, 1, S, S) or None -> context and null context, (B, T, D) each."""
        text = self.encode_texts(sentences)
        embeddings = None
        if references is not None and self.fusion != "text":
            embeddings = self.encode_references(references)
        context = fuse(text, embeddings, self.fusion)
        return context, self.null_context().expand_as(context)
