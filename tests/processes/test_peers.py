"""What processes tell each other by files: agreements, silence, failures, and other jobs in the same folder."""

import contextlib
import itertools
import json
import signal
import threading
import time

import pytest

from slick_jax.errors import InputError, Stopped
from slick_jax.processes import peers
from slick_jax.processes.peers import Peers
from slick_jax.processes.statuses import Failed

SILENCE = 1.0
NAMED = {"command": "annotate", "resumes": "from the finished parts"}


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Process `index` of two, in this one."""

    def make(index):
        monkeypatch.setattr(peers.jax, "process_index", lambda: index)
        monkeypatch.setattr(peers.jax, "process_count", lambda: 2)
        return Peers(tmp_path / "together", [index], SILENCE, **NAMED)

    monkeypatch.setattr(peers, "_job", "ours")
    monkeypatch.setattr(peers, "LINGER", 2.0)
    return make


def together(*works):
    """Run each in a thread of its own; what they return, or raise."""
    found = [None] * len(works)

    def call(place, work):
        try:
            found[place] = work()
        except Exception as error:
            found[place] = error

    threads = [threading.Thread(target=call, args=item) for item in enumerate(works)]
    [thread.start() for thread in threads]
    [thread.join(20) for thread in threads]
    return found


def test_a_plan_is_given_on_and_all_end_together(process, tmp_path):
    first, second = process(0), process(1)
    written = []

    def lead():
        with first:
            first.publish("plan", [3, 5])
            first.await_parts(lambda: {} if written else {5: 1})
            first.say("complete")

    def follow():
        with second:
            plan = second.published("plan")
            time.sleep(1.5 * SILENCE)  # at work, and alive
            written.append(5)
            second.check()
            second.await_completion()
            return plan

    assert together(lead, follow) == [None, [3, 5]]
    assert not (tmp_path / "together").exists()


def test_what_another_job_says_there_is_not_taken_for_this_one(process, tmp_path):
    first, folder = process(0), tmp_path / "together"
    with first:
        (folder / "before-1.json").write_text('{"state": "failed", "beat": 1}')
        (folder / "before-plan.json").write_text("[1]")
        time.sleep(SILENCE / 2)
        assert first.state(1) == ""
        (folder / "ours-1.json").write_text('{"state": "working", "beat": 1}')
        time.sleep(SILENCE / 2)
        assert first.state(1) == "working"
        time.sleep(1.5 * SILENCE)
        assert first.state(1) == "silent"


def test_missing_parts_of_ended_processes_are_told_and_those_of_others_awaited(process):
    first, second = process(0), process(1)

    def lead():
        with first:
            first.publish("plan", [])
            first.await_parts(lambda: {4: 1})

    def fail():
        with second:
            second.published("plan")
            raise InputError("broken")

    refused, failed = together(lead, fail)
    assert isinstance(refused, InputError) and isinstance(failed, InputError)
    assert "1 unwritten parts (4): process 1 has stopped with an error" in str(refused)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("bad rows"), InputError),
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), InputError),
        (KeyError("a bug"), Failed),
        (Stopped("SIGTERM"), Stopped),
        (KeyboardInterrupt(), Stopped),
    ],
    ids=lambda one: getattr(one, "__name__", type(one).__name__),
)
def test_who_waits_for_the_first_process_ends_as_that_one_does(process, error, expected):
    first, second = process(0), process(1)

    def lead():
        with contextlib.suppress(BaseException), first:
            raise error

    def follow():
        with second:
            second.published("plan")

    _, found = together(lead, follow)
    assert type(found) is expected
    assert "process 0 has stopped with an error" in str(found) or expected is Stopped


def test_the_end_of_the_first_process_ends_the_waiting_of_the_others(process):
    second = process(1)
    began = time.monotonic()
    told = "process 0 was never heard of in .*together, which all must share .*goes on from the finished parts"
    with pytest.raises(Stopped, match=told), second:
        second.published("plan")
    assert time.monotonic() - began < 4 * SILENCE


def test_a_mate_that_was_only_slow_is_forgiven_and_ends_this_process_when_it_is_silent_for_good(
    process, tmp_path, monkeypatch
):
    process(0)
    first, ended = Peers(tmp_path, [0, 1], SILENCE, **NAMED), []
    monkeypatch.setattr(peers, "GRACE", 2.0)
    monkeypatch.setattr(peers, "end_process", lambda *reason: ended.append(reason))
    beats = iter(range(100))

    def beat():
        (tmp_path / "ours-1.json").write_text(json.dumps({"state": "working", "beat": next(beats)}))

    with first:
        beat()
        time.sleep(2 * SILENCE)
        assert first.state(1) == "silent"
        for _ in range(12):
            beat()
            time.sleep(SILENCE / 4)
        assert not ended and first.state(1) == "working"
        until = time.monotonic() + 20
        while not ended and time.monotonic() < until:
            time.sleep(0.1)
    message, status = ended[0]
    assert status == Stopped.STATUS and "process 1 gives no sign of life" in message


def test_one_process_writes_no_files(tmp_path):
    with Peers(tmp_path, [0], SILENCE, **NAMED) as alone:
        assert alone.share("plan", lambda: [1]) == [1]
        alone.check()
        alone.await_parts(dict)
        alone.say("complete")
    assert not list(tmp_path.iterdir())


def test_what_process_0_finds_is_shared(process):
    first, second = process(0), process(1)

    def share(one):
        with one:
            found = one.share("step", lambda: [one.index, {"loss": 0.1}])
            one.await_completion() if not one.leads else one.say("complete")
            return found

    assert together(lambda: share(first), lambda: share(second)) == [[0, {"loss": 0.1}]] * 2


def test_a_process_that_saves_is_not_ended_by_a_signal_while_its_mates_live(process, tmp_path, monkeypatch):
    process(0)
    monkeypatch.setattr(peers, "GRACE", 0.2)
    ended = []
    monkeypatch.setattr(peers, "end_process", lambda *reason: ended.append(reason))
    with Peers(tmp_path, [0, 1], 4 * SILENCE, **NAMED, saves=True) as saving:
        saving._wakeup.signal = signal.SIGTERM
        until = time.monotonic() + SILENCE
        for beat in itertools.count():
            (tmp_path / "ours-1.json").write_text(json.dumps({"state": "working", "beat": beat}))
            time.sleep(0.1)
            if time.monotonic() > until:
                break
        assert not ended
        until = time.monotonic() + 20
        while not ended and time.monotonic() < until:
            time.sleep(0.1)
    message, status = ended[0]
    assert status == Stopped.STATUS and "SIGTERM, no sign of life of process 1" in message


def test_mates_meet_before_they_go_on(process):
    first, second = process(0), process(1)
    first._mates, second._mates = [1], [0]
    came = []

    def compile_for(one, seconds):
        with one:
            for turn in range(2):
                time.sleep(seconds)
                came.append((turn, one.index))
                one.meet()
                assert {index for at, index in came if at == turn} == {0, 1}
            one.await_completion() if not one.leads else one.say("complete")

    quick, slow = together(lambda: compile_for(first, 0.1), lambda: compile_for(second, 2 * SILENCE))
    assert (quick, slow) == (None, None)


def test_who_waits_for_a_mate_that_has_failed_is_told_and_ends_alike(process):
    first, second = process(0), process(1)
    first._mates = [1]

    def fail():
        with second:
            raise InputError("a file is missing")

    def wait():
        with first:
            first.meet()

    waited, _ = together(wait, fail)
    assert isinstance(waited, InputError) and "process 1 has stopped with an error" in str(waited)


def test_a_collective_that_waited_in_vain_though_all_live_is_worth_a_new_start(process):
    first, second = process(0), process(1)
    first._mates, second._mates = [1], [0]
    told = "INTERNAL: Gloo context initialization failed: DEADLINE_EXCEEDED: GetKeyValue() timed out\nmore"

    def raises(one):
        with one:
            raise RuntimeError(told)

    both = together(lambda: raises(first), lambda: raises(second))
    assert [type(ended) for ended in both] == [Stopped, Stopped]
    assert any("one process kept the others waiting too long (INTERNAL: Gloo" in str(ended) for ended in both)
