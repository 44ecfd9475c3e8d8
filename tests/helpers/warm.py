"""Imported by the server of `forked`: what its processes would each import and compile anew."""

import tqdm.std

import evaluation.run  # noqa: F401
import pipelines.report_table  # noqa: F401
from data_module.labeler import label_report
from evaluation.metric import all_metrics

all_metrics()
label_report("The heart is normal. Small left effusion.")  # compiles the rules
# A progress bar makes a lock that all forks share, and a thread that takes it: a process killed while it
# holds it, or forked while the thread does, would stop every later one.
if hasattr(tqdm.std.tqdm, "_lock"):
    raise RuntimeError("a progress bar was shown in the server of tests/helpers/forked.py")
