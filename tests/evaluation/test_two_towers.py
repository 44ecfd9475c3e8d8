"""Films and texts by models with two towers: BioViL-T and BioViL of the published form, SigLIP, open_clip."""

import json

import numpy as np
import pytest
import torch
from helpers.biovil_folder import BIOVIL, BIOVIL_T, WORDS, write_images, write_texts
from PIL import Image
from torch.nn import functional
from torchvision import transforms
from transformers import BertTokenizerFast, SiglipConfig, SiglipImageProcessor, SiglipModel

from evaluation.networks.biovil import prepare_film
from evaluation.networks.extractors import open_extractor
from evaluation.networks.two_towers import open_two_towers
from evaluation.protocol.chexgenbench import score_alignment
from evaluation.protocol.sets import PromptedFilms

TEXTS = ["No edema.", "small left effusion", "", "no edema " * 40]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A dark film that is wide, one that is high, and one that is no film."""
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    paths = []
    for number, (height, width) in enumerate(((60, 90), (600, 530))):
        coarse = Image.fromarray(rng.integers(20, 180, (12, 12), dtype=np.uint8))
        coarse.resize((width, height)).save(folder / f"{number}.png")
        paths.append(folder / f"{number}.png")
    (folder / "none.png").write_bytes(b"none")
    return [*paths, folder / "none.png"]


def see(path, crop):
    """As hi-ml reads a film: gray levels stretched, the shorter side 512, the middle, three channels."""
    pixels = np.asarray(Image.open(path)).astype(float)
    pixels -= pixels.min()
    pixels /= pixels.max()
    pixels *= 255
    steps = [transforms.Resize(512), transforms.CenterCrop(crop), transforms.ToTensor()]
    film = transforms.Compose(steps)(Image.fromarray(pixels.astype(np.uint8)))
    return torch.repeat_interleave(film, 3, dim=0)[None]


@pytest.mark.parametrize(
    ("name", "temporal", "crop"),
    [
        (BIOVIL_T, True, 448),
        (BIOVIL, False, 480),
    ],
)
def test_biovil_films_are_embedded_as_published(name, temporal, crop, films, tmp_path):
    write_texts(tmp_path)
    embed = write_images(tmp_path, temporal)
    towers = open_two_towers(str(tmp_path))
    assert towers.kind == ("biovil-t" if temporal else "biovil")
    found = towers.embed_films(films, None, 2, "")
    assert np.isnan(found[2]).all()
    for path, row in zip(films[:2], found, strict=False):
        np.testing.assert_allclose(row, embed(see(path, crop)), rtol=1e-3, atol=1e-4)
    assert not np.allclose(found[0], found[1], atol=1e-3)
    prompts = TEXTS[:2]
    made = PromptedFilms(films[:2], prompts, np.zeros((2, 14), bool))
    figure = score_alignment(str(tmp_path), made, torch.device("cpu"))
    cosines = (found[:2] * towers.embed_texts(prompts)[0]).sum(axis=1)
    assert figure.value == pytest.approx(cosines.mean(), abs=1e-5)
    assert figure.comparable == temporal  # the benchmark's is BioViL-T
    assert figure.name == f"image-text alignment ({'BioViL-T' if temporal else 'biovil'})"
    extractor = open_extractor(str(tmp_path))  # --features takes the folder too
    assert extractor.image_size == crop
    state = torch.load(tmp_path / name)
    del state["projector.model.1.running_mean"]
    torch.save(state, tmp_path / name)
    with pytest.raises(ValueError, match=r"--clip .*missing: projector\.model\.1\.running_mean"):
        open_two_towers(str(tmp_path))


@pytest.fixture(scope="module")
def biovil(tmp_path_factory):
    folder = tmp_path_factory.mktemp("biovil")
    texts = write_texts(folder)
    write_images(folder, True)
    return folder, *texts


def test_biovil_texts_are_embedded_as_published(biovil):
    """The first token through the head; full stops at the end go, long texts are cut and counted."""
    folder, bert, head = biovil
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    found, num_cut = open_two_towers(str(folder)).embed_texts(TEXTS)
    assert num_cut == 1
    assert np.isnan(found[2]).all()
    for place in (0, 1, 3):
        text = TEXTS[place].rstrip("!?.")
        tokens = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            x = bert.bert(**tokens).last_hidden_state[:, 0]
            x = head["LayerNorm"](functional.gelu(head["dense_to_hidden"](x)))
            expected = functional.normalize(head["dense_to_output"](x), dim=1)[0].numpy()
        np.testing.assert_allclose(found[place], expected, rtol=1e-4, atol=1e-5)


def test_another_text_model_is_refused(biovil, tmp_path):
    for file in biovil[0].iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "pytorch_model.bin").unlink()
    state = torch.load(biovil[0] / "pytorch_model.bin")
    torch.save({k: v for k, v in state.items() if "cls_projection" not in k}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"expected CXR-BERT \(bert\.\*, cls_projection_head\.\*\)"):
        open_two_towers(str(tmp_path))


def test_a_film_of_one_gray_is_no_division_by_zero():
    assert prepare_film(np.full((9, 7), 80, np.uint8), 448).max() == 0


def test_siglip_sees_full_texts(films, tmp_path):
    """Its texts are filled up to its length, as it was trained; films and texts as its model embeds them."""
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    text = {**tiny, "vocab_size": len(WORDS), "max_position_embeddings": 12, "projection_size": 16}
    config = SiglipConfig(text_config=text, vision_config={**tiny, "image_size": 32, "patch_size": 16})
    model = SiglipModel(config).eval()
    model.save_pretrained(tmp_path)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(str(tmp_path / "vocab.txt"), model_max_length=12)
    tokenizer.save_pretrained(tmp_path)
    towers = open_two_towers(str(tmp_path))
    found, num_cut = towers.embed_texts(TEXTS)
    assert (towers.kind, num_cut) == ("siglip", 1)
    tokens = tokenizer(TEXTS[1], padding="max_length", max_length=12, return_tensors="pt")
    with torch.no_grad():
        out = model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    expected = functional.normalize(getattr(out, "pooler_output", out), dim=1)[0]
    np.testing.assert_allclose(found[1], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert towers.embed_films(films, None, 2, "").shape == (3, found.shape[1])


def test_open_clip_texts(films, tmp_path):
    open_clip = pytest.importorskip("open_clip")
    from safetensors.torch import save_file

    vision = {"layers": 1, "width": 16, "head_width": 8, "patch_size": 16, "image_size": 32}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = open_clip.CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text).eval()
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    towers = open_two_towers(f"open-clip:{tmp_path}")
    found, num_cut = towers.embed_texts(TEXTS)
    assert num_cut == 1
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")([TEXTS[1]])
    with torch.no_grad():
        expected = functional.normalize(model.encode_text(tokens), dim=1)[0]
    np.testing.assert_allclose(found[1], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert towers.embed_films(films, None, 2, "").shape == (3, 8)


def test_a_model_without_texts_is_refused(tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28}
    Dinov2Model(Dinov2Config(patch_size=14, **sizes)).save_pretrained(tmp_path)
    SiglipImageProcessor(size={"height": 28, "width": 28}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"--clip .*Dinov2Model has no text tower"):
        open_two_towers(str(tmp_path))
