"""Reports as ReXrank compares them (Zhang et al., 2024): the real one by sections, the other as it is."""

import re

from data_module.sections import split_sections


def reference_text(report: str) -> str:
    """A real report as "Findings: ... Impression: ..."; None stands where a section is missing."""
    findings, impression = split_sections(report)
    return f"Findings: {findings or None} Impression: {impression or None}"


def squeeze(text: str) -> str:
    """Several spaces as one."""
    return re.sub(" +", " ", text)
