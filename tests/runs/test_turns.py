import threading
import time

from bnn_train.runs import turns


def test_a_turn_within_a_turn_goes_on():
    with turns.turn(), turns.turn():
        turns.give_way()  # nobody waits
    with turns.turn():
        pass


def test_who_holds_it_for_long_lets_the_waiting_in_and_has_it_again():
    events, begun = [], threading.Event()

    def short():
        begun.set()
        with turns.turn():
            events.append("short")

    with turns.turn(), turns.turn():
        thread = threading.Thread(target=short)
        thread.start()
        begun.wait()
        while not turns._waiting:
            time.sleep(0.001)
        events.append("before")
        turns.give_way()
        events.append("after")
    thread.join()
    assert events == ["before", "short", "after"]


def test_others_wait_to_the_end_of_a_turn():
    events = []

    def other():
        with turns.turn():
            events.append("other")

    with turns.turn():
        thread = threading.Thread(target=other)
        thread.start()
        while not turns._waiting:
            time.sleep(0.001)
        events.append("held")
    thread.join()
    assert events == ["held", "other"]
