"""Folders in the published form of BioViL-T and BioViL, with made-up weights."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torchvision.models import resnet50
from transformers import BertConfig, BertForMaskedLM

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "edema", "effusion", "left", ".", "small"]
BIOVIL_T, BIOVIL = "biovil_t_image_model_proj_size_128.pt", "biovil_image_resnet50_proj_size_128.pt"


def write_texts(folder: Path, size: int = 128) -> tuple[BertForMaskedLM, dict[str, torch.nn.Module]]:
    """CXR-BERT: a masked language model and a projection head, the files of the hub. Returns both."""
    torch.manual_seed(2)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, initializer_range=0.5, **sizes)
    bert = BertForMaskedLM(config).eval()
    state = dict(bert.state_dict())
    head = {
        "dense_to_hidden": torch.nn.Linear(64, size),
        "LayerNorm": torch.nn.LayerNorm(size, eps=1e-12),
        "dense_to_output": torch.nn.Linear(size, size),
    }
    for name, layer in head.items():
        state |= {f"cls_projection_head.{name}.{k}": v.detach() for k, v in layer.state_dict().items()}
    state["bert.embeddings.position_ids"] = torch.arange(64)[None]  # as transformers 4 saved it
    torch.save(state, folder / "pytorch_model.bin")
    saved = {"architectures": ["CXRBertModel"], "model_type": "cxr-bert", "projection_size": size}
    saved["auto_map"] = {"AutoModel": "modeling_cxrbert.CXRBertModel"}
    (folder / "config.json").write_text(json.dumps(config.to_dict() | saved))
    (folder / "modeling_cxrbert.py").write_text("raise SystemExit('run')\n")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    words = {"do_lower_case": True, "tokenizer_class": "CXRBertTokenizer", "model_max_length": 512}
    words["auto_map"] = {"AutoTokenizer": ["configuration_cxrbert.CXRBertTokenizer", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    return bert, head


def write_images(folder: Path, temporal: bool) -> Callable[[torch.Tensor], np.ndarray]:
    """The image tower under its published names; batch norms with statistics of their own.

    Returns:
        What it makes of a film (1, 3, H, W) in [0, 1]: a unit row (128,).
    """
    torch.manual_seed(3)
    net = resnet50().eval()
    widths = 512 if temporal else 2048
    projector = torch.nn.Sequential(
        torch.nn.Conv2d(widths, 128, 1, bias=False),
        torch.nn.BatchNorm2d(128),
        torch.nn.ReLU(),
        torch.nn.Conv2d(128, 128, 1),
    ).eval()
    projector[1].running_mean.uniform_(-0.1, 0.1)
    state = {f"encoder.encoder.{name}": value for name, value in net.state_dict().items()}
    state |= {f"projector.model.{name}": value for name, value in projector.state_dict().items()}
    to_vit, missing = torch.randn(256, 2048, 1, 1) / 45, torch.randn(1, 256, 1, 1)
    if temporal:
        state |= {"encoder.backbone_to_vit.weight": to_vit, "encoder.missing_previous_emb": missing}
        state |= {"encoder.vit_pooler.type_embed": torch.zeros(2, 1, 256)}
        state |= {"encoder.vit_pooler.blocks.0.attn.proj_q.weight": torch.zeros(256, 256)}
    torch.save(state, folder / (BIOVIL_T if temporal else BIOVIL))

    @torch.no_grad()
    def embed(film: torch.Tensor) -> np.ndarray:
        x = net.maxpool(net.relu(net.bn1(net.conv1(film))))
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = layer(x)
        if temporal:
            x = functional.conv2d(x, to_vit)
            x = torch.cat([x, missing.repeat(1, 1, *x.shape[2:])], dim=1)
        return functional.normalize(projector(x).mean(dim=(2, 3)), dim=1)[0].numpy()

    return embed
