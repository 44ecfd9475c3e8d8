"""The settings of the scoring commands, and of `evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ScoreSettings:
    """What is scored, by what, and how."""

    real: Path
    """Pairs folder of real films and reports (or a plain folder of films; or, for reports, a CSV)."""
    out: Path
    """Folder for results.json, results.md, report.html and the cache. Sections already there are kept."""
    synthetic: Path | None = None
    """Pairs folder of synthetic films and reports, or a plain folder of films. Not needed for reports with
    --reports."""
    captions: Path | None = None
    """CSV for a plain --synthetic folder: file_name and prompt (or report). The findings are read off it."""
    classifier: str | None = None
    """Run folder of train_classifier.py, a transformers image classifier, or
    torchxrayvision:densenet121-res224-all (or torchxrayvision:FILE). Not needed for reports."""
    features: tuple[str, ...] = ()
    """More sources of features for FID and its kin: inception:FILE, open-clip:FOLDER (BiomedCLIP), a
    transformers folder (RadDINO, CLIP), BioViL-T's folder, or what --classifier takes. Without --classifier
    the first one gives the headline figures, and findings on films are skipped."""
    reidentify: str | None = None
    """Network in whose features the privacy section looks for training films, in the place of the first one
    above: reidentify:FILE (the siamese ResNet-50 of Packhaeuser et al.), or what --features takes."""
    clip: str | None = None
    """Model with a tower for films and one for texts, for film-report scores and retrieval: a run folder of
    train_clip.py, a transformers folder (CLIP, SigLIP ...), BioViL-T's folder, or open-clip:FOLDER."""
    controls: str | None = None
    """Run of train_classifier.py --targets controls: adds whether films show the sides, grades, sex, view and
    age that their prompts ask for."""
    labeler: str = "rules"
    """Reads findings off reports: rules, or chexbert:FILE (the published chexbert.pth, beside vocab.txt)."""
    meteor: bool = False
    """Adds METEOR. Needs Java, and half a minute."""
    bert_score: Path | None = None
    """Folder of a transformers text model: adds BERTScore. Needs the extra `bert-score`."""
    bert_score_layer: int = -1
    """Hidden state that BERTScore compares; -1 is the last."""
    radgraph: str | None = None
    """Model of the radgraph package (radgraph-xl ...): adds RadGraph F1. Needs the extra `radgraph`."""
    rexrank: bool = False
    """Adds BLEU-2 as ReXrank counts it; its other figures by the next four."""
    distilroberta: Path | None = None
    """Folder of distilroberta-base: adds ReXrank's BERTScore (layer 5, rescaled). Needs `bert-score`."""
    chexbert: Path | None = None
    """The published chexbert.pth, beside vocab.txt: adds SembScore."""
    radgraph_json: tuple[Path, ...] = ()
    """Two files of RadGraph's output, of the real and of the generated reports: adds its F1 as ReXrank counts
    it, and as the radgraph package does (partial, complete)."""
    radcliq: str | None = None
    """v1, or a JSON file of coefficients: adds RadCliQ, which needs the three above."""
    ratescore: tuple[Path, ...] = ()
    """Two folders: adds RaTEScore. RaTE-NER (a token classifier of its labels) and BioLORD, or another text
    encoder of entities."""
    green: str | None = None
    """Folder of a transformers language model, such as GREEN's: adds GREEN, whose answers stay in --out's
    cache. With --llm-endpoint the name of a model there."""
    green_prompt: Path | None = None
    """The prompt in the place of ours, with {reference} and {candidate}: text, or chat messages as .json."""
    crimson: str | None = None
    """The same of CRIMSON."""
    crimson_prompt: Path | None = None
    """Its prompt."""
    llm_endpoint: str | None = None
    """URL of an OpenAI-compatible API (http(s)://HOST/v1) that --green and --crimson ask in the place of a
    local model. REPORTS ARE SENT THERE, with the key of the environment variable LLM_API_KEY; without this
    flag nothing leaves the machine."""
    temporal: bool = False
    """Adds temporal-entity F1, of the words of change."""
    reports: Path | None = None
    """CSV of generated reports for the real films: file_name, report; or ReXrank's predictions, or COCO's
    results, as JSON.
    Default: heldout_reports.csv in the synthetic folder."""
    guidance: tuple[Path, ...] = ()
    """Results folders of the same system at other guidance scales: adds AUROC and FID over the scale. The
    scale is read off the films' provenance.json, else off a folder's name, NAME_SCALE."""
    split: str = "test"
    """Rows of the real folder to compare with."""
    by: tuple[str, ...] = ()
    """Columns of the pairs table whose groups are told apart: sex, view ... Numbers are cut at edges, such as
    age:40,60, or else at the real rows' quartiles."""
    min_group: int = 30
    """Rows that a group of --by needs on each side; smaller ones are left out, and named."""
    uncertain: Literal["ignore", "positive", "negative"] = "ignore"
    """What an uncertain finding counts as for AUROC, average precision and ECE."""
    blank: Literal["negative", "ignore"] = "negative"
    """What a finding that is not mentioned counts as for AUROC, average precision and ECE."""
    batch_size: int = 64
    """Films per forward pass."""
    num_bootstrap: int = 1000
    """Resamples of patients for the intervals; 0: none."""
    seed: int = 0
    """Random subsets of FID and KID, and resamples."""
    device: str = "auto"
    """torch device; auto takes the accelerator where there is one."""
    format: tuple[Literal["latex", "csv", "pdf"], ...] = ()
    """Writes every table besides as results.tex, or as tables/SECTION_NUMBER.csv; or the plots as PDF too."""
    dry_run: bool = False
    """Print the resolved settings and stop."""
