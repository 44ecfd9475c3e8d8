"""The card of a trained model: README.md of its folder, read by people and by the Hugging Face hub.

It holds no time and no path, so that equal runs have equal cards.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.markdown import markdown_table
from runtime.origins import PROVENANCE, license_lines, list_origins, read_record, terms_of_use
from runtime.runs import CONFIG, RunFolder, find_contents
from training.throughput import FLOPS, MEASURED

# kind -> what it is
_TITLES = {
    "autoencoder": "KL autoencoder of chest films",
    "clip": "CLIP of chest films and reports",
    "clipUViT": "Chest films from text: U-ViT",
    "clipSD": "Chest films from text: Stable Diffusion",
    "bart": "Codec of chest X-ray reports",
    "prior": "Report embeddings from chest films",
    "report_gpt": "Chest X-ray reports by GPT-2",
    "text_to_latent": "Latents of chest films from text",
    "classifier": "Classifier of the 14 CheXpert findings",
}
# kind -> a command that takes its folder
COMMANDS = {
    "autoencoder": "train_diffusion_clipUViT.py --data DATA --autoencoder FOLDER",
    "clip": "train_diffusion_clipUViT.py --data DATA --clip FOLDER",
    "clipUViT": "sample_pairs.py --data DATA --vision FOLDER --films-only",
    "clipSD": "sample_pairs.py --data DATA --vision FOLDER --films-only",
    "bart": "generate_reports.py --reconstruct --language FOLDER --data DATA --out reports.csv",
    "prior": "generate_reports.py --model FOLDER --language CODEC --autoencoder VAE --image film.png",
    "report_gpt": "generate_reports.py --model FOLDER --image film.png",
    "text_to_latent": "sample_pairs.py --data DATA --init-from FOLDER",
    "classifier": "-m evaluation images --real DATA --synthetic PAIRS --classifier FOLDER --out OUT",
}
_NO_SETTINGS = ("out", "overwrite", "dry_run")
_NO_FIGURES = ("step", "learning_rate", FLOPS, *MEASURED)


def make_card(folder: Path, run: RunFolder, step: int) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        folder: the saved model.
        step: the step whose weights were saved; its lines in metrics.jsonl give the figures.
    """
    title = _TITLES.get(run.kind, f"PairCXR {run.kind} model")
    origins = list_origins(run.config) or ["unknown"]
    loading, library = _describe_loading(folder)
    head = license_lines(origins)
    if library:
        head += f"library_name: {library}\n"
    head += f"tags: [paircxr, chest-x-ray, {run.kind}]\ndatasets: {json.dumps(origins)}\n"
    terms = markdown_table(("data set", "terms"), [(name, terms_of_use(name).says) for name in origins])
    parts = [
        f"---\n{head}---\n\n# {title}",
        "**Not for clinical use.** Trained by PairCXR. The terms of its data hold for it.",
        f"## Data\n\n{_describe_data(run)}\n\n{terms}",
        f"## Figures\n\n{_describe_figures(run, step)}",
        f"## Loading\n\n{loading}",
    ]
    if run.kind in COMMANDS:
        command = f"    python {COMMANDS[run.kind]}"
        parts.append(f"By PairCXR's scripts, which take this folder as `FOLDER`:\n\n{command}")
    parts.append(f"## Settings\n\n{_describe_settings(run)}")
    return "\n\n".join(parts) + "\n"


def _describe_data(run: RunFolder) -> str:
    """Rows and hash of the data, without where they lay."""
    num_rows = read_record(Path(str(run.config.get("data") or "")) / PROVENANCE).get("num_rows")
    table = (find_contents(read_record(run.root / CONFIG)) or {}).get("data")
    rows = f"{num_rows:,} rows" if isinstance(num_rows, int) else "Rows not told"
    return f"{rows}; SHA-256 of the table begins with {table}." if table else f"{rows}."


def _describe_settings(run: RunFolder) -> str:
    """Those that decide the weights; files and folders by the hash of their content."""
    contents = find_contents(read_record(run.root / CONFIG)) or {}
    rows = [
        (name, contents.get(name) or _without_folders(value))
        for name, value in sorted(run.identity.items())
        if value not in ("", None, []) and not name.startswith(_NO_SETTINGS)
    ]
    return markdown_table(("setting", "value"), rows)


def _describe_figures(run: RunFolder, step: int) -> str:
    lines = [line for line in run.read_log() if line["step"] == step]
    found = {name: value for line in lines for name, value in line.items() if name not in _NO_FIGURES}
    if not found:
        return f"None was logged at step {step}."
    rows = [(name, f"{value:.6g}") for name, value in found.items()]
    return f"At step {step:,}, whose weights these are:\n\n{markdown_table(('metric', 'value'), rows)}"


def _describe_loading(folder: Path) -> tuple[str, str]:
    """How plain diffusers or transformers load the folder, and the name of that library, or ""."""
    index, config = (read_record(folder / name) for name in ("model_index.json", "config.json"))
    found = _find_library(index) or _find_library(config)
    if found:
        library, name = found
        code = [f"from {library} import {name}", f'model = {name}.from_pretrained("FOLDER")']
        return _show_code(code), library
    parts = {
        part: entry
        for part, entry in index.items()
        if isinstance(entry, list) and entry[0] in ("diffusers", "transformers")
    }
    if not parts:
        return "It is of a class of PairCXR's own.", ""
    classes = {
        library: sorted({n for other, n in parts.values() if other == library})
        for library, _ in parts.values()
    }
    code = [f"from {library} import {', '.join(names)}" for library, names in sorted(classes.items())]
    code += [
        f'{part} = {name}.from_pretrained("FOLDER", subfolder="{part}")' for part, (_, name) in parts.items()
    ]
    own = "The denoiser is of a class of PairCXR's own; the other parts load by themselves:"
    return f"{own}\n\n{_show_code(code)}", ""


def _find_library(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Library and class that a saved config names, where the library has that class."""
    if name := config.get("_class_name"):
        import diffusers

        return ("diffusers", name) if hasattr(diffusers, name) else None
    if names := config.get("architectures"):
        import transformers

        return ("transformers", names[0]) if hasattr(transformers, names[0]) else None
    return None


def _show_code(lines: list[str]) -> str:
    return "```python\n" + "\n".join(lines) + "\n```"


def _without_folders(value: Any) -> Any:
    """A setting without the folders of this machine; names on the hub (owner/name) stay."""
    if not isinstance(value, str) or "/" not in value:
        return value
    on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", value) and not Path(value).exists()
    return value if on_hub else ":".join(part.rsplit("/", 1)[-1] for part in value.split(":"))
