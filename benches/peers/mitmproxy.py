"""Leads every name to the origin and replaces one header."""


class Replace:
    def server_connect(self, data):
        data.server.address = ("@HOST@", int("@PORT@"))

    def responseheaders(self, flow):
        flow.response.stream = True

    def requestheaders(self, flow):
        flow.request.stream = True
        flow.request.headers["authorization"] = "@AUTHORIZATION@"


addons = [Replace()]
