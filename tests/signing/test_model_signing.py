"""The example that signs with OpenSSF model-signing: what it signs is verified, and what was changed is not."""

import pytest

from tests.support.examples import load_example


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries that model-signing brings along
def test_the_folder_is_signed_and_verified_with_a_key_and_no_network(finished, tmp_path, monkeypatch, capsys):
    model_signing = pytest.importorskip("model_signing", reason="model-signing is not installed")
    monkeypatch.setenv("SIGNING_PASSPHRASE", "correct horse")
    monkeypatch.setattr("socket.socket.connect", lambda *given: pytest.fail("the network was asked for"))
    load_example("sign_with_model_signing").main(str(finished / "shards"), str(tmp_path / "out"))
    assert capsys.readouterr().out == f"signed and verified: {tmp_path / 'out' / 'shards.sig'}\n"
    assert b"ENCRYPTED PRIVATE KEY" in (tmp_path / "out" / "model.key").read_bytes()
    tar = finished / "shards" / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    verifier = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "out/model.key.pub")
    with pytest.raises(ValueError, match=r"00001\.tar"):
        verifier.verify(finished / "shards", tmp_path / "out" / "shards.sig")
