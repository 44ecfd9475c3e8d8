"""The domain CLIP: text and films in one space. A stock transformers `CLIPModel` folder."""

import json
import re
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import nn
from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from data_module.images import normalize_images
from runtime.files import reading
from runtime.weights import load_pretrained
from vision_module.config import NUM_TOKENS, ClipConfig
from vision_module.read_out import read_out_loss

BOS, EOS, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"
WORD_END = "</w>"
TRAINING_WORDS = "training_words"  # a name of our own in tokenizer_config.json


def train_clip_tokenizer(texts: Iterable[str], vocab_size: int) -> CLIPTokenizer:
    """CLIP's byte-level BPE with 77 tokens, learned from the texts: the same texts give the same tokens.

    An unknown character gets a token of its own: CLIP's default, <|endoftext|>, would end the text there.
    The words of the texts go along in tokenizer_config.json, through every folder that the tokenizer is saved
    to: a model that learned from these texts alone knows no others, though it has tokens for their letters.
    """
    texts = list(texts)
    every_character = " ".join(string.ascii_lowercase + string.digits + string.punctuation)
    corpus = [*texts, every_character]
    specials = [BOS, EOS, UNKNOWN]
    # The trainer numbers the letters that end a word in no fixed order, and breaks ties by these numbers.
    # Given as its first tokens they are in order; which ones there are, a first training tells.
    seen = _train_bpe(corpus, vocab_size, specials)["vocab"]
    endings = sorted(token for token in seen if token.endswith(WORD_END) and len(token) == len(WORD_END) + 1)
    trained = _train_bpe(corpus, vocab_size, [*specials, *endings])
    tokenizer = CLIPTokenizer(
        vocab=trained["vocab"],
        merges=[tuple(pair) for pair in trained["merges"]],  # pyright: ignore[reportArgumentType]  # of pairs
        unk_token=UNKNOWN,
        model_max_length=NUM_TOKENS,
    )
    tokenizer.init_kwargs[TRAINING_WORDS] = sorted(set(find_words(texts)))
    return tokenizer


def _train_bpe(corpus: list[str], vocab_size: int, first_tokens: list[str]) -> dict[str, Any]:
    """Vocabulary and merges of a BPE that splits texts as CLIP does."""
    clip = CLIPTokenizer().backend_tokenizer
    bpe = Tokenizer(BPE(end_of_word_suffix=WORD_END))
    bpe.normalizer, bpe.pre_tokenizer = clip.normalizer, clip.pre_tokenizer
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=first_tokens,
        initial_alphabet=ByteLevel.alphabet(),
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    bpe.train_from_iterator(corpus, trainer)
    return json.loads(bpe.to_str())["model"]


def find_words(texts: Iterable[str]) -> list[str]:
    """The words of the texts in order, in lower case as CLIP reads them, without digits."""
    return [word for text in texts for word in re.findall(r"[^\W\d_]+", text.lower())]


def build_clip(config: ClipConfig, tokenizer: CLIPTokenizer | None, image_size: int) -> CLIPModel:
    """A new CLIP for this tokenizer, or the one that `init_from` names."""
    if config.init_from:
        return load_pretrained(CLIPModel, config.init_from).train()
    if image_size % config.patch_size:
        raise ValueError(f"--image-size {image_size} is not a multiple of --patch-size {config.patch_size}")
    tower = {
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": max(1, config.width // 32),
        "hidden_act": "gelu",
        "projection_dim": config.width,
    }
    text = {
        **tower,
        "vocab_size": len(tokenizer) if tokenizer else config.vocab_size,
        "max_position_embeddings": NUM_TOKENS,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    vision = {**tower, "image_size": image_size, "patch_size": config.patch_size}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=config.width))


def make_processor(model: CLIPModel, init_from: str) -> CLIPImageProcessor:
    """The image processor that goes with the model, saved beside it for plain transformers."""
    if init_from:
        with reading(init_from, "its image processor"):
            return CLIPImageProcessor.from_pretrained(init_from)
    size = model.vision_model.config.image_size
    if not isinstance(size, int):
        raise ValueError("the image encoder takes films that are not square")
    half = [0.5, 0.5, 0.5]
    return CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=half,
        image_std=half,
    )


def load_tokenizer(folder: str | Path) -> CLIPTokenizer:
    """The tokenizer beside a CLIP model, limited to the tokens that the model has positions for."""
    with reading(folder, "its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = min(tokenizer.model_max_length, NUM_TOKENS)
    return tokenizer


def clip_pixels(images: torch.Tensor, processor: CLIPImageProcessor) -> torch.Tensor:
    """Images (B, 1, S, S) in [-1, 1] -> pixel_values (B, 3, s, s), normalized as the processor says."""
    side = processor.crop_size["height"]
    if images.shape[-1] != side:
        images = F.interpolate(images, size=(side, side), mode="bicubic", antialias=True).clamp(-1, 1)
    mean = torch.tensor(processor.image_mean, device=images.device)[None, :, None, None]
    std = torch.tensor(processor.image_std, device=images.device)[None, :, None, None]
    return normalize_images(images, mean, std)


class ContrastiveLoss(nn.Module):
    """CLIP's symmetric cross-entropy, and the findings read off each embedding.

    Prompt sentences repeat (one for each set of findings), so the plain loss would push a film away from
    its own text; equal texts of a batch share the target, as in UniCL (Yang et al., CVPR 2022). On a few
    thousand films the contrast alone learns slowly; a linear read-out of the findings from both projected
    embeddings makes them say what is on the film (labels as supervision of a medical CLIP: Wang et al.,
    MedCLIP, EMNLP 2022). The projection is linear, so the pooled states that prompts use say it as well.

    Args:
        findings_weight: on the read-outs' cross-entropy; 0 is CLIP alone. The read-outs are not saved.
        controls_weight: the same for `data_module.controls`: what a prompt may ask beyond its findings.
    """

    def __init__(
        self,
        clip: CLIPModel,
        num_findings: int,
        findings_weight: float,
        num_controls: int = 0,
        controls_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.weights = {"findings": findings_weight, "controls": controls_weight}
        width = clip.visual_projection.out_features
        self.readers = nn.ModuleDict(
            {
                f"{end}_{name}": nn.Linear(width, number)
                for name, number in (("findings", num_findings), ("controls", num_controls))
                for end in ("text", "film")
                if self.weights[name]
            }
        )

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        findings: torch.Tensor,
        text_controls: torch.Tensor | None = None,
        film_controls: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Losses of a batch.

        Args:
            pixel_values: (B, 3, s, s).
            input_ids, attention_mask: (B, T).
            findings: (B, F) in 0..1, the chance that each is present.
            text_controls, film_controls: (B, C) in 0..1, or below 0: the text, or the row, does not say. Not
                needed where controls have no weight.
        """
        output = self.clip(input_ids=input_ids, attention_mask=attention_mask, pixel_values=pixel_values)
        logits = output.logits_per_text.float()
        equal = (input_ids[:, None] == input_ids[None]).all(dim=-1).float()
        target = equal / equal.sum(dim=1, keepdim=True)
        contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        accuracy = equal.gather(1, logits.argmax(dim=1)[:, None]).mean()
        losses = {"loss": contrast, "contrast": contrast, "accuracy": accuracy}
        # transformers puts the projected embedding in the place of the pooled state here.
        towers = {"text": output.text_model_output, "film": output.vision_model_output}
        targets = {
            ("text", "findings"): findings,
            ("film", "findings"): findings,
            ("text", "controls"): text_controls,
            ("film", "controls"): film_controls,
        }
        for name, reader in self.readers.items():
            end, kind = name.split("_")
            target = targets[end, kind]
            assert target is not None
            losses[name] = read_out_loss(reader(towers[end].pooler_output).float(), target)
            losses["loss"] = losses["loss"] + self.weights[kind] * losses[name]
        return losses
