"""Makes the trail larger: every look at a page of one's own cases is a leaf.

Usage:  more_leaves.py PROFILE COUNT
"""

import sys
from pathlib import Path

import client_path  # noqa: F401  (puts the client on the path)
from mandate_client import Profile, open_channel  # puts the generated stubs there

from mandate.v1 import request_service_pb2 as requests
from mandate.v1 import request_service_pb2_grpc as requests_grpc

SECONDS = 10


def main() -> None:
    profile, count = Profile.load(Path(sys.argv[1])), int(sys.argv[2])
    with open_channel(profile) as channel:
        stub = requests_grpc.RequestServiceStub(channel)
        for _ in range(count):
            page = stub.ListRequests(requests.ListRequestsRequest(page_size=1), timeout=SECONDS)
            if not page.requests:
                sys.exit("it has no case to look at: no leaf")


if __name__ == "__main__":
    main()
