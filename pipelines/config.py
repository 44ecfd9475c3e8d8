"""Settings of the pipelines: what the scripts' flags are made of."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from data_module.findings import FINDINGS
from language_module.config import DecodingConfig
from prior_model.config import PriorLossConfig
from runtime.config import setting
from runtime.shards import parse_shard
from training.config import TrainConfig
from vision_module.config import Augmentation, DrawingConfig


@dataclass(frozen=True)
class WriterConfig:
    """The models that write reports."""

    model: str = "runs/demo/prior"
    """Run of train_prior_model.py or train_report_gpt.py; or of the training rows of --data: most-frequent,
    most-typical (the report that shares most words and phrases with all of them), or retrieval (that of the
    nearest film in the features of --classifier)."""
    language: str = ""
    """Run of the report codec; empty: the one that the prior was trained for."""
    autoencoder: str = ""
    """Run of the autoencoder; empty: the one that the prior was trained on."""
    classifier: str = ""
    """Run of the classifier, for retrieval or a prior on its features; empty: the prior's own."""
    clip: str = ""
    """Run of the CLIP, for a prior on its features; empty: the prior's own."""
    num_neighbors: int = 1
    """Nearest films of retrieval. Above 1: the training report that shares most words and phrases with
    theirs (consensus; Devlin et al., 2015)."""

    def __post_init__(self) -> None:
        if self.num_neighbors < 1:
            raise ValueError(f"--num-neighbors {self.num_neighbors}: must be at least 1")
        if self.num_neighbors > 1 and self.model != "retrieval":
            raise ValueError(f"--num-neighbors {self.num_neighbors} is for --model retrieval")


@dataclass(frozen=True)
class SamplerConfig:
    """The models that draw pairs, and how they do it. Models count by their content."""

    vision: str = setting("runs/demo/uvit", identity=False)
    """Run of train_diffusion_clipUViT.py or train_diffusion_clipSD.py, or its model folder."""
    language: str = setting("runs/demo/bart", identity=False)
    """Run of train_bart.py."""
    prior: str = setting("runs/demo/prior", identity=False)
    """Run of train_prior_model.py."""
    films_only: bool = False
    """Draw films without reports; --language and --prior are not needed."""
    drawing: DrawingConfig = field(default_factory=DrawingConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)

    def with_drawing(self, drawing: DrawingConfig) -> "SamplerConfig":
        """The same models, asked to draw in another way."""
        return replace(self, drawing=drawing)


@dataclass(frozen=True)
class PriorSize:
    """Sizes of the ViT; the latents' shape, K and D are those of the autoencoder and the codec."""

    patch_size: int = 2
    """Latent cells to a patch, on each side."""
    dim: int = 128
    """Width of the transformer."""
    depth: int = 1
    """Blocks of the transformer."""
    num_heads: int = 4
    """Attention heads."""
    stem_depth: int = 2
    """Residual convolutions on each side of a halving, in the place of half the patch; 0 = plain patches."""
    stem_channels: int = 64
    """Channels of the stem before the halving."""
    num_findings: int = len(FINDINGS)
    """14: also predicts the findings, and lets them shift the embeddings; 0 = does not."""
    num_attributes: int = 0
    """70: also predicts side and grade of each finding, as the reports tell them; 0 = does not."""
    dropout: float = 0.0
    """Dropout."""
    drop_path: float = 0.0
    """Stochastic depth of the last block, rising to it linearly."""


@dataclass(frozen=True)
class PriorTrainingConfig:
    """Prior training."""

    data: Path = Path("runs/demo/data")
    """Pairs folder; split train is learned, split validation watched."""
    features: Literal["latents", "classifier", "clip"] = "latents"
    """What the prior reads: the autoencoder's latents, or feature maps of --classifier or --clip."""
    autoencoder: Path = Path("runs/demo/autoencoder")
    """Run folder of the autoencoder, for --features latents."""
    classifier: Path = Path("runs/demo/classifier")
    """Run folder of the classifier, for --features classifier."""
    clip: Path = Path("runs/demo/clip")
    """Run folder of the domain CLIP, for --features clip."""
    feature_levels: int = 1
    """Maps of that encoder's last stages, stacked: above 1, the finer ones show side and extent."""
    tune_encoder: bool = False
    """Train a copy of that encoder too, on films changed at random; it is kept in the run."""
    tune_decoder: bool = False
    """Train a copy of the codec's decoder too, on the prior's own embeddings; it is kept in the run."""
    tuned_rate: float = 0.1
    """Learning rate of both copies, as a factor of --learning-rate."""
    language: Path = Path("runs/demo/bart")
    """Run folder of the report codec."""
    out: Path = setting(Path("runs/demo/prior"), identity=False)
    """Run folder to write."""
    init_vit: str = ""
    """Folder or .safetensors file of a published ViT (such as ViT-B/16 on ImageNet, timm or Hugging Face
    layout) to start the transformer from; empty starts from scratch."""
    cache: Path | None = setting(None, identity=False)
    """Where the latents are kept, encoded once for each autoencoder and data; None: cache/ beside --out."""
    latent_noise: float = 0.1
    """Noise on the latents (their own scale is 1), so that generated ones read well; 0 = posterior mean."""
    max_shift: int = 1
    """Films are moved by up to this many latent cells in training."""
    num_epochs: float = 0.0
    """Passes over the train split; above 0 it sets the number of steps."""
    dry_run_latents: tuple[int, int, int] = setting((4, 16, 16), identity=False)
    """Latents (C, H, W) that --dry-run assumes; a run takes them from its autoencoder."""
    dry_run_embeddings: tuple[int, int] = setting((8, 192), identity=False)
    """Report embeddings (K, D) that --dry-run assumes; a run takes them from its codec."""
    overwrite: bool = setting(False, identity=False)
    """Train anew where --out already holds a run."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config, sizes and memory, and stop."""
    size: PriorSize = field(default_factory=PriorSize)
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss: PriorLossConfig = field(default_factory=PriorLossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class ReportTableConfig:
    """Which films get a report, by which models, and where the reports go."""

    writer: WriterConfig = field(default_factory=WriterConfig)
    image: Path | None = None
    """One film, of any size and bit depth, DICOM included: its report is printed."""
    images: Path | None = None
    """Folder of films, subfolders included."""
    data: Path = Path("runs/demo/data")
    """Pairs folder whose films (or reports, with --reconstruct) are read where no image is named."""
    split: str = "test"
    """Its split: train, validation or test."""
    out: Path = setting(Path("reports.csv"), identity=False)
    """Table to write: study_id, file_name, report, warning. Beside it lies how it was made
    (NAME.provenance.json) and what was unreadable (NAME.skipped.csv)."""
    reconstruct: bool = False
    """Encode and decode the reports of --data instead of reading films; needs --language only."""
    max_films: int = 0
    """Rows at most, from the first; 0 takes all."""
    batch_size: int = 32
    """Rows at once. Batches are always full, the last one padded: a row's report depends on no other."""
    shard: str = setting("0/1", identity=False)
    """i/n writes every n-th batch, from the i-th (0 <= i < n); all shards share --out."""
    seed: int = 0
    """Seed of --method sample; row i draws from (seed, i)."""
    overwrite: bool = setting(False, identity=False)
    """Write --out anew where it is already there."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config and stop."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)

    def __post_init__(self) -> None:
        parse_shard(self.shard)


@dataclass(frozen=True)
class EditConfig:
    """What is edited."""

    film: Path | None = setting(None, identity=False)
    """One film, of any size and bit depth, DICOM included."""
    before: Annotated[str, tyro.conf.arg(name="from")] = ""
    """What the film shows, such as "Normal chest radiograph."; empty: no text."""
    after: Annotated[str, tyro.conf.arg(name="to")] = ""
    """What it is to show, such as "Large right pleural effusion."."""
    mask: Path | None = setting(None, identity=False)
    """Image of the film's size, white where it may change."""
    box: tuple[int, int, int, int] | None = None
    """X0 Y0 X1 Y1: it may change in these pixels of the film alone, X1 and Y1 not among them."""
    pairs: Path | None = setting(None, identity=False)
    """In the place of --film: a folder of `python -m data_module counterfactuals`, to edit its originals."""
    texts: Literal["impression_section", "prompt"] = "impression_section"
    """Column of --pairs that gives the texts before and after; an impression tells side and grade too."""
    use_masks: bool = False
    """Keep what is outside the masks of --pairs."""
    num_pairs: int = 0
    """First rows of --pairs that are edited; 0: all."""

    def __post_init__(self) -> None:
        if self.film and self.pairs:
            raise ValueError("pass --film or --pairs, not both")
        if self.film and not self.after:
            raise ValueError("--to: say what --film is to show")
        if self.mask and self.box:
            raise ValueError("pass --mask or --box, not both")
        if self.pairs and (self.mask or self.box or self.before or self.after):
            raise ValueError(
                "--from, --to, --mask and --box are for --film; --pairs has texts and masks of its own"
            )
        if self.film and self.use_masks:
            raise ValueError("--use-masks is for --pairs; --film takes --mask or --box")
        if self.num_pairs < 0:
            raise ValueError(f"--num-pairs {self.num_pairs}: must be 0 or more")

    def require_input(self) -> None:
        """Raise ValueError where there is nothing to edit."""
        if not (self.film or self.pairs):
            raise ValueError("pass --film with --to, or --pairs")
