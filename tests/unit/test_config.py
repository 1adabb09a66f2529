"""Settings: precedence, unknown keys, wrong values."""

from pathlib import Path

import pytest

from ledger.errors import ClientError
from node.config import Config, load_config, split_address, to_toml


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_without_a_file(tmp_path: Path) -> None:
    assert load_config(tmp_path / "absent.toml", {}) == Config()


def test_flag_beats_environment_beats_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[api]\nlisten = "127.0.0.1:1"\n[clock]\nspeed = 2\n[node]\ncompany = "Teld"\n')
    environment = {
        "PILECHAIN_API__LISTEN": "127.0.0.1:2",
        "PILECHAIN_CLOCK__SPEED": "3",
        "PILECHAIN_HOME": "/x",
        "PATH": "/bin",
    }
    config = load_config(path, environment, {"clock.speed": 4})
    assert (config.api.listen, config.clock.speed, config.node.company) == ("127.0.0.1:2", 4, "Teld")


def test_peers_from_the_environment_are_a_json_object(tmp_path: Path) -> None:
    config = load_config(tmp_path / "absent", {"PILECHAIN_P2P__PEERS": '{"Teld": "10.0.0.1:26656"}'})
    assert config.p2p.peers == {"Teld": "10.0.0.1:26656"}
    with pytest.raises(ClientError, match=r"p2p\.peers = 'Teld'.*JSON object"):
        load_config(tmp_path / "absent", {"PILECHAIN_P2P__PEERS": "Teld"})


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('[p2p]\nlisen = "a:1"', "config-unknown", "did you mean p2p.listen"),
        ("[ap]\nlisten = 3", "config-unknown", "did you mean api.listen"),
        ("speed = 3", "config-unknown", "there is no setting speed"),
        ("api = 3", "config-invalid", r"expected a table \[api\]"),
        ('[api]\nlisten = "nowhere"', "config-invalid", "api.listen = 'nowhere': expected an address host:port"),
        ("[clock]\nspeed = 0", "config-invalid", "clock.speed = 0: expected a whole factor"),
        ('[log]\nlevel = "loud"', "config-invalid", "log.level = 'loud'"),
        ("[log\n", "config-unreadable", "config.toml"),
        ("[store]\ntrust_height = 7", "config-invalid", "store.trust_height and store.trust_hash .*: expected both"),
        (f'[store]\ntrust_hash = "{"ab" * 32}"', "config-invalid", "trust_height and store.trust_hash .*expected both"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_was_expected(
    tmp_path: Path, text: str, code: str, words: str
) -> None:
    with pytest.raises(ClientError, match=words) as caught:
        load_config(write(tmp_path, text), {})
    assert caught.value.code == code


def test_written_settings_are_read_back(tmp_path: Path) -> None:
    text = to_toml(
        {"p2p": {"peers": {"State Grid": "h:1"}, "listen": "a:2"}, "clock": {"speed": 60}, "node": {"observer": True}}
    )
    config = load_config(write(tmp_path, text), {})
    assert config.p2p.peers == {"State Grid": "h:1"}
    assert (config.p2p.listen, config.clock.speed, config.node.observer) == ("a:2", 60, True)


def test_split_address() -> None:
    assert split_address("[::1]:80") == ("[::1]", 80)
    for bad in ("", "host", "host:", "host:x", "host:70000", ":1"):
        with pytest.raises(ClientError):
            split_address(bad)
