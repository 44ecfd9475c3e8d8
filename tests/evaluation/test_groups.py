"""Figures by group: known gaps are found, equal groups pass, and columns are what they say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.scored_folders import write_scored_folders

from data_module.config import PlanConfig
from data_module.demo.source import write_demo
from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder, write_pairs
from data_module.sampling_plan import SamplingPlan
from evaluation import evaluate
from evaluation.images.auroc import share_findings
from evaluation.images.groups import measure_groups
from evaluation.images.inputs import FeatureSets, FilmInputs
from evaluation.inputs.groupings import Grouping, read_groupings
from evaluation.metric import metrics_of
from evaluation.reports.section import evaluate_reports
from evaluation.statistics.groups import compare_groups
from evaluation.statistics.items import REAL, SYNTHETIC

SEX = Grouping("sex", ("F", "M"))
REPORTS = ("There is a large pleural effusion.", "There is mild pulmonary edema.")
MICRO = {"micro_f1_14"}


def _label(texts):
    return np.array(
        [[1.0 if name.lower() in text.lower() else np.nan for name in FINDINGS] for text in texts]
    )


def _score(sexes, wrong, seed=0, num=400, metrics=MICRO, patients=None, grouping=SEX, least=10):
    """Figures by sex of reports of which those of `wrong` (N,) bool name the other finding."""
    truth = np.random.default_rng(seed).integers(0, 2, len(sexes))
    made = np.where(wrong, 1 - truth, truth)
    texts = [[REPORTS[one] for one in side] for side in (truth, made)]
    chosen = [metric for metric in metrics_of("reports") if metric.key in metrics]
    _, items = evaluate_reports(*texts, _label, metrics=chosen)
    names = [f"p{row}" for row in range(len(sexes))] if patients is None else patients
    items |= {
        "group_sex": np.array(sexes),
        "patient": np.array(names),
        "stratum": np.full(len(sexes), REAL),
    }
    return compare_groups(chosen, items, [grouping], least, num, seed)["sex"]


def test_a_planted_gap_is_found_with_its_size_and_sides():
    sexes, wrong = ["F", "M"] * 100, np.zeros(200, bool)
    wrong[1:101:2] = True  # half of the men's reports; effusion and edema are labeled by their names
    found = _score(sexes, wrong, metrics=MICRO | {"rouge_l"})
    figure = found["figures"]["micro_f1_14"]
    assert figure["values"] == {"F": 1.0, "M": pytest.approx(0.5)}
    assert (figure["gap"]["high"], figure["gap"]["low"]) == ("F", "M")
    low, high = figure["gap"]["interval"]
    assert 0.3 < low < 0.5 < high < 0.7
    assert figure["gap"]["p"] <= figure["gap"]["p_holm"] < 0.05
    assert found["num"] == {"F": {"real": 100}, "M": {"real": 100}}


def test_a_groups_figure_is_that_of_its_items_alone():
    rng = np.random.default_rng(3)
    sexes, wrong = rng.choice(["F", "M"], 120), rng.random(120) < 0.3
    found = _score(sexes.tolist(), wrong)["figures"]["micro_f1_14"]["values"]
    for name in "FM":
        assert found[name] == pytest.approx(1.0 - wrong[sexes == name].mean())


@pytest.mark.parametrize("num_groups", [2, 4])
def test_equal_groups_differ_in_few_draws(num_groups):
    """Four groups have six gaps, of which the largest is taken: their p-value must know that."""
    names = ("F", "M", "X", "Y")[:num_groups]
    told = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = _score(
            rng.choice(names, 160).tolist(),
            rng.random(160) < 0.3,
            seed,
            200,
            MICRO | {"rouge_l"},
            grouping=Grouping("sex", names),
        )
        told += min(figure["gap"]["p_holm"] for figure in found["figures"].values()) < 0.05
    assert told <= 4


def test_a_small_group_without_a_rare_error_is_not_told_apart():
    """Its resamples do not vary; by its own spread alone it would be told apart in every fourth draw."""
    told = 0
    for seed in range(30):
        wrong = np.random.default_rng(seed).random(230) < 0.05
        wrong[:30] = False
        gap = _score(["F"] * 30 + ["M"] * 200, wrong, seed, 200)["figures"]["micro_f1_14"]["gap"]
        assert gap["p"] >= 0.01
        told += gap["p_holm"] < 0.05
    assert told <= 3


def test_patients_are_resampled_and_not_their_films():
    wrong = np.repeat(np.random.default_rng(1).random(40) < 0.5, 10)
    sexes = np.repeat(["F", "M"], 200).tolist()
    alone = _score(sexes, wrong)["figures"]["micro_f1_14"]["gap"]
    together = _score(sexes, wrong, patients=np.repeat(np.arange(40), 10).astype(str))
    width = np.diff(together["figures"]["micro_f1_14"]["gap"]["interval"])
    assert width > 2 * np.diff(alone["interval"])


def test_unknown_values_and_small_groups_are_left_out_and_counted():
    sexes = ["F"] * 50 + ["M"] * 50 + [""] * 7 + ["O"] * 9
    found = _score(sexes, np.zeros(116, bool), grouping=Grouping("sex", ("F", "M", "O")))
    assert found["num_unknown"] == {"real": 7}
    assert found["left_out"] == {"O": "9 real"}
    assert set(found["figures"]["micro_f1_14"]["values"]) == {"F", "M"}


def test_one_group_has_figures_and_no_gap():
    found = _score(["F"] * 40, np.arange(40) < 10, grouping=Grouping("sex", ("F",)))
    assert found["figures"]["micro_f1_14"]["values"] == {"F": 0.75}
    assert found["figures"]["micro_f1_14"]["gap"] is None


def test_without_resamples_there_are_values_alone():
    figure = _score(["F", "M"] * 20, np.zeros(40, bool), num=0)["figures"]["micro_f1_14"]
    assert figure["intervals"] == {"F": None, "M": None}
    assert figure["gap"]["interval"] is None
    assert figure["gap"]["p"] is None


TABLE = pd.DataFrame(
    {
        "age": [18.0, 39.5, 40.0, 59.9, 60.0, 97.0, np.nan, 41.0],
        "sex": ["F", "M", " F", "", None, "M", "F", "M"],
        "Edema": [1.0, 0.0, np.nan, -1.0, 1.0, 0.0, 0.0, np.nan],
        "patient_id": list("abcdefgh"),
        "view": [None] * 8,
    }
)


def test_ages_are_cut_at_edges_which_belong_to_the_group_above():
    (cut,) = read_groupings(["age:40,60"], TABLE)
    assert cut.names == ("under 40", "40 to 60", "60 up")
    young, middle, old = cut.names
    assert cut.assign(TABLE).tolist() == [young, young, middle, middle, old, old, "", middle]


def test_ages_without_edges_are_cut_at_the_quartiles_of_the_real_rows():
    real = pd.DataFrame({"age": np.arange(20, 60) + 0.5})
    (cut,) = read_groupings(["age"], real, pd.DataFrame({"age": [90.0] * 50}))
    assert cut.names == ("under 29.5", "29.5 to 39.5", "39.5 to 49.5", "49.5 up")
    assert [(cut.assign(real) == name).sum() for name in cut.names] == [9, 10, 10, 11]
    assert set(cut.assign(pd.DataFrame({"age": [90.0]}))) == {cut.names[-1]}


def test_words_and_codes_are_groups_as_they_are():
    sex, edema = read_groupings(["sex", "Edema"], TABLE)
    assert (sex.names, edema.names) == (("F", "M"), ("-1", "0", "1"))
    assert sex.assign(TABLE).tolist() == ["F", "M", "F", "", "", "M", "F", "M"]
    assert edema.assign(TABLE).tolist() == ["1", "0", "", "-1", "1", "0", "0", ""]
    assert sex.assign(pd.DataFrame({"age": [1]})).tolist() == [""]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["race"], "--by race: race is not there; choose of age, sex, Edema"),
        (["view"], "--by view: view says nothing; choose of age, sex, Edema"),
        (["patient_id"], "patient_id is no column to group by"),
        (["sex:1,2"], "sex holds words"),
        (["age:60,40"], "edges are rising numbers"),
        (["age:forty"], "edges are rising numbers"),
        (["age:"], "edges are rising numbers"),
        (["sex", "sex"], "named twice"),
        (["age", "age:50"], "named twice"),
    ],
)
def test_what_is_no_grouping_is_refused_by_name(wanted, message):
    with pytest.raises(ValueError, match=message):
        read_groupings(wanted, TABLE)


def test_many_values_are_refused_without_showing_one():
    table = pd.DataFrame({"site": [f"secret{row}" for row in range(13)]})
    with pytest.raises(ValueError, match="site has 13 values") as told:
        read_groupings(["site"], table)
    assert "secret" not in str(told.value)


def test_mean_auroc_is_over_the_findings_that_every_group_has():
    labels = np.zeros((80, 14), np.float32)
    labels[::2, :2] = 1.0
    labels[40:, 1] = 0.0  # the second group has none of the second finding
    items = {
        "labels": np.concatenate([labels, labels]),
        "probabilities": np.random.default_rng(0).random((160, 14)),
        "findings": np.array(FINDINGS[:2]),
        "policy": np.array(["ignore", "negative"]),
        "stratum": np.repeat([SYNTHETIC, REAL], 80),
    }
    first = np.tile(np.arange(80) < 40, 2)
    assert share_findings(items, [first, ~first])["findings"].tolist() == [FINDINGS[0]]
    assert share_findings(items, [first])["findings"].tolist() == list(FINDINGS[:2])


def test_distances_of_groups_are_measured_of_as_many_films_each():
    """One group's films lie elsewhere than the real ones, and its FID alone is large."""
    rng = np.random.default_rng(0)
    real, made, floor = (rng.normal(size=(300, 8)) for _ in range(3))
    table = pd.DataFrame({"sex": ["F"] * 160 + ["M"] * 120 + ["O"] * 20})
    made[160:280] += 1.0
    metrics = [metric for metric in metrics_of("films") if metric.needs == ("features",)]
    grouping = Grouping("sex", ("F", "M", "O"))
    inputs, sets = FilmInputs(0), FeatureSets(made, real, floor)
    items = measure_groups(metrics, inputs, sets, [grouping], [table] * 3)
    assert not any(key.endswith("=O") for key in items)
    assert (items["influence_fid@sex=F"][:300] != 0).sum() == 120
    items |= {
        "group_sex": np.tile(grouping.assign(table), 2),
        "patient": np.arange(600).astype(str),
        "stratum": np.repeat([SYNTHETIC, REAL], 300),
    }
    figures = compare_groups(metrics, items, [grouping], 10, 200, 0)["sex"]["figures"]
    assert figures["fid"]["values"]["M"] > 7.0 > 1.0 > figures["fid"]["values"]["F"]
    assert (figures["fid"]["gap"]["high"], figures["fid"]["gap"]["low"]) == ("M", "F")
    assert figures["fid"]["gap"]["p_holm"] < 0.05
    assert max(figures["fid_floor"]["values"].values()) < 1.0


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = write_scored_folders(tmp_path_factory.mktemp("groups"))
    for name in ("real", "synthetic"):
        folder = PairsFolder.open(root / name)
        table = folder.table.assign(view=np.where(np.arange(len(folder)) % 2, "PA", "AP"))
        (root / name / "metadata.csv").unlink()
        write_pairs(root / name, table, {}, "# test")
    return root


def test_all_sections_tell_groups_apart_and_the_whole_stays_what_it_was(folders):
    paths = (folders / "real", folders / "synthetic")
    few = {"classifier": folders / "run", "num_bootstrap": 20, "device": "cpu"}
    whole = evaluate(*paths, **few)
    found = evaluate(*paths, by="view", min_group=5, **few)
    for section in ("films", "reports", "pairs"):
        by = found[section].pop("by")["view"]
        assert list(by["num"]) == ["AP", "PA"]
        assert by["figures"]
        assert not by["left_out"]
        assert found[section] == whole[section]
    assert "by" not in found["privacy"]


def test_a_synthetic_folder_that_says_nothing_leaves_its_groups_out(folders, tmp_path, capsys):
    made = PairsFolder.open(folders / "synthetic")
    blank = replace(made, table=made.table.assign(view=None))
    found = evaluate(
        PairsFolder.open(folders / "real"),
        blank,
        "pairs",
        by="view",
        min_group=5,
        num_bootstrap=0,
        device="cpu",
        classifier=folders / "run",
    )["pairs"]["by"]["view"]
    assert found["figures"] == {}
    assert found["left_out"] == {"AP": "0 synthetic", "PA": "0 synthetic"}
    assert "no group of view has 5 rows" in capsys.readouterr().err


def test_features_alone_have_no_groups():
    with pytest.raises(ValueError, match="features alone have no columns"):
        evaluate(np.ones((5, 3)), np.ones((5, 3)), by="sex")


def test_a_drawn_pair_carries_view_sex_and_age_of_the_row_whose_prompt_it_is(tmp_path):
    write_demo(tmp_path / "data", num_studies=60, size=32, num_workers=1)
    rows = PairsFolder.open(tmp_path / "data").split("test").table
    plan = SamplingPlan(PlanConfig(data=tmp_path / "data", prompt_order="table", no_reference=True), seed=0)
    for place in range(len(rows)):
        row = rows.iloc[place]
        about = plan[place].about
        assert about == {"view": row["view"], "sex": row["sex"], "age": int(row["age"])}
        assert isinstance(about["age"], int)
    table = tmp_path / "data/metadata.csv"  # of a folder that is drawn anew, by its own prompts
    again = SamplingPlan(PlanConfig(data=None, prompts=table, no_reference=True), seed=0)
    every = PairsFolder.open(tmp_path / "data").table
    assert [again[place].about["sex"] for place in range(len(every))] == every["sex"].tolist()
    alone = SamplingPlan(PlanConfig(data=None, prompt="A chest X ray image."), seed=0)
    assert alone[0].about == {}
