"""What chance decides, so that the same seed decides the same."""

from __future__ import annotations

import random
import secrets


def new_seed() -> int:
    """A seed nobody has chosen; short enough to be typed."""
    return secrets.randbelow(10**9)


class Dice:
    """A tree of random numbers. Each branch has its own, whatever the others have drawn, and in which order.

    So a decision belongs to its name (the third connection of the relay, the job's program) and not to the moment at
    which a race asked for it.
    """

    def __init__(self, seed: int, path: str = "") -> None:
        self.seed = seed
        self.path = path
        self._random = random.Random(f"{seed}{path}")  # noqa: S311 - chance, not secrecy

    def branch(self, name: object) -> Dice:
        """The dice of something named; the same whenever it is asked for."""
        return Dice(self.seed, f"{self.path}/{name}")

    def whole(self, least: int, most: int) -> int:
        """A whole number between the two, both included."""
        return self._random.randint(least, most)

    def share(self, least: float = 0.0, most: float = 1.0) -> float:
        """A number between the two."""
        return self._random.uniform(least, most)

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return self._random.random() < probability

    def moments(self, count: int, least: int, most: int) -> list[int]:
        """Different whole numbers between the two, ascending."""
        return sorted(self._random.sample(range(least, most + 1), count))

    def text(self, length: int) -> str:
        """Letters and digits."""
        return "".join(self._random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))
