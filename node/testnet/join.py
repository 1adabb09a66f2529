"""A node for a company that joins a testnet later: its home, and what it says on chain to be let in.

As in the field: the consortium's authority gives a certificate, the company names its node on chain through any member,
its node connects and catches up, registers a vote key by itself, and votes once the others have decided so.
"""

import shutil
from typing import Any

from msgspec.structs import replace

from ledger.errors import ClientError
from node.home import Home, set_node_args
from node.testnet.containers import addresses_of
from node.testnet.make import GENESIS, NodeAddresses, Testnet, free_ports, write_home


def add_home(testnet: Testnet, company: str, log_format: str = "console") -> tuple[Testnet, Home, dict[str, Any]]:
    """Make the home of a further company's node; its genesis document is the testnet's. Returns the testnet with it,
    the home, and the arguments of `governance.set_node`.

    Raises ClientError `testnet-exists` if the company has a node.
    """
    if company in testnet.nodes:
        raise ClientError("testnet-exists", f"{company} has a node in {testnet.root}")
    if testnet.certificates:
        at = NodeAddresses(*addresses_of(company))
    else:
        at = NodeAddresses(*(f"127.0.0.1:{port}" for port in free_ports(3)))
    larger = replace(testnet, nodes=dict(sorted({**testnet.nodes, company: at}.items())))
    write_home(larger, company, log_format, gateway=False)  # the broker knows it as little as its piles
    home = larger.home(company)
    shutil.copyfile(larger.root / GENESIS, home.genesis_file)
    larger.save()
    return larger, home, set_node_args(home, at.p2p)
