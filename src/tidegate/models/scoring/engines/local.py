"""This process: a small pool of threads, one thread for each call.

ONNX Runtime, and most of what is native, gives the interpreter back while it computes; reading and writing do so in any case.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from tidegate.models.scoring.engines.port import PackedModel
from tidegate.models.scoring.rows import Answer, Portion, answer

_MOST = 8


class LocalEngine:
    """See ``Engine``."""

    name = "local"

    def workers(self) -> int:
        return min(len(os.sched_getaffinity(0)), _MOST)

    def answers(self, model: PackedModel, portions: Iterable[Portion], *, workers: int, skip: bool) -> Generator[Answer]:
        waiting: deque[Future[Answer]] = deque()
        with ExitStack() as stack:
            pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="score")
            stack.callback(pool.shutdown, cancel_futures=True)
            stack.enter_context(_one_thread())
            for portion in portions:
                waiting.append(pool.submit(answer, model.predictor, portion, skip=skip))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def _one_thread() -> ExitStack:
    """Pools of OpenMP and BLAS threads inside a call would only wait for those of the calls beside it."""
    stack = ExitStack()
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # it comes with scikit-learn; what has no such pools needs no limit
        return stack
    stack.enter_context(threadpool_limits(limits=1))
    return stack
