import os
import signal

import pytest

from bnn_train.errors import Interrupted
from bnn_train.runs import interrupt

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def _handlers():
    """Puts back what a test sets."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_until_it_is_asked_for(number):
    with interrupt.deferred() as check:
        check()
        signal.raise_signal(number)
        with pytest.raises(Interrupted) as stop:
            check()
    assert stop.value.exit_code == 128 + number


def test_what_the_caller_ignores_stays_ignored():
    """As nohup has SIGHUP ignored, and a shell SIGINT of what it runs in the background."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupt.deferred() as check:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
        check()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_second_signal_acts_at_once_and_the_handlers_are_put_back():
    with interrupt.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    with interrupt.deferred():
        pass
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_of_several_processes_no_handler_acts_between_the_stop_and_the_end(monkeypatch):
    """torchrun sends a signal of its own behind a terminal's."""
    settled = []

    def stopped():
        with interrupt.deferred(lambda here: here) as check:
            signal.raise_signal(signal.SIGINT)
            monkeypatch.setattr(interrupt.signal, "signal", lambda number, handler: settled.append(handler))
            check()

    with pytest.raises(Interrupted):
        stopped()
    assert set(settled) == {signal.SIG_IGN}


def test_a_system_without_some_of_the_signals(monkeypatch):
    """Windows has no SIGHUP."""
    monkeypatch.delattr(signal, "SIGHUP")
    assert set(interrupt.heeded()) == {signal.SIGINT, signal.SIGTERM}
    with interrupt.deferred() as check:
        check()
