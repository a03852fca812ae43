"""Objects spelt as text: every choice, misspellings, and hostile text."""

import pytest

import backbone.train.run  # noqa: F401
from backbone import spelling
from interpolants import (
    GVP,
    VP,
    Data,
    Linear,
    Noise,
    Score,
    Velocity,
    VPrediction,
    schedules,
    times,
    weights,
)

SPELT_WEIGHTS = {
    "Uniform()": weights.Uniform(),
    "Uniform": weights.Uniform(),
    "Velocity()": weights.Velocity(),
    "LambdaSquared()": weights.LambdaSquared(),
    "Likelihood()": weights.Likelihood(),
    "MinSNR(3)": weights.MinSNR(3),
    "MinSNR(gamma=3)": weights.MinSNR(3),
    "EDM(0.6)": weights.EDM(0.6),
    "P2(gamma=0.5, k=2)": weights.P2(0.5, 2),
    "Of(Noise)": weights.Of(Noise),
    "Custom('1 + t', of=Noise)": weights.Custom("1 + t", Noise),
    " Velocity( ) ": weights.Velocity(),
}

SPELT_TIMES = {
    "Uniform()": times.Uniform(),
    "Uniform(1e-3, hi=0.5)": times.Uniform(1e-3, 0.5),
    "LogitNormal(-0.5, std=2)": times.LogitNormal(-0.5, 2),
    "CosMap()": times.CosMap(),
    "LogSNR(Normal(1, 2))": times.LogSNR(times.Normal(1, 2)),
    "LogSNR(Laplace(0, 0.5))": times.LogSNR(times.Laplace(0, 0.5)),
    "LogNormalSigma(-1.2, 1.2)": times.LogNormalSigma(-1.2, 1.2),
    "Stratified(LogitNormal(0, 1))": times.Stratified(times.LogitNormal(0, 1)),
    "LowDiscrepancy(Uniform())": times.LowDiscrepancy(times.Uniform()),
    "Antithetic(CosMap())": times.Antithetic(times.CosMap()),
}


@pytest.mark.covering(6)
@pytest.mark.parametrize("text", [*SPELT_WEIGHTS, *SPELT_TIMES])
def test_weights_and_times_are_spelt(text):
    """A text gives the object that Python gives: the same factor of the loss, or density, at three times."""
    for known, spell, value in (
        (SPELT_WEIGHTS, spelling.weight, lambda weight, t: weight.of(Linear(), Velocity)(t)),
        (SPELT_TIMES, spelling.times, lambda law, t: law.of(Linear()).pdf(t)),
    ):
        if text in known:
            assert repr(spell(text)) == repr(known[text])
            assert [value(spell(text), t) for t in (0.1, 0.5, 0.7)] == [value(known[text], t) for t in (0.1, 0.5, 0.7)]


def test_schedules_and_predictions_are_spelt():
    """A built-in name, a class, and a prediction in any case; Importance keeps its arguments."""
    assert spelling.schedule("linear") == spelling.schedule("Linear()") == Linear()
    assert spelling.prediction("velocity") is spelling.prediction("VELOCITY") is Velocity
    assert repr(spelling.times("Importance(bins=4, history=2)")) == repr(times.Importance(bins=4, history=2))


@pytest.mark.slow
def test_every_name_can_be_spelt():
    """Every schedule that ships, every prediction, weight and law of times has a spelling; none is left out."""
    for name, make in schedules.BUILT_IN.items():
        assert spelling.schedule(name) == make()
    assert spelling.schedule("VP(beta_max=10)") == VP(beta_max=10)
    assert spelling.schedule("GVP()") == spelling.schedule("GVP") == GVP()
    for prediction in (Velocity, Score, Noise, Data, VPrediction):
        assert spelling.prediction(str(prediction)) is prediction
        assert spelling.prediction(str(prediction).upper()) is prediction
    spelt = {text.strip().partition("(")[0] for text in SPELT_WEIGHTS}
    assert spelt == {name for name in weights.__all__ if name[0].isupper()} - {"Weight"}
    used = {part for text in SPELT_TIMES for part in text.replace("(", " ").split()} | {"Importance"}
    assert {
        name for name in times.__all__ if name not in ("Law", "Times", "Shape", "Box", "Cauchy", "Logistic")
    } <= used
    for shape in ("Box(-2, 2)", "Cauchy(0, 1)", "Logistic(0, 1)"):
        assert spelling.times(f"LogSNR({shape}, lo=0.1, hi=0.9)").of(Linear()).pdf(0.5) > 0


@pytest.mark.parametrize(
    ("what", "text", "expected"),
    [
        ("schedule", "liner", "linear"),
        ("schedule", "VPP(1)", "VP"),
        ("prediction", "velocty", "did you mean 'velocity'"),
        ("weight", "MinSRN(5)", "did you mean 'MinSNR'"),
        ("times", "LogitNorml(0, 1)", "did you mean 'LogitNormal'"),
        ("times", "LogitNormal(0, 1", "a law of times as text"),
        ("times", "", "a law of times as text"),
        ("times", "LogitNormal(0, 1+1)", "names and plain values; received 1 \\+ 1; remedy: write numbers out"),
        ("weight", "MinSNR(gama=5)", "arguments that it takes; received MinSNR\\(gama=5\\)"),
        ("weight", "MinSNR(*[5])", "names and plain values"),
        ("weight", "MinSNR(**{'gamma': 5})", "names and plain values|arguments that it takes"),
        ("times", "Uniform(0.5, 0.2)", "."),
    ],
)
def test_a_misspelling_is_refused(what, text, expected):
    """Unknown names list the closest, wrong arguments and unfinished texts say what was expected."""
    spell = getattr(spelling, what)
    with pytest.raises((ValueError, TypeError), match=expected):
        spell(text).of(Linear())


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {mark}')",
        "open('{mark}', 'w')",
        "Uniform(open('{mark}', 'w'))",
        "Uniform(__import__('pathlib').Path('{mark}').touch())",
        "[open('{mark}', 'w') for _ in (1,)]",
        "(lambda: open('{mark}', 'w'))()",
        "Uniform.__init__.__globals__['__builtins__']['open']('{mark}', 'w')",
        "Custom(\"__import__('pathlib').Path('{mark}').touch()\")",
        "Custom(\"open('{mark}', 'w')\")",
        'exec(\'open("{mark}", "w")\')',
        "f\"{{open('{mark}', 'w')}}\"",
    ],
)
def test_hostile_text_is_never_executed(text, tmp_path):
    """Texts that would make a file if they were evaluated are refused, in every place that is spelt, without a file."""
    mark = tmp_path / "mark"
    for what in (spelling.schedule, spelling.prediction, spelling.weight, spelling.times):
        with pytest.raises((ValueError, TypeError)):
            what(text.format(mark=mark)).of(Linear(), Velocity)
    assert not mark.exists()


def test_deep_text_is_refused():
    """A text nested a thousand times is an error of this library, not a crash of the parser."""
    with pytest.raises(ValueError, match="a law of times as text"):
        spelling.times("Stratified(" * 5000 + "Uniform()" + ")" * 5000)
