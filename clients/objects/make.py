"""make.py s3 PORT | azure PORT ACCOUNT KEY: makes the container `vitrine` in an object store of this machine."""

import base64, email.utils, hashlib, hmac, http.client, sys
kind, port = sys.argv[1], int(sys.argv[2])
connection = http.client.HTTPConnection("127.0.0.1", port)
if kind == "s3":
    connection.request("PUT", "/vitrine")
else:
    account, key = sys.argv[3:]
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    text = "PUT" + "\n" * 12 + "".join(f"{k}:{v}\n" for k, v in headers.items())
    text += f"/{account}/{account}/vitrine\nrestype:container"
    sign = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(sign).decode()}"
    connection.request("PUT", f"/{account}/vitrine?restype=container", headers=headers)
answer = connection.getresponse()
sys.exit(0 if answer.status in (200, 201) else f"{answer.status} {answer.read()!r}")
