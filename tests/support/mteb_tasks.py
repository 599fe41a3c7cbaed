"""Two tasks for mteb, made here, and their scores. mteb is slow to import: few tests do."""

import mteb
import numpy as np
from datasets import Dataset, DatasetDict
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

THINGS = ("dog", "cat", "car", "river", "judge", "violin", "loaf of bread", "storm")
ACTS = ("sleeps", "is loud", "was old", "moves slowly")
TEXTS = [f"The {thing} {act} in the city." for thing in THINGS for act in ACTS]


def metadata(name, kind, score):
    return TaskMetadata(
        name=name,
        description="Made here.",
        reference=None,
        dataset={"path": "none", "revision": "1"},
        type=kind,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=score,
        date=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        dialect=None,
        sample_creation=None,
        bibtex_citation=None,
    )


class Pairs(AbsTaskSTS):
    metadata = metadata("LocalSTS", "STS", "cosine_spearman")

    def load_data(self, **_):
        rng = np.random.default_rng(0)
        pairs = rng.integers(0, len(TEXTS), (60, 2))
        scores = [float(a % 4 == b % 4) + 2.0 * (a // 4 == b // 4) + a / 100 for a, b in pairs]
        columns = {"sentence1": 0, "sentence2": 1}
        data = {name: [TEXTS[row[i]] for row in pairs] for name, i in columns.items()}
        self.dataset = DatasetDict(test=Dataset.from_dict({**data, "score": scores}))
        self.data_loaded = True


class Things(AbsTaskClassification):
    metadata = metadata("LocalClassification", "Classification", "accuracy")
    samples_per_label = 2
    n_experiments = 3

    def load_data(self, **_):
        rows = {"text": TEXTS, "label": [i // 4 for i in range(len(TEXTS))]}
        self.dataset = DatasetDict(train=Dataset.from_dict(rows), test=Dataset.from_dict(rows))
        self.data_loaded = True


def scores(model):
    """Return all scores of both tasks, by name."""
    found = {}
    for task in (Pairs(), Things()):
        [result] = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
        [row] = result.scores["test"]
        found |= {
            f"{task.metadata.name} {name}": value
            for name, value in row.items()
            if isinstance(value, float) and not np.isnan(value)  # ap is of two classes
        }
    return found
