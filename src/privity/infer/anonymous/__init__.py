"""Floor 4: what an anonymous job needs beside a sealed one: a way, a proof, and a spend.

Promise: what leaves for one request has nothing in common with what leaves for another of the same
person, but for what everybody's requests have in common; and no request is admitted or paid twice.
spec/anonymous.md lists the sentences and their tests.

Public names: `open_network` and `Network`, all of it together; `AdmittedTransport` proves,
`PaidTransport` pays, each around another transport.
"""

from privity.infer.anonymous.admitted import AdmittedTransport
from privity.infer.anonymous.network import Network, open_network
from privity.infer.anonymous.paid import PaidTransport

__all__ = ["AdmittedTransport", "Network", "PaidTransport", "open_network"]
