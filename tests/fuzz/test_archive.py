"""Readings that a pile did not sign never reach its archive."""

from ledger.errors import PeerError
from node.gateway.archive import Archive, Batch
from tests import consortium
from tests.fuzz.engine import inputs, told
from tests.fuzz.targets_devices import SESSION, readings


def test_readings_for_the_archive(tmp_path):
    """Batches arrive decoded; their readings are bent here, and what is stored must be what the pile signed."""
    archive = Archive(tmp_path / "readings.sqlite")
    signed = readings()
    key = consortium.key("Pile-1")
    for data in inputs([one.reading for one in signed], iterations=500):
        with told(data):
            bent = type(signed[0])(data, signed[0].signature)
            for batch in ((bent,), (signed[0], bent)):
                [answer] = archive.append([Batch(SESSION, "Pile-1", key, batch)])
                assert isinstance(answer, PeerError) or answer.count <= 1 or data in [one.reading for one in signed]
            assert all(one in signed for one in archive.readings(SESSION))
    [end] = archive.append([Batch(SESSION, "Pile-1", key, tuple(signed))])
    assert not isinstance(end, PeerError)
    assert end.count == 3
    archive.close()
