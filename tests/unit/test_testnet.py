"""Homes of a testnet: keys that open, certificates that fit, one genesis document, ports that differ."""

import stat

import pytest

from contracts.genesis import consortium_of, genesis_state
from ledger.errors import ClientError
from ledger.genesis import Profile
from ledger.keys import Scheme
from node.keystore import load_key
from node.network.tls import broker_context, make_certificate, node_key
from node.storage import files
from node.testnet.join import add_home
from node.testnet.make import (
    Testnet,
    TestnetPlan,
    companies_of,
    example_drivers,
    example_piles,
    make_testnet,
    scaled_parameters,
)


def test_F61_a_testnet_has_a_complete_home_for_each_validator(tmp_path):
    """What the genesis document says of a company is what lies in its home."""
    plan = TestnetPlan(piles=example_piles(3), drivers=example_drivers(5), base_port=0)
    testnet = make_testnet(tmp_path / "net", plan)
    assert list(testnet.nodes) == ["Potevio", "SGCC", "StarCharge", "Teld"]
    genesis = testnet.home("SGCC").genesis()
    for member in genesis.validators.validators:
        home = testnet.home(member.name)
        config = home.config()
        assert home.genesis() == genesis
        passphrase = home.path(config.keys.passphrase_file).read_bytes()
        assert load_key(home.path(config.keys.vote), passphrase).public_key == member.vote_key
        assert load_key(home.path(config.keys.company), passphrase).public_key == member.company_key
        assert node_key(home.path(config.p2p.certificate).read_bytes()) == member.node_key
        assert set(config.p2p.peers) == set(testnet.nodes) - {member.name}
    assert genesis_state(genesis), "the contracts accept it"


def test_F61_all_eight_companies_are_members_whoever_votes(tmp_path):
    """Operators vote first; beyond eight, further operators join."""
    testnet = make_testnet(tmp_path / "net", TestnetPlan(nodes=4, base_port=0))
    consortium = consortium_of(testnet.home("SGCC").genesis())
    roles = {role.name for company in consortium.companies for role in company.roles}
    assert len(consortium.companies) == 8
    assert roles == {"OPERATOR", "LAB", "MAINTENANCE", "GRID", "REGULATOR"}
    assert [company.name for company in companies_of(10) if company.validator][-2:] == ["Operator09", "Operator10"]


def test_F61_secrets_are_for_their_owner_alone(tmp_path):
    """Whatever opens a key or a connection has mode 0600."""
    testnet = make_testnet(tmp_path / "net", TestnetPlan(base_port=0, drivers=example_drivers(1)))
    secrets = [testnet.root / "testnet.json", *(testnet.root / "accounts").iterdir()]
    names = ("passphrase", "node_key.pem", "mqtt_password", "vote_key.json", "company_key.json", "archive_key.json")
    secrets += [testnet.home("SGCC").root / "config" / name for name in names]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secrets)


def test_F61_ports_follow_the_base_and_never_meet(tmp_path):
    """As users of other engines know them: 26656, 26657, 26660, and ten further on for the next node."""
    testnet = make_testnet(tmp_path / "net", TestnetPlan(nodes=8))
    ports = [int(at.rpartition(":")[2]) for node in testnet.nodes.values() for at in (node.p2p, node.api, node.ops)]
    assert ports[:6] == [26656, 26657, 26660, 26666, 26667, 26670]
    assert len({*ports, int(testnet.broker.rpartition(":")[2])}) == 25
    assert testnet.broker == "127.0.0.1:21883"
    with pytest.raises(ClientError, match="port-range"):
        make_testnet(tmp_path / "high", TestnetPlan(base_port=65_500))


def test_F61_a_testnet_is_found_again_and_never_written_over(tmp_path):
    """Keys of drivers and piles follow from its seed."""
    testnet = make_testnet(tmp_path / "net", TestnetPlan(base_port=0, drivers=example_drivers(2)))
    again = Testnet.load(tmp_path / "net")
    assert again == testnet
    accounts = {account.account for account in consortium_of(testnet.home("SGCC").genesis()).accounts}
    assert {again.signer("driver", name).public_key for name in ("driver-001", "driver-002")} == accounts
    passphrase = (testnet.root / "accounts" / "passphrase").read_bytes()
    assert load_key(testnet.root / "accounts" / "driver-001.json", passphrase).public_key in accounts
    with pytest.raises(ClientError, match="testnet-exists"):
        make_testnet(tmp_path / "net", TestnetPlan(base_port=0))
    with pytest.raises(ClientError, match="testnet-missing"):
        Testnet.load(tmp_path)
    manifest = (testnet.root / "testnet.json").read_bytes()
    for damaged in (manifest.replace(b"SGCC", b"SG\xff\xfe"), b'{"root":' + b"[" * 5_000, manifest[:-9]):
        (testnet.root / "testnet.json").write_bytes(damaged)
        with pytest.raises(ClientError, match="testnet-missing"):
            Testnet.load(testnet.root)


def test_F05_the_profile_decides_the_scheme(tmp_path):
    """`gm` is SM2 throughout."""
    testnet = make_testnet(tmp_path / "net", TestnetPlan(base_port=0, profile=Profile.GM, drivers=example_drivers(1)))
    assert testnet.scheme is Scheme.SM2
    assert testnet.home("SGCC").genesis().validators.validators[0].vote_key[0] == Scheme.SM2


def test_F61_limits_in_chain_time_grow_with_the_speed_and_sizes_do_not(tmp_path):
    """Protocol timers stay real: they are no genesis parameters."""
    normal, fast = scaled_parameters(1), scaled_parameters(600)
    for name in normal.__struct_fields__:
        factor = 600 if name.endswith("_ms") else 1
        assert getattr(fast, name) == factor * getattr(normal, name)
    home = make_testnet(tmp_path / "net", TestnetPlan(base_port=0, speed=600, chain_start_ms=5)).home("SGCC")
    config = home.config()
    assert home.genesis().parameters == fast, "within what a genesis document allows"
    assert config.clock.at(config.clock.base_wall_ms + 1_000) == 600_005, "the settings are the clock itself"


def test_F61_in_containers_names_take_the_place_of_ports_and_certificates_that_of_passwords(tmp_path):
    """Every company's files in its own folder, where a volume may be mounted before; nothing is made twice."""
    (tmp_path / "net" / "Teld").mkdir(parents=True)
    plan = TestnetPlan(nodes=8, containers=True, piles=example_piles(2), speed=60)
    testnet = make_testnet(tmp_path / "net", plan)
    assert Testnet.load(tmp_path / "net") == testnet
    config = testnet.home("Teld").config()
    assert (config.p2p.listen, config.ops.listen) == ("0.0.0.0:26656", "127.0.0.1:26660")
    assert config.p2p.peers["SGCC"] == "sgcc-p2p:26656"
    assert config.mqtt.broker == testnet.broker == "broker:8883"
    assert config.mqtt.password_file == ""
    assert config.clock == testnet.clock
    assert not testnet.home("MetroLab").config().mqtt.broker, "no piles, no gateway"
    home, mqtt = testnet.home("Teld"), config.mqtt
    files = home.path(mqtt.ca), home.path(mqtt.certificate), home.path(mqtt.key)
    context = broker_context(*files, home.passphrase(config))
    assert context.check_hostname
    authority = testnet.root / "authority"
    authority_key = authority / "devices_ca_key.pem"
    for path in (home.path(config.mqtt.key), testnet.root / "devices" / "pile-001.pem", authority_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ca = (authority / "devices_ca.pem").read_bytes()
    assert ca == home.path(mqtt.ca).read_bytes()
    late = tmp_path / "late.pem"
    late.touch(0o600)
    late.write_bytes(b"".join(make_certificate("pile-003", ca, authority_key.read_bytes())))
    broker_context(home.path(mqtt.ca), late, None, b"")  # further piles get theirs from the same authority
    with pytest.raises(ClientError, match="testnet-exists"):
        make_testnet(tmp_path / "net", plan)


@pytest.mark.parametrize("containers", [True, False])
def test_F61_who_joins_later_has_no_gateway_whatever_its_name(tmp_path, containers):
    """The broker knows neither it nor its piles; a section `mqtt` would name files that nobody makes."""
    testnet = make_testnet(tmp_path / "net", TestnetPlan(nodes=8, containers=containers))
    for company in ("Operator09", "Newcomer"):
        testnet, home, _ = add_home(testnet, company)
        assert not home.config().mqtt.broker
        assert Testnet.load(testnet.root) == testnet


def test_F61_a_testnets_manifest_is_never_missing(tmp_path, monkeypatch):
    testnet = make_testnet(tmp_path / "net", TestnetPlan(base_port=0))
    cut = OSError("the power is cut")

    def fail(*_: object) -> None:
        raise cut

    monkeypatch.setattr(files, "rename", fail)
    with pytest.raises(OSError, match="power"):
        add_home(testnet, "Newcomer")
    assert Testnet.load(testnet.root) == testnet
