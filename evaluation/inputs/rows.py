"""What the scores read: films and reports of pairs folders, and tables of generated reports."""

import json
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from data_module.findings import FINDINGS, prompt_sentence
from data_module.pairs import PairsFolder
from data_module.quoting import quote_columns, quote_name
from data_module.sections import join_sections
from data_module.tables import find_column, read_table, read_text

DEFAULT_REPORTS = "heldout_reports.csv"  # in the synthetic folder: image -> report on the real held-out films
NAME_COLUMNS = (
    *("file_name", "filename", "image", "film", "path", "image_path", "file", "img_savename"),
    *("study_id", "dicom_id", "id"),
)
REPORT_COLUMNS = ("report", "text")
PROMPT_COLUMNS = ("prompt", "caption")
_DECODER_TOKEN = re.compile(
    r"</?s>|<\|\w+\|>|<(?:pad|unk|eos|bos|mask|sep|cls|end|start|extra_id_\d+)>"
    r"|\[(?:PAD|UNK|CLS|SEP|MASK|EOS|BOS)\]|[\u0120\u2581]\w",  # and the space of byte pairs and pieces
    re.IGNORECASE,
)


def row_names(folder: PairsFolder) -> list[str]:
    """What to call each row in a message: its film, or its study where there is no film."""
    column = "file_name" if folder.has_films else "study_id"
    return folder.table[column].astype(str).tolist()


def texts(folder: PairsFolder) -> list[str]:
    """The reports, one a row."""
    return folder.table["report"].fillna("").astype(str).tolist()


def prompts(folder: PairsFolder) -> list[str]:
    """What each film was asked for: its prompt, else the prompt sentence of its findings, else nothing."""
    sentences = []
    for prompt, row in zip(folder.table["prompt"], folder.labels, strict=True):
        labels = {name: code for name, code in zip(FINDINGS, row.tolist(), strict=True) if code == code}
        sentences.append(str(prompt) if prompt and not pd.isna(prompt) else _sentence(labels))
    return sentences


def _sentence(labels: dict[str, float]) -> str:
    return prompt_sentence(labels) if labels else ""


def read_captions(path: Path, key: str = "", known: Iterable[str] = ()) -> pd.DataFrame:
    """A CSV as columns file_name, prompt and report, the last two perhaps empty.

    Columns are known by name (NAME_COLUMNS ...) in any spelling; in a table of two unknown columns the first
    names the film and the second is its report. Such a table may have no header.

    Args:
        key: the column that names the film, where the table has it.
        known: names of films, of which one in the first line shows that it is no header.

    Raises:
        ValueError: no CSV table, columns that are not known, or a film in two rows.
    """
    where = str(path)
    if path.suffix.lower() == ".json":
        return read_report_json(path)
    table = read_table(path, where)
    name, report, prompt = (
        find_column(table, wanted, where) for wanted in ((key, *NAME_COLUMNS), REPORT_COLUMNS, PROMPT_COLUMNS)
    )
    if len(table.columns) == 2 and not (name or report or prompt):
        table = _keep_first_line(table, where, {_stem(film) for film in known})
    if len(table.columns) == 2:
        rest = [column for column in table.columns if column not in (name, report, prompt)]
        name = name or rest.pop(0) if rest or name else name
        report = report if report or prompt or not rest else rest[0]
    if name is None or (report is None and prompt is None) or table.empty:
        raise ValueError(
            f"{path} needs the columns file_name and report (or prompt), and rows; it has {len(table)} of "
            f"{quote_columns(table)}"
        )
    twice = table[name][table[name].duplicated()]
    if len(twice):
        such = f"{name} {quote_name(twice.iloc[0])}"
        raise ValueError(
            f"{path}: {such} stands in more than one row ({twice.nunique()} such): keep one of each"
        )
    empty = pd.Series("", index=table.index)
    return pd.DataFrame(
        {
            "file_name": table[name],
            "prompt": table[prompt] if prompt else empty,
            "report": table[report] if report else empty,
        }
    )


def read_report_json(path: Path) -> pd.DataFrame:
    """Reports in JSON as columns file_name, prompt ("") and report: ReXrank's predictions, {study:
    {"model_prediction"}} (or a test file of its, by sections), or COCO's results, [{"image_id", "caption"}].

    Raises:
        ValueError: another form.
    """
    try:
        content = json.loads(read_text(path, str(path)))
        if isinstance(content, dict):
            rows = [(study, _rexrank_report(entry)) for study, entry in content.items()]
        else:
            rows = [(str(entry["image_id"]), str(entry["caption"])) for entry in content]
    except (json.JSONDecodeError, RecursionError, TypeError, KeyError, AttributeError):
        raise ValueError(
            f"{path}: neither ReXrank's predictions nor COCO captions ([{{image_id, caption}}])"
        ) from None
    table = pd.DataFrame(rows, columns=["file_name", "report"]).assign(prompt="")
    if table.empty or table["file_name"].duplicated().any():
        raise ValueError(f"{path}: {'holds no report' if table.empty else 'an image has several captions'}")
    return table[["file_name", "prompt", "report"]]


def _rexrank_report(entry: dict[str, Any]) -> str:
    if "model_prediction" in entry:
        return str(entry["model_prediction"])
    findings, impression = entry["section_findings"], entry["section_impression"]
    return join_sections(findings or "", impression or "")


def _keep_first_line(table: pd.DataFrame, where: str, known: Collection[str]) -> pd.DataFrame:
    """The table with its first line among its rows, where that is no header but a film and its text."""
    name, text = table.columns
    reads_as_text = len(text.split()) > 3 or len(text) > 40 or text.endswith((".", "!", "?"))
    is_film = _stem(name) in known or re.search(r"\d|\.\w{1,5}$|/", name)
    if not (reads_as_text or is_film or text in set(table[text])):
        print(f"note: {where}: its first line is taken for a header", file=sys.stderr)
        return table
    print(f"note: {where}: has no header; its first column names films, the second is text", file=sys.stderr)
    columns = ["file_name", "report"]
    first = pd.DataFrame([[name, text]], columns=columns)
    return pd.concat([first, table.set_axis(columns, axis="columns")], ignore_index=True)


def _stem(name: str) -> str:
    return Path(name).stem


def find_decoder_tokens(texts: Sequence[str], where: str) -> list[str]:
    """A remark, also on standard error, where texts hold what a decoder should have left out."""
    count = sum(_DECODER_TOKEN.search(text) is not None for text in texts)
    if not count:
        return []
    remark = (
        f"{count} of {len(texts)} reports hold tokens of a decoder, such as </s>, [PAD] or <|endoftext|>: "
        "decode with skip_special_tokens=True"
    )
    print(f"warning: {where}: {remark}", file=sys.stderr)
    return [remark]


def spell_alike(names: pd.Series, others: pd.Series) -> tuple[pd.Series, pd.Series] | None:
    """Both columns of names as they agree: by path (with / or \\), else by file name, or without its suffix.

    None where no name agrees. A spelling in which a name of one column means two of the other does not count.
    """
    for spell in (
        str,
        lambda name: _as_path(name).as_posix(),
        lambda name: _as_path(name).name,
        lambda name: _as_path(name).stem,
    ):
        spelled = names.map(spell), others.map(spell)
        common = spelled[0].isin(spelled[1])
        merged = spelled[1].duplicated().any() or spelled[0][common].duplicated().any()
        if common.any() and (spell is str or not merged):
            return spelled
    return None


def _as_path(name: str) -> Path:
    return Path(name.replace("\\", "/"))


def _names_agree(path: Path, real: PairsFolder) -> bool:
    names = read_report_json(path)["file_name"]
    return real.has_films and spell_alike(real.table["file_name"].dropna(), names) is not None


@dataclass(frozen=True)
class ReportPairs:
    """Generated reports beside the real reports of the same rows."""

    references: list[str]
    hypotheses: list[str]
    names: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)  # of the real reports; for figures of groups


def match_reports(path: Path, real: PairsFolder, split: str) -> ReportPairs:
    """Match a table of generated reports to the rows of `real`'s split, by name and never by position.

    Args:
        path: CSV with `report` and `file_name` (or `study_id`, for a text-only folder), or as `read_captions`
            knows them; names agree as `spell_alike` says.

    Raises:
        ValueError: no such file, a column missing, a row twice, or no row of the split in it.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"--reports {path}: no such file. It holds generated reports of {real.root}'s films of split "
            f"{split!r}, columns file_name and report"
        )
    key = "file_name" if real.has_films else "study_id"
    if path.suffix.lower() == ".json" and not _names_agree(path, real):  # by study, however many films it has
        key, real = "study_id", replace(real, table=real.table.drop_duplicates("study_id"))
    table = read_captions(path, key, known=real.table[key].dropna())
    if not table["report"].any():
        raise ValueError(f"--reports {path}: no column `report`, or nothing in it")
    every = real.table[real.table[key].notna()]
    spelled = spell_alike(every[key], table["file_name"])
    if spelled is None:
        raise ValueError(
            f"--reports {path}: no {key} of {real.root} stands in it; it begins with "
            f"{quote_name(table['file_name'].iloc[0])}"
        )
    every = every.assign(**{key: spelled[0]})
    generated = dict(zip(spelled[1], table["report"], strict=True))
    rows = every[every["split"] == split]
    repeated = rows[key][rows[key].duplicated()]
    if len(repeated):
        raise ValueError(
            f"{real.root}: {key} {quote_name(repeated.iloc[0])} names more than one row of split {split!r}"
        )
    found = rows[rows[key].isin(spelled[1])]
    if found.empty:
        raise ValueError(f"--reports {path}: no {key} of {real.root}'s split {split!r} stands in it")
    known = set(spelled[0])
    hypotheses = [generated[name] for name in found[key]]
    counts = {
        "num_scored": len(found),
        "num_rows_of_split": len(rows),
        "num_outside_split": sum(name in known for name in generated) - len(found),
        "num_unknown": sum(name not in known for name in generated),
        "num_empty_reports": sum(not text.strip() for text in hypotheses),
    }
    remarks = find_decoder_tokens(hypotheses, f"--reports {path}")
    return ReportPairs(
        found["report"].tolist(),
        hypotheses,
        found[key].tolist(),
        found["patient_id"].tolist(),
        counts,
        remarks,
        found,
    )
