import numpy as np
import pytest
import torch
from scipy import stats

from data_module.findings import FINDINGS
from data_module.references import ReferenceIndex, set_distances

NAN = np.nan


def make_labels(*positives, uncertain=()):
    labels = np.full((len(positives), len(FINDINGS)), NAN, dtype=np.float32)
    for row, names in enumerate(positives):
        labels[row, [FINDINGS.index(name) for name in names]] = 1.0
    for row, name in uncertain:
        labels[row, FINDINGS.index(name)] = -1.0
    return labels


def make_random(num_rows, num_patients, seed, prevalence=0.12):
    generator = np.random.default_rng(seed)
    labels = generator.choice(
        [1.0, -1.0, 0.0, NAN], p=[prevalence, 0.03, 0.25, 0.72 - prevalence], size=(num_rows, len(FINDINGS))
    )
    patients = [f"p{number}" for number in generator.integers(num_patients, size=num_rows)]
    return labels.astype(np.float32), patients


def brute_force(labels, patients, query, patient):
    """The rows that may be drawn, by the definition: a scan over all rows."""
    states = {1.0: 2, -1.0: 1}
    distances = []
    for row, other in zip(labels, patients, strict=True):
        distance = sum(
            abs(states.get(float(a), 0) - states.get(float(b), 0)) for a, b in zip(row, query, strict=True)
        )
        distances.append(np.inf if other == patient else distance)
    return set(np.flatnonzero(np.array(distances) == min(distances)).tolist())


def draws_of(index, row, num_draws, seed=0):
    return index.draw(np.full(num_draws, row), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(4))
def test_draws_equal_a_brute_force_search(seed):
    labels, patients = make_random(60, 12, seed)
    labels[:30] = labels[:5].repeat(6, axis=0)  # some sets with many films
    index = ReferenceIndex(labels, patients)
    for row in range(60):
        allowed = brute_force(labels, patients, labels[row], patients[row])
        assert set(draws_of(index, row, 40 * len(allowed)).tolist()) == allowed


def test_draws_for_outside_queries_equal_a_brute_force_search():
    labels, patients = make_random(50, 8, seed=5)
    queries, _ = make_random(30, 8, seed=6)
    queries[:10] = labels[:10]
    query_patients = [*patients[:10], *["p1", "", None, "stranger"] * 5]
    index = ReferenceIndex(labels, patients)
    for query, patient in zip(queries, query_patients, strict=True):
        allowed = brute_force(labels, patients, query, patient)
        num_draws = 40 * len(allowed)
        uniforms = np.random.default_rng(0).random(num_draws)
        rows = index.draw_for(np.tile(query, (num_draws, 1)), [patient] * num_draws, uniforms)
        assert set(rows.tolist()) == allowed


def test_uniform_over_the_films_of_other_patients():
    # Patient a owns 5 of the 20 films of the set, in scattered rows.
    patients = ["a" if row % 4 == 1 else f"p{row % 3}" for row in range(20)]
    index = ReferenceIndex(make_labels(*[["Edema"]] * 20), patients)
    counts = np.bincount(draws_of(index, 1, 30_000), minlength=20)
    others = np.array([patient != "a" for patient in patients])
    assert counts[~others].sum() == 0
    assert stats.chisquare(counts[others]).pvalue > 1e-4


def test_uniform_over_tied_nearest_sets():
    labels = make_labels(["Edema"], *[["Fracture"]] * 3, ["Pneumonia"])
    index = ReferenceIndex(labels, ["a", "b", "c", "d", "e"])
    counts = np.bincount(draws_of(index, 0, 20_000), minlength=5)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-4


def test_a_set_of_one_patient_falls_back_to_the_nearest_set():
    labels = make_labels(["Edema"], ["Edema"], ["Edema", "Fracture"], ["Pneumonia", "Fracture"])
    index = ReferenceIndex(labels, ["a", "a", "b", "c"])
    assert set(draws_of(index, 0, 50).tolist()) == {2}


def test_nearest_set_may_hold_the_own_patient_too():
    labels = make_labels(["Edema"], ["Fracture"], ["Fracture"])
    index = ReferenceIndex(labels, ["a", "a", "b"])
    assert set(draws_of(index, 0, 50).tolist()) == {2}


def test_uncertain_lies_between_absent_and_present():
    labels = make_labels(["Edema"], [], [], uncertain=[(1, "Edema")])
    index = ReferenceIndex(labels, ["a", "b", "c"])
    assert set(draws_of(index, 0, 50).tolist()) == {1}


def test_not_mentioned_counts_as_absent():
    labels = make_labels(["Edema"], ["Edema"], ["Edema"])
    labels[1, FINDINGS.index("Fracture")] = 0.0
    index = ReferenceIndex(labels, ["a", "b", "c"])
    assert set(draws_of(index, 0, 50).tolist()) == {1, 2}


def test_a_draw_depends_only_on_its_own_generator():
    labels, patients = make_random(200, 50, seed=1)
    index = ReferenceIndex(labels, patients)

    def generators(items):
        return [torch.Generator().manual_seed(100 + item) for item in items]

    whole = index.draw_for(labels[:40], patients[:40], generators(range(40)))
    part = index.draw_for(labels[8:16], patients[8:16], generators(range(8, 16)))
    assert (whole[8:16] == part).all()


def test_never_the_own_patient_in_a_large_table():
    labels, patients = make_random(100_000, 40_000, seed=2, prevalence=0.06)
    index = ReferenceIndex(labels, patients)
    rows = np.arange(100_000)
    drawn = index.draw(rows, torch.Generator().manual_seed(0))
    patients = np.array(patients)
    assert (patients[drawn] != patients).all()
    distances = np.abs(np.nan_to_num(np.abs(labels)) - np.nan_to_num(np.abs(labels[drawn]))).sum(axis=1)
    assert (distances == 0).mean() > 0.9


def test_the_edge_of_the_unit_interval_stays_inside():
    index = ReferenceIndex(make_labels(["Edema"], ["Edema"]), ["a", "b"])
    query = make_labels(["Edema"])
    assert index.draw_for(query, ["a"], np.array([np.nextafter(1.0, 0.0)])) == [1]
    assert index.draw_for(query, [""], np.array([0.0])) == [0]


def test_set_distance():
    states = np.zeros((2, 14), dtype=np.int8)
    states[0, :3] = [2, 1, 0]
    states[1, :3] = [0, 2, 1]
    assert set_distances(states[:1], states[1:]) == [[4.0]]


@pytest.mark.parametrize(
    ("labels", "patients", "message"),
    [
        (np.zeros((2, 14)), ["a", "a"], "two patients"),
        (np.zeros((2, 5)), ["a", "b"], "14"),
        (np.zeros((2, 14)), ["a"], "patient ids"),
    ],
)
def test_bad_input_is_named(labels, patients, message):
    with pytest.raises(ValueError, match=message):
        ReferenceIndex(labels, patients)
