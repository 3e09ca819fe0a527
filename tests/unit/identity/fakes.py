"""A nova that answers who an instance is, a clock, and requests."""

import asyncio
import hmac
from dataclasses import dataclass
from typing import Any

from peerdata.errors import UpstreamSilent
from peerdata.identity.kept import KeptProofs
from peerdata.model import Instance
from peerdata.upstream.nova import Headers, Nova, NovaAnswer

SECRET = "between us"
ALICE = "a11ce000-0000-4000-8000-000000000001"
BOB = "b0b00000-0000-4000-8000-000000000002"
PROJECT = "blue"


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeNova(Nova):
    """Answers by ``X-Instance-ID`` or, without it, by ``X-Forwarded-For``."""

    def __init__(self) -> None:
        self.questions: list[dict[bytes, bytes]] = []
        self.versions: list[str] = []
        """Of which version each question was."""
        self.documents: dict[bytes, dict[str, Any]] = {
            key: {"uuid": uuid, "project_id": PROJECT}
            for uuid, address in ((ALICE, b"10.0.0.1"), (BOB, b"10.0.0.2"))
            for key in (uuid.encode(), address)
        }
        self.status = 200
        """Anything else is answered to everybody; 0: silence."""
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        """Answers are held until this is set; it is, unless a test clears it."""
        self.may_answer.set()

    async def read_document(self, version: str, headers: Headers) -> tuple[NovaAnswer, dict[str, Any] | None]:
        given = dict(headers)
        self.questions.append(given)
        self.versions.append(version)
        self.asked.set()
        await self.may_answer.wait()
        if self.status == 0:
            raise UpstreamSilent("nova did not answer within 20 s; try again")
        document = self.documents.get(given.get(b"x-instance-id", given.get(b"x-forwarded-for", b"")))
        status = 404 if self.status == 200 and document is None else self.status
        answer = NovaAnswer(status, b"application/json", (), b"%d" % len(self.questions))
        if document and version < "2015-10-15":
            document = {name: value for name, value in document.items() if name != "project_id"}
        return answer, document if status == 200 else None


def sign(instance_id: bytes, secret: str = SECRET) -> bytes:
    """As neutron signs (neutron/agent/metadata, sign_instance_id)."""
    return hmac.new(secret.encode(), instance_id, "sha256").hexdigest().encode()


@dataclass
class Asking:
    """What of a request tells who is asking."""

    headers: list[tuple[bytes, bytes]]
    client: str = "192.0.2.1"


def through_neutron(uuid: str = ALICE, tenant: str = PROJECT, **more: bytes) -> Asking:
    """A request as neutron's agent sends it; *more* are headers with ``_`` for ``-``."""
    headers = [
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-instance-id", uuid.encode()),
        (b"x-tenant-id", tenant.encode()),
        (b"x-instance-id-signature", sign(uuid.encode())),
    ]
    return Asking([*headers, *((name.replace("_", "-").encode(), value) for name, value in more.items())])


class FakeKept(KeptProofs):
    """Other servers' proofs, as a test says; what is noted is seen at once."""

    def __init__(self) -> None:
        self.found: dict[Instance, tuple[bool, float]] = {}
        """Known or not, and seconds ago."""
        self.noted: list[tuple[Instance, bool]] = []
        self.reads = 0

    def note(self, instance: Instance, *, known: bool) -> None:
        self.noted.append((instance, known))
        self.found[instance] = (known, 0.0)

    async def find(self, instance: Instance) -> tuple[bool, float] | None:
        self.reads += 1
        return self.found.get(instance)
