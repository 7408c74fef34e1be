"""The lines that stand for a bar where there is no terminal."""

from abaxus_core.importer.ledger import Begun, Progress
from abaxus_core.importer.meter import NS_PER_S, LineMeter
from abaxus_core.importer.source import Reading


def progress(accepted: int) -> Progress:
    begun = Begun(size=None, modified_ns=None, url="", mode="live", reading=Reading())
    return Progress(begun=begun, accepted=accepted)


class Lines:
    """A meter, the seconds of its clock, and what it said."""

    def __init__(self, size: int | None) -> None:
        self.now_s = 0
        self.said: list[str] = []
        self.meter = LineMeter(self.said.append, size=size, clock_ns=lambda: self.now_s * NS_PER_S)


def test_rate_and_time_left_are_of_this_run() -> None:
    lines = Lines(size=1_000)
    lines.meter.moved(progress(50_000), 500)
    lines.now_s = 10
    lines.meter.moved(progress(51_000), 600)
    lines.now_s = 19
    lines.meter.moved(progress(52_000), 700)
    lines.now_s = 20
    lines.meter.moved(progress(54_000), 700)
    assert lines.said == [
        "51,000 events, 100/s, 60 %, 0:00:40 left",
        "54,000 events, 200/s, 70 %, 0:00:30 left",
    ]


def test_of_a_stream_only_the_rate_is_known() -> None:
    lines = Lines(size=None)
    lines.meter.moved(progress(0), 0)
    lines.now_s = 10
    lines.meter.moved(progress(2_000), 600)
    assert lines.said == ["2,000 events, 200/s"]


def test_a_wait_is_said_but_not_each() -> None:
    lines = Lines(size=1_000)
    for lines.now_s in (9, 10, 11, 20):
        lines.meter.waits("the API answered 503")
    assert lines.said == ["waiting: the API answered 503"] * 2
