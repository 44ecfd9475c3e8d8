"""Settings of the sources: what the flags of prepare_data.py are made of. Imports no pandas."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from data_module.config import SHARES, check_shares
from data_module.sections import TextPreparation
from data_module.sources.films import FilmFormat
from runtime.config import setting
from runtime.threads import usable_cores

COLLECTION = "https://openi.nlm.nih.gov/imgs/collections"
PAPER_VALIDATION = 0.01  # of the patients of p10 to p18
Layout = Literal[
    "columns", "nih", "chexpert", "chexpert-plus", "vindr", "padchest", "coco", "r2gen", "rexrank", "datasets"
]
_VIEWS = {"official": ("PA", "AP"), "paper": ("PA",)}


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Rendered phantom films with exactly known findings, and reports that fit them."""

    out: Path = setting(identity=False)
    """Pairs folder to write."""
    num_studies: int = 4000
    """Studies to render, one film each; some patients have several."""
    size: int = 64
    """Pixels a side: 64, 128 or 256."""
    seed: int = 0
    """Another seed gives other patients."""
    overwrite: bool = setting(False, identity=False)
    """Replace an --out that was made with other settings."""
    dry_run: bool = setting(False, identity=False)
    """Say what would be made, and stop."""
    num_workers: int = setting(identity=False, default_factory=usable_cores)
    """Processes that render; changes nothing in the result."""


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """What every source of films has in common."""

    out: Path = setting(identity=False)
    """Pairs folder to write."""
    size: int = 256
    """Pixels a side of the written films."""
    resize: str = "fit-crop"
    """fit-crop (central square), pad (black bars) or squash (the paper's; proportions change)."""
    image_format: str = "png"
    """png (exact) or jpeg (quality 95)."""
    window: str = "voi"
    """Window of DICOM films: voi (the file's own), percentile (0.5 to 99.5) or minmax (MIMIC-CXR-JPG's)."""
    color: Annotated[str, tyro.conf.arg(aliases=("--colour",))] = "convert"
    """Films stored in color: convert to luminance, or refuse."""
    equalize: bool = False
    """Equalize histograms, as MIMIC-CXR-JPG was made (its JPEG films are equalized already)."""
    blanks: Literal["keep", "remove", "drop-sentence"] = "keep"
    """De-identification blanks of reports (___, XXXX): kept, removed, or their sentence dropped."""
    remove_priors: bool = False
    """Remove what reports say of earlier films ("unchanged", "compared to prior")."""
    seed: int = 0
    """Seed of a split that the data set does not give."""
    split_shares: tuple[float, float, float] = SHARES
    """Shares of patients in its train, validation and test rows. CXRGenAI keeps 20% for the test: 0.7 0.1
    0.2, and --folds in training takes turns over the other 80%."""
    strict: bool = setting(False, identity=False)
    """Any report or film that cannot be used is an error."""
    overwrite: bool = setting(False, identity=False)
    """Replace an --out that was made with other settings."""
    dry_run: bool = setting(False, identity=False)
    """Say what would be made, and stop."""
    num_workers: Annotated[int, tyro.conf.arg(aliases=("--workers",))] = setting(
        identity=False, default_factory=usable_cores
    )
    """Processes that decode films; changes nothing in the result."""
    shard: str = setting("0/1", identity=False)
    """i/n makes part i of n, on machines that share --out or whose folders `merge` joins afterwards."""

    def __post_init__(self) -> None:
        check_shares(self.split_shares)

    @property
    def text_preparation(self) -> TextPreparation:
        """What is done to reports."""
        return TextPreparation(self.blanks, self.remove_priors)

    @property
    def film_format(self) -> FilmFormat:
        """How films are written. Raises ValueError for a wrong flag."""
        return FilmFormat(self.size, self.resize, self.image_format, self.window, self.color, self.equalize)


@dataclass(frozen=True, kw_only=True)
class TableConfig(OutputConfig):
    """A table of films and, where it has them, reports and labels."""

    table: Path
    """CSV file, one row a film; what separates its cells (comma, semicolon, tab) is found by looking. Or a
    pairs folder, whose films are converted and whose table is kept. Or what --layout names."""
    images: Path | None = None
    """Folder that the image column's paths start from; by default the table's."""
    layout: Layout = "columns"
    """columns: the flags below say which column is what. Else a data set's own tables, or the folder that
    holds them: nih (Data_Entry_2017.csv), chexpert (train.csv, valid.csv), chexpert-plus
    (df_chexpert_plus_240401.csv), vindr (image_labels_train.csv, annotations_train.csv, Kaggle's train.csv),
    padchest, coco (captions as json), r2gen (annotation.json), rexrank (its test files), datasets (a saved
    or hub-style data set)."""
    image_column: str = "image"
    """Path of the film under --images."""
    patient_column: str = "patient_id"
    """Patient id: the split and the choice of references go by it."""
    report_column: str = ""
    """Free text; rows where it is empty get a report built from their labels. "" if the table has none."""
    labels_column: str = ""
    """One column of labels, several joined by --label-separator; "" if each label is a column of 1, 0 and -1,
    named like one of the 14 findings or of their synonyms."""
    label_separator: str = "|"
    """Between the labels of one film."""
    label_map: Path | None = None
    """JSON or CSV of label -> finding, over the built-in names (NIH, COVID, CheXpert)."""
    view_column: str = ""
    """PA, AP and the like. "" if the table has none."""
    sex_column: str = ""
    """F or M, or the word for it in any of many languages; what is unclear stays empty and is counted."""
    age_column: str = ""
    """Years: 63, 063Y, 63 years, 6 months, 90+; what is unclear stays empty and is counted."""
    study_column: str = ""
    """Study id; "" takes the image's name."""
    split_column: str = ""
    """train, validation (val, valid, dev) or test, by patient; rows without one are split by patient, and so
    is everything where this is ""."""
    prompt_column: str = ""
    """What each film is asked for with; "" makes it of the row's findings."""
    views: tuple[str, ...] = ()
    """Views to keep, such as PA AP; () keeps all."""
    source_column: str = ""
    """Name of each row's data set; "" takes --source-name."""
    source_name: str = "csv"
    """Goes into the `source` column."""


@dataclass(frozen=True, kw_only=True)
class OpenIConfig(OutputConfig):
    """Open-I (IU X-ray): its reports and, given a folder of them, its films; else a text-only folder."""

    reports: Path | None = setting(None, identity=False)
    """NLMCXR_reports.tgz or a folder of its XML files, Kaggle's indiana_reports.csv, or R2Gen's
    annotation.json (findings alone); by default the archive inside torchxrayvision."""
    images: Path | None = None
    """Folder of the films (CXR1_1_IM-0001-3001.png, Kaggle's 1_IM-0001-3001.dcm.png, or R2Gen's
    CXR1_1_IM-0001/0.png), searched with its subfolders."""
    projections: Path | None = None
    """Kaggle's indiana_projections.csv, which says of every film whether it is frontal; without it 253
    frontal films are of unknown view."""
    download: Path | None = setting(None, identity=False)
    """Folder to download reports and films into (about 1.3 GB), instead of --reports and --images."""
    mirror: str = setting(COLLECTION, identity=False)
    """Address that --download takes NLMCXR_reports.tgz and NLMCXR_png.tgz from."""
    views: tuple[str, ...] = ("PA", "AP")
    """Views to keep when films are joined; add L for laterals and "" for films of unknown view. A film that
    is frontal, but not known to be PA or AP, is kept where both are."""
    split: Literal["text", "r2gen"] = "text"
    """By distinct text, or as R2Gen split, which most papers on IU X-ray follow; needs --split-file."""
    split_file: Path | None = None
    """R2Gen's annotation.json, or a table with the columns uid and r2gen_split. Studies it does not name are
    left out; those it names without a split are trained on."""
    labels: Literal["both", "mesh", "text"] = "both"
    """The 14 findings by the experts' MeSH headings, by the rule labeler, or headings before labeler."""


@dataclass(frozen=True, kw_only=True)
class MimicConfig(OutputConfig):
    """MIMIC-CXR-JPG 2.x (or MIMIC-CXR's DICOM films) with MIMIC-CXR's reports, as they were downloaded."""

    root: Path = setting(identity=False)
    """Download of the films; its files/ folder may lie deeper, as wget leaves it."""
    reports: Path = setting(identity=False)
    """mimic-cxr-reports.zip, or a folder that holds it or the text files."""
    tables: Path | None = setting(None, identity=False)
    """Folder of the metadata, split and label tables of MIMIC-CXR-JPG, where --root does not hold them."""
    patients: Path | None = setting(None, identity=False)
    """MIMIC-IV's hosp/patients.csv.gz, which gives sex and age; else they stay empty."""
    split: Literal["official", "paper"] = "official"
    """official, or paper: PA films, of which folders p10 to p18 train and p19 tests (CXR-IRGen)."""
    validation_share: float = PAPER_VALIDATION
    """Of the paper's split: share of the patients of p10 to p18 who validate, by a hash of the patient and
    --seed. The paper names none (0), but every training script here needs some."""
    labels: Literal["chexpert", "negbio"] = "chexpert"
    """Which official labels: 1, 0, -1 and blank are kept as they are."""
    views: tuple[str, ...] = ()
    """PA, AP, L (lateral), "" (unknown) or another ViewPosition. Default: PA AP; for the paper's split PA."""
    refresh: bool = setting(False, identity=False)
    """Look again for films and reports that were missing: for a download that has grown since."""

    @property
    def split_rule(self) -> str:
        """Which films train, validate and test, in words."""
        if self.split == "official":
            return "the official split of MIMIC-CXR-JPG"
        return (
            f"CXR-IRGen's: folders p10 to p18 train, but for {self.validation_share:.1%} of their patients, "
            "who validate; p19 tests"
        )

    @property
    def wanted_views(self) -> tuple[str, ...]:
        """`views`, or the split's own."""
        return self.views or _VIEWS[self.split]


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Join the folders of several --shard runs; then run their command once more, with the joined folder."""

    parts: tuple[Path, ...]
    """Folders that `--shard 0/n`, `--shard 1/n`, ... wrote."""
    out: Path
    """Folder to join them into; films are linked where the disk allows it, else copied."""
    dry_run: bool = False
    """Say what would be joined, and stop."""
