"""Text and reference encoders of every kind against the library they come from, on tiny models."""

import json

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel, BertTokenizer, CLIPModel

from vision_module.clip import build_clip, clip_pixels, make_processor, train_clip_tokenizer
from vision_module.config import ClipConfig
from vision_module.encoders import (
    encode_pixels,
    encode_tokens,
    image_width,
    load_image_encoder,
    load_text_encoder,
)

open_clip = pytest.importorskip("open_clip")
TEXTS = ["A chest x ray image with cardiomegaly", "no pneumothorax."]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "chest", "x", "ray", "image", "with", "no"]


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    """A BERT as ClinicalBERT is published: BertModel weights and a WordPiece tokenizer."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def write_open_clip(folder, model, model_config):
    """A folder as OpenCLIP publishes them."""
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    half = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    config = {"model_cfg": model_config, "preprocess_cfg": half}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return str(folder)


@pytest.fixture(scope="module")
def native_folder(tmp_path_factory):
    """OpenCLIP's own towers, as in ViT-B-32."""
    vision = {"image_size": 32, "layers": 2, "width": 128, "patch_size": 16}
    text = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    model = open_clip.CLIP(16, vision, text)
    return write_open_clip(tmp_path_factory.mktemp("native"), model, config)


@pytest.fixture(scope="module")
def biomed_folder(tmp_path_factory, bert_folder):
    """BiomedCLIP's towers: a BERT from the hub with its [CLS] state, and a timm ViT."""
    vision = {
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    }
    text = {
        "hf_model_name": str(bert_folder),
        "hf_tokenizer_name": str(bert_folder),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "hf_model_pretrained": False,
        "context_length": 24,
    }
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(16, vision, text)
    folder = tmp_path_factory.mktemp("biomed")
    for path in bert_folder.iterdir():  # the published folder has the tokenizer's files beside the weights
        if path.name.startswith(("tokenizer", "vocab", "special")):
            (folder / path.name).write_bytes(path.read_bytes())
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    return write_open_clip(folder, model, config)


def ids_of(tokenizer, texts=TEXTS):
    return tokenizer(
        texts,
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    ).input_ids


@pytest.mark.usefixtures("float64")
@torch.no_grad()
def test_bert_masks_its_padding_and_pools_at_cls(bert_folder):
    model, tokenizer = load_text_encoder(str(bert_folder), 16)
    token_ids = ids_of(tokenizer)
    assert token_ids.shape == (2, 16)
    states, pooled = encode_tokens(model, token_ids)
    plain = BertModel.from_pretrained(bert_folder).double().eval()
    short = tokenizer(TEXTS[1], return_tensors="pt")
    expected = plain(**short).last_hidden_state
    torch.testing.assert_close(states[1:, : expected.shape[1]], expected)
    torch.testing.assert_close(pooled[1:], expected[:, 0])
    with pytest.raises(ValueError, match="is a bert model and has no image encoder"):
        load_image_encoder(str(bert_folder))


@pytest.mark.usefixtures("float64")
@torch.no_grad()
def test_native_open_clip_keeps_its_outputs(native_folder, tmp_path):
    """transformers' towers give OpenCLIP's own projected features, from OpenCLIP's own tokens."""
    original = open_clip.create_model(f"local-dir:{native_folder}").double().eval()
    model, tokenizer = load_text_encoder(native_folder)
    token_ids = ids_of(tokenizer)
    assert torch.equal(token_ids, open_clip.get_tokenizer(f"local-dir:{native_folder}")(TEXTS))
    _, pooled = encode_tokens(model, token_ids)
    torch.testing.assert_close(pooled @ original.text_projection, original.encode_text(token_ids))
    image_model, processor = load_image_encoder(native_folder)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = encode_pixels(image_model, pixels)
    assert features.shape == (2, image_width(image_model)) == (2, 128)
    torch.testing.assert_close(image_model.visual_projection(features), original.encode_image(pixels))
    assert tuple(processor.image_mean) == (0.48, 0.46, 0.41)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, stock = load_text_encoder(str(tmp_path))
    assert torch.equal(ids_of(stock), token_ids)
    torch.testing.assert_close(encode_tokens(again, token_ids)[1], pooled)


@pytest.mark.usefixtures("float64")
@torch.no_grad()
def test_biomedclip_keeps_its_outputs(biomed_folder, tmp_path):
    original = open_clip.create_model(f"local-dir:{biomed_folder}").double().eval()
    model, tokenizer = load_text_encoder(biomed_folder, 24)
    assert isinstance(model, BertModel)
    token_ids = ids_of(tokenizer)
    assert torch.equal(token_ids, open_clip.get_tokenizer(f"local-dir:{biomed_folder}")(TEXTS))
    _, pooled = encode_tokens(model, token_ids)
    torch.testing.assert_close(original.text.proj(pooled), original.encode_text(token_ids))
    image_model, _ = load_image_encoder(biomed_folder)
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    features = encode_pixels(image_model, pixels)
    assert features.shape == (2, image_width(image_model))
    torch.testing.assert_close(original.visual.head(features), original.encode_image(pixels))
    image_model.save_pretrained(tmp_path)
    image_model.config.to_dict()
    from transformers import AutoModel

    again = AutoModel.from_pretrained(tmp_path).double().eval()
    torch.testing.assert_close(encode_pixels(again, pixels), features)


@pytest.mark.usefixtures("float64")
@torch.no_grad()
def test_a_clip_folder_is_read_by_halves(tmp_path):
    tokenizer = train_clip_tokenizer(TEXTS * 10, 300)
    clip = build_clip(ClipConfig(width=32, num_layers=1, patch_size=16), tokenizer, 32).eval()
    for part in (clip, tokenizer, make_processor(clip, "")):
        part.save_pretrained(tmp_path)
    model, loaded = load_text_encoder(str(tmp_path))
    assert loaded.model_max_length == 77
    token_ids = ids_of(loaded)
    plain = CLIPModel.from_pretrained(tmp_path).double().eval()
    torch.testing.assert_close(encode_tokens(model, token_ids)[1], plain.text_model(token_ids).pooler_output)
    image_model, processor = load_image_encoder(str(tmp_path))
    pixels = clip_pixels(torch.zeros(1, 1, 32, 32), processor)
    torch.testing.assert_close(
        encode_pixels(image_model, pixels), plain.vision_model(pixel_values=pixels).pooler_output
    )
    with pytest.raises(ValueError, match=r"--num-tokens 99: .* has 77 positions"):
        load_text_encoder(str(tmp_path), 99)
    assert AutoTokenizer.from_pretrained(tmp_path).vocab_size == loaded.vocab_size


def test_a_folder_of_nothing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no text encoder \(no config.json"):
        load_text_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="is a gpt2 model and has no text encoder that is known here"):
        load_text_encoder(str(tmp_path))
