import pytest

pytest.importorskip("transformers", reason="needs memel-nowcast[imagenet]")
pytest.importorskip("sklearn", reason="needs memel-nowcast[imagenet]")
