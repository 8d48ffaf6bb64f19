"""A Vitrine server on 127.0.0.1 that the programs of this directory measure from outside."""

import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request


class Server:
    """A server and a token for it."""

    def __init__(self, binary, work, settings=None):
        self.binary, self.data = binary, os.path.join(work, "data")
        env = dict(os.environ, VITRINE_DATA=self.data, VITRINE_LOG="warn")
        self.env = dict(env, **(settings or {}))
        self.out = open(os.path.join(work, "out"), "w+b")
        self.process = subprocess.Popen(
            [binary, "serve", "--listen", "127.0.0.1:0"], env=self.env, stdout=self.out,
            stderr=open(os.path.join(work, "err"), "wb"))
        wait(lambda: b"listening on" in read(self.out.name), 60, "the server")
        self.endpoint = read(self.out.name).split(b"listening on ")[1].split()[0].decode()
        self.who = json.loads(read(os.path.join(self.data, "credentials.json")))
        self.tls = ssl.create_default_context(cafile=os.path.join(self.data, "ca.pem"))
        form = {"grant_type": "client_credentials", "client_id": self.who["clientId"],
                "client_secret": self.who["clientSecret"], "scope": f"{self.endpoint}/.default"}
        url = f"{self.endpoint}/{self.who['tenantId']}/oauth2/v2.0/token"
        body = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body), context=self.tls) as answer:
            self.token = json.load(answer)["access_token"]
        self.group = f"/subscriptions/{self.who['subscriptionId']}/resourceGroups/vitrine"

    def send(self, method, url, body=None):
        """Returns an answer's headers and body."""
        url = url if url.startswith("https:") else self.endpoint + url
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, context=self.tls) as answer:
                text = answer.read()
                return answer.headers, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {url}: {error.code} {error.read().decode()}") from error

    def done(self, method, path, version, body=None):
        """Sends and polls until it is over; returns the seconds that took."""
        begin = time.monotonic()
        headers, _ = self.send(method, f"{path}?api-version={version}", body)
        poll = headers.get("azure-asyncoperation")
        while poll:
            _, status = self.send("GET", poll)
            if status["status"] == "Succeeded":
                break
            if status["status"] != "InProgress":
                raise SystemExit(f"{method} {path}: {status}")
            time.sleep(0.005)
        return time.monotonic() - begin

    def id(self, kind, name):
        return f"{self.group}/providers/Microsoft.Compute/{kind}/{name}"

    def resident(self):
        """Returns the server's memory in MiB."""
        for line in read(f"/proc/{self.process.pid}/status").splitlines():
            if line.startswith(b"VmRSS"):
                return int(line.split()[1]) // 1024
        return 0

    def bytes_read(self):
        """Returns what the server has read by system calls, sockets included."""
        text = read(f"/proc/{self.process.pid}/io")
        return int(text.split(b"rchar: ")[1].split()[0])

    def run(self, *words):
        """Runs a command of the same program against the server."""
        subprocess.run([self.binary, *words], env=self.env, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def wait(look, seconds, what):
    """Looks every two milliseconds; returns when it is true."""
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.002)
