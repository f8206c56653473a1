#!/usr/bin/env python3
"""`probe /livez`, `probe /readyz`: print the response of the container's process; exit with 0 for a 200."""

import http.client
import os
import sys

port = os.environ["POSTBACKS_OPS"].rpartition(":")[2]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=4)
try:
    connection.request("GET", sys.argv[1])
    response = connection.getresponse()
    print(response.read().decode().strip())
    sys.exit(response.status != 200)
except OSError as error:
    sys.exit(f"no answer: {error}")
