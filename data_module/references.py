"""The choice of a reference film: the same findings, another patient, in constant time a draw."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from data_module.findings import FINDINGS, POSITIVE, UNCERTAIN

_CHUNK_ELEMENTS = 2**24  # distances held at once while nearest sets are looked up: 64 MB


class ReferenceIndex:
    """Films to draw references from, indexed by their set of findings.

    CXR-IRGen (WACV 2024, sec. 3.1) prompts with a film of the same labels. Here two films have the same
    set when each finding is present, uncertain or absent in both; "absent" and "not mentioned" are one,
    since the report's silence does not show on the film. The reference is uniform over all such films of
    other patients. Where there is none, it is uniform over the films of the nearest sets that hold
    another patient: distance sum_f |s_f - s'_f| with s = 0 absent, 1 uncertain, 2 present, so that a
    positive finding that differs weighs most.

    Every draw is one lookup: rows lie sorted by (set, patient), so one patient's films of a set are one
    run, and a uniform draw over the others jumps over that run.
    """

    def __init__(self, labels: np.ndarray, patient_ids: Sequence[str]) -> None:
        """Index N films.

        Args:
            labels: (N, 14) in the order of FINDINGS, 1, 0, -1 or NaN.
            patient_ids: N ids.

        Raises:
            ValueError: wrong shapes, or films of one patient only (no reference is then possible).
        """
        states = _states(labels)
        if len(states) != len(patient_ids):
            raise ValueError(f"{len(states)} rows of labels, but {len(patient_ids)} patient ids")
        names, patients = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
        if len(names) < 2:
            raise ValueError(
                f"references need films of at least two patients; these {len(states)} rows hold {len(names)}"
            )
        self._patient_codes = {name: code for code, name in enumerate(names.tolist())}
        self._set_codes, first, sets = np.unique(_set_codes(states), return_index=True, return_inverse=True)
        self._set_states = states[first]
        self._order = np.lexsort((patients, sets))
        self._set_starts = np.searchsorted(sets[self._order], np.arange(len(first) + 1))
        self._run_keys, self._run_starts, runs, self._run_lengths = np.unique(
            self._keys(sets, patients)[self._order],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        run_sets, run_patients = np.divmod(self._run_keys, len(names))
        run_counts = np.bincount(run_sets)
        # The patient of a set that holds one patient only, else -1.
        self._sole_patient = np.where(run_counts == 1, run_patients[np.cumsum(run_counts) - 1], -1)
        # Rows of one (set, patient) draw from the same films: one plan for all.
        self._plan_of_row = np.empty(len(states), dtype=np.int64)
        self._plan_of_row[self._order] = runs
        self._plan = self._make_plan(self._set_states[run_sets], run_sets, run_patients)

    def __len__(self) -> int:
        return len(self._order)

    def draw(self, rows: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """A reference for each of these rows of the index: (M,) row indices, never of the row's patient."""
        uniforms = torch.rand(len(rows), generator=generator, device=generator.device, dtype=torch.float64)
        return self._pick(self._plan, self._plan_of_row[np.asarray(rows)], uniforms.cpu().numpy())

    def draw_for(
        self,
        labels: np.ndarray,
        patient_ids: Sequence[str | None],
        draws: np.ndarray | Sequence[torch.Generator],
    ) -> np.ndarray:
        """A reference for films or prompts that are not in the index: (M,) row indices.

        Item i depends on its own labels, patient and draw alone.

        Args:
            labels: (M, 14) certainties, as in the index.
            patient_ids: M ids; None or "" where the query is nobody's film (a prompt).
            draws: (M,) uniform numbers in [0, 1), or M generators, each of which gives one number.
        """
        states = _states(labels)
        if not isinstance(draws, np.ndarray):
            draws = np.array([_uniform(generator) for generator in draws])
        if not len(states) == len(patient_ids) == len(draws):
            raise ValueError(f"{len(states)} label rows, {len(patient_ids)} patients, {len(draws)} draws")
        codes = _set_codes(states)
        sets = np.searchsorted(self._set_codes, codes).clip(max=len(self._set_codes) - 1)
        sets = np.where(self._set_codes[sets] == codes, sets, -1)
        patients = np.array([self._patient_codes.get(name, -1) for name in patient_ids], dtype=np.int64)
        plan = self._make_plan(states, sets, patients)
        return self._pick(plan, np.arange(len(states)), draws)

    def _keys(self, sets: np.ndarray, patients: np.ndarray) -> np.ndarray:
        """One integer for each (set, patient), in the order of the rows; -1 for an unknown patient."""
        return np.where(patients < 0, -1, sets.astype(np.int64) * len(self._patient_codes) + patients)

    def _find_runs(self, sets: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start and length of each patient's run within a set; length 0 where it has no film there."""
        keys = self._keys(sets, patients)
        runs = np.searchsorted(self._run_keys, keys).clip(max=len(self._run_keys) - 1)
        return self._run_starts[runs], np.where(self._run_keys[runs] == keys, self._run_lengths[runs], 0)

    def _make_plan(self, states: np.ndarray, sets: np.ndarray, patients: np.ndarray) -> "_Plan":
        """For queries (states (M, 14), their set or -1, their patient or -1) the sets to draw from."""
        # -1 stands for "no sole patient" and for "nobody's film": neither keeps a query from its own set.
        exact = (sets >= 0) & ((patients < 0) | (self._sole_patient[sets] != patients))
        queries, entry_sets = [np.flatnonzero(exact)], [sets[exact]]
        others = np.flatnonzero(~exact)
        step = max(1, _CHUNK_ELEMENTS // len(self._set_states))
        for chunk in (others[start : start + step] for start in range(0, len(others), step)):
            distances = set_distances(states[chunk], self._set_states)
            known = patients[chunk, None] >= 0
            distances[known & (self._sole_patient[None, :] == patients[chunk, None])] = np.inf
            tied = np.nonzero(distances == distances.min(axis=1, keepdims=True))
            queries.append(chunk[tied[0]])
            entry_sets.append(tied[1])
        query, entry_set = np.concatenate(queries), np.concatenate(entry_sets)
        by_query = np.argsort(query, kind="stable")
        query, entry_set = query[by_query], entry_set[by_query]
        own_starts, own_lengths = self._find_runs(entry_set, patients[query])
        counts = self._set_starts[entry_set + 1] - self._set_starts[entry_set] - own_lengths
        ends = np.cumsum(counts)
        totals = np.bincount(query, weights=counts, minlength=len(states)).astype(np.int64)
        return _Plan(
            entry_set, own_starts, own_lengths, ends - counts, ends, np.cumsum(totals) - totals, totals
        )

    def _pick(self, plan: "_Plan", queries: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        places = np.minimum((uniforms * plan.totals[queries]).astype(np.int64), plan.totals[queries] - 1)
        places = plan.query_begins[queries] + places
        entries = np.searchsorted(plan.ends, places, side="right")
        positions = self._set_starts[plan.sets[entries]] + places - plan.begins[entries]
        own = plan.own_lengths[entries]
        jump = (own > 0) & (positions >= plan.own_starts[entries])
        return self._order[np.where(jump, positions + own, positions)]


class _Plan(NamedTuple):
    """Which films each query draws from.

    The films of all queries lie one after another in one imagined line: an entry is the part of it that
    is one set of findings less the query's own patient; a query is one or more entries.
    """

    sets: np.ndarray  # of each entry
    own_starts: np.ndarray  # where the query's patient's run begins within the sorted rows
    own_lengths: np.ndarray
    begins: np.ndarray  # place of each entry's first film in the line
    ends: np.ndarray
    query_begins: np.ndarray  # place of each query's first film in the line
    totals: np.ndarray  # films of each query


def set_distances(states: np.ndarray, others: np.ndarray) -> np.ndarray:
    """sum_f |s_f - s'_f| between sets of findings: (M, 14) and (N, 14) states 0, 1, 2 -> (M, N) float32."""
    # |s - s'| is the Hamming distance of the bits (s >= 1, s >= 2), and so one matrix product.
    left, right = (
        np.concatenate([array >= 1, array >= 2], axis=1).astype(np.float32) for array in (states, others)
    )
    return left.sum(1)[:, None] + right.sum(1)[None, :] - 2.0 * left @ right.T


def _states(labels: np.ndarray) -> np.ndarray:
    """Certainties (N, 14) -> 0 absent or not mentioned, 1 uncertain, 2 present."""
    labels = np.asarray(labels, dtype=np.float32)
    if labels.ndim != 2 or labels.shape[1] != len(FINDINGS):
        raise ValueError(f"labels of shape {labels.shape}: must be (N, {len(FINDINGS)})")
    return np.where(labels == POSITIVE, 2, np.where(labels == UNCERTAIN, 1, 0)).astype(np.int8)


def _set_codes(states: np.ndarray) -> np.ndarray:
    """One integer for each set of findings."""
    return states.astype(np.int64) @ 3 ** np.arange(len(FINDINGS), dtype=np.int64)


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator, device=generator.device, dtype=torch.float64))
