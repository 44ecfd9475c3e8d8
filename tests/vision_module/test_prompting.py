"""Prompts on a real tiny CLIP: fusion by known answers, null, lengths, tokenizer round trip."""

import pytest
import torch
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel, CLIPTextModel
from transformers import CLIPVisionModelWithProjection as VisionEncoder

from data_module.findings import FINDINGS
from data_module.prompt_facts import read_facts, split_facts
from vision_module.clip import ContrastiveLoss, build_clip, clip_pixels, make_processor, train_clip_tokenizer
from vision_module.config import ClipConfig
from vision_module.prompting import FACT_SCALE, Prompts, fuse, num_context_tokens

TEXTS = [
    "A chest X ray image with cardiomegaly and edema, without fracture",
    "There is a small right pleural effusion.",
    "The heart is enlarged. No pneumothorax.",
]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    tokenizer = train_clip_tokenizer(TEXTS * 10, 400)
    model = build_clip(ClipConfig(width=32, num_layers=1, patch_size=16), tokenizer, 32).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_processor(model, "").save_pretrained(folder)
    return folder


def test_the_same_texts_give_the_same_tokens():
    """A resumed run makes its tokenizer anew. Words of equal counts: every merge is a tie."""
    texts = [f"{first}{second} {second}{first}x{first}" for first in "abcdefgh" for second in "ijklmnop"]
    trained = [train_clip_tokenizer(texts, 500).backend_tokenizer.to_str() for _ in range(4)]
    assert len(set(trained)) == 1


def load_prompts(folder, fusion, text_tokens):
    return Prompts(
        CLIPTextModel.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        VisionEncoder.from_pretrained(folder),
        CLIPImageProcessor.from_pretrained(folder),
        fusion,
        text_tokens,
    )


def test_fuse_known_answers():
    text = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    reference = torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    assert torch.equal(fuse(text, reference, "text"), text)
    assert torch.equal(fuse(text, reference, "mean"), torch.tensor([[[3.0, 4.0]], [[5.0, 6.0]]]))
    keep = torch.tensor([True, False])
    assert torch.equal(fuse(text, reference, "mean", keep), torch.tensor([[[3.0, 4.0]], [[3.0, 4.0]]]))
    concat = fuse(text, reference, "concat", keep)
    assert torch.equal(concat, torch.tensor([[[1.0, 2.0], [5.0, 6.0]], [[3.0, 4.0], [0.0, 0.0]]]))
    assert torch.equal(fuse(text, None, "concat")[:, 1], torch.zeros(2, 2))
    assert torch.equal(fuse(text, None, "mean"), text)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("fusion", "text_tokens"),
    [("concat", "all"), ("text", "all"), ("mean", "pooled"), ("text", "pooled"), ("concat", "pooled")],
)
def test_encode_is_transformers_own_output_fused(clip_folder, fusion, text_tokens):
    """The context comes from plain CLIPModel outputs; the null is the empty text without reference."""
    prompts = load_prompts(clip_folder, fusion, text_tokens).double()
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    context, null = prompts.encode(TEXTS[:2], images), prompts.null_context()
    assert context.shape == (2, num_context_tokens(fusion, text_tokens), 32)
    assert null.shape == (1, *context.shape[1:])
    clip = CLIPModel.from_pretrained(clip_folder).double().eval()
    tokens = prompts.tokenizer(TEXTS[:2], padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        text = clip.text_model(input_ids=tokens.input_ids)
        pixels = clip_pixels(images, prompts.feature_extractor)
        reference = clip.vision_model(pixel_values=pixels).pooler_output
    expected = text.last_hidden_state if text_tokens == "all" else text.pooler_output[:, None]
    torch.testing.assert_close(context, fuse(expected, reference, fusion))
    torch.testing.assert_close(null, prompts.encode([""], None))


@pytest.mark.usefixtures("float64")
def test_facts_stand_behind_the_pooled_text(clip_folder):
    """A token for each finding, and one of sex, view and age; a prompt that says nothing has zeros."""
    pooled, prompts = (load_prompts(clip_folder, "text", kind).double() for kind in ("pooled", "facts"))
    texts = ["Large left effusion, no edema.", "Small left effusion, no edema.", ""]
    context = prompts.encode(texts, None)
    assert context.shape == (3, num_context_tokens("text", "facts"), 32) == (3, 16, 32)
    torch.testing.assert_close(context[:, :1], pooled.encode(texts, None))
    facts = context[:, 1:] / FACT_SCALE
    assert not facts[2].any()
    torch.testing.assert_close(facts, torch.from_numpy(split_facts(read_facts(texts), 32)).double())
    changed = torch.nonzero(facts[0] != facts[1])
    assert changed[:, 0].tolist() == [FINDINGS.index("Pleural Effusion")] * 2  # its grades
    with pytest.raises(ValueError, match="needs --text-tokens pooled"):
        load_prompts(clip_folder, "mean", "facts")


def test_widths_must_agree(clip_folder, tmp_path):
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(clip_folder)
    other = build_clip(ClipConfig(width=64, num_layers=1, patch_size=16), tokenizer, 32)
    other.save_pretrained(tmp_path)
    parts = load_prompts(clip_folder, "text", "all")
    wide = VisionEncoder.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="text width 32 and reference width 64 differ"):
        Prompts(parts.text_encoder, parts.tokenizer, wide, parts.feature_extractor, "concat", "all")
    with pytest.raises(ValueError, match="needs --text-tokens pooled"):
        load_prompts(clip_folder, "mean", "all")


def test_a_long_prompt_is_named_and_counted(clip_folder):
    prompts = load_prompts(clip_folder, "concat", "all")
    prompts.check_length(TEXTS, ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"--prompt: \d+ tokens \(500 words\).*--truncate-prompts"):
        prompts.check_length(["effusion " * 500], ["--prompt"])
    assert prompts.encode_texts(["effusion " * 500]).shape == (1, 77, 32)


def test_tokenizer_keeps_unknown_characters_apart_from_the_end(clip_folder):
    tokenizer = AutoTokenizer.from_pretrained(clip_folder)
    ids = tokenizer(["épanchement ☃ zq9%"])["input_ids"][0]
    assert ids[0] == tokenizer.bos_token_id
    assert ids.index(tokenizer.eos_token_id) == len(ids) - 1
    assert tokenizer.model_max_length == 77


def test_a_tokenizer_from_elsewhere_knows_every_word(clip_folder):
    """What a published CLIP learned from is nowhere written, so nothing is said of its words."""
    prompts = load_prompts(clip_folder, "text", "pooled")
    words = prompts.tokenizer.init_kwargs.pop("training_words")
    assert "effusion" in words
    assert prompts.unknown_words(["qwertz"]) == []


def test_preprocessing_is_the_image_processors(clip_folder):
    """clip_pixels equals the saved CLIPImageProcessor on a film of the right size."""
    import numpy as np
    from PIL import Image

    processor = CLIPImageProcessor.from_pretrained(clip_folder)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    expected = processor(Image.fromarray(pixels).convert("RGB"), return_tensors="pt")["pixel_values"]
    images = torch.as_tensor(pixels)[None, None] / 127.5 - 1
    torch.testing.assert_close(clip_pixels(images, processor), expected, atol=1e-4, rtol=0)


@pytest.mark.usefixtures("float64")
def test_contrastive_loss_by_hand(clip_folder):
    """With distinct texts it is transformers' own clip loss; equal texts share the target."""
    clip = CLIPModel.from_pretrained(clip_folder).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(clip_folder)
    tokens = tokenizer(TEXTS, padding=True, return_tensors="pt")
    pixels, findings = torch.rand(3, 3, 32, 32), torch.tensor([[1.0, 0.0], [0.5, 1.0], [0.0, 0.0]])
    unsaid = torch.full((3, 4), -1.0)
    plain = clip(**tokens, pixel_values=pixels, return_loss=True).loss
    alone = ContrastiveLoss(clip, 2, findings_weight=0.0)
    ours = alone(pixels, tokens.input_ids, tokens.attention_mask, findings, unsaid, unsaid)
    torch.testing.assert_close(ours["loss"], plain)
    same = tokenizer([TEXTS[0]] * 3, padding=True, return_tensors="pt")
    result = alone(pixels, same.input_ids, same.attention_mask, findings, unsaid, unsaid)
    assert result["accuracy"] == 1.0
    # Equal texts have equal logits, so the best a uniform target can reach is log 3 on the text side.
    assert result["loss"] >= torch.log(torch.tensor(3.0)) - 1e-4
    reading = ContrastiveLoss(clip, 2, findings_weight=2.0)
    losses = reading(pixels, tokens.input_ids, tokens.attention_mask, findings, unsaid, unsaid)
    with torch.no_grad():
        pooled = clip.text_model(**tokens).pooler_output
        guess = reading.readers["text_findings"](clip.text_projection(pooled)).sigmoid()
    by_hand = -(findings * guess.log() + (1 - findings) * (1 - guess).log()).mean()
    torch.testing.assert_close(losses["text_findings"], by_hand)
    read = losses["text_findings"] + losses["film_findings"]
    torch.testing.assert_close(losses["loss"], plain + 2.0 * read)


@pytest.mark.usefixtures("float64")
def test_what_a_text_leaves_open_is_not_asked_of_it(clip_folder):
    """Sides and grades count where text, or film, tells them; the mean is over those."""
    clip = CLIPModel.from_pretrained(clip_folder).double().eval()
    tokens = AutoTokenizer.from_pretrained(clip_folder)(TEXTS, padding=True, return_tensors="pt")
    pixels, findings = torch.rand(3, 3, 32, 32), torch.zeros(3, 2)
    told, shown = torch.full((3, 4), -1.0), torch.full((3, 4), -1.0)
    told[0, 1], told[2, 3], shown[1, 0] = 1.0, 0.25, 0.0
    loss = ContrastiveLoss(clip, 2, 0.0, 4, 3.0)
    result = loss(pixels, tokens.input_ids, tokens.attention_mask, findings, told, shown)
    with torch.no_grad():
        text = loss.readers["text_controls"](clip.text_projection(clip.text_model(**tokens).pooler_output))
        film = loss.readers["film_controls"](
            clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output)
        )
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = (entropy(text[0, 1], told[0, 1]) + entropy(text[2, 3], told[2, 3])) / 2
    torch.testing.assert_close(result["text_controls"], expected)
    torch.testing.assert_close(result["film_controls"], entropy(film[1, 0], shown[1, 0]))
    read = result["text_controls"] + result["film_controls"]
    torch.testing.assert_close(result["loss"], result["contrast"] + 3.0 * read)
    assert set(loss.readers) == {"text_controls", "film_controls"}
