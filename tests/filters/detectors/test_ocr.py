"""The OCR engines' small print."""

from pathlib import Path

from filters.detectors.ocr import paddle_model_name


def test_a_paddle_model_goes_by_the_name_in_its_export(tmp_path: Path) -> None:
    text = "Global:\n  model_name: PP-OCRv5_mobile_det\nHpi:\n  backend_configs: {}\n"
    (tmp_path / "inference.yml").write_text(text)
    assert paddle_model_name(tmp_path) == "PP-OCRv5_mobile_det"
