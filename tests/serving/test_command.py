"""`nowcast serve` says what is wrong before it listens."""

import socket
import sys
from pathlib import Path

import pytest

from nowcast.cli.app import main

pytest.importorskip("uvicorn", reason="needs pip install 'memel-nowcast[serve]'")


def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["nowcast", "serve", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code, capsys.readouterr().err


def test_a_folder_that_is_none_and_a_port_that_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    status, text = said(capsys, monkeypatch, str(tmp_path / "none"))
    assert status == 2 and "expected the folder that `nowcast watch" in text
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, text = said(capsys, monkeypatch, str(tmp_path), "--port", str(port))
    assert status == 2 and f"port {port}" in text and "choose another --port" in text
