"""Stand-in for the package `spaces` on ZeroGPU: what is decorated runs in a forked process, and only pickles cross.

`fork=False` runs it in this process, with the same pickles: a process that has used torch in several threads must not be forked.
"""

import contextvars
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

FORK = multiprocessing.get_context("fork")
VISITOR: contextvars.ContextVar[str] = contextvars.ContextVar("visitor", default="nobody")
"""Stands for the request of Gradio, by which ZeroGPU knows whose time it is."""


class SpacesDouble(ModuleType):
    """Records for each call whose it was and how many seconds it asked for; `stopped` counts those that were closed early."""

    def __init__(self, fork: bool = True) -> None:
        super().__init__("spaces")
        self.fork, self.stopped = fork, 0
        self.calls: list[tuple[str, int]] = []
        self.decorated: list[str] = []

    def GPU(self, task: Callable[..., Iterator[Any]], duration: Callable[..., int]) -> Callable[..., Iterator[Any]]:  # noqa: N802
        self.decorated.append(task.__name__)

        def call(*arguments: Any) -> Iterator[Any]:
            self.calls.append((VISITOR.get(), duration(*arguments)))
            sent = pickle.dumps(arguments)
            yield from self._forked(task, sent) if self.fork else self._here(task, sent)

        return call

    def _here(self, task: Callable[..., Iterator[Any]], sent: bytes) -> Iterator[Any]:
        values = task(*pickle.loads(sent))
        try:
            for value in values:
                yield pickle.loads(pickle.dumps(value))
        except GeneratorExit:
            self.stopped += 1
            values.close()  # type: ignore[attr-defined]
            raise

    def _forked(self, task: Callable[..., Iterator[Any]], sent: bytes) -> Iterator[Any]:
        mine, theirs = FORK.Pipe(duplex=False)
        stop = FORK.Event()
        process = FORK.Process(target=_work, args=(task, sent, theirs, stop), daemon=True)
        process.start()
        theirs.close()
        failed = ""
        try:
            while (value := mine.recv()) is not None:
                if isinstance(value, str):
                    failed = value
                else:
                    yield value
            if failed:
                raise RuntimeError(failed)
        except GeneratorExit:
            self.stopped += 1
            stop.set()
            while mine.recv() is not None:
                pass
            raise
        finally:
            process.join(20)
            assert process.exitcode == 0


def _work(task: Callable[..., Iterator[Any]], sent: bytes, out: Any, stop: Any) -> None:
    values = task(*pickle.loads(sent))
    try:
        for value in values:
            out.send(value)
            if stop.is_set():
                values.close()  # type: ignore[attr-defined]
                break
    except Exception as error:
        out.send(f"{type(error).__name__}: {error}")
    out.send(None)
