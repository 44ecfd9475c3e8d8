"""Imported by the server of `forked`: what its processes would each import and compile anew."""

import evaluation.run  # noqa: F401
import pipelines.report_table  # noqa: F401
from data_module.labeler import label_reports
from evaluation.metric import all_metrics

all_metrics()
label_reports(["The heart is normal. Small left effusion."])  # compiles the rules
