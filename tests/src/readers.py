"""Reads streams of HTTP/1 requests as two other parsers do.

Each line of the input is a stream in base64. Each line of the output is a list of what h11 and httptools (llhttp) find in
it: `[[method, target, bytes of the body], ...]`, whole requests only, up to the first that they refuse.
"""

import base64
import json
import sys

import h11
import httptools


def by_h11(stream):
    found = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(stream)
    connection.receive_data(b"")
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = [event.method.decode(), event.target.decode("latin-1"), 0]
            elif isinstance(event, h11.Data):
                request[2] += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found.append(request)
                if connection.our_state is h11.MUST_CLOSE:
                    break
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    break
                connection.start_next_cycle()
            else:
                break
    except h11.ProtocolError:
        pass
    return found


class Requests:
    def __init__(self):
        self.found = []

    def on_message_begin(self):
        self.target = b""
        self.length = 0

    def on_url(self, url):
        self.target += url

    def on_body(self, body):
        self.length += len(body)

    def on_message_complete(self):
        method = self.parser.get_method().decode()
        self.found.append([method, self.target.decode("latin-1"), self.length])


def by_llhttp(stream):
    requests = Requests()
    requests.parser = httptools.HttpRequestParser(requests)
    try:
        requests.parser.feed_data(stream)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        pass
    return requests.found


for line in sys.stdin:
    stream = base64.b64decode(line)
    print(json.dumps([by_h11(stream), by_llhttp(stream)]))
