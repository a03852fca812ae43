"""sit evaluate: what it prints, writes and refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm
from sklearn.datasets import load_digits

from backbone.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def digits(tmp_path):
    """Two halves of the digits as uint8, the first also as PNG."""
    images = np.round(load_digits().images * 15).astype(np.uint8)[..., None]
    # Pixels at the rim do not vary; noise makes the covariances regular, as sqrtm wants them.
    images += np.random.default_rng(0).integers(0, 16, images.shape, np.uint8)
    np.savez(tmp_path / "first.npz", images[:900])
    np.savez(tmp_path / "second.npz", images[900:])
    (tmp_path / "png").mkdir()
    for i, image in enumerate(images[:900]):
        Image.fromarray(image[..., 0]).save(tmp_path / "png" / f"{i:04d}.png")
    return tmp_path, images


def published(a, b):
    a, b = (x.reshape(len(x), -1) / 255.0 for x in (a, b))
    cross = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * cross)


def test_digits_by_their_pixels(digits, capsys):
    """The FID of pixels printed and written is the published formula's; warnings go to stderr, and the exit is 0."""
    folder, images = digits
    file = folder / "new" / "report.json"
    command = ["evaluate", str(folder / "first.npz"), "--reference", str(folder / "second.npz"), "--features", "pixels"]
    assert main([*command, "--json", str(file)]) == 0
    out, err = capsys.readouterr()
    data = json.loads(file.read_text())
    assert data["metrics"]["fid"]["value"] == pytest.approx(published(images[:900], images[900:]), rel=1e-6)
    assert out.startswith(f"FID              {data['metrics']['fid']['value']:.4f}")
    assert 0 < data["metrics"]["recall"]["value"] <= 1
    assert "warning: samples: 900 images" in err
    assert data["metrics"]["inception_score"] == {"value": None, "absent": "the features have no logits"}


def test_png_and_saved_statistics_give_the_same_numbers(digits, capsys):
    """A folder of PNG instead of the npz, and statistics saved before instead of images: the same FID."""
    folder, _ = digits
    values = []
    for samples, reference, extra in (
        ("first.npz", "second.npz", ["--save-statistics", str(folder / "s.npz")]),
        ("png", "second.npz", []),
        ("first.npz", "s.npz", []),
    ):
        file = folder / "report.json"
        command = ["evaluate", str(folder / samples), "--reference", str(folder / reference), "--features", "pixels"]
        assert main([*command, "--json-file", str(file), *extra]) == 0
        values.append(json.loads(file.read_text()))
    fids = [value["metrics"]["fid"]["value"] for value in values]
    assert fids[1:] == [fids[0]] * 2
    assert values[0]["samples"]["pixels_sha256"] == values[1]["samples"]["pixels_sha256"]
    assert values[2]["reference"]["statistics"] == "stored"


def test_features_of_your_own_and_options(digits, capsys, monkeypatch):
    """module:attribute from the working folder; --split, --shuffle and -k reach the report."""
    folder, _ = digits
    (folder / "judge_features.py").write_text(
        "import numpy as np\n"
        "from backbone.evaluate import Features\n"
        "def judge(images):\n"
        "    rows = images.reshape(len(images), -1) / 255.0\n"
        "    return Features(rows[:, 10:14], rows[:, 18:24], 5 * rows[:, 20:30])\n"
    )
    monkeypatch.chdir(folder)
    command = ["evaluate", "first.npz", "--reference", "second.npz", "--features", "judge_features:judge"]
    assert main([*command, "--split", "300", "--shuffle", "3", "--k", "5", "--batch", "100", "--json", "r.json"]) == 0
    data = json.loads((folder / "r.json").read_text())
    assert data["options"] == {"split": 300, "shuffle": 3, "k": 5, "allow_small": False}
    assert all(found["value"] is not None for found in data["metrics"].values())
    assert data["features"]["name"] == "judge_features:judge"


def test_what_is_refused(digits, capsys):
    """No features, a weights file that is not there, too few images, stored statistics saved: exit 2 and the remedy."""
    folder, images = digits
    np.savez(folder / "few.npz", images[:60])
    np.savez(folder / "stored.npz", mu=np.zeros(64), sigma=np.eye(64))
    for samples, reference, extra, words in [
        ("first.npz", "second.npz", [], "docs/evaluation.md says where Inception's weights are"),
        ("first.npz", "second.npz", ["--features", "weights.pth"], "docs/evaluation.md says"),
        ("few.npz", "second.npz", ["--features", "pixels"], "more samples than the 64 features"),
        ("first.npz", "stored.npz", ["--features", "pixels", "--save-statistics", "x.npz"], "has its own"),
        ("none.npz", "second.npz", ["--features", "pixels"], "an npz or a folder of PNG"),
        ("first.npz", "none.npz", ["--features", "pixels"], "an npz or a folder of PNG"),
    ]:
        assert main(["evaluate", str(folder / samples), "--reference", str(folder / reference), *extra]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert words in err
        assert "remedy: " in err


@pytest.mark.slow
def test_the_benchmark_runs_and_its_record_is_bounded():
    """The short run ends well; in the stored one streamed moments need a fifth of the memory of all rows."""
    script = ROOT / "benchmarks" / "evaluate.py"
    run = subprocess.run([sys.executable, str(script), "--smoke"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    rows = json.loads((ROOT / "benchmarks/results/evaluate.json").read_text())["rows"]
    assert len(rows) == len(run.stdout.splitlines()) == 6
    peak = {row["way"]: row["peak_mb"] for row in rows}
    assert peak["streamed"] < peak["whole"] / 5
    assert peak["neighbours"] < peak["by_cdist"] / 3
