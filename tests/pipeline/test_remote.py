"""Clients of a store give up in time, unless they are told otherwise; which of their faults are the store's."""

import json
import os
import subprocess
import sys

import pytest

from pipeline.remote import PATIENCE, line_faults, open_url, storage_faults

SHOWN = "import json; from pipeline.remote import open_url; print(json.dumps(open_url('s3://b/x')[0].config_kwargs))"


@pytest.mark.parametrize(
    ("told", "used"),
    [({}, PATIENCE), ({"config_kwargs": {"read_timeout": 60}}, {**PATIENCE, "read_timeout": 60})],
)
def test_the_client_of_s3_is_patient_as_long_as_it_is_told(told: object, used: object) -> None:
    here = os.environ | {"FSSPEC_S3": json.dumps(told)}
    said = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, check=True, env=here)
    assert json.loads(said.stdout) == used


def test_other_filesystems_are_opened_as_they_are() -> None:
    fs, path = open_url("memory://folder/x", use_listings_cache=False)
    assert (type(fs).__name__, path) == ("MemoryFileSystem", "/folder/x")
    with pytest.raises(ValueError, match="nothing"):
        open_url("nothing://x")


def test_a_line_that_is_lost_is_the_stores_fault_and_an_answer_is_not() -> None:
    from botocore.exceptions import EndpointConnectionError, ReadTimeoutError, UnknownServiceError

    for lost in (EndpointConnectionError(endpoint_url="u"), ReadTimeoutError(endpoint_url="u")):
        assert isinstance(lost, line_faults())
        assert isinstance(lost, storage_faults())
    other = UnknownServiceError(service_name="s", known_service_names=[])
    assert isinstance(other, storage_faults())
    assert not isinstance(other, line_faults())
    assert not isinstance(PermissionError(), line_faults())
