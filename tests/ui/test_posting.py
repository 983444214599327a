"""Work on other threads comes back on the main thread."""

import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.ui import notify, posting
from napari_samadapt.ui.posting import Background, MainThreadPoster


def test_posted_functions_run_on_the_main_thread_in_order(qtbot):
    post, ran = MainThreadPoster(), []
    worker = threading.Thread(
        target=lambda: [post(lambda n=n: ran.append((n, threading.current_thread()))) for n in range(5)]
    )
    worker.start()
    worker.join()
    qtbot.waitUntil(lambda: len(ran) == 5)
    assert ran == [(number, threading.main_thread()) for number in range(5)]


def test_a_closed_poster_drops_what_is_queued(qtbot):
    post, ran = MainThreadPoster(), []
    post(lambda: ran.append(1))
    post.close()
    post(lambda: ran.append(2))
    qtbot.wait(1)
    assert ran == []


def test_an_error_in_a_posted_function_is_shown_and_the_rest_runs(qtbot, told):
    post, ran = MainThreadPoster(), []

    def fail():
        raise SamAdaptError("The disk is full: choose another place.")

    post(fail)
    post(lambda: ran.append(1))
    qtbot.waitUntil(lambda: ran == [1])
    assert told == [("error", "The disk is full: choose another place.")]


def test_background_work_gives_its_result_or_its_error(qtbot):
    post, got = MainThreadPoster(), []
    background = Background(post)
    background.run(lambda: threading.current_thread(), lambda thread: got.append(thread))
    background.run(lambda: 1 / 0, got.append, lambda error: got.append(type(error)))
    qtbot.waitUntil(lambda: len(got) == 2)
    background.close()
    assert ZeroDivisionError in got
    assert threading.main_thread() not in got


def test_following_a_future(qtbot):
    post, got, future = MainThreadPoster(), [], Future()
    background = Background(post)
    background.follow(future, got.append)
    failing = Future()
    background.follow(failing, got.append)
    failing.set_exception(SamAdaptError("told by who made it"))
    future.set_result(7)
    qtbot.waitUntil(lambda: got == [7])
    background.close()


def test_errors_are_told_in_plain_words(told, caplog):
    notify.report(SamAdaptError("Slice <b>3</b> is missing."))
    notify.report(KeyError("secret path"))
    assert told[0] == ("error", "Slice &lt;b&gt;3&lt;/b&gt; is missing.")
    assert "KeyError" in told[1][1]
    assert "secret" not in told[1][1] + caplog.text
    assert "KeyError" in caplog.text


def test_what_a_worker_thread_posts_when_the_application_has_ended_is_dropped(qtbot, monkeypatch):
    shiboken = pytest.importorskip("shiboken6")
    mailbox = posting._Mailbox()
    monkeypatch.setattr(posting, "_mailbox", lambda: mailbox)
    post = MainThreadPoster()
    shiboken.delete(mailbox)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(post, print).result()


def test_a_download_ends_when_nobody_waits_for_it(qtbot):
    background = Background(MainThreadPoster())
    speak = background.spoken(print)
    speak("half of it")
    background.close()
    with pytest.raises(CancelledError):
        speak("more of it")


def test_a_poster_that_goes_while_threads_post_leaves_the_process_alive(python):
    code = (
        "import sys, threading\n"
        "from qtpy.QtCore import QCoreApplication\n"
        "from napari_samadapt.ui.posting import MainThreadPoster\n"
        "from napari_samadapt.ui.python_end import make_constants_immortal\n"
        "make_constants_immortal()\n"
        "application, at_work = QCoreApplication([]), True\n"
        "sys.setswitchinterval(1e-5)\n"
        "def work():\n"
        "    while at_work:\n"
        "        poster(int)\n"
        "poster = MainThreadPoster()\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "for thread in threads: thread.start()\n"
        "for _ in range(2_000):\n"
        "    poster.close()\n"
        "    poster = MainThreadPoster()\n"
        "    application.processEvents()\n"
        "at_work = False\n"
        "for thread in threads: thread.join()\n"
        "print('alive')\n"
    )
    assert python(code) == "alive"
