"""The baseline: image encoders, mapping networks, GPT-2 and BioGPT decoders, and its two stages."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from torchxrayvision.models import DenseNet
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BioGptConfig,
    BioGptForCausalLM,
    CLIPConfig,
    CLIPModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

import train_report_gpt
from data_module.demo.source import write_demo
from data_module.film_check import FilmCheck
from language_module.config import DecodingConfig, GPTSize, MappingConfig
from language_module.image_encoder import ImageEncoder, build_densenet, build_vit
from language_module.report_gpt import ReportGPT, build_gpt, load_decoder
from language_module.tokenizer import train_tokenizer

REPORTS = [
    "FINDINGS: The heart is enlarged. IMPRESSION: Cardiomegaly.",
    "FINDINGS: Small left pleural effusion. IMPRESSION: Effusion, possibly with atelectasis.",
    "IMPRESSION: No acute disease.",
]
MAPPINGS = [MappingConfig("linear"), MappingConfig("perceiver", 3, 1, 2)]
TRAIN = ["--num-steps", "3", "--batch-size", "4", "--warmup-steps", "1", "--num-validation-batches", "1"]
TINY = ["--vocab-size", "400", "--dim", "32", "--depth", "1", "--num-heads", "2", "--num-prefix", "4"]


def make_model(mapping=MAPPINGS[1], decoder=None, max_tokens=48):
    torch.manual_seed(0)
    encoder = build_vit(image_size=32, patch_size=8, dim=16, depth=1, num_heads=2)
    tokenizer = train_tokenizer(REPORTS, 400, max_tokens)
    decoder = decoder or build_gpt(GPTSize(dim=32, depth=2, num_heads=2), len(tokenizer), 80)
    return ReportGPT(encoder, decoder, tokenizer, mapping, max_tokens).eval()


def test_padding_may_be_token_zero():
    model = make_model()
    model.tokenizer.pad_token = "<s>"
    assert model.tokenizer.pad_token_id == 0
    other = ReportGPT(model.encoder, model.decoder, model.tokenizer, MAPPINGS[1], 48)
    assert other.tokenize(["one two three", "one"])[0][1, -1] == 0
    model.tokenizer.pad_token = None  # as GPT-2's
    ended = ReportGPT(model.encoder, model.decoder, model.tokenizer, MAPPINGS[1], 48)
    assert ended.pad_token_id == model.tokenizer.eos_token_id


def make_biogpt():
    config = BioGptConfig(
        vocab_size=400,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=80,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BioGptForCausalLM(config)


@pytest.fixture(scope="module")
def films():
    return torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def loss_by_hand(model, film, report):
    """One report, word by word: cross-entropy of each token after the prefix and the words before it."""
    ids = [*model.tokenizer(report, add_special_tokens=False)["input_ids"], model.tokenizer.eos_token_id]
    prefix = model.mapping(model.encoder(film[None]))
    total = 0.0
    for place, token in enumerate(ids):
        words = model.decoder.get_input_embeddings()(torch.tensor([ids[:place]], dtype=torch.long))
        logits = model.decoder(inputs_embeds=torch.cat([prefix, words], dim=1)).logits[0, -1]
        total += functional.cross_entropy(logits, torch.tensor(token)).item()
    return total, len(ids)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("make_decoder", [lambda: None, make_biogpt], ids=["gpt2", "biogpt"])
@pytest.mark.parametrize("mapping", MAPPINGS, ids=["linear", "perceiver"])
@torch.no_grad()
def test_loss_is_the_cross_entropy_of_real_tokens(films, mapping, make_decoder):
    model = make_model(mapping, make_decoder())
    sums = [loss_by_hand(model, film, report) for film, report in zip(films, REPORTS, strict=True)]
    wanted = sum(total for total, _ in sums) / sum(count for _, count in sums)
    ids, mask = model.tokenize(REPORTS)
    assert model(films, ids, mask).item() == pytest.approx(wanted, rel=1e-4)
    wide = functional.pad(ids, (0, 5), value=model.pad_token_id), functional.pad(mask, (0, 5))
    assert model(films, *wide).item() == pytest.approx(wanted, rel=1e-4)


def test_learns_to_tell_films_apart_and_survives_saving(films, tmp_path):
    model = make_model()
    ids, mask = model.tokenize(REPORTS)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = model(films, ids, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    features = model.encoder(films).detach()
    assert model.write(features) == REPORTS
    assert model.write(features.flip(0), DecodingConfig("beam", num_beams=2)) == REPORTS[::-1]
    generators = [torch.Generator().manual_seed(place) for place in range(3)]
    assert len(model.write(features, DecodingConfig("sample"), generators)) == 3

    model.save_pretrained(tmp_path)
    loaded = ReportGPT.from_pretrained(tmp_path)
    assert torch.equal(loaded(films, ids, mask), model(films, ids, mask))
    assert loaded.write(features) == REPORTS
    # The decoder's folder is a plain one.
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "decoder")
    assert torch.equal(plain(ids).logits, model.decoder(ids).logits)
    assert AutoTokenizer.from_pretrained(tmp_path / "decoder").eos_token == "</s>"
    with pytest.raises(ValueError, match=r"no report_gpt\.json"):
        ReportGPT.from_pretrained(tmp_path / "decoder")


def test_frozen_encoder_does_not_move(films):
    """Neither its weights nor, in a ResNet, its running statistics."""
    config = ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    model = make_model()
    encoder = ImageEncoder(ResNetForImageClassification(config).base_model, 32)
    model = ReportGPT(encoder, model.decoder, model.tokenizer, MAPPINGS[1], 48)
    model.freeze_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model.train()
    model(films, *model.tokenize(REPORTS)).backward()
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert all(weight.grad is None for weight in encoder.parameters())
    encoder.requires_grad_(True)
    model.train()(films, *model.tokenize(REPORTS)).backward()
    assert any(not torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def save_image_model(kind, folder):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    if kind == "vit":
        ViTForImageClassification(ViTConfig(**sizes, image_size=32, patch_size=8)).save_pretrained(folder)
        return (16, 4, 4)
    if kind == "clip":
        vision = {**sizes, "image_size": 32, "patch_size": 16}
        text = {**sizes, "vocab_size": 50, "max_position_embeddings": 8}
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
        return (16, 2, 2)
    config = ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ResNetForImageClassification(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    ViTImageProcessor(size=size, image_mean=[0.5], image_std=[0.5]).save_pretrained(folder)
    return (16, 4, 4)


@pytest.mark.parametrize("kind", ["vit", "clip", "resnet"])
def test_encoders_from_folders(kind, films, tmp_path):
    shape = save_image_model(kind, tmp_path / "there")
    encoder = ImageEncoder.from_pretrained(tmp_path / "there").eval()
    assert encoder.feature_shape == shape
    assert encoder.image_size == 32
    with torch.no_grad():
        features = encoder(films)
        states = encoder.model(
            pixel_values=films.expand(-1, 1 if kind == "resnet" else 3, -1, -1)
        ).last_hidden_state
        encoder.save_pretrained(tmp_path / "again")
        assert torch.equal(ImageEncoder.from_pretrained(tmp_path / "again")(films), features)
    if kind != "resnet":  # the class token is left out, and patches keep their rows and columns
        assert torch.equal(features[0, :, 1, 0], states[0, 1 + shape[2]])
    assert encoder(torch.zeros(1, 1, 50, 40)).shape == (1, *shape)


@pytest.mark.usefixtures("float64")
def test_torchxrayvision_encoder(tmp_path):
    torch.manual_seed(0)
    densenet = DenseNet(num_classes=18).eval()
    encoder = build_densenet({**densenet.state_dict(), "op_threshs": torch.zeros(18)})
    assert encoder.feature_shape == (1024, 7, 7)
    film = torch.rand(1, 1, 224, 224) * 2 - 1
    with torch.no_grad():
        pooled = encoder(film).mean(dim=(2, 3))
        torch.testing.assert_close(pooled, densenet.features2(film * 1024.0))
        encoder.save_pretrained(tmp_path)
        assert torch.equal(ImageEncoder.from_pretrained(tmp_path)(film).mean(dim=(2, 3)), pooled)
    with pytest.raises(ValueError, match="not the weights of a torchxrayvision DenseNet"):
        build_densenet({"classifier.bias": torch.zeros(3)})


def test_bad_input_is_named(tmp_path):
    model = make_model()
    with pytest.raises(ValueError, match="--max-tokens 78: must be 2 to 77"):
        make_model(max_tokens=78)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"--encoder .*an image model is needed"):
        ImageEncoder.from_pretrained(tmp_path / "decoder")
    with pytest.raises(ValueError, match=r"--encoder .*neither a model folder"):
        ImageEncoder.from_pretrained(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"--decoder .*neither a GPT-2"):
        load_decoder(str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="--num-heads 3"):
        build_gpt(GPTSize(dim=32, num_heads=3), 400, 64)


def test_long_reports_are_cut():
    model = make_model(max_tokens=16)
    ids, mask = model.tokenize(["word " * 5000, "short"])
    assert ids.shape == (2, 16)
    assert ids[0, -1] == model.tokenizer.eos_token_id
    assert mask[1].sum() < 16


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Data, and runs of both stages; the second with a learning rate of 0."""
    root = tmp_path_factory.mktemp("gpt")
    write_demo(root / "data", num_studies=30, size=32, num_workers=1)
    save_image_model("vit", root / "vit")
    common = ["--data", f"{root}/data", *TRAIN, *TINY, "--max-tokens", "48", "--mapping-heads", "2"]
    train_report_gpt.main([*common, "--encoder", f"{root}/vit", "--out", f"{root}/one"])
    second = [*common, "--stage", "2", "--init-from", f"{root}/one"]
    train_report_gpt.main([*second, "--learning-rate", "0", "--weight-decay", "0", "--out", f"{root}/two"])
    return root, second


def weights(run):
    return {
        path.relative_to(run).as_posix(): load_file(path)
        for path in sorted((run / "model").rglob("*.safetensors"))
    }


def test_stage_1_leaves_the_encoder_and_stage_2_starts_from_stage_1(stages):
    root, _ = stages
    one, two, vit = (
        weights(root / "one"),
        weights(root / "two"),
        load_file(root / "vit" / "model.safetensors"),
    )
    encoder = one["model/encoder/model.safetensors"]
    for name, value in encoder.items():
        assert torch.equal(value, vit[f"vit.{name}"]), name
    assert one.keys() == two.keys()
    assert "model/film_check.safetensors" in one
    for file in one:
        for name in one[file]:
            assert torch.equal(one[file][name], two[file][name]), (file, name)


def test_stage_2_trains_the_encoder_too(stages, tmp_path):
    root, second = stages
    train_report_gpt.main([*second, "--learning-rate", "0.01", "--out", f"{tmp_path}/moved"])
    before, after = weights(root / "one"), weights(tmp_path / "moved")
    for file in (
        "model/encoder/model.safetensors",
        "model/mapping.safetensors",
        "model/decoder/model.safetensors",
    ):
        assert any(not torch.equal(before[file][name], after[file][name]) for name in before[file]), file
    assert FilmCheck.load(tmp_path / "moved" / "model") is not None
    line = json.loads((tmp_path / "moved" / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["validation_loss"] > 0


def test_stages_are_asked_for_properly(stages, tmp_path):
    root, second = stages
    with pytest.raises(ValueError, match="stage 2 needs --init-from"):
        train_report_gpt.main(["--stage", "2", "--data", f"{root}/data", "--out", f"{tmp_path}/x"])
    with pytest.raises(ValueError, match=r"--init-from .*no such folder"):
        train_report_gpt.main([*second, "--init-from", f"{tmp_path}/none", "--out", f"{tmp_path}/x"])
    assert not (tmp_path / "x").exists()
