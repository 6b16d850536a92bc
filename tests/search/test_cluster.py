import socket

import pytest

from cc_ray.errors import CcRayError
from cc_ray.search.cluster import connect


def test_an_address_where_nobody_listens_is_refused_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(CcRayError, match="ray start --head"):
        connect(f"127.0.0.1:{port}")
