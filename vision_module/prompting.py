"""Prompts: a sentence and a reference film become the context of the denoiser.

CXR-IRGen (WACV 2024, sec. 3.2): the pooled CLIP embedding of the reference film is appended to the text
tokens (Stable Diffusion, fusion `concat`) or averaged with the pooled text (U-ViT, fusion `mean`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from transformers import CLIPImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

from data_module.prompt_facts import NUM_FACT_TOKENS, read_facts, split_facts
from vision_module.clip import TRAINING_WORDS, clip_pixels, find_words
from vision_module.config import NUM_TOKENS, Fusion, TextTokens
from vision_module.encoders import encode_pixels, encode_tokens, image_width

# Facts are 0, 1 and -1; values of a pooled text are of about this size, and what is small is learned late.
FACT_SCALE = 4.0


def num_context_tokens(fusion: Fusion, text_tokens: TextTokens, num_tokens: int = NUM_TOKENS) -> int:
    """Tokens T of the context (B, T, D), of which a text has up to `num_tokens`."""
    length = {"all": num_tokens, "pooled": 1, "facts": 1 + NUM_FACT_TOKENS}[text_tokens]
    return length + 1 if fusion == "concat" else length


def check_fusion(fusion: Fusion, text_tokens: TextTokens) -> None:
    """Raise ValueError for a fusion that has no meaning with these text tokens."""
    if fusion == "mean" and text_tokens != "pooled":
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
    """The encoders of the prompt, and how their outputs are fused.

    Args:
        image_encoder: None where fusion is `text`: no reference film is read then.
    """

    text_encoder: PreTrainedModel
    image_encoder: PreTrainedModel | None
    feature_extractor: CLIPImageProcessor | None
    fusion: Fusion
    text_tokens: TextTokens

    def __init__(
        self,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_encoder: PreTrainedModel | None,
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
            widths = text_encoder.config.hidden_size, image_width(image_encoder)
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

    @property
    def width(self) -> int:
        """Width D of the context."""
        return self.text_encoder.config.hidden_size

    @property
    def reference_size(self) -> int:
        """Side in pixels of the reference films; 0 with fusion `text`, which reads none."""
        return self.feature_extractor.crop_size["height"] if self.feature_extractor else 0

    @property
    def num_context_tokens(self) -> int:
        """Tokens T of the context."""
        return num_context_tokens(self.fusion, self.text_tokens, self.tokenizer.model_max_length)

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

    def unknown_words(self, sentences: Sequence[str]) -> list[str]:
        """The words that a text encoder trained from scratch here never met; none for any other encoder."""
        known = self.tokenizer.init_kwargs.get(TRAINING_WORDS)
        return [word for word in dict.fromkeys(find_words(sentences)) if word not in known] if known else []

    def tokenize(self, sentences: Sequence[str]) -> torch.Tensor:
        """Sentences -> token ids (B, L), padded or cut to the length that the text encoder reads."""
        return self.tokenizer(
            list(sentences),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    def _cut_padding(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Token ids (B, L) up to the end of the longest text.

        A CLIP is causal and pools at the end of a text; other encoders keep their padding.
        """
        if self.text_encoder.config.model_type != "clip_text_model":
            return token_ids
        ends = torch.eq(token_ids, torch.as_tensor(self.tokenizer.eos_token_id)).int().argmax(dim=1)
        return token_ids[:, : int(ends.max()) + 1]

    def encode_tokens(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Token ids (B, L) -> text (B, L, D): all states, or (B, 1, D): the pooled one. With gradients."""
        states, pooled = encode_tokens(self.text_encoder, token_ids)
        return states if self.text_tokens == "all" else pooled.unsqueeze(1)

    @torch.no_grad()
    def encode_texts(self, sentences: Sequence[str], facts: np.ndarray | None = None) -> torch.Tensor:
        """Sentences -> text (B, L, D): all tokens, or the pooled one, with facts those behind it.

        Args:
            facts: what `read_facts` read of the sentences, where it is known.
        """
        token_ids = self.tokenize(sentences)
        if self.text_tokens != "all":
            token_ids = self._cut_padding(token_ids)
        text = self.encode_tokens(token_ids.to(self.device))
        if self.text_tokens != "facts":
            return text
        told = split_facts(read_facts(sentences) if facts is None else facts, self.width)
        return torch.cat([text, FACT_SCALE * torch.from_numpy(told).to(text)], dim=1)

    @torch.no_grad()
    def encode_references(self, images: torch.Tensor) -> torch.Tensor:
        """Reference images (B, 1, S, S) in [-1, 1] -> pooled embeddings (B, D), unprojected."""
        if self.image_encoder is None or self.feature_extractor is None:
            raise ValueError(f"fusion {self.fusion} has no encoder of reference films")
        pixel_values = clip_pixels(images.to(self.device), self.feature_extractor)
        return encode_pixels(self.image_encoder, pixel_values)

    def null_context(self) -> torch.Tensor:
        """The context (1, T, D) of no prompt at all, which the denoiser saw whenever a prompt was dropped."""
        return fuse(self.encode_texts([""]), None, self.fusion)

    def encode(self, sentences: Sequence[str], references: torch.Tensor | None) -> torch.Tensor:
        """Sentences and reference images (B, 1, S, S) or None -> context (B, T, D)."""
        text = self.encode_texts(sentences)
        embeddings = None
        if references is not None and self.fusion != "text":
            embeddings = self.encode_references(references)
        return fuse(text, embeddings, self.fusion)
