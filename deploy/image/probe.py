#!/usr/bin/env python3
"""`probe /livez`, `probe /readyz`: what the process of this container answers; exits 0 for a 200."""

import http.client
import os
import sys

port = os.environ["POSTBACKS_OPS"].rpartition(":")[2]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=4)
try:
    connection.request("GET", sys.argv[1])
    answer = connection.getresponse()
    print(answer.read().decode().strip())
    sys.exit(answer.status != 200)
except OSError as error:
    sys.exit(f"no answer: {error}")
