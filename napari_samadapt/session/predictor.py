"""The predict thread: clicks first, then the slice on screen, its neighbours and the rest of the volume."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from napari_samadapt.imaging.errors import SamAdaptError, for_log
from napari_samadapt.imaging.volume import SliceKey

from .gate import Gate
from .live_model import LiveModel
from .lower_cost import out_of_memory
from .messages import Post, PredictRequest, PredictResponse, Priority, RefreshPlan, SliceLabels
from .threads import end_thread

T = TypeVar("T")
Task = Callable[[], None]

NEIGHBOURS = 2
_log = logging.getLogger(__name__)


class Predictor:
    """Owns the thread that owns the live model. Answers are posted to the main thread.

    Every method may be called from the main thread at any time; none waits for the model.
    """

    def __init__(
        self,
        model: LiveModel,
        gate: Gate,
        post: Post,
        *,
        answered: Callable[[PredictResponse], None],
        predicted: Callable[[SliceLabels], None],
        failed: Callable[[str], None],
    ) -> None:
        self._model = model
        self._gate = gate
        self._post = post
        self._answered, self._predicted, self._failed = answered, predicted, failed
        self._changed = threading.Condition()
        self._control: deque[tuple[Future[Any], Task]] = deque()
        self._unhurried: deque[tuple[Future[Any], Task]] = deque()
        self._clicks: OrderedDict[SliceKey, PredictRequest] = OrderedDict()
        self._plan: RefreshPlan | None = None
        self._to_predict: set[SliceKey] = set()
        self._to_encode: set[SliceKey] = set()
        self._to_tell: deque[tuple[SliceKey, RefreshPlan]] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="samadapt-predict", daemon=True)
        self._thread.start()

    def ask(self, request: PredictRequest) -> None:
        """Answer a click before anything else; an older request of the same slice is dropped."""
        with self._changed:
            if self._closed:
                return
            if request.key not in self._clicks:
                self._gate.click_came()
            self._clicks[request.key] = request
            self._changed.notify()

    def drop_clicks(self) -> None:
        """Forget the requests that have not begun."""
        with self._changed:
            while self._clicks:
                self._clicks.popitem()
                self._gate.click_went()

    def refresh(self, plan: RefreshPlan) -> None:
        """Predict these slices, from the one on screen outwards, instead of those of an earlier plan."""
        with self._changed:
            self._plan = plan
            self._to_predict = set(plan.keys)
            self._to_tell.clear()
            self._set_focus(plan)
            self._changed.notify()

    def look(self, plan: RefreshPlan) -> None:
        """Add slices to the plan, and go on from another slice on screen."""
        with self._changed:
            if self._plan is not None and self._plan.epoch == plan.epoch:
                self._to_predict |= plan.keys
                self._plan = plan
                self._set_focus(plan)
                self._changed.notify()

    def run(self, function: Callable[[LiveModel], T], *, urgent: bool = True) -> Future[T]:
        """Run a function on the predict thread; the future holds its result.

        It goes before everything that is queued; one that is not `urgent` after the clicks, before any prediction.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                future.cancel()
            else:
                waiting = self._control if urgent else self._unhurried
                waiting.append((future, lambda: settle(future, function, self._model)))
                self._changed.notify()
        return future

    def close(self, timeout: float = 1.0) -> None:
        """Stop after what is running now, and wait for that at most `timeout` seconds."""
        self.drop_clicks()
        with self._changed:
            self._closed = True
            for waiting in (self._control, self._unhurried):
                while waiting:
                    waiting.popleft()[0].cancel()
            self._changed.notify()
        end_thread(self._thread, timeout)

    def _set_focus(self, plan: RefreshPlan) -> None:
        around = range(plan.focus.index - NEIGHBOURS, plan.focus.index + NEIGHBOURS + 1)
        near = {SliceKey(plan.focus.axis, index) for index in around if 0 <= index < plan.count}
        self._to_encode = near - self._to_predict

    # On the predict thread.

    def _work(self) -> None:
        while (task := self._next()) is not None:
            task()

    def _next(self) -> Task | None:
        """Wait for the most urgent task; None when there is nothing more to do, ever."""
        with self._changed:
            while not self._closed:
                if self._control:
                    return self._control.popleft()[1]
                if self._clicks:
                    _, request = self._clicks.popitem(last=False)
                    return lambda: self._answer(request)
                if self._unhurried:
                    return self._unhurried.popleft()[1]
                if (task := self._next_slice()) is not None:
                    return task
                self._changed.wait()
            return None

    def _next_slice(self) -> Task | None:
        if self._to_tell:
            done, looked_at_for = self._to_tell.popleft()
            return lambda: self._tell(done, looked_at_for)
        plan, waiting = self._plan, self._to_predict | self._to_encode
        if plan is None or not waiting:
            return None
        key = min(waiting, key=lambda key: (abs(key.index - plan.focus.index), key.index))
        predict = key in self._to_predict
        self._to_predict.discard(key)
        self._to_encode.discard(key)
        return lambda: self._look_ahead(key, plan, predict=predict)

    def _answer(self, request: PredictRequest) -> None:
        """Decode a click, and let the trainer go on when that is done."""
        try:
            answer = self._model.mask(request)
            response = PredictResponse(request, answer.mask, answer.score, made_by=self._model.version)
        except Exception as error:  # noqa: BLE001  # told to the user; the thread lives on
            response = PredictResponse(request, failure=in_plain_words("No mask could be made", error))
        finally:
            self._gate.click_went()
        self._post(lambda: self._answered(response))

    def _look_ahead(self, key: SliceKey, plan: RefreshPlan, *, predict: bool) -> None:
        """Predict a slice, or only encode it so that a click on it is answered at once."""
        with self._failing(key):
            near = priority(key, plan.focus) < Priority.REST
            if not predict:
                self._model.embed(key, plan.window, near=near)
                return
            self._model.look(key, plan, near=near)
            ready = self._ready(key)
            with self._changed:
                self._to_tell.extend((done, plan) for done in ready)

    def _tell(self, key: SliceKey, plan: RefreshPlan) -> None:
        """What is said of a slice that was looked at, unless the model became another one since."""
        with self._failing(key):
            if self._model.has_seen(key):
                model, (labels, doubt) = self._model, self._model.said(key)
                whole = model.knows_around(key) and not self._lacks(key)
                result = SliceLabels(key, labels, plan.epoch, doubt, model.version, whole, model.reach)
                self._post(lambda: self._predicted(result))

    @contextmanager
    def _failing(self, key: SliceKey) -> Iterator[None]:
        """Tell the user of an error; the thread lives on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001
            message = in_plain_words(f"Slice {key.index} could not be predicted", error)
            with self._changed:  # the other slices would fail alike
                for waiting in (self._to_predict, self._to_encode, self._to_tell):
                    waiting.clear()
            self._post(lambda: self._failed(message))

    def _ready(self, key: SliceKey) -> list[SliceKey]:
        """What can be told once `key` was looked at: slices that have now all they need, and itself anyway."""
        ready = [
            other for other in self._around(key) if self._model.has_seen(other) and not self._lacks(other)
        ]
        return [*(other for other in ready if other != key), key]

    def _lacks(self, key: SliceKey) -> bool:
        """Whether slices around it are still to be looked at."""
        with self._changed:
            return not self._to_predict.isdisjoint(self._around(key))

    def _around(self, key: SliceKey) -> list[SliceKey]:
        first = max(0, key.index - self._model.reach)
        return [SliceKey(key.axis, index) for index in range(first, key.index + self._model.reach + 1)]


def priority(key: SliceKey, focus: SliceKey) -> Priority:
    """How urgent a slice is while another one is on screen."""
    distance = abs(key.index - focus.index)
    if distance == 0:
        return Priority.SLICE
    return Priority.NEIGHBOUR if distance <= NEIGHBOURS else Priority.REST


def settle(future: Future[T], function: Callable[[LiveModel], T], model: LiveModel) -> None:
    """Run a function and put its result, or its error, in the future. Runs on the predict thread."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(model)
    except Exception as error:  # noqa: BLE001  # belongs to whoever waits for the result
        future.set_exception(error)
    else:
        future.set_result(result)


def in_plain_words(what: str, error: BaseException) -> str:
    """A sentence for the user about an error of a worker; of others the kind; their places go to the log."""
    if isinstance(error, SamAdaptError):
        return str(error)
    if out_of_memory(error):
        return f"{what}: the memory is full. Close other programs, or choose a smaller model or input size."
    _log.error("unexpected error: %s", for_log(error))
    return f"{what} ({type(error).__name__}). Your masks are kept."
