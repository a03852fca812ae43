"""bind with every guidance: one doubled batch, or a single one where the weaker branch is not needed."""

import pytest
import torch

from backbone import bind, sample
from interpolants import Linear
from interpolants.guidance import APG, Autoguidance, CFGZeroStar, ClassifierFree, Interval, Rescale, guided
from solvers import Euler, uniform

LINEAR = Linear()
INTERVAL = Interval(ClassifierFree(3.0), LINEAR, -1.0, 1.0)
RULES = [
    ClassifierFree(2.0, channels=2),
    ClassifierFree(lambda time: 1 + time),
    INTERVAL,
    CFGZeroStar(2.5),
    APG(3.0, LINEAR, eta=0.2, threshold=5.0),
    Rescale(ClassifierFree(4.0), LINEAR),
]
by_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__ + str(RULES.index(rule)))


def sizes(model):
    """Return a list that grows by the length of the batch at each call of the network."""
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    return seen


@by_rule
def test_bind_combines_the_two_branches(model, batch, rule):
    """It is the guidance of the bound label and the bound null class, in one call of the network at every time."""
    (x, time, _), y = batch, torch.tensor([0, 4, 1, 2])
    pair = bind(model, y), bind(model, 5)
    for at in (0.5, time):
        wanted = guided(*pair, rule)(at, x)
        field, seen = bind(model, y, rule), sizes(model)
        torch.testing.assert_close(field(at, x), wanted, rtol=1e-5, atol=1e-5)
        assert seen == [8]
        assert not torch.allclose(wanted, pair[0](at, x), atol=1e-3)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a .functools.lru_cache.")  # of array_api_compat
@pytest.mark.covering(6)
@by_rule
def test_a_guided_network_is_one_graph(model, batch, rule):
    """torch.compile takes the guided field without a break, at a number and at one time per sample."""
    (x, time, _), y = batch, torch.tensor([0, 4, 1, 2])
    for at in (0.5, 0.2 + 0.6 * time):
        field = bind(model, y, rule)
        wanted = field(at, x)
        torch._dynamo.reset()
        assert torch.equal(torch.compile(field, fullgraph=True, backend="eager")(at, x), wanted)


def test_outside_the_interval_a_single_batch(model, batch):
    """Outside the interval the batch is not doubled and the field is that of the labels; inside it is."""
    x, _, y = batch
    seen = sizes(model)
    field = bind(model, y, INTERVAL)
    outside, inside = field(0.9, x), field(0.5, x)
    assert seen == [4, 8]
    assert torch.equal(outside, bind(model, y)(0.9, x))
    assert not torch.allclose(inside, bind(model, y)(0.5, x))
    assert not torch.allclose(bind(model, y, 3.0)(0.9, x), outside)


def test_channels_that_are_not_guided(model, batch):
    """channels=2 guides the first two channels; the third is that of the label."""
    x, time, y = batch
    out, plain = bind(model, y, ClassifierFree(3.0, channels=2))(time, x), bind(model, y)(time, x)
    torch.testing.assert_close(out[:, 2:], plain[:, 2:], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out[:, :2], bind(model, y, 3.0)(time, x)[:, :2], rtol=1e-5, atol=1e-5)


def test_sampling_with_an_interval_doubles_fewer_batches(model):
    """sample takes a guidance; of ten Euler steps those outside the interval evaluate single batches."""
    seen = sizes(model)
    rng = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 3])
    solution = sample(model, labels, schedule=LINEAR, rng=rng, guidance=INTERVAL, ts=uniform(10), method=Euler())
    # log-SNR = 2 log((1 - t)/t) lies within (-1, 1) for t from 0.378 to 0.622.
    assert seen == [2, 2, 2, 2, 4, 4, 4, 2, 2, 2]
    assert solution.nfe == 10


def test_momentum_starts_anew_for_each_sample(model):
    """Two samples from one guidance with momentum agree, for bind starts its memory; the momentum matters."""

    def drawn(momentum):
        rng, rule = torch.Generator().manual_seed(0), APG(3.0, LINEAR, momentum=momentum)
        options = {"schedule": LINEAR, "rng": rng, "guidance": rule, "ts": uniform(5), "method": Euler()}
        return sample(model, torch.tensor([1, 2]), **options).x

    assert torch.equal(drawn(-0.5), drawn(-0.5))
    assert not torch.allclose(drawn(-0.5), drawn(0.0))


def test_a_second_network_is_asked_for(model, batch):
    """Autoguidance is refused by bind, with what to write; what is no guidance by its name."""
    x, _, y = batch
    with pytest.raises(TypeError, match=r"by the null class; .* remedy: guided\(bind\(model, y\), bind\(worse, y\)"):
        bind(model, y, Autoguidance(2.0))
    worse = bind(model, 1)
    out = guided(bind(model, y), worse, Autoguidance(2.0))(0.5, x)
    torch.testing.assert_close(out, 2 * bind(model, y)(0.5, x) - worse(0.5, x), rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="a guidance, or a finite number as scale; received '2'"):
        bind(model, y, "2")
