import pytest

pytest.importorskip("transformers", reason="needs memel-nowcast[glue]")
pytest.importorskip("sklearn", reason="needs memel-nowcast[glue]")
