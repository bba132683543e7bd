"""Progress off a terminal: plain lines with honest counts."""

from discovery import progress


def test_the_last_item_may_stand_for_fewer(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    assert list(progress.track("ab", "ingest", 1500, "cutouts", each=1000)) == ["a", "b"]
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("  ingest: 1,000 of 1,500 cutouts, ")
    assert last.startswith("  ingest: 1,500 of 1,500 cutouts, ")
    assert last.endswith(", 0 s left")


def test_without_a_total_every_item_counts_in_full(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    list(progress.track([1, 2], "train", unit="images", each=128))
    assert "train: 256 of 256 images" in capsys.readouterr().err
    list(progress.track(iter([1]), "read", unit="rows"))
    assert "read: 1 rows" in capsys.readouterr().err
