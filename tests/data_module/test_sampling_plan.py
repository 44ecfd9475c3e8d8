"""The sampling plan: which row of a pairs folder gives which item's prompt."""

import numpy as np
import pytest

import sample_pairs
from data_module.config import PlanConfig
from data_module.demo.source import write_demo
from data_module.pairs import PairsFolder
from data_module.sampling_plan import SamplingPlan


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("plan") / "data"
    write_demo(root, num_studies=100, size=32, num_workers=1)
    return root


def test_in_table_order_item_i_is_row_i(data):
    """The paper draws the first rows of its test folder, and is scored on them."""
    test = PairsFolder.open(data).split("test").table
    plan = SamplingPlan(PlanConfig(data=data, prompt_order="table", no_reference=True), seed=3)
    assert [plan[item].prompt for item in range(len(test))] == test["prompt"].tolist()
    assert plan[len(test)].prompt == plan[0].prompt
    assert sample_pairs.PRESETS["paper"].plan.prompt_order == "table"


def test_in_random_order_every_row_comes_once(data):
    test = PairsFolder.open(data).split("test").table
    plans = [SamplingPlan(PlanConfig(data=data, no_reference=True), seed) for seed in (0, 1)]
    drawn = [[plan[item].prompt for item in range(len(test))] for plan in plans]
    assert drawn[0] != drawn[1]
    assert all(sorted(prompts) == sorted(test["prompt"]) for prompts in drawn)


def test_prompts_of_a_pairs_folder_keep_their_findings(data):
    """A folder drawn anew asks for what it asked for, and not for what a labeler reads off its prompts."""
    pairs = PairsFolder.open(data)
    blind = SamplingPlan(
        PlanConfig(data=None, prompts=data / "metadata.csv"), 0, labeler=lambda texts: pairs.labels * 0
    )
    assert [blind[item].prompt for item in range(len(blind))] == pairs.table["prompt"].tolist()
    np.testing.assert_array_equal(blind.labels, pairs.labels)


def test_some_prompts_are_drawn_again_and_again(data):
    """The first three of the seed's order, in turn, each time with another reference."""
    train = PairsFolder.open(data).split("train").table
    config = PlanConfig(data=data, split="train", num_prompts=3)
    plan, every = SamplingPlan(config, 5), SamplingPlan(PlanConfig(data=data, split="train"), 5)
    assert len(plan) == 3
    assert [plan[item].prompt for item in range(9)] == [every[item].prompt for item in range(3)] * 3
    drawn = [plan[item] for item in range(30)]
    assert len({(pair.prompt, pair.reference_name) for pair in drawn}) > 3
    with pytest.raises(ValueError, match=f"--num-prompts 999: there are {len(train)}"):
        SamplingPlan(PlanConfig(data=data, split="train", num_prompts=999), 0)
    lines = data / "prompts.txt"
    lines.write_text("Edema.\nCardiomegaly.\nFracture.\n")
    assert len(SamplingPlan(PlanConfig(data=None, prompts=lines, num_prompts=2), 0)) == 2
