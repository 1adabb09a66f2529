"""Piles, their meters, and who has which connector."""


def pile(chain, **changes):
    """A pile that the operator may register."""
    fields = {
        "name": "Pile-9", "operator": "Operator", "kind": "operator", "owner": b"", "owner_share_ppm": 0,
        "public_key": chain.party("Pile-9").key, "latitude_e7": 225_000_000, "longitude_e7": 1_140_000_000,
        "power_w": 60_000, "connectors": 2, "region": "City", "meter_state": "unverified",
    }  # fmt: skip
    return fields | changes


def register(chain, **changes):
    """Arguments of its registration, with its own word."""
    proof = chain.party("Pile-9").proof(chain.operator)
    return {"pile": pile(chain, **changes), "registers_wh": (5, 6), "proof": proof}


def test_a_pile_is_registered_inspected_and_goes_into_service(chain):
    told = chain.operator.call("register", **register(chain))
    assert told.event("registry.pile-registered").operator == "Operator"
    chain.lab.call("inspect", pile="Pile-9", meter_state="verified", registers_wh=(7, 8))
    chain.operator.call("set_service", pile="Pile-9", in_service=True)
    state = chain.record("STATES", "Pile-9")
    assert state.in_service
    assert [connector.register_wh for connector in state.connectors] == [7, 8]
    assert chain.record("DEVICES", chain.party("Pile-9").key).pile == "Pile-9"
    chain.operator.refused("pile-exists", "register", **register(chain))


def test_what_a_registration_needs(chain):
    good = register(chain)
    chain.operator.refused("pile-name-malformed", "register", **good | {"pile": pile(chain, name="P\n9")})
    chain.other_operator.refused("not-pile-operator", "register", **good)
    chain.operator.refused("pile-malformed", "register", **good | {"registers_wh": (5,)})
    chain.operator.refused("pile-malformed", "register", **good | {"pile": pile(chain, owner_share_ppm=1)})
    chain.operator.refused("pile-malformed", "register", **good | {"pile": pile(chain, kind="private")})
    chain.operator.refused("pile-malformed", "register", **good | {"pile": pile(chain, meter_state="verified")})
    taken = pile(chain, public_key=chain.pile.key)
    chain.operator.refused("device-key-taken", "register", **good | {"pile": taken})
    chain.operator.refused("key-unproven", "register", **good | {"proof": bytes(64)})
    strangers = pile(chain, kind="private", owner=chain.party("stranger").key)
    chain.operator.refused("account-unknown", "register", **good | {"pile": strangers})


def test_a_private_pile_serves_others_when_its_owner_agrees(chain):
    chain.operator.call("register", **register(chain, kind="private", owner=chain.owner.key, owner_share_ppm=10))
    chain.operator.call("set_service", pile="Pile-9", in_service=True)
    session = chain.contract("session")
    take = {"pile": "Pile-9", "connector": 1, "session": b"1" * 32, "accept_unverified": True}
    session.refused("pile-out-of-service", "take", driver=chain.driver.key, **take)
    chain.driver.refused("not-pile-owner", "share", pile="Pile-9", shared=True)
    chain.owner.refused("pile-unknown", "share", pile="Pile-0", shared=True)
    assert chain.owner.call("share", pile="Pile-9", shared=True).event("registry.pile-shared").shared
    unseen = {**take, "accept_unverified": False}
    session.refused("meter-unverified", "take", driver=chain.driver.key, **unseen)
    assert session.call("take", driver=chain.driver.key, **take).name == "Pile-9"


def test_a_meter_that_was_found_wrong_serves_nobody(chain):
    chain.lab.call("inspect", pile="Home-1", meter_state="failed", registers_wh=(1, 2))
    take = {"pile": "Home-1", "connector": 1, "session": b"1" * 32, "driver": chain.owner.key}
    chain.contract("session").refused("meter-unverified", "take", accept_unverified=True, **take)


def test_what_inspecting_and_setting_service_need(chain):
    chain.lab.refused("pile-unknown", "inspect", pile="Pile-0", meter_state="failed", registers_wh=(1,))
    chain.lab.refused("pile-malformed", "inspect", pile="Pile-1", meter_state="failed", registers_wh=(1,))
    chain.operator.refused("pile-unknown", "set_service", pile="Pile-0", in_service=True)
    chain.other_operator.refused("not-pile-operator", "set_service", pile="Pile-1", in_service=True)
    chain.operator.refused("role-missing", "inspect", pile="Pile-1", meter_state="failed", registers_wh=(1, 2))


def test_a_connector_is_taken_begun_and_freed_where_its_register_stands(chain):
    session = chain.contract("session")
    place = {"pile": "Pile-1", "connector": 1}
    take = {**place, "session": b"1" * 32, "driver": chain.driver.key, "accept_unverified": False}
    session.refused("pile-unknown", "take", **take | {"pile": "Pile-0"})
    session.refused("connector-unknown", "take", **take | {"connector": 3})
    session.call("take", **take)
    session.refused("connector-taken", "take", **take)
    chain.lab.refused("connector-taken", "inspect", pile="Pile-1", meter_state="verified", registers_wh=(1, 2))
    session.refused("pile-unknown", "begin", pile="Pile-0", connector=1, meter_wh=1)
    session.refused("connector-unknown", "begin", pile="Pile-1", connector=0, meter_wh=1)
    session.refused("reading-gap", "begin", **place, meter_wh=1_001)
    session.call("begin", **place, meter_wh=1_000)
    end = {"session": b"1" * 32, "settled": True, "meter_wh": 1_500, "register_open": True}
    session.refused("pile-unknown", "free", **place | {"pile": "Pile-0"}, **end)
    session.refused("connector-unknown", "free", **place | {"connector": 9}, **end)
    assert session.call("free", **place, **end) == bytes(32), "there was no session before"
    session.call("take", **take | {"session": b"2" * 32})
    session.refused("reading-gap", "begin", **place, meter_wh=1_499)
    session.call("begin", **place, meter_wh=1_700)
    session.refused("reading-gap", "begin", **place, meter_wh=1_800)
    expired = {"session": b"2" * 32, "settled": False, "meter_wh": 0, "register_open": False}
    assert session.call("free", **place, **expired) == b"1" * 32
    assert chain.record("STATES", "Pile-1").connectors[0].register_wh == 1_700
