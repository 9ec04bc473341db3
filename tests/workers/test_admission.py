"""A nonce shows whether two machines see the same folder."""

from dataclasses import replace

from semshard.workers.admission import forget_nonces, nonce_in


def test_drivers_in_the_same_folder_have_a_nonce_each(tmp_path):
    with nonce_in(tmp_path) as first:
        with nonce_in(tmp_path) as second:
            assert first.is_seen()
            assert second.is_seen()
        assert first.is_seen()
        assert not second.is_seen()
    assert not list(tmp_path.iterdir())


def test_another_folder_under_the_same_path_is_known_by_the_text(tmp_path):
    with nonce_in(tmp_path) as nonce:
        assert not replace(nonce, text="of an old copy").is_seen()
        nonce.path.write_bytes(b"\xff")
        assert not nonce.is_seen()


def test_what_a_killed_driver_left_is_forgotten(tmp_path):
    (tmp_path / "nonce-0123abcd").write_text("0123")
    (tmp_path / "other").write_text("")
    forget_nonces(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
