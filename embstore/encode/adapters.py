"""Find an adapter (LoRA, by peft) and merge it into the checkpoint that it was trained on."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from embstore.base.documents import Document
from embstore.base.errors import CheckpointError
from embstore.base.installation import needing
from embstore.base.space import as_name
from embstore.encode.checkpoint import Checkpoint, files_of_hub, hub_id_of
from embstore.encode.checkpoint_files import ADAPTER_FILE, SHORT_NAMES, is_file, read_json, sha256
from embstore.encode.extra import first_sentence, model_class, need

_WEIGHTS = "adapter_model.safetensors"
_HEADS = {
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
}
"""Classes of transformers that adapters are trained on, by peft's name of the task."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter on this machine.

    Attributes:
        name: Part of the names of its spaces.
        id: Hub id, or absolute path.
        revision: Commit on the hub; None for a local folder.
        sha256: SHA-256 of the sorted lines ``name sha256`` of its two files.
    """

    name: str
    id: str
    revision: str | None
    folder: Path
    sha256: str

    @property
    def spec(self) -> str:
        """The adapter as :meth:`find` takes it, at its revision."""
        return self.id if self.revision is None else f"{self.id}@{self.revision}"

    @classmethod
    def find(cls, spec: str, *, download: bool = True) -> "Adapter":
        """Return the adapter of a local folder, or of a hub id with an optional ``@revision``.

        Raises:
            CheckpointError: There is no adapter, it is not of LoRA, or its weights are a pickle.
        """
        local, revision, identity = Path(spec).expanduser(), None, spec
        if os.path.isdir(local):
            folder = local.resolve()
            identity = str(folder)
        elif target := hub_id_of(spec):
            identity, _, requested = target.partition("@")
            files = [ADAPTER_FILE, _WEIGHTS]
            folder = files_of_hub(spec, identity, requested or None, files, download=download)
            revision = folder.name
        else:
            raise CheckpointError(
                f"no adapter {spec!r}: there is no such folder, and it is not a hub id"
                " (org/adapter@revision)."
            )
        where = f"the adapter {spec!r} in {folder}"
        if not is_file(folder / ADAPTER_FILE):
            raise CheckpointError(
                f"{where} has no {ADAPTER_FILE}: give a folder that peft's save_pretrained() wrote."
            )
        if not is_file(folder / _WEIGHTS):
            raise CheckpointError(
                f"{where} has no {_WEIGHTS}. A pickle (adapter_model.bin) can run code when it is"
                " loaded, and is not read: save the adapter again by save_pretrained()."
            )
        kind = _config(folder).get("peft_type")
        if kind != "LORA":
            raise CheckpointError(
                f"{where} is of the kind {str(kind)[:40]!r}, and embstore merges LoRA alone. Merge"
                " it with peft (merge_and_unload), save the model, and build with its folder."
            )
        lines = "".join(f"{name} {sha256(folder / name)}\n" for name in (ADAPTER_FILE, _WEIGHTS))
        name = as_name(Path(identity).name) or "adapter"
        digest = hashlib.sha256(lines.encode()).hexdigest()
        return cls(name, identity, revision, folder, digest)

    def on_this_machine(self, *, download: bool = True) -> "Adapter":
        """Return the same adapter, found again: on another machine its folder may be another one.

        Raises:
            CheckpointError: It is missing, or its files are others.
        """
        adapter = Adapter.find(self.spec, download=download)
        if adapter.sha256 != self.sha256:
            raise CheckpointError(
                f"the adapter in {adapter.folder} has changed: its SHA-256 is"
                f" {adapter.sha256[:12]}…, not {self.sha256[:12]}…. Put the old files back, or"
                " build another space."
            )
        return adapter

    def trained_class(self, config: Any) -> str | None:
        """Return the class of transformers that it was trained on; None for that of the checkpoint.

        Args:
            config: Config of the checkpoint, to tell whether transformers has the class for it.
        """
        adapter_config = _config(self.folder)
        mapping = adapter_config.get("auto_mapping")
        stated = mapping.get("base_model_class") if isinstance(mapping, dict) else None
        task = adapter_config.get("task_type")
        name = _HEADS.get(task) if isinstance(task, str) else stated
        if not isinstance(name, str) or model_class(name, config) is None:
            return None
        return name

    def check_base(self, checkpoint: Checkpoint) -> None:
        """Raise CheckpointError if it says that it was trained on another checkpoint of the hub.

        Organisations may differ, since many keep copies; names of local folders say nothing.
        """
        stated = _config(self.folder).get("base_model_name_or_path")
        base = SHORT_NAMES["minilm"] if checkpoint.id.startswith("pypi:") else checkpoint.id
        if not isinstance(stated, str) or os.path.isabs(base) or hub_id_of(stated) is None:
            return
        names = [name.partition("@")[0].rpartition("/")[2].lower() for name in (stated, base)]
        if names[0] != names[1]:
            raise CheckpointError(
                f"the adapter in {self.folder} was trained on {stated!r}, by its own account, and"
                f" not on {base!r}. Build with that checkpoint; if the two are the same, give the"
                " checkpoint as a local folder."
            )

    def merge_into(self, model: Any, checkpoint: Checkpoint) -> Any:
        """Return a model with the adapter merged into its weights, as peft merges it.

        Raises:
            CheckpointError: The adapter was trained on another model, or peft is missing.
        """
        self.check_base(checkpoint)
        with needing("adapters need peft", "adapters", CheckpointError):
            import peft
        with self._fenced() as view, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # else weights that the file lacks would be those that training begins with
            warnings.filterwarnings("error", message="Found missing adapter keys")
            try:
                adapted = peft.PeftModel.from_pretrained(model, view, local_files_only=True)
                known = peft.get_peft_model_state_dict(adapted, save_embedding_layers=True)
                with need("safetensors").safe_open(view / _WEIGHTS, framework="pt") as file:
                    if unknown := sorted({*file.keys()} - {*known}):
                        raise KeyError(f"no module has {unknown[0]}")
                return adapted.merge_and_unload()
            except Exception as error:  # peft, torch and safetensors raise their own kinds
                raise CheckpointError(
                    f"the adapter in {self.folder} does not fit {checkpoint.name!r}"
                    f" ({type(model).__name__}): {first_sentence(error)[:300]}. It was trained on"
                    " another checkpoint, or is damaged."
                ) from error

    @contextmanager
    def _fenced(self) -> Iterator[Path]:
        """Provide a folder with its two files alone."""
        with TemporaryDirectory(prefix="embstore-adapter-") as name:
            view = Path(name)
            (view / ADAPTER_FILE).write_text(json.dumps(_config(self.folder)), encoding="utf-8")
            try:
                os.symlink(self.folder / _WEIGHTS, view / _WEIGHTS)
            except OSError:  # on Windows it takes a privilege
                shutil.copyfile(self.folder / _WEIGHTS, view / _WEIGHTS)
            yield view


def _config(folder: Path) -> Document:
    """Return the config of an adapter, without what names modules to import."""
    config = read_json(folder / ADAPTER_FILE)
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / ADAPTER_FILE} is not a config of an adapter.")
    return {name: value for name, value in config.items() if not name.startswith("megatron")}
