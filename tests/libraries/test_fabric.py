"""The links between ranks as torch sees them: over gloo here, over NCCL where there are GPUs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.pods import free_ports

_RANK = """
import json, sys
from mlpools.gang import Gang
from mlpools.runtime.fabric import collective
from mlpools.runtime.fabric.meeting import meet
rank, size, port = map(int, sys.argv[1:])
gang = Gang(rank=rank, world_size=size, port=port)
with meet(gang) as meeting:
    link, reduced = collective.measure(meeting, gang, 60.0, "cpu")
print(json.dumps([link.sender, link.receiver, link.bandwidth, link.trouble, reduced]))
"""


@pytest.mark.parametrize("size", [2, 3])
def test_torch_measures_each_link_and_the_all_reduce(size: int) -> None:
    (port,) = free_ports(1)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", _RANK, str(rank), str(size), str(port)], stdout=subprocess.PIPE, text=True
        )
        for rank in range(size)
    ]
    said = [json.loads(rank.communicate(timeout=120)[0].splitlines()[-1]) for rank in ranks]
    assert [found[:2] for found in said] == [[(rank - 1) % size, rank] for rank in range(size)]
    for _, _, bandwidth, trouble, reduced in said:
        assert 0 < bandwidth < 1000
        assert 0 < reduced < 1000
        assert trouble == ""
