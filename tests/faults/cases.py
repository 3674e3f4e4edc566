"""The table of the fault matrix: every fault of every operation, with a death before or after each step, for one owner or two."""

from __future__ import annotations

import hashlib
import random
from itertools import product
from typing import NamedTuple

from exporters.sync.steps import Step
from tests.faults.proxy import Fault, Operation

# Before and after each step of a delivery lies another one: to die at each of these is to die before and after all of them.
KILLS = ("", *Step)


class Case(NamedTuple):
    operation: Operation
    fault: Fault
    kill: str  # where the first owner dies; empty: nobody does
    owners: int  # at once, each of whom believes to be the only one

    def __str__(self) -> str:
        return f"{self.operation}: {self.fault}; {f'death at {self.kill}' if self.kill else 'nobody dies'}; {self.owners} owners"

    @property
    def number(self) -> int:
        """The same on every machine."""
        return int.from_bytes(hashlib.sha256("/".join(map(str, self)).encode()).digest()[:4], "big")


EVERY = tuple(
    Case(operation, fault, kill, owners)
    for operation, fault, kill, owners in product(Operation, Fault, KILLS, (1, 2))
    # STS never puts an error into a good answer.
    if (operation, fault) != (Operation.ROLE, Fault.TAKEN_INSIDE)
)
# Of the eighteen cases that each fault of each operation has, five, moved along by one from fault to fault: all deaths and both numbers of owners in turn.
CASES = tuple(case for number, case in enumerate(EVERY) if (number + number // 18) % 18 in (0, 4, 7, 11, 15))


def chosen(share: float, seed: int) -> list[Case]:
    """A share of the table, in its order."""
    some = set(random.Random(seed).sample(range(len(CASES)), round(len(CASES) * share)))
    return [case for number, case in enumerate(CASES) if number in some]
