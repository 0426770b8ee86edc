"""What a page may send, and what is refused."""

import pytest

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters.strict import parse
from lima2_bliss.monitor.messages import Request


def request(text):
    return parse(Request, text, "the message")


def test_each_kind_is_understood():
    assert request('{"follow": {}}').follow.scan == "running"
    assert request('{"image": {"mode": "frame", "index": 3}}').image.index == 3
    assert request('{"region": {"index": 1, "y0": 0, "x0": 2, "y1": 5, "x1": 9}}').region.max_px == 1024


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "given: none"),
        ('{"follow": {}, "image": {}}', "given: follow, image"),
        ("[1]", "refused"),
        ("{", "not valid JSON"),
        ('{"erase": {}}', "erase: unknown parameter"),
        ('{"image": {"mode": "frame"}}', "needs an index"),
        ('{"image": {"index": -1}}', "index = -1"),
        ('{"image": {"max_px": 100000}}', "max_px = 100000"),
        ('{"region": {"index": 1, "y0": 5, "x0": 2, "y1": 5, "x1": 9}}', "no region"),
        ('{"follow": {"scan": ""}}', "follow.scan"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_place(text, told):
    with pytest.raises(ParameterError, match=told):
        request(text)
