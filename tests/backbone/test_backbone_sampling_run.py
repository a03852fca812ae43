"""Runs: parts that survive a stop, several processes, folders that hold something else, and making samples again."""

import errno
import json

import numpy as np
import pytest
from sampling_support import arrays, digests, quick, tiny

from backbone import reproduce, write_samples
from backbone.sampling.again import Reproduction
from backbone.sampling.environment import rank_and_world
from backbone.sampling.files import read_npz, write_npz
from backbone.sampling.parts import Parts
from backbone.sampling.sampler import Sampler

CONFIG = {"num": 14, "format": "npz", "w": "sigma"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    tiny(file)
    return file


@pytest.fixture(scope="module")
def whole(checkpoint, tmp_path_factory):
    """A run of one process without a stop: its folder and its manifest."""
    out = tmp_path_factory.mktemp("whole") / "out"
    return out, write_samples(checkpoint, out, quick(**CONFIG))


@pytest.fixture
def drawn(monkeypatch):
    """The numbers of the samples that are drawn from here on."""
    numbers, draw = [], Sampler.draw

    def counting(self, first, stop):
        numbers.extend(range(first, stop))
        return draw(self, first, stop)

    monkeypatch.setattr(Sampler, "draw", counting)
    return numbers


def _ranks(monkeypatch, rank, world):
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world))


def test_a_run_leaves_samples_a_sheet_and_a_manifest(whole, checkpoint):
    """The npz has the samples of the sampler and their labels; nothing else is left but the sheet and the manifest."""
    out, manifest = whole
    assert sorted(file.name for file in out.iterdir()) == ["grid.png", "manifest.json", "samples.npz"]
    samples, labels = arrays(out / "samples.npz")
    assert labels.tolist() == [n % 5 for n in range(14)]
    sampler = Sampler(checkpoint, quick(**CONFIG))
    assert (samples == np.concatenate([sampler.draw(k, min(k + 4, 14)).samples for k in (0, 4, 8, 12)])).all()
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert manifest["files"] == digests(out)


def test_the_manifest_says_what_was_run(checkpoint, tmp_path):
    """NFE as measured, guidance twice the network where it is on, labels, noise, rounding, versions and hardware."""
    options = {"guidance": 2.0, "guidance_high": 0.0, "labels": "random", "steps": 4, "method": "euler"}
    found = write_samples(checkpoint, tmp_path / "out", quick(num=6, **options))
    assert found["nfe"] == 4
    # The log-SNR 2 log((1 − t)/t) at 1, 0.75, 0.5 and 0.25 is −inf, −2.2, 0 and 2.2.
    assert found["network_evaluations_per_sample"] == 7
    assert found["sampler"]["method"] == "Euler()"
    assert found["sampler"]["times"] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert found["sampler"]["guidance"].startswith("Interval(guidance=ClassifierFree(scale=2.0")
    assert "floor(5 u)" in found["labels"]
    assert "Philox4x32-10" in found["noise"]
    assert found["pixels"]["rule"] == "127.5 x + 128, clamped to [0, 255], fraction cut off"
    assert found["config"]["threads"] == 1
    assert found["checkpoint"]["path"] == str(checkpoint)
    assert found["model"]["hidden_size"] == 16
    assert found["schedule"]["alpha"] == "1 - t"
    (place,) = found["environments"]
    assert place["versions"].keys() >= {"torch", "numpy", "interpolants"}
    assert place["device"] == "cpu"
    assert found["seconds"] > 0


def test_a_run_that_stops_goes_on_where_it_was(whole, checkpoint, tmp_path, monkeypatch, drawn):
    """What was finished is not drawn again, and the files are those of a run without a stop, byte for byte."""
    save = Parts.save

    def stopping(self, k, *rest):
        if k == 2:
            raise KeyboardInterrupt
        save(self, k, *rest)

    monkeypatch.setattr(Parts, "save", stopping)
    with pytest.raises(KeyboardInterrupt):
        write_samples(checkpoint, tmp_path / "out", quick(**CONFIG))
    assert not (tmp_path / "out" / "samples.npz").exists()
    monkeypatch.setattr(Parts, "save", save)
    drawn.clear()
    write_samples(checkpoint, tmp_path / "out", quick(**CONFIG))
    assert drawn == list(range(8, 14))
    assert digests(tmp_path / "out") == digests(whole[0])
    drawn.clear()
    again = write_samples(checkpoint, tmp_path / "out", quick(**CONFIG))
    assert drawn == []
    assert again["content"] == whole[1]["content"]


def test_two_processes_write_what_one_does(whole, checkpoint, tmp_path, monkeypatch, drawn):
    """Each draws every other part, the second returns nothing, the first writes the files: the same bytes."""
    _ranks(monkeypatch, 1, 2)
    assert write_samples(checkpoint, tmp_path / "out", quick(**CONFIG)) is None
    assert drawn == [4, 5, 6, 7, 12, 13]
    assert not (tmp_path / "out" / "samples.npz").exists()
    drawn.clear()
    _ranks(monkeypatch, 0, 2)
    manifest = write_samples(checkpoint, tmp_path / "out", quick(**CONFIG))
    assert drawn == [0, 1, 2, 3, 8, 9, 10, 11]
    assert digests(tmp_path / "out") == digests(whole[0])
    assert manifest["nfe"] == 3
    _ranks(monkeypatch, 1, 2)
    assert write_samples(checkpoint, tmp_path / "out", quick(**CONFIG)) is None


def test_the_first_process_does_not_wait_for_ever(checkpoint, tmp_path, monkeypatch):
    """Where the others add nothing it says which parts are missing; what it made is kept."""
    _ranks(monkeypatch, 0, 3)
    with pytest.raises(TimeoutError, match=r"with 2 of 4 missing, those of ranks 1, 2; remedy: look at what these"):
        write_samples(checkpoint, tmp_path / "out", quick(**CONFIG), wait=0.3)
    assert len(list((tmp_path / "out").rglob("0*.npz"))) == 2


@pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("x", "2"), ("-1", "2")])
def test_a_rank_outside_the_world_is_refused(rank, world, monkeypatch):
    """RANK and WORLD_SIZE that do not fit are refused."""
    _ranks(monkeypatch, rank, world)
    with pytest.raises(ValueError, match="expected RANK below WORLD_SIZE"):
        rank_and_world()


def test_a_folder_with_other_samples_is_refused(whole, checkpoint, tmp_path, monkeypatch):
    """Finished samples, finished parts and foreign files stay as they are; the difference of the configs is named."""
    before = digests(whole[0])
    with pytest.raises(
        ValueError, match=r"without other samples; received .*config.seed: 0 there, 1 here.*another --out"
    ):
        write_samples(checkpoint, whole[0], quick(**CONFIG, seed=1))
    assert digests(whole[0]) == before
    _ranks(monkeypatch, 1, 2)
    write_samples(checkpoint, tmp_path / "out", quick(**CONFIG))
    _ranks(monkeypatch, 0, 1)
    with pytest.raises(ValueError, match=r"config.steps: 3 there, 4 here"):
        write_samples(checkpoint, tmp_path / "out", quick(**CONFIG | {"steps": 4}))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "samples.npz").write_text("mine")
    with pytest.raises(FileExistsError, match=r"with samples.npz and no manifest.json; remedy: pass another --out"):
        write_samples(checkpoint, tmp_path / "foreign", quick(**CONFIG))
    with pytest.raises(FileExistsError, match="expected a folder; received"):
        write_samples(checkpoint, checkpoint, quick(**CONFIG))


def test_a_config_that_made_nothing_does_not_bind(checkpoint, tmp_path, monkeypatch):
    """A run that stopped before its first part leaves the folder free for another config."""
    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "draw", None)
        with pytest.raises(TypeError):
            write_samples(checkpoint, tmp_path / "out", quick(**CONFIG))
    assert write_samples(checkpoint, tmp_path / "out", quick(**CONFIG, seed=1))["config"]["seed"] == 1


@pytest.mark.parametrize("where", ["backbone.sampling.parts.np.savez", "backbone.sampling.run.write_npz"])
def test_a_full_disk_leaves_no_half_file(where, checkpoint, tmp_path, monkeypatch, whole):
    """A part or a file that cannot be written whole is not there; the next run completes it."""

    def full(file, *rest, **others):
        if hasattr(file, "write"):
            file.write(b"half")
            file.flush()
        else:
            file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(OSError, match="No space left"):
            write_samples(checkpoint, tmp_path / "out", quick(**CONFIG))
    left = [file for file in (tmp_path / "out").rglob("*") if file.is_file() and file.read_bytes() == b"half"]
    assert left == []
    assert not (tmp_path / "out" / "samples.npz").exists()
    write_samples(checkpoint, tmp_path / "out", quick(**CONFIG))
    assert digests(tmp_path / "out") == digests(whole[0])


def test_a_stop_while_the_files_are_written(whole, checkpoint, tmp_path, monkeypatch, drawn):
    """Between the samples and the manifest, and between the manifest and the end, a stop costs no drawing."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("backbone.sampling.run.sheet", None)
        with pytest.raises(TypeError):
            write_samples(checkpoint, out, quick(**CONFIG))
    assert (out / "samples.npz").exists()
    drawn.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "remove", None)
        with pytest.raises(TypeError):
            write_samples(checkpoint, out, quick(**CONFIG))
    assert (out / ".parts").exists()
    write_samples(checkpoint, out, quick(**CONFIG))
    assert drawn == []
    assert digests(out) == digests(whole[0])


@pytest.mark.parametrize("name", ["png", "npz", "latents"])
def test_a_manifest_makes_its_samples_again(name, checkpoint, tmp_path):
    """From the manifest and the checkpoint alone: the same samples and labels, bit for bit, and the same files."""
    first = write_samples(checkpoint, tmp_path / "out", quick(**CONFIG | {"format": name}, labels="random"))
    found = reproduce(tmp_path / "out" / "manifest.json")
    assert found.identical
    assert (found.equal, found.largest, found.changes) == (14, 0.0, ())
    assert found.out == tmp_path / "out-again"
    assert digests(found.out) == digests(tmp_path / "out")
    assert str(found) == "identical: all 14 samples and labels, bit for bit"
    assert found.manifest["files"] == first["files"]


def test_another_batch_size_changes_the_rounding_alone(checkpoint, tmp_path):
    """Latents in batches of another size agree to the rounding of float32, and what was changed is said."""
    first = write_samples(checkpoint, tmp_path / "out", quick(**CONFIG | {"format": "latents"}))
    found = reproduce(tmp_path / "out" / "manifest.json", batch_size=3, threads=1)
    assert "batch_size 4 → 3" in found.changes
    assert found.largest < 1e-5
    assert found.identical == (found.manifest["content"] == first["content"]) == (found.equal == 14)


def test_samples_that_are_not_the_same_are_counted(whole, checkpoint, tmp_path):
    """A byte of one sample, changed in the file and its digest, is found; without the file only the digest tells."""
    out = tmp_path / "out"
    out.mkdir()
    samples, labels = arrays(whole[0] / "samples.npz")
    changed = samples.copy()
    changed[9, 3, 3, 1] ^= 7
    write_npz(out / "samples.npz", samples.shape, np.uint8, [changed], labels)
    manifest = json.loads((whole[0] / "manifest.json").read_text())
    manifest["content"]["samples"] = "0" * 64
    (out / "manifest.json").write_text(json.dumps(manifest))
    found = reproduce(out / "manifest.json")
    assert (found.identical, found.equal, found.num) == (False, 13, 14)
    assert found.largest == abs(int(changed[9, 3, 3, 1]) - int(samples[9, 3, 3, 1]))
    assert str(found).startswith("not identical: 13 of 14 samples are, the largest difference is ")
    (out / "samples.npz").unlink()
    found = reproduce(out / "manifest.json", tmp_path / "third")
    assert (found.identical, found.equal, found.largest) == (False, None, None)
    assert "not there to compare with" in str(found)
    assert (next(read_npz(tmp_path / "third" / "samples.npz")) == samples).all()


def test_another_checkpoint_does_not_make_samples_again(whole, checkpoint, tmp_path):
    """The checkpoint may move, but its digest must be that of the manifest; new samples do not replace old ones."""
    moved, other = tmp_path / "moved.safetensors", tmp_path / "other.safetensors"
    moved.write_bytes(checkpoint.read_bytes())
    other.write_bytes(checkpoint.read_bytes()[:-4] + b"\0\0\0\0")
    manifest = whole[0] / "manifest.json"
    with pytest.raises(ValueError, match=r"expected the checkpoint of the manifest; received .* sha256 is another"):
        reproduce(manifest, tmp_path / "new", checkpoint=other)
    assert reproduce(manifest, tmp_path / "new", checkpoint=moved).identical
    with pytest.raises(FileExistsError, match="expected a folder without samples"):
        reproduce(manifest, tmp_path / "new")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "another"}'])
def test_a_file_that_is_no_manifest_is_refused(text, tmp_path):
    """Text that is no JSON, and JSON that is no manifest, are refused."""
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"expected a manifest .*pass OUT/manifest.json"):
        reproduce(tmp_path / "manifest.json")
    with pytest.raises(FileNotFoundError, match="expected a manifest; received"):
        reproduce(tmp_path / "none.json")


def test_a_reproduction_prints_what_changed():
    """The line of the result, and one for each change."""
    found = Reproduction(True, 2, 2, 0.0, ("batch_size 4 → 3", "torch 2 → 3"), {}, None)
    assert str(found).splitlines() == [
        "identical: all 2 samples and labels, bit for bit",
        "changed: batch_size 4 → 3",
        "changed: torch 2 → 3",
    ]
