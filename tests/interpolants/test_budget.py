"""Work that does not end is interrupted, in any thread, and nothing is raised afterwards."""

import os
import random
import sys
import threading
import time
import weakref

import mpmath
import pytest
import sympy

from interpolants import budget
from interpolants.budget import within


def hang():
    """Rewrite an expression for ever, as sympy does when it hangs."""
    x = sympy.Symbol("x")
    expression = x
    while True:
        expression = sympy.expand((expression + 1) ** 2) - expression**2
        expression = x


def stubborn():
    """Hang, and swallow whatever is raised, three times."""
    for _ in range(3):
        try:
            hang()
        except BaseException:
            continue
    hang()


def waited(seconds):
    """Keep the interpreter busy: an exception that is still under way would arrive here."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return True


def seconds_of(call):
    start = time.perf_counter()
    with pytest.raises(TimeoutError, match=r"expected an answer within .* s; received none; remedy: "):
        call()
    return time.perf_counter() - start


def run_in_a_thread(call):
    """Return what ``call`` returned or raised in a thread of its own."""
    box = []

    def body():
        try:
            box.append(call())
        except BaseException as error:
            box.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return box[0]


@pytest.mark.parametrize("work", [hang, stubborn], ids=lambda f: f.__name__)
def test_a_hanging_work_is_interrupted(work):
    """In the main thread, after the budget and not much later, even where the exception is swallowed."""
    assert 0.2 <= seconds_of(lambda: within(0.2, work)) < 2


def test_a_hanging_work_is_interrupted_in_a_worker_thread():
    """The same in a thread that is not the main one, which SIGALRM cannot do."""
    assert isinstance(run_in_a_thread(lambda: within(0.2, hang)), TimeoutError)


def test_threads_do_not_interrupt_each_other():
    """Two threads with budgets at once: the one with time left finishes its work."""

    def patient():
        return within(10, lambda: waited(0.6))

    results = []
    threads = [
        threading.Thread(target=lambda call=call: results.append(run_in_a_thread(call)))
        for call in (patient, lambda: within(0.1, hang))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {type(result) for result in results} == {bool, TimeoutError}


def test_the_result_and_the_errors_of_the_work_come_through():
    """Within its budget, the work's value is returned and its own exception is not touched."""
    assert within(5, lambda: sympy.factor(sympy.Symbol("x") ** 2 - 1)).is_Mul
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


@pytest.fixture
def eager_threads():
    """Let a waiting thread have the interpreter after 10 µs instead of 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_nothing_is_delivered_after_the_block_has_been_left():
    """Work that ends at the very moment at which its budget is spent is either done or late; nothing comes after."""
    outcomes = set()
    for k in range(400):
        duration = 0.002 + 2e-5 * (k % 40 - 15)
        try:
            outcomes.add(within(0.002, lambda duration=duration: waited(duration)))
        except TimeoutError:
            outcomes.add(False)
        assert waited(0.0005)
    assert waited(0.3)  # several times the interval at which a swallowed exception is raised again
    assert outcomes == {True, False}


def test_a_short_budget_inside_a_long_one():
    """The inner budget ends the inner work alone."""

    def outer():
        assert seconds_of(lambda: within(0.1, hang)) < 2
        return waited(0.2) and "done"

    assert within(20, outer) == "done"


def test_a_long_budget_inside_a_short_one():
    """The outer budget ends both, and is reported by the outer call."""
    inner = []

    def outer():
        try:
            within(20, hang)
        except TimeoutError:
            inner.append("the inner call reported it")

    assert seconds_of(lambda: within(0.2, outer)) < 2
    assert not inner


def test_equal_budgets_nest():
    """Where both are spent at once, the outer call still ends, whatever the inner work does next."""

    def outer():
        while True:
            try:
                within(0.1, hang)
            except TimeoutError:
                continue

    for _ in range(10):
        assert seconds_of(lambda: within(0.1, outer)) < 2
    assert within(10, lambda: waited(0.5))


def test_the_precision_of_mpmath_survives():
    """A context manager of the abandoned work is left properly: the working precision is what it was."""
    before = mpmath.mp.dps

    def work():
        with mpmath.workdps(before + 100):
            hang()

    seconds_of(lambda: within(0.1, work))
    assert mpmath.mp.dps == before


def test_one_thread_serves_all_budgets():
    """However many blocks were entered, in however many threads, one thread more is alive."""
    within(5, lambda: None)
    before = threading.active_count()
    for _ in range(20):
        within(5, lambda: None)
        run_in_a_thread(lambda: within(5, lambda: None))
    assert threading.active_count() == before
    assert not budget._open


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*os.fork:RuntimeWarning")  # of JAX, if another test imported it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_forked_process_has_budgets():
    """The child of a fork, in which no other thread lives on, interrupts work too."""
    within(5, lambda: None)
    child = os.fork()
    if child == 0:
        try:
            within(0.1, hang)
        except TimeoutError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.usefixtures("eager_threads")
def test_random_nesting():
    """Blocks nested to depth three with random budgets, all swallowing time-outs, end with the outermost."""
    draw = random.Random(0)

    def nest(depth):
        while True:
            try:
                within(0.001 + 0.003 * draw.random(), (lambda: nest(depth - 1)) if depth else hang)
            except TimeoutError:
                continue

    for _ in range(60):
        assert seconds_of(lambda: within(0.01, lambda: nest(draw.randint(0, 2)))) < 2
    assert waited(0.3)
    assert not budget._open


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_budget_is_positive_and_finite(seconds):
    """Anything else is a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected a budget in seconds, > 0 and finite; received .*; remedy: "):
        within(seconds, hang)


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="the system counts no time of threads")
def test_waiting_is_not_working():
    """A thread that another program keeps from working has used nothing of its budget, within reason."""

    def kept_waiting():
        time.sleep(0.3)
        return 7

    def for_ever():
        while True:
            time.sleep(0.01)

    assert within(0.1, kept_waiting) == 7
    assert 0.3 < seconds_of(lambda: within(0.1, for_ever)) < 3


def test_no_exception_inside_a_finalizer():
    """Where Python could only print it, as in a callback of a weak reference, the exception waits."""
    begun, ended = [], []

    def busy(seconds):
        start = time.thread_time()
        while time.thread_time() < start + seconds:
            pass

    def slow():
        begun.append(1)
        busy(0.05)
        ended.append(1)

    class Thing:
        pass

    def work():
        while True:
            weakref.finalize(Thing(), slow)  # the thing dies at once
            busy(0.02)

    for seconds in (0.04, 0.08, 0.11, 0.15, 0.18):
        assert seconds_of(lambda seconds=seconds: within(seconds, work)) < 3
    assert len(ended) == len(begun) >= 5
