from bnn_train import files


def test_two_processes_write_a_shared_file_at_the_same_time(tmp_path, monkeypatch):
    """The second one writes and renames while the first is at it; the file is then the one that came last, and whole."""
    path = tmp_path / "sweep.csv"

    def first(file):
        file.write(b"fir")
        monkeypatch.setattr("os.getpid", lambda: 2)
        files.write(path, lambda other: other.write(b"second"), shared=True)
        assert path.read_bytes() == b"second"
        file.write(b"st")

    monkeypatch.setattr("os.getpid", lambda: 1)
    files.write(path, first, shared=True)
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.csv"]
