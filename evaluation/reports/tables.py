"""The table of the section `reports` besides its metrics: precision, recall and F1 by convention."""

from collections.abc import Mapping
from typing import Any

from data_module.findings import FINDINGS, FIVE_FINDINGS
from evaluation.output.cells import Table, format_interval, format_value
from evaluation.statistics.findings import UNCERTAIN_POLICIES


def report_tables(section: Mapping[str, Any]) -> list[Table]:
    """Precision, recall and F1, by what an uncertain finding is."""
    rows = []
    for policy, values in section.get("clinical", {}).items():
        for average in ("micro", "macro", "example"):
            row = [f"{policy}, {average}"]
            for count in (len(FINDINGS), len(FIVE_FINDINGS)):
                figures = [values.get(f"{average}_{name}_{count}") for name in ("precision", "recall", "f1")]
                key = f"{average}_f1_{count}"
                interval = format_interval(
                    section, key if policy == "negative" else f"clinical.{policy}.{key}"
                )
                row += [*map(format_value, figures), interval or "–"]
            rows.append(row)
    if not rows:
        return []
    header = [f"{figure}-{n}" for n in (14, 5) for figure in ("precision", "recall", "F1", "F1, 95%")]
    note = "; ".join(f"{name}: {text}" for name, text in UNCERTAIN_POLICIES.items())
    return [Table(("uncertain is", *header), rows, f"{note[0].upper()}{note[1:]}.")]
