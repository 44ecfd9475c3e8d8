"""Rule-based labeler: report text -> the 14 CheXpert findings: 1, 0, -1 (uncertain) or NaN (not mentioned).

Follows the task of the CheXpert labeler (Irvin et al., AAAI 2019: mention, classify, aggregate) with word
lists and scopes instead of a parser. `python -m evaluation label` runs it on a table.
"""

from data_module.labeler.aggregation import label_report, label_reports
from data_module.labeler.table import label_table

__all__ = ["label_report", "label_reports", "label_table"]
