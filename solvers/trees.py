r"""States that are tuples, lists or dicts of arrays: joined into one array for the solve, taken apart for the caller.

Leaves with a common first axis, a batch, are the columns of a joined array of shape (B, N); others are stretches of one
of shape (N,). A method, its noise and the control of its error see an array like any other, so whatever holds for
arrays holds for trees of them: the entries are the same and so is the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from solvers.adaptive import Adaptive, AdaptiveSolution, Event
from solvers.arrays import Array, cast, check_state, concat, describe, is_torch, namespace, widest
from solvers.errors import explain
from solvers.problem import Problem
from solvers.solution import Solution

# Tuples, lists and dicts of each other and of arrays; no static type can say that of arrays of three libraries.
Tree: TypeAlias = Any


def is_tree(x: object) -> bool:
    """Whether ``x`` is a tuple, a list or a dict; what is in it is looked at by :class:`Layout`."""
    return isinstance(x, (tuple, list, dict))


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where a leaf is in the tree, what it is, and which columns of the joined array it has."""

    path: str
    shape: tuple[int, ...]
    dtype: Any
    columns: slice

    @property
    def size(self) -> int:
        """How many columns these are."""
        return int(self.columns.stop - self.columns.start)


class Layout:
    """How the leaves of a tree lie in the joined array.

    Args:
        tree: the initial state. Its leaves may differ in shape and dtype, but belong to one library and device.

    Raises:
        TypeError: a leaf that is no state by itself; leaves of several libraries or devices.
        ValueError: a tree without leaves.
    """

    def __init__(self, tree: Tree) -> None:
        found = list(leaves(tree, tree, "x"))
        for path, leaf in found:
            check_state(leaf, path)
        if not found:
            raise ValueError(explain("x: a tree with at least one array", repr(tree), "pass an array"))
        arrays = [leaf for _, leaf in found]
        self.structure = shaped(tree, iter(range(len(found))))
        self.batched = all(leaf.ndim for leaf in arrays) and len({leaf.shape[0] for leaf in arrays}) == 1
        self.leaves: list[Leaf] = []
        start = 0
        for path, leaf in found:
            shape = tuple(leaf.shape[1:] if self.batched else leaf.shape)
            columns = slice(start, start + math.prod(shape))
            self.leaves.append(Leaf(path, shape, leaf.dtype, columns))
            start = columns.stop
        _check_place(self.leaves, arrays)
        self.dtype = widest(arrays)
        self.x = self._join(arrays)

    def _join(self, arrays: list[Array]) -> Array:
        """Return the leaves as one array; axes before those of the leaf, such as a batch, stay."""
        rows = [
            cast(array, self.dtype).reshape((*array.shape[: array.ndim - len(leaf.shape)], leaf.size))
            for array, leaf in zip(arrays, self.leaves)
        ]
        return rows[0] if len(rows) == 1 else concat(rows, axis=-1)

    def _parts(self, joined: Array) -> list[Array]:
        """Return the leaves that lie in a joined array, each with the axes that are before the last one."""
        lead = joined.shape[:-1]
        return [cast(joined[..., leaf.columns].reshape((*lead, *leaf.shape)), leaf.dtype) for leaf in self.leaves]

    def tree(self, joined: Array) -> Tree:
        """Return the tree of a joined state, or of several along first axes."""
        return shaped(self.structure, iter(self._parts(joined)))

    def joined(self, value: Tree, parts: list[Array], name: str, remedy: str) -> Array:
        """Return a tree as one array, if it is like ``parts``, leaf by leaf.

        Args:
            value: the tree.
            parts: the leaves of a state at hand.
            name: what ``value`` is called, x standing for its root: "drift(time, x)".
            remedy: what to do where the structure differs.

        Raises:
            TypeError: another structure, a leaf of another dtype or library.
            ValueError: a leaf of another shape.
        """
        try:
            found = list(leaves(self.structure, value, ""))
        except LookupError:
            wanted = f"{name}: {_sketch(self.structure)}, the structure of x"
            raise TypeError(explain(wanted, _sketch(value), remedy)) from None
        for (path, leaf), part in zip(found, parts):
            if getattr(leaf, "dtype", None) == part.dtype and getattr(leaf, "shape", None) == part.shape:
                continue
            wanted = f"{name}{path} like x{path}: dtype {part.dtype} and shape {tuple(part.shape)}"
            kind = ValueError if getattr(leaf, "dtype", None) == part.dtype else TypeError
            raise kind(explain(wanted, describe(leaf), f"cast or reshape it in {name.partition('(')[0]}"))
        return self._join([leaf for _, leaf in found])

    def problem(self, problem: Any) -> Any:
        """Return the problem for joined states; what is no problem is left for the solve to refuse."""
        if not isinstance(problem, Problem):
            return problem
        name = problem.evaluated
        field: Callable[[Any, Tree], Tree] = getattr(problem, name)
        remedy = f"return from {name} a tree like the x it is given"

        def joined(time: Any, x: Array) -> Array:
            parts = self._parts(x)
            value = field(time, shaped(self.structure, iter(parts)))
            return self.joined(value, parts, f"{name}(time, x)", remedy)

        parts = {**vars(problem), name: joined}
        relatives = parts.get("relatives")
        if relatives is not None:
            parts["relatives"] = lambda kind: self.problem(relatives(kind))
        return type(problem)(**parts)

    def noise(self, rng: Any) -> Any:
        """Return the source of noise for joined states: itself.

        Raises:
            ValueError: one that tells rows apart, for leaves without a common batch.
        """
        if getattr(rng, "by_rows", False):
            self._expect_batch(type(rng).__name__, "pass a generator")
        return rng

    def _expect_batch(self, wish: str, otherwise: str) -> None:
        if not self.batched:
            shapes = ", ".join(f"{leaf.path} of shape {leaf.shape}" for leaf in self.leaves)
            wanted = f"leaves of shape (B, …), with one B, for {wish}"
            raise ValueError(explain(wanted, shapes, f"give every leaf the batch axis, or {otherwise}"))

    def method(self, method: Any) -> Any:
        """Return the method for joined states: one with events that see trees.

        Raises:
            ValueError: steps per sample for leaves without a common batch.
        """
        if not isinstance(method, Adaptive):
            return method
        if method.per_sample:
            self._expect_batch("per_sample=True", "leave per_sample out")

        def seen(event: Event) -> Event:
            return replace(event, function=lambda time, x: event.function(time, self.tree(x)))

        return replace(method, events=tuple(seen(event) for event in method.events))

    def solution(self, solution: Solution) -> Solution:
        """Return a solution with its states as trees."""
        xs = None if solution.xs is None else self.tree(solution.xs)
        if isinstance(solution, AdaptiveSolution):
            events = tuple(replace(found, x=self.tree(found.x)) for found in solution.events)
            return replace(solution, x=self.tree(solution.x), xs=xs, events=events)
        return replace(solution, x=self.tree(solution.x), xs=xs)

    def steps(self, run: Generator[Any, Array | None, None]) -> Generator[Any, Tree | None, None]:
        """Yield the steps of a run with their states as trees, and send it trees joined."""
        remedy = "send a tree like step.x, or None"
        for step in run:
            sent = yield replace(step, x=self.tree(step.x))
            while sent is not None:
                again = run.send(self.joined(sent, self._parts(step.x), "send(x)", remedy))
                sent = yield replace(again, x=self.tree(again.x))


def leaves(structure: Tree, value: Tree, path: str) -> Iterator[tuple[str, Any]]:
    """Yield path and leaf of a tree in the order of a structure.

    Raises:
        LookupError: the tree has another structure.
    """
    if isinstance(structure, dict):
        if not isinstance(value, dict) or value.keys() != structure.keys():
            raise LookupError
        for key in structure:
            yield from leaves(structure[key], value[key], f"{path}[{key!r}]")
    elif is_tree(structure):
        kind = tuple if isinstance(structure, tuple) else list
        if not isinstance(value, kind) or len(value) != len(structure):
            raise LookupError
        for index, (branch, inner) in enumerate(zip(structure, value)):
            yield from leaves(branch, inner, f"{path}[{index}]")
    elif is_tree(value):
        raise LookupError
    else:
        yield path, value


def shaped(structure: Tree, leaves: Iterator[Any]) -> Tree:
    """Return a tree of a structure with other leaves."""
    if isinstance(structure, dict):
        return {key: shaped(branch, leaves) for key, branch in structure.items()}
    if isinstance(structure, (tuple, list)):
        branches = [shaped(branch, leaves) for branch in structure]
        if isinstance(structure, list):
            return branches
        return type(structure)(*branches) if hasattr(structure, "_fields") else tuple(branches)
    return next(leaves)


def _sketch(tree: Tree) -> str:
    """Return a tree in words, its leaves as *."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key!r}: {_sketch(branch)}" for key, branch in tree.items()) + "}"
    if is_tree(tree):
        inside = ", ".join(_sketch(branch) for branch in tree)
        return f"[{inside}]" if isinstance(tree, list) else f"({inside}{',' * (len(tree) == 1)})"
    return "*"


def _check_place(leaves: list[Leaf], arrays: list[Array]) -> None:
    """Refuse leaves that cannot be joined because they are not in one place."""
    places = [f"torch on {array.device}" if is_torch(array) else namespace(array).__name__ for array in arrays]
    for leaf, place in zip(leaves, places):
        if place != places[0]:
            wanted = "leaves of one library and on one device, for they are joined"
            received = f"{leaves[0].path} of {places[0]} and {leaf.path} of {place}"
            raise TypeError(explain(wanted, received, "convert or move the leaves of x"))
