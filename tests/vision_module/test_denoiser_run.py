"""Denoisers through their scripts: texts that no cache holds, other text encoders, U-ViT on all tokens."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import BertConfig, BertModel, BertTokenizer

import train_diffusion_clipSD
import train_diffusion_clipUViT
from data_module.item_texts import ItemTexts
from data_module.pairs import PairsFolder
from data_module.text_columns import text_columns
from sample_pairs import main as sample
from vision_module import encoding
from vision_module.config import DiffusionConfig, UNetConfig
from vision_module.denoiser_data import make_sources
from vision_module.diffusion import PromptedDenoiser, make_objective
from vision_module.encoding import encode_latents, encode_prompts
from vision_module.pipeline import VisionModel, load_prompts
from vision_module.unet import build_unet

UNET = ["--block-out-channels", "8", "16", "--num-heads", "2"]


def flags(chain, out, **others):
    values = {
        "data": chain.run("data"),
        "autoencoder": chain.run("autoencoder"),
        "clip": chain.run("clip"),
        "cache": chain.run("cache"),
        "out": out,
        "num-steps": 2,
        "batch-size": 4,
        "warmup-steps": 0,
        **{name.replace("_", "-"): value for name, value in others.items()},
    }
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


def sample_films(chain, vision, out):
    sample([*chain.sample_flags(out, vision=vision, num_pairs=2, batch_size=2), "--films-only"])
    return PairsFolder.open(out)


@pytest.fixture(scope="module")
def parts(chain):
    """Latents, prompt encoders and a U-Net of the chain's sizes."""
    pairs = PairsFolder.open(chain.run("data"))
    clip = chain.run("clip/model")
    prompts = load_prompts(clip, clip, "concat", "all").requires_grad_(False)
    latents = encode_latents(pairs, chain.run("autoencoder/model"), chain.root / "cache", 64)
    torch.manual_seed(0)
    unet = build_unet(UNetConfig(block_out_channels=(8, 16), num_heads=2), 4, 16, prompts.width)
    return pairs, prompts, latents, unet


@torch.no_grad()
def test_tokens_in_the_step_give_the_loss_of_the_cache(chain, parts):
    """The same items and draws through the cache and through the text encoder: one loss, to float16."""
    pairs, prompts, latents, unet = parts
    source, config = f"{chain.run('clip/model')}+x/y", DiffusionConfig(fusion="concat", text_tokens="all")
    fields, losses = text_columns(pairs, ("prompt",)), []
    for tokenized in (False, True):
        cache = chain.root / "cache"
        data, _ = make_sources(
            pairs, latents, prompts, source, ("prompt",), fields, cache, tokenized=tokenized
        )
        batch = data.get_batch(torch.arange(6).numpy(), torch.Generator().manual_seed(1))
        model, null = unet, prompts.encode_texts([""])
        if tokenized:
            model, null = PromptedDenoiser(unet, prompts), prompts.tokenize([""])
        config_loss = make_objective(config, null)(model, batch, torch.Generator().manual_seed(2))
        losses.append(config_loss["loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("text_tokens", ["pooled", "facts"])
def test_cached_texts_are_those_of_their_rows(chain, tmp_path, text_tokens, monkeypatch):
    """Texts that stand twice are encoded once, and empty ones are marked; the second time nothing is.

    Unless facts become other tokens than they were.
    """
    clip, columns = chain.run("clip/model"), ("prompt", "note")
    pairs, prompts = PairsFolder.open(chain.run("data")), load_prompts(clip, clip, "text", text_tokens)
    notes = ["", "Small left effusion.", *["Large right effusion."] * (len(pairs) - 2)]
    pairs = replace(pairs, table=pairs.table.assign(note=notes))
    texts = columns, text_columns(pairs, columns)
    cache = encode_prompts(pairs, prompts, clip, *texts, tmp_path)
    assert len(cache.texts) == pairs.table["prompt"].nunique() + 3
    assert cache.text_index[0, 1] == -1
    assert len(set(cache.text_index[2:, 1])) == 1
    for row, (field, name) in itertools.product((1, 2, 40), enumerate(columns)):
        alone = prompts.encode_texts([pairs.table[name][row]])[0].numpy()
        np.testing.assert_allclose(cache.texts[cache.text_index[row, field]], alone, atol=2e-3, rtol=1e-3)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    encode_prompts(pairs, prompts, clip, *texts, tmp_path)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    monkeypatch.setattr(encoding, "FACT_SCALE", 2.0)
    encode_prompts(pairs, prompts, clip, *texts, tmp_path)
    again = written != {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert again == (text_tokens == "facts")


@pytest.mark.usefixtures("float64")
@torch.no_grad()
@pytest.mark.parametrize("live", [False, True])
def test_the_null_of_sampling_is_the_null_of_training(parts, live):
    """With every prompt dropped, the U-Net is given exactly `Prompts.null_context`."""
    _, prompts, latents, unet = parts
    seen = []
    handle = unet.register_forward_pre_hook(
        lambda module, arguments, options: seen.append(options["encoder_hidden_states"]), with_kwargs=True
    )
    config = DiffusionConfig(fusion="concat", text_tokens="all", drop_prompt=1.0)
    batch = {name: torch.tensor(latents[name][:3]) for name in ("latents_mean", "latents_std")}
    batch["reference"] = torch.randn(3, prompts.width)
    if live:
        batch["token_ids"] = prompts.tokenize(["edema"] * 3)
        model, null = PromptedDenoiser(unet, prompts), prompts.tokenize([""])
    else:
        batch["text"] = prompts.encode_texts(["edema"] * 3)
        model, null = unet, prompts.encode_texts([""])
    make_objective(config, null)(model, batch, torch.Generator().manual_seed(0))
    handle.remove()
    torch.testing.assert_close(seen[0], prompts.null_context().expand(3, -1, -1))


def test_a_frozen_text_encoder_keeps_to_eval_mode(parts):
    _, prompts, _, unet = parts
    PromptedDenoiser(unet, prompts).train()
    assert unet.training
    assert not prompts.text_encoder.training


def test_sentences_drawn_anew_train_and_sample(chain, tmp_path):
    """MONAI's recipe at a tiny size, through the scripts, with a zero terminal SNR and checkpointing."""
    command = flags(chain, tmp_path / "ldm", num_sentences=5, fusion="text", zero_terminal_snr="")
    command.remove("")
    texts = ["--texts", "findings_section", "impression_section"]
    train_diffusion_clipSD.main([*command, *UNET, *texts, "--gradient-checkpointing"])
    vision = VisionModel.from_pretrained(tmp_path / "ldm" / "model")
    assert vision.prompts.image_encoder is None
    assert vision.scheduler.config.rescale_betas_zero_snr
    assert len(sample_films(chain, tmp_path / "ldm", tmp_path / "films")) == 2
    film = StableDiffusionPipeline.from_pretrained(tmp_path / "ldm" / "model")(
        "edema", num_inference_steps=2, height=64, width=64
    )
    assert film.images[0].size == (64, 64)


def test_a_bert_reads_the_reports(chain, tmp_path):
    """Text-to-X-ray's recipe: reports through a BERT, up to 96 tokens, and plain diffusers draws the same."""
    words = sorted(
        {word for text in PairsFolder.open(chain.run("data")).table["report"] for word in text.split()}
    )
    folder = tmp_path / "bert"
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=96, **sizes)
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    command = flags(chain, tmp_path / "sd", clip=folder, num_tokens=96, fusion="text", texts="report")
    train_diffusion_clipSD.main([*command, *UNET])
    vision = VisionModel.from_pretrained(tmp_path / "sd" / "model")
    sentence = PairsFolder.open(chain.run("data")).table["report"][0]
    context = vision.prompts.encode([sentence], None)
    assert context.shape == (1, 96, 32)
    stock = StableDiffusionPipeline.from_pretrained(tmp_path / "sd" / "model")
    embeddings, _ = stock.encode_prompt(sentence, "cpu", 1, False)
    torch.testing.assert_close(embeddings, context)
    with pytest.raises(ValueError, match=r"--num-tokens 200: .* has 96 positions"):
        train_diffusion_clipSD.main(flags(chain, tmp_path / "x", clip=folder, num_tokens=200, fusion="text"))
    with pytest.raises(ValueError, match="is a bert model and has no image encoder"):
        train_diffusion_clipSD.main(flags(chain, tmp_path / "y", clip=folder))


@pytest.mark.parametrize(("text_tokens", "count"), [("all", 78), ("facts", 17)])
def test_uvit_takes_further_text_tokens_and_the_reference(chain, tmp_path, text_tokens, count):
    """Fusion `concat`: 77 tokens, or the pooled one and 15 of facts, and one more."""
    tiny = ["--embed-dim", "32", "--depth", "3", "--num-heads", "2", "--gradient-checkpointing"]
    command = flags(chain, tmp_path / "uvit", fusion="concat", text_tokens=text_tokens)
    train_diffusion_clipUViT.main([*command, *tiny])
    vision = VisionModel.from_pretrained(tmp_path / "uvit" / "model")
    assert vision.denoiser.config.num_context_tokens == vision.prompts.num_context_tokens == count
    assert len(sample_films(chain, tmp_path / "uvit", tmp_path / "films")) == 2


def test_facts_are_refused_where_no_text_is_at_hand(chain, tmp_path):
    asked = flags(chain, tmp_path / "out", fusion="concat", text_tokens="facts")
    with pytest.raises(ValueError, match="facts is the U-ViT's: stock pipelines could not prompt"):
        train_diffusion_clipSD.main([*asked, *UNET])
    with pytest.raises(ValueError, match="not with --num-sentences"):
        train_diffusion_clipUViT.main([*asked, "--num-sentences", "2"])


def test_a_unet_of_any_config(chain, tmp_path):
    """--unet-config takes a diffusers config.json; the latents' and the text's sizes are those of the run."""
    model = build_unet(UNetConfig(block_out_channels=(8, 16, 16), num_heads=2), 4, 32, 64)
    model.save_config(tmp_path)
    config = UNetConfig(unet_config=tmp_path / "config.json")
    unet = build_unet(config, 3, 16, 32)
    assert unet.config.block_out_channels == [8, 16, 16]
    sizes = unet.config.in_channels, unet.config.out_channels, unet.config.sample_size
    assert (*sizes, unet.config.cross_attention_dim) == (3, 3, 16, 32)
    (tmp_path / "other.json").write_text('{"_class_name": "UViT"}')
    with pytest.raises(ValueError, match="is of a UViT, not a UNet2DConditionModel"):
        build_unet(UNetConfig(unet_config=tmp_path / "other.json"), 4, 16, 32)


def test_an_unfit_unet_to_start_from_is_named(chain, tmp_path):
    wide = build_unet(UNetConfig(block_out_channels=(8, 16), num_heads=2), 4, 16, 64)
    wide.save_pretrained(tmp_path / "unet")
    with pytest.raises(ValueError, match="takes text of width 64, --clip gives 32"):
        train_diffusion_clipSD.main(flags(chain, tmp_path / "out", init_from=tmp_path))


def test_item_texts_of_a_row_without_text_are_refused(parts):
    pairs, *_ = parts
    with pytest.raises(ValueError, match=r"--texts nothing: .* has no such column"):
        ItemTexts(text_columns(pairs, ("nothing",)))


def test_blanks_in_the_texts_are_warned_of(chain, tmp_path, capsys):
    """In training by what is read of the train rows, in sampling by the prompts."""
    pairs = PairsFolder.open(chain.run("data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").symlink_to(pairs.root / "images")
    table = pairs.table.assign(impression_section="Edema since ___.")
    table.to_csv(tmp_path / "data/metadata.csv", index=False)
    num = (table["split"] == "train").sum()
    for columns, expected in (("prompt", False), ("impression_section", True)):
        command = flags(
            chain, tmp_path / columns, data=tmp_path / "data", cache=tmp_path / "cache", num_steps=1
        )
        train_diffusion_clipUViT.main(
            [*command, "--embed-dim", "32", "--depth", "3", "--num-heads", "2", "--texts", columns]
        )
        said = f"{num} of {num} training texts carry" in capsys.readouterr().err
        assert said == expected
    prompt = [
        "--prompt",
        "Effusion since ___.",
        "--no-reference",
        "--films-only",
        "--num-inference-steps",
        "2",
    ]
    sample([*prompt, "--vision", chain.run("uvit"), "--out", str(tmp_path / "films")])
    assert "1 of 1 prompts carry" in capsys.readouterr().err


def test_a_uvit_is_tuned_from_another_run(chain, tmp_path):
    """With a learning rate of 0 it is that run's; another size is refused."""
    tiny = ["--embed-dim", "32", "--depth", "3", "--num-heads", "2", "--init-from", chain.run("uvit")]
    command = flags(chain, tmp_path / "tuned", learning_rate=0, weight_decay=0, num_steps=1)
    train_diffusion_clipUViT.main([*command, *tiny])
    before, after = (
        VisionModel.from_pretrained(run).denoiser.state_dict()
        for run in (chain.run("uvit/model"), tmp_path / "tuned/model")
    )
    assert all(torch.equal(before[name], after[name]) for name in before)
    tiny[1] = "48"
    with pytest.raises(ValueError, match=r"--init-from .*uvit: it has 3 blocks of width 32.*expected are"):
        train_diffusion_clipUViT.main([*flags(chain, tmp_path / "wide"), *tiny])
