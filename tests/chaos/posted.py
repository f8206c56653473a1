"""What was posted in a run, and which of it was acknowledged."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.postback import SimulatedPostback
from tests.chaos.expected import ExpectedMessages, SubmittedAnswer
from tests.chaos.expected_contacts import ExpectedContacts
from tests.chaos.readback import Digest, digest_of


@dataclass
class Bodies:
    """Bodies of one kind, by their digests."""

    attempted: set[Digest] = field(default_factory=set)
    #: Those that got a 2xx.
    acknowledged: set[Digest] = field(default_factory=set)

    def add(self, body: bytes, status: int | None) -> bool:
        """Add a post; return whether it is the first of this body that got a 2xx."""
        digest = digest_of(body)
        self.attempted.add(digest)
        if status is None or status >= 300 or digest in self.acknowledged:
            return False
        self.acknowledged.add(digest)
        return True


class Posted:
    """All postbacks and submissions of a run, and the messages and contacts that must result from them."""

    def __init__(self) -> None:
        self.postbacks = Bodies()
        #: By the answers, which may be posted with different requests.
        self.submissions = Bodies()
        self.expected = ExpectedMessages()
        self.contacts = ExpectedContacts()

    @property
    def is_complete(self) -> bool:
        """Whether everything was acknowledged, so that what is expected is exact."""
        return all(bodies.attempted == bodies.acknowledged for bodies in (self.postbacks, self.submissions))

    def add_postback(self, postback: SimulatedPostback, status: int | None) -> None:
        """Add a post; `status` is None if there was no response."""
        if self.postbacks.add(postback.body, status):
            self.expected.add_postback(postback)
            self.contacts.add_postback(postback)

    def add_answer(self, answer: SubmittedAnswer, status: int | None) -> None:
        """Add a post of a submission, likewise."""
        if self.submissions.add(answer.raw, status):
            self.expected.add_answer(answer)
            self.contacts.add_answer(answer)
