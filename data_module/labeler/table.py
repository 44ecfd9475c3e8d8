"""A CSV table of reports -> the same table with the 14 findings: `python -m evaluation label`."""

from pathlib import Path

import pandas as pd

from data_module.findings import FINDINGS
from data_module.labeler.aggregation import label_reports
from data_module.pairs import refuse_contract_name
from data_module.quoting import quote_columns
from data_module.tables import read_table
from runtime.files import write_atomic

REPORT_COLUMN = "report"


def label_table(reports_csv: str | Path, out_csv: str | Path, progress: bool = True) -> pd.DataFrame:
    """Label the `report` column of a CSV file and write all its rows and columns plus the 14 findings.

    Cells are read as strings and written back unchanged (007 stays 007, empty stays empty). Findings are
    written as 1, 0, -1 or empty; a row whose report is empty has 14 empty findings.

    Returns:
        The written table, all columns strings.

    Raises:
        ValueError: a file that is missing, empty or no CSV table; no `report` column; a column that already
            has a finding's name (labels are never overwritten); an output that is the input.
    """
    reports_csv, out_csv = Path(reports_csv), Path(out_csv)
    table = _read_reports(reports_csv)
    if out_csv.resolve() == reports_csv.resolve():
        raise ValueError(f"--out {out_csv} is the input file: choose another, so that no report is lost")
    refuse_contract_name(out_csv, "--out")
    if out_csv.is_dir():
        raise ValueError(f"--out {out_csv} is a folder: give the name of a CSV file")
    labels = label_reports(table[REPORT_COLUMN], progress=progress)
    codes = {1.0: "1", 0.0: "0", -1.0: "-1"}
    for i, name in enumerate(FINDINGS):
        table[name] = [codes.get(code, "") for code in labels[:, i].tolist()]
    write_atomic(out_csv, table.to_csv(index=False))
    return table


def _read_reports(path: Path) -> pd.DataFrame:
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a CSV file with a {REPORT_COLUMN!r} column")
    if not path.is_file():
        raise ValueError(f"{path} does not exist: give a CSV file with a {REPORT_COLUMN!r} column")
    table = read_table(path, str(path), pad=True)  # a row cut short has empty last cells
    header = list(table.columns)
    if REPORT_COLUMN not in header:
        raise ValueError(
            f"{path} has no {REPORT_COLUMN!r} column; it has {quote_columns(table)}. Rename yours."
        )
    present = [name for name in FINDINGS if name in header]
    if present:
        raise ValueError(
            f"{path} already has the finding column(s) {', '.join(present)}; they would be overwritten. "
            "Rename or remove them first."
        )
    if table.empty:
        raise ValueError(f"{path} has no rows below its header")
    return table
